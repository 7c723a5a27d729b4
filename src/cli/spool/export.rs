//! `nullmta spool export`: writes every live message to a file, for the case that no daemon can deliver it.
//!
//! Promises
//! 1. `<id>.eml` is the content as committed, octet by octet, with its checksums verified; `<id>.json`, written after it,
//!    is the envelope with the state of each recipient. Both are synced.
//! 2. The directory is new, or empty, and not in the spool; only the owner can read the files.
//! 3. A damaged message is named, and all others are still written; damaged records are reported, too.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, ErrorKind, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use clap::Args;
use serde::Serialize;

use super::super::exit::{Exit, Failure};
use super::super::output::say;
use super::{SpoolLocation, open_failure};
use crate::admin::protocol::MessageState;
use crate::envelope::{Address, Body, Notify, Recipient, Ret, Submitter};
use crate::log::counted;
use crate::spool::inspect::Inspection;
use crate::spool::{Entry, Fate, Stored, StoredContent};

/// Write every message to a directory.
#[derive(Args)]
pub(in crate::cli) struct Export {
    #[command(flatten)]
    place: SpoolLocation,
    /// The directory to write to: a new one, or an empty one
    #[arg(value_name = "DIR")]
    to: PathBuf,
}

impl Export {
    pub(super) fn run(&self) -> Result<(), Failure> {
        let spool = self.place.directory()?;
        let inspection = Inspection::alone(&spool).map_err(open_failure)?;
        make_directory(&self.to, &spool)?;
        let (mut exported, mut damaged) = (0_u64, 0_u64);
        for entry in inspection.entries() {
            match inspection.read(entry.id) {
                Ok(stored) => {
                    write_message(&self.to, entry, stored).map_err(|e| cannot_write(&self.to, &e))?;
                    exported += 1;
                }
                Err(error) => {
                    eprintln!("nullmta: {}: {error}", entry.id);
                    damaged += 1;
                }
            }
        }
        sync(&self.to).map_err(|e| cannot_write(&self.to, &e))?;
        say!("{} in {}", counted(exported, "message"), self.to.display())?;
        let ranges: usize = inspection.segments().iter().map(|segment| segment.damage.len()).sum();
        match left_out(damaged, ranges) {
            None => Ok(()),
            Some(what) => Err(Failure::new(Exit::Failed, what)),
        }
    }
}

/// Returns a message about what could not be written; `None` if nothing is missing.
fn left_out(messages: u64, ranges: usize) -> Option<String> {
    let ranges = (ranges > 0).then(|| {
        let ranges = counted(ranges, "damaged range");
        format!("what was in {ranges} of the log is not exported: see nullmta spool verify")
    });
    let messages = (messages > 0).then(|| counted(messages, "damaged message") + " left out");
    let both: Vec<String> = messages.into_iter().chain(ranges).collect();
    (!both.is_empty()).then(|| both.join("; "))
}

/// Makes sure that `to` is an empty directory outside the spool, and creates it if needed.
fn make_directory(to: &Path, spool: &Path) -> Result<(), Failure> {
    let real = |path: &Path| fs::canonicalize(path).map_err(|e| cannot_write(path, &e));
    let spool = real(spool)?;
    let parent = to.parent().filter(|parent| !parent.as_os_str().is_empty());
    if real(parent.unwrap_or(Path::new(".")))?.starts_with(&spool) {
        return Err(refused(to, "is within the spool"));
    }
    match DirBuilder::new().mode(0o700).create(to) {
        Err(e) if e.kind() == ErrorKind::AlreadyExists => {}
        other => other.map_err(|e| cannot_write(to, &e))?,
    }
    // It was there, and may be a link.
    if real(to)?.starts_with(&spool) {
        return Err(refused(to, "is within the spool"));
    }
    match fs::read_dir(to).map_err(|e| cannot_write(to, &e))?.next() {
        None => Ok(()),
        Some(_) => Err(refused(to, "is not empty")),
    }
}

fn refused(to: &Path, why: &str) -> Failure {
    Failure::new(Exit::CantCreate, format!("{} {why}: name a new directory", to.display()))
}

fn cannot_write(to: &Path, error: &io::Error) -> Failure {
    Failure::new(Exit::CantCreate, format!("cannot export to {}: {error}", to.display()))
}

