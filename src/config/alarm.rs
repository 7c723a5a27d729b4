//! `[[alarm]]` and `[heartbeat]`: of what somebody is told who does not look, and how.
//!
//! Promises: an alarm is told by a command or by a post, not by both; without either, only the journal and `status` have it. Each
//! condition stands once. Those of [`usual`] are watched even if no `[[alarm]]` is about them.
//!
//! Not here: the form of a condition (`alarm_setting.rs`), when one is met (`alarm.rs` of the crate), who is told and how
//! (`admin/`).

use std::path::{Path, PathBuf};
use std::time::Duration;

use super::error::{ConfigFault, KeyLocation};
use super::file::{AlarmTable, HeartbeatTable};
use super::secret_source::check_program;
use super::setting::{AbsolutePath, SecretPath};
use super::table::{Key, Located, given, location_of};
use super::web_address::WebAddress;
use super::{Authorities, SecretFile, SecretKind};
use crate::alarm::{AlarmCondition, AlarmTest};

/// The usual time between two heartbeats.
const EVERY: Duration = Duration::from_secs(300);
/// The shortest one, so that no service is flooded.
const LEAST_EVERY: Duration = Duration::from_secs(10);

/// One alarm.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AlarmConfig {
    /// When it is given.
    pub condition: AlarmCondition,
    /// Who is told, beside the journal; `None` for nobody.
    pub told: Option<AlarmTeller>,
    /// The time after which it is told again while it goes on; `None` for never.
    pub again_after: Option<Duration>,
}

/// How somebody is told of an alarm.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AlarmTeller {
    /// `command`: a program by its absolute path, and its arguments.
    Command(Vec<String>),
    /// `post`: a page that takes JSON.
    Post(WebPost),
}

/// A page of a server that takes a POST.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WebPost {
    /// Its address.
    pub url: WebAddress,
    /// `header-file`: a file with one line `Name: value`, a field that is sent along, such as a token.
    pub header_file: Option<PathBuf>,
    /// `ca-file`: the authorities by which its certificate is verified, in place of those of the system.
    pub ca_file: Option<PathBuf>,
}

/// `[heartbeat]`: a page that hears that mail gets through, for as long as it does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HeartbeatConfig {
    /// The page.
    pub post: WebPost,
    /// The time between two posts.
    pub every: Duration,
}

/// Returns the alarms in `tables`, and behind them the usual ones that none of them is about.
pub(super) fn alarms(tables: &[Located<AlarmTable>]) -> Result<Vec<AlarmConfig>, ConfigFault> {
    let mut alarms: Vec<AlarmConfig> = Vec::new();
    for Located { location, value: table } in tables {
        let alarm = alarm(table, location)?;
        if alarms.iter().any(|other| other.condition == alarm.condition) {
            let at = location_of(&table.when).unwrap_or(location);
            return Err(
                at.expected("each condition once", format!("another alarm for \"{}\"", alarm.condition))
            );
        }
        alarms.push(alarm);
    }
    let is_new = |usual: &AlarmConfig| {
        !alarms.iter().any(|alarm| alarm.condition.test.is_of_kind(&usual.condition.test))
    };
    let usual: Vec<AlarmConfig> = usual().into_iter().filter(is_new).collect();
    Ok(alarms.into_iter().chain(usual).collect())
}

/// Returns the alarms that are given without any configuration, to the journal and `status` alone.
fn usual() -> [AlarmConfig; 3] {
    let minutes = |minutes: u64| Duration::from_secs(60 * minutes);
    let conditions = [
        ("oldest > 30m", AlarmTest::OldestOver(minutes(30))),
        ("relay paused > 10m", AlarmTest::RelayPausedOver(minutes(10))),
        ("cannot record", AlarmTest::CannotRecord),
    ];
    conditions.map(|(text, test)| AlarmConfig {
        condition: AlarmCondition { text: text.into(), test },
        told: None,
        again_after: None,
    })
}

