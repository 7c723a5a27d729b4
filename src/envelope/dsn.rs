//! The wishes of the submitter about delivery status notifications (DSN), from the MAIL and RCPT commands.
//!
//! Not here: reading and writing the parameters (`smtp/parameters.rs`), making a DSN (`message/dsn/`).
//!
//! RFC 3461.

/// The events about a recipient for which the submitter wants a DSN (RFC 3461 4.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Notify {
    /// No NOTIFY parameter: failures are reported, and delays if this host is configured to do so.
    Unstated,
    /// `NOTIFY=NEVER`.
    Never,
    /// Some of `SUCCESS,FAILURE,DELAY`; at least one is true.
    On {
        /// True if a DSN is wanted when the message was delivered or relayed.
        success: bool,
        /// True if a DSN is wanted when delivery failed.
        failure: bool,
        /// True if a DSN is wanted when delivery is late.
        delay: bool,
    },
}

impl Notify {
    /// Returns whether a failure for this recipient is reported.
    pub fn wants_failure(self) -> bool {
        match self {
            Notify::Unstated => true,
            Notify::Never => false,
            Notify::On { failure, .. } => failure,
        }
    }

    /// Returns whether a delay for this recipient is reported.
    pub fn wants_delay(self) -> bool {
        match self {
            Notify::Unstated => true,
            Notify::Never => false,
            Notify::On { delay, .. } => delay,
        }
    }

    /// Returns whether the submitter asked for a report of success.
    pub fn wants_success(self) -> bool {
        matches!(self, Notify::On { success: true, .. })
    }
}

/// RET: how much of the message a failure DSN returns (RFC 3461 4.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ret {
    /// `RET=FULL`.
    Full,
    /// `RET=HDRS`.
    Headers,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn notify_defaults_are_those_of_rfc_3461() {
        let unstated = Notify::Unstated;
        assert!(unstated.wants_failure() && unstated.wants_delay() && !unstated.wants_success());
        assert!(!Notify::Never.wants_failure() && !Notify::Never.wants_delay());
        let success = Notify::On { success: true, failure: false, delay: false };
        assert!(success.wants_success() && !success.wants_failure());
    }
}
