//! The part of a relay that does not work, by its trouble, and the pauses where each try costs something.
//!
//! Promises:
//! 1. After a refused login the pauses are 1, 2, 4 … 30 minutes, since each try counts against the account. After one that is
//!    refused for the moment (454), or has no answer, none is longer than 5 minutes.
//! 2. For what a reply says of a rate, a quota or the configuration, a pause lasts as long as that says. For a quota without a
//!    stated end it is 1, 2, 4 … 25 hours, since there are blocks that each try prolongs.
//!
//! Pure. Not here: which replies are trouble (`verdict.rs`), the pauses of a relay as a whole and of all other trouble
//! (`queue/breaker.rs`), those of one host of a list (`host_rests.rs`).

use std::time::Duration;

use super::reply_meaning::{WaitClass, WaitReason};
use super::trouble::{Cause, Phase, Trouble};

/// The first pause after trouble.
pub const FIRST_PAUSE: Duration = Duration::from_secs(1);
/// The longest pause where a try costs nothing.
pub const LONGEST_PAUSE: Duration = Duration::from_secs(300);
/// Trouble that comes this long after the end of the last pause belongs to another outage.
pub const FORGOTTEN_AFTER: Duration = Duration::from_secs(600);
/// The first pause after a refused login. Each try counts against the account, and providers lock it after five to ten
/// in a quarter of an hour: these pauses make four in the first quarter, and two in any later hour.
const FIRST_LOGIN_PAUSE: Duration = Duration::from_secs(60);
const LONGEST_LOGIN_PAUSE: Duration = Duration::from_secs(1800);
/// The first pause for a quota that is used up, where nobody says when that ends.
const QUOTA_PAUSE: Duration = Duration::from_secs(60 * 60);
/// The longest pause of those that double while a reply stays the same: some blocks end a day after the last try.
const LONGEST_DOUBLED: Duration = Duration::from_secs(25 * 60 * 60);

/// The part of the relay that does not work.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RelayFault {
    /// The relay has no address, or nothing answers at any of them.
    Unreachable,
    /// Something answers, but no session can be opened with it.
    Opening,
    /// The login is refused.
    Login {
        /// True if it is refused by a 5xx reply, or by our own check of the proof of the relay.
        for_good: bool,
    },
    /// The login has no answer: the relay closes the connection, is silent, or says 421. Some relays refuse a password
    /// so.
    LoginUnanswered,
    /// A connection can be opened, but transactions fail.
    Transaction,
    /// We are too fast for the relay.
    Throttled {
        /// The time for which nothing is to be sent, if the relay said one.
        pause: Option<Duration>,
    },
    /// What we may send is used up.
    Quota {
        /// The time until it may not be any more.
        pause: WaitPause,
        /// True if only words say so that any relay might use otherwise.
        is_guess: bool,
    },
    /// An operator must act.
    Configuration {
        /// The time until the next try; `None` if it is that after a refused login.
        pause: Option<WaitPause>,
        /// True if there is no session because of it, as a rule for the login.
        is_login: bool,
        /// True if only words say so that any relay might use otherwise.
        is_guess: bool,
    },
    /// The transactions of a few messages fail, and no other message has been tried since.
    Suspects,
}

/// The time until a relay is tried again whose reply says for what mail waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WaitPause {
    /// The rule or the reply says so.
    Stated(Duration),
    /// It is this at first, and doubles with each reply of this kind, up to [`LONGEST_DOUBLED`].
    Doubling(Duration),
}

impl RelayFault {
    /// Returns the part of the relay that does not work, by `trouble`.
    pub fn of(trouble: &Trouble) -> RelayFault {
        match &trouble.cause {
            Cause::LoginRefused { for_good, .. } => RelayFault::Login { for_good: *for_good },
            Cause::Waits { reason, .. } => RelayFault::of_wait(reason, trouble.phase),
            Cause::NoSecret(_) => RelayFault::Configuration { pause: None, is_login: true, is_guess: false },
            // The hosts that are tried meanwhile have the usual pauses.
            Cause::OneHost { others, .. } if *others <= Phase::Connect => RelayFault::Unreachable,
            Cause::OneHost { .. } => RelayFault::Opening,
            // A probe refuses nobody and locks no account, and the relay may be mended at the other end.
            Cause::Misfit(_) => RelayFault::Configuration {
                pause: Some(WaitPause::Stated(LONGEST_PAUSE)),
                is_login: true,
                is_guess: false,
            },
            _ if trouble.phase > Phase::Auth => RelayFault::Transaction,
            _ if trouble.phase <= Phase::Connect => RelayFault::Unreachable,
            Cause::Other(_) => RelayFault::Opening,
            _ if trouble.phase == Phase::Auth => RelayFault::LoginUnanswered,
            _ => RelayFault::Opening,
        }
    }

