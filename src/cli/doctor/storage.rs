//! The spool, record by record, and the room on its disk.

use std::io;

use rustix::fs::{StatVfs, statvfs};
use rustix::process::geteuid;

use super::finding::Finding;
use crate::config::Config;
use crate::log::counted;
use crate::spool::OpenError;
use crate::spool::inspect::{self, SpoolReport};

/// Returns what there is to be said of the spool and of its disk.
pub(super) fn findings(config: &Config) -> Vec<Finding> {
    // A spool that is not there yet will be on the disk of its directory.
    let place = config.spool.ancestors().find(|path| path.exists()).unwrap_or(&config.spool);
    let room = statvfs(place).map_err(io::Error::from);
    vec![spool(config), disk(room, config.queue.min_free_space)]
}

fn spool(config: &Config) -> Finding {
    const CHECK: &str = "spool";
    let shown = config.spool.display();
    match inspect::verify(&config.spool) {
        Ok(report) if report.is_clean() => Finding::ok(
            CHECK,
            format!("{shown}: {}, each of them whole", counted(report.messages, "message")),
        ),
        Ok(report) => {
            Finding::broken(CHECK, damage(&report), "nullmta spool verify shows where; look at the disk")
        }
        Err(OpenError::NoSuchSpool { .. }) => Finding::look(
            CHECK,
            format!("{shown} is not there yet"),
            "the first start of the daemon makes it",
        ),
        Err(error) if !geteuid().is_root() => {
            Finding::look(CHECK, error.to_string(), "run nullmta doctor as root to have it looked at")
        }
        Err(error) => Finding::broken(CHECK, error.to_string(), "nullmta check says what the daemon needs"),
    }
}

fn damage(report: &SpoolReport) -> String {
    let ranges: usize = report.segments.iter().map(|segment| segment.damage.len()).sum();
    format!(
        "{} of {} damaged, {} of the log cannot be read; all that is whole is delivered",
        report.unreadable.len(),
        counted(report.messages, "message"),
        counted(ranges, "part")
    )
}

/// Returns what there is to be said of the `room` on the disk, of which `reserve` octets are to stay free.
fn disk(room: io::Result<StatVfs>, reserve: u64) -> Finding {
    const CHECK: &str = "disk";
    const TO_DO: &str = "make room on the file system of the spool";
    let room = match room {
        Ok(room) => room,
        Err(error) => return Finding::doubt(CHECK, format!("the room for the spool is not known: {error}")),
    };
    let free = room.f_bavail.saturating_mul(room.f_frsize);
    let is_out_of_files = room.f_files > 0 && room.f_favail == 0;
    let words = format!("{} MiB free, of which {} MiB stay free", free >> 20, reserve >> 20);
    match free {
        _ if is_out_of_files => {
            Finding::broken(CHECK, "no file can be made on the disk (inodes): mail is refused", TO_DO)
        }
        free if free <= reserve => Finding::broken(CHECK, format!("{words}: mail is refused"), TO_DO),
        free if free / 2 <= reserve => Finding::look(CHECK, format!("{words}: it is soon full"), TO_DO),
        _ => Finding::ok(CHECK, words),
    }
}

#[cfg(test)]
mod tests {
    use super::super::finding::Health;
    use super::*;

    #[test]
    fn the_room_that_must_stay_free_counts() {
        let room = |blocks, files| StatVfs { f_bavail: blocks, f_frsize: 1 << 20, f_favail: files, ..here() };
        let health = |room| disk(Ok(room), 64 << 20).result;
        assert_eq!(health(room(64, 9)), Health::Broken);
        assert_eq!(health(room(100, 9)), Health::Look);
        assert_eq!(health(room(1000, 9)), Health::Ok);
        assert_eq!(health(StatVfs { f_files: 9, ..room(1000, 0) }), Health::Broken);
        assert_eq!(disk(Err(io::ErrorKind::NotFound.into()), 1).result, Health::Look);
    }

    fn here() -> StatVfs {
        statvfs("/").unwrap()
    }
}
