//! The names of what is in the spool directory.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use crate::queue_id::QueueId;

/// The highest number of a segment that a start goes on from. It leaves as many for what one run writes as came
/// before; no spool comes near it.
pub(super) const HIGHEST_SEGMENT: u32 = u32::MAX / 2;

/// Octets `start..end` of a segment that is damaged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct DamagedRange {
    pub segment: u32,
    pub start: u32,
    pub end: u32,
}

/// The names of all that a spool has in its directory. Whatever else is there, such as `lost+found`, is left alone.
pub const PARTS: [&str; 9] =
    ["log", "large", "corrupt", "drop", "lock", "relays", "rates", "standing-orders", "log-key"];

/// The paths of one spool.
#[derive(Clone, Debug)]
pub(super) struct SpoolPaths {
    root: PathBuf,
    /// The directory `log/`, which holds the segments. The name is part of the format on the disk, so it stays as it was
    /// when the segments together were called a log.
    pub segments: PathBuf,
    pub large: PathBuf,
    pub corrupt: PathBuf,
    pub drop: PathBuf,
    pub lock: PathBuf,
    pub relays: PathBuf,
    pub rates: PathBuf,
    pub standing_orders: PathBuf,
    pub log_key: PathBuf,
}

impl SpoolPaths {
    pub fn under(root: &Path) -> Self {
        let [segments, large, corrupt, drop, lock, relays, rates, standing_orders, log_key] =
            PARTS.map(|name| root.join(name));
        SpoolPaths {
            root: root.into(),
            segments,
            large,
            corrupt,
            drop,
            lock,
            relays,
            rates,
            standing_orders,
            log_key,
        }
    }

    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Returns every directory with its mode. The root lets others pass to `drop/`, which takes files from
    /// everyone and shows them to no one but the daemon: by its group, where it has no privileges.
    pub fn directories(&self) -> [(&Path, u32); 5] {
        [
            (&self.root, 0o711),
            (&self.segments, 0o700),
            (&self.large, 0o700),
            (&self.corrupt, 0o700),
            (&self.drop, 0o3733),
        ]
    }

    pub fn segment(&self, sequence: u32) -> PathBuf {
        self.segments.join(format!("{sequence:08X}.seg"))
    }

    pub fn large(&self, id: QueueId) -> PathBuf {
        self.large.join(id.to_string())
    }

    /// Returns the path under which the damaged octets of a segment are kept that have this checksum.
    pub fn damaged_range(&self, range: DamagedRange, sum: u32) -> PathBuf {
        let DamagedRange { segment, start, end } = range;
        self.corrupt.join(format!("{segment:08X}-{start:08X}-{end:08X}-{sum:08X}"))
    }
}

/// Returns the sequence number in the name of a segment; `None` for any other name.
pub(super) fn segment_sequence(name: &OsStr) -> Option<u32> {
    let digits = name.to_str()?.strip_suffix(".seg")?;
    let sequence = u32::from_str_radix(digits, 16).ok()?;
    (sequence != 0 && digits == format!("{sequence:08X}")).then_some(sequence)
}

/// Returns the queue id in the name of a large file; `None` for any other name.
pub(super) fn large_id(name: &OsStr) -> Option<QueueId> {
    name.to_str()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn segments_are_named_in_one_way_only() {
        let paths = SpoolPaths::under(Path::new("/spool"));
        assert_eq!(paths.segment(0x1A), Path::new("/spool/log/0000001A.seg"));
        let cases = [
            ("0000001A.seg", Some(0x1A)),
            ("FFFFFFFF.seg", Some(u32::MAX)),
            ("0000001a.seg", None),
            ("1A.seg", None),
            ("+000001A.seg", None),
            ("00000000.seg", None),
            ("0000001A.seg~", None),
            ("0000001A", None),
        ];
        for (name, sequence) in cases {
            assert_eq!(segment_sequence(OsStr::new(name)), sequence, "{name}");
        }
    }
}