fn alarm(table: &AlarmTable, location: &KeyLocation) -> Result<AlarmConfig, ConfigFault> {
    let Some(condition) = given(&table.when) else {
        return Err(location.expected("when, its condition, such as \"oldest > 30m\"", "none"));
    };
    let told = match (&table.command, &table.post) {
        (Some(command), None) => {
            refuse_without_post(table)?;
            Some(AlarmTeller::Command(command.value.0.clone()))
        }
        (None, Some(post)) => {
            Some(AlarmTeller::Post(web_post(&post.value, &table.header_file, &table.ca_file)))
        }
        (None, None) => {
            refuse_without_post(table)?;
            None
        }
        (Some(_), Some(post)) => {
            return Err(post.location.expected("one of command and post in an alarm", "both"));
        }
    };
    let again_after = given(&table.again_after).map(|lapse| lapse.0);
    Ok(AlarmConfig { condition: condition.clone(), told, again_after })
}

/// Refuses the keys of a post where there is none.
fn refuse_without_post(table: &AlarmTable) -> Result<(), ConfigFault> {
    match location_of(&table.header_file).or(location_of(&table.ca_file)) {
        Some(location) => Err(location.expected("post beside it", "none")),
        None => Ok(()),
    }
}

fn web_post(url: &WebAddress, header_file: &Key<SecretPath>, ca_file: &Key<AbsolutePath>) -> WebPost {
    WebPost {
        url: url.clone(),
        header_file: given(header_file).map(|path| path.0.clone()),
        ca_file: given(ca_file).map(|path| path.0.clone()),
    }
}

/// Returns the heartbeat in `table`, if there is one.
pub(super) fn heartbeat(table: &HeartbeatTable) -> Result<Option<HeartbeatConfig>, ConfigFault> {
    let Some(url) = given(&table.post) else {
        let others =
            [location_of(&table.every), location_of(&table.header_file), location_of(&table.ca_file)];
        return match others.into_iter().flatten().next() {
            Some(location) => Err(location.expected("heartbeat.post beside it", "none")),
            None => Ok(None),
        };
    };
    let every = given(&table.every).map_or(EVERY, |lapse| lapse.0);
    if let Some(location) = location_of(&table.every).filter(|_| every < LEAST_EVERY) {
        return Err(location.expected("a time of 10 s or more", "a shorter one"));
    }
    let post = web_post(url, &table.header_file, &table.ca_file);
    Ok(Some(HeartbeatConfig { post, every }))
}

impl WebPost {
    /// Returns a warning for each of its files that cannot be used. Blocks on the disk.
    pub(super) fn warnings(&self, table: &str) -> Vec<String> {
        let header = self.header_file.as_deref().and_then(header_fault);
        let header =
            header.map(|error| format!("{table}header-file: {error}; until that is mended, nobody is told"));
        let read = |path: &Path| Authorities::read("ca-file", path).err();
        let authorities = self.ca_file.as_deref().and_then(read);
        let authorities = authorities
            .map(|error| format!("{table}ca-file: {}; until that is mended, nobody is told", error.words()));
        header.into_iter().chain(authorities).collect()
    }
}

/// Returns a warning for each command that cannot be run. Blocks on the disk.
pub(super) fn command_warnings(alarms: &[AlarmConfig]) -> Vec<String> {
    let fault = |(place, alarm): (usize, &AlarmConfig)| match &alarm.told {
        Some(AlarmTeller::Command(words)) => {
            let error = check_program(words.first().map_or("", String::as_str)).err()?;
            Some(format!("alarm[{}].command: {error}; until that is mended, nobody is told", place + 1))
        }
        _ => None,
    };
    alarms.iter().enumerate().filter_map(fault).collect()
}

fn header_fault(path: &Path) -> Option<String> {
    SecretFile::at(path, SecretKind::HeaderField).read().err().map(|error| error.to_string())
}
