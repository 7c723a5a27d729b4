//! Tells a program or a page of an alarm, and a page that mail gets through.
//!
//! Promises: a program runs without a shell, with what is told as JSON on its standard input and in its environment; after
//! [`COMMAND_TIME`] it is killed with all that it started. A post goes only to a server whose certificate is verified, or to this
//! host. The files of a post are read each time, so that a new token counts at once.
//!
//! Fails: with a sentence. It repeats nothing that a server said but its status, and one line of a program's error output.
//!
//! Not here: when somebody is told, and how often that is tried (`alarms.rs`).

use std::path::Path;
use std::pin::pin;
use std::process::Stdio;
use std::time::Duration;

use hyper::header::{HeaderName, HeaderValue};
use serde::Serialize;
use tokio::io::{AsyncReadExt, AsyncWriteExt, copy, sink};
use tokio::process::{Child, Command};
use tokio::time::timeout;

use super::alarm_message::AlarmMessage;
use crate::config::{AlarmTeller, Families, SecretFile, SecretKind, WebPost};
use crate::log::Foreign;
use crate::relay::{ProgramGroup, WebClient, WebMessage, WebServer};

/// Time for which a program may run.
const COMMAND_TIME: Duration = Duration::from_secs(30);
/// Time for what is left of its error output when it has ended.
const LAST_WORDS_TIME: Duration = Duration::from_secs(1);
/// The most octets of a program's error output that are kept.
const MAX_COMPLAINT: u64 = 16 << 10;

/// Tells of an alarm.
pub(super) async fn tell(
    teller: &AlarmTeller,
    message: &AlarmMessage,
    families: Families,
) -> Result<(), String> {
    match teller {
        AlarmTeller::Command(words) => run(words, message).await,
        AlarmTeller::Post(post) => send(post, message, families).await,
    }
}

/// Posts `message` as JSON.
pub(super) async fn send(post: &WebPost, message: &impl Serialize, families: Families) -> Result<(), String> {
    let body = serde_json::to_vec(message).map_err(|error| error.to_string())?;
    let files = post.clone();
    let opened = tokio::task::spawn_blocking(move || {
        let field = files.header_file.as_deref().map(field_in).transpose()?;
        let client = WebClient::new(WebServer::Receiver, files.ca_file.as_deref(), families);
        client.map(|(client, _)| (client, field)).map_err(|error| error.to_string())
    });
    let (client, field) = opened.await.map_err(|error| error.to_string())??;
    let message = WebMessage { content_type: "application/json", field, body: &body };
    let reply = client.post(&post.url, message).await.map_err(|why| format!("{}: {why}", post.url.host))?;
    match reply.status {
        200..=299 => Ok(()),
        status => Err(format!("{}: the server answered with HTTP status {status}", post.url.host)),
    }
}

/// Reads the field in the file at `path`. Blocks on the disk.
fn field_in(path: &Path) -> Result<(HeaderName, HeaderValue), String> {
    let secret = SecretFile::at(path, SecretKind::HeaderField).read().map_err(|error| error.to_string())?;
    let field = secret.text().and_then(|text| text.split_once(':')).and_then(|(name, value)| {
        let mut value = HeaderValue::from_str(value.trim()).ok()?;
        value.set_sensitive(true);
        Some((HeaderName::try_from(name.trim()).ok()?, value))
    });
    field.ok_or_else(|| {
        format!("{}: expected one line such as \"Authorization: Bearer TOKEN\"", path.display())
    })
}

/// Runs a program with what is told.
async fn run(words: &[String], message: &AlarmMessage) -> Result<(), String> {
    // The parser refuses an empty list; if there were one, the empty path is not found.
    let program = words.first().map_or("", String::as_str);
    let input = serde_json::to_vec(message).map_err(|error| error.to_string())?;
    let mut command = Command::new(program);
    command
        .args(words.iter().skip(1))
        .envs(message.variables())
        // The program must not report our state to systemd.
        .env_remove("NOTIFY_SOCKET")
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .process_group(0)
        .kill_on_drop(true);
    let mut child = command.spawn().map_err(|error| format!("cannot run {program}: {error}"))?;
    let group = ProgramGroup::of(&child);
    let Ok(ended) = timeout(COMMAND_TIME, end_of(&mut child, &input)).await else {
        return Err(format!("{program} took longer than {} s and was killed", COMMAND_TIME.as_secs()));
    };
    group.leave();
    ended.map_err(|why| format!("{program}: {why}"))
}

/// Writes the input, and waits for the end of a program.
async fn end_of(child: &mut Child, input: &[u8]) -> Result<(), String> {
    let (stdin, stderr) = (child.stdin.take(), child.stderr.take());
    let write = async {
        if let Some(mut stdin) = stdin {
            // A program need not read what it does not want to know.
            let _ = stdin.write_all(input).await;
        }
    };
    let read = async {
        let mut said = Vec::new();
        if let Some(mut stderr) = stderr {
            // What cannot be read is no reason to call it failed.
            let _ = (&mut stderr).take(MAX_COMPLAINT).read_to_end(&mut said).await;
            let _ = copy(&mut stderr, &mut sink()).await;
        }
        said
    };
    let mut dialogue = pin!(async { tokio::join!(write, read).1 });
    let (status, said) = tokio::select! {
        said = &mut dialogue => (child.wait().await, said),
        // What it has left behind may hold its error output open, and is waited for no longer.
        status = child.wait() => (status, timeout(LAST_WORDS_TIME, dialogue).await.unwrap_or_default()),
    };
    let status = status.map_err(|error| error.to_string())?;
    if status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&said);
    let last = said.lines().rfind(|line| !line.trim().is_empty());
    Err(format!(
        "it failed with {status}: {}",
        last.map_or("it said nothing".into(), |line| Foreign(line).to_string())
    ))
}