fn write_message(to: &Path, entry: &Entry, stored: Stored) -> io::Result<()> {
    let envelope = serde_json::to_vec_pretty(&EnvelopeJson::of(entry, &stored))?;
    let mut eml = create(&to.join(format!("{}.eml", entry.id)))?;
    match stored.content {
        StoredContent::Memory(content) => eml.write_all(content.as_ref())?,
        StoredContent::File { mut file, .. } => drop(io::copy(&mut file, &mut eml)?),
    }
    eml.sync_all()?;
    let mut json = create(&to.join(format!("{}.json", entry.id)))?;
    json.write_all(&envelope)?;
    json.write_all(b"\n")?;
    json.sync_all()
}

fn create(path: &Path) -> io::Result<File> {
    OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)
}

/// Syncs the directory, and the one that it is in, so that the names of the files are on stable storage.
fn sync(to: &Path) -> io::Result<()> {
    File::open(to)?.sync_all()?;
    match to.parent().filter(|parent| !parent.as_os_str().is_empty()) {
        Some(parent) => File::open(parent)?.sync_all(),
        None => File::open(".")?.sync_all(),
    }
}

/// The content of `<id>.json`.
#[derive(Serialize)]
#[serde(rename_all = "kebab-case")]
struct EnvelopeJson {
    id: String,
    /// The state of the message; never `active`, since no daemon runs.
    state: MessageState,
    /// The time at which it was accepted (RFC 3339).
    arrived: String,
    /// The submitter: `uid 1000`, `loopback` or `nullmta`.
    submitter: String,
    /// The reverse-path; empty for `<>`.
    reverse_path: String,
    recipients: Vec<RecipientJson>,
    /// RET: `full` or `headers`, if it was given.
    ret: Option<&'static str>,
    envid: Option<String>,
    /// BODY: `7bit` or `8bitmime`.
    body: &'static str,
    smtputf8: bool,
    /// The size of the content in octets.
    size: u64,
    /// True if the relay may have the message already.
    possible_duplicate: bool,
}

#[derive(Serialize)]
#[serde(rename_all = "kebab-case")]
struct RecipientJson {
    address: String,
    /// The address that the submitter gave, if it differs.
    original: Option<String>,
    /// The state of the recipient: `open`, `sent`, `bounced` or `dead`.
    fate: &'static str,
    /// The last reply about the recipient, if it is open or dead.
    last_reply: Option<String>,
    /// NOTIFY as in RCPT; empty if it was not given.
    notify: Vec<&'static str>,
    orcpt: Option<String>,
}

impl EnvelopeJson {
    fn of(entry: &Entry, stored: &Stored) -> Self {
        let envelope = &stored.envelope;
        let recipients = envelope.recipients.iter().zip(stored.ledger.fates()).enumerate();
        EnvelopeJson {
            id: entry.id.to_string(),
            state: entry.into(),
            arrived: stored.arrived.to_string(),
            submitter: match stored.submitter {
                Submitter::Uid(uid) => format!("uid {uid}"),
                Submitter::LoopbackUid(uid) => format!("loopback uid {uid}"),
                Submitter::Loopback => "loopback".into(),
                Submitter::Ourselves => "nullmta".into(),
            },
            reverse_path: envelope.reverse_path.to_string(),
            recipients: recipients
                .map(|(index, (recipient, fate))| {
                    RecipientJson::of(recipient, *fate, stored.replies.of(index))
                })
                .collect(),
            ret: envelope.ret.map(|ret| match ret {
                Ret::Full => "full",
                Ret::Headers => "headers",
            }),
            envid: envelope.envid.as_deref().map(str::to_owned),
            body: match envelope.body {
                Body::SevenBit => "7bit",
                Body::EightBitMime => "8bitmime",
            },
            smtputf8: envelope.smtputf8,
            size: stored.content_len,
            possible_duplicate: entry.marks.may_have_arrived(),
        }
    }
}

impl RecipientJson {
    fn of(recipient: &Recipient, fate: Fate, last_reply: Option<&str>) -> Self {
        RecipientJson {
            address: recipient.address.to_string(),
            original: recipient.original.as_ref().map(Address::to_string),
            fate: match fate {
                Fate::Open => "open",
                Fate::Sent => "sent",
                Fate::Bounced => "bounced",
                Fate::Dead => "dead",
            },
            last_reply: last_reply.map(str::to_owned),
            notify: notify(recipient.notify),
            orcpt: recipient.orcpt.as_deref().map(str::to_owned),
        }
    }
}

fn notify(notify: Notify) -> Vec<&'static str> {
    match notify {
        Notify::Unstated => vec![],
        Notify::Never => vec!["never"],
        Notify::On { success, failure, delay } => {
            let asked = [(success, "success"), (failure, "failure"), (delay, "delay")];
            asked.into_iter().filter(|(on, _)| *on).map(|(_, word)| word).collect()
        }
    }
}