    fn of_wait(reason: &WaitReason, phase: Phase) -> RelayFault {
        let form = if reason.doubles { WaitPause::Doubling } else { WaitPause::Stated };
        let pause = reason.pause.map(form);
        match reason.class {
            WaitClass::Throttle(_) => RelayFault::Throttled { pause: reason.pause },
            WaitClass::Quota => RelayFault::Quota {
                pause: pause.unwrap_or(WaitPause::Doubling(QUOTA_PAUSE)),
                is_guess: reason.rule.is_guess(),
            },
            // No message was refused at the login.
            WaitClass::Configuration(_) => RelayFault::Configuration {
                pause,
                is_login: phase == Phase::Auth,
                is_guess: reason.rule.is_guess() && phase > Phase::Auth,
            },
        }
    }

    /// Returns whether there is no session because of the login.
    pub fn is_of_login(self) -> bool {
        matches!(
            self,
            RelayFault::Login { .. }
                | RelayFault::LoginUnanswered
                | RelayFault::Configuration { is_login: true, .. }
        )
    }

    /// Returns whether this pauses the relay even while other connections work.
    pub fn is_of_all(self) -> bool {
        matches!(
            self,
            RelayFault::Login { .. }
                | RelayFault::Quota { .. }
                | RelayFault::Configuration { .. }
                | RelayFault::Throttled { pause: Some(_) }
        )
    }

    /// Returns whether a reply says for what the mail waits.
    pub fn is_wait(self) -> bool {
        matches!(
            self,
            RelayFault::Quota { .. } | RelayFault::Configuration { .. } | RelayFault::Throttled { .. }
        )
    }
}

/// The pauses where each try costs something: how many there were in a row.
#[derive(Clone, Copy, Debug, Default)]
pub struct CostlyPauses {
    /// The number of logins in a row that failed.
    failed_logins: u32,
    /// The number of pauses in a row that doubled.
    doubled: u32,
}

impl CostlyPauses {
    /// Returns the length of the pause that begins now for `fault`, and makes the next one longer; `None` if a try costs
    /// nothing.
    pub fn next(&mut self, fault: RelayFault) -> Option<Duration> {
        match fault {
            RelayFault::Quota { pause, .. } | RelayFault::Configuration { pause: Some(pause), .. } => {
                Some(self.wait_pause(pause))
            }
            RelayFault::Throttled { pause } => pause,
            RelayFault::Configuration { pause: None, .. }
            | RelayFault::Login { .. }
            | RelayFault::LoginUnanswered => Some(self.login_pause(fault)),
            RelayFault::Unreachable
            | RelayFault::Opening
            | RelayFault::Transaction
            | RelayFault::Suspects => None,
        }
    }

    fn login_pause(&mut self, fault: RelayFault) -> Duration {
        // The first time, it may be an outage that happens to begin at the login.
        let excused = u32::from(fault == RelayFault::LoginUnanswered);
        let number = self.failed_logins;
        self.failed_logins = number.saturating_add(1);
        let Some(number) = number.checked_sub(excused) else { return FIRST_PAUSE };
        let longest = match fault {
            RelayFault::Login { for_good: true } | RelayFault::Configuration { .. } => LONGEST_LOGIN_PAUSE,
            _ => LONGEST_PAUSE,
        };
        FIRST_LOGIN_PAUSE.saturating_mul(2_u32.saturating_pow(number)).min(longest)
    }

    fn wait_pause(&mut self, pause: WaitPause) -> Duration {
        match pause {
            WaitPause::Stated(pause) => pause,
            WaitPause::Doubling(first) => {
                let times = self.doubled;
                self.doubled = times.saturating_add(1);
                first.saturating_mul(2_u32.saturating_pow(times)).min(LONGEST_DOUBLED)
            }
        }
    }

    /// Takes in that a login has succeeded.
    pub fn logged_in(&mut self) {
        self.failed_logins = 0;
    }

    /// Takes in that a transaction was answered.
    pub fn answered(&mut self) {
        self.doubled = 0;
    }
}
