//! A program with all that it has started, as one group that can be ended.

use rustix::process::{Pid, Signal, kill_process_group};
use tokio::process::Child;

/// The process group of a program that was started as the first of a group of its own. It is killed when this is dropped,
/// unless it is left.
pub struct ProgramGroup(Option<Pid>);

impl ProgramGroup {
    /// Returns the group of `child`.
    pub fn of(child: &Child) -> Self {
        ProgramGroup(child.id().and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw))
    }

    /// Leaves the group as it is: the program has ended, and what it has started may go on.
    pub fn leave(mut self) {
        self.0 = None;
    }
}

impl Drop for ProgramGroup {
    fn drop(&mut self) {
        if let Some(group) = self.0 {
            // It may have ended by itself meanwhile.
            let _ = kill_process_group(group, Signal::KILL);
        }
    }
}
