//! What to do about trouble of a relay, in words that anybody on this host may read.
//!
//! Promise: no name, no address and no words of the relay are in it. What is known of the single case, with the keys and files
//! that are to be changed, stands in the trouble itself, which is told to those who run the daemon.
//!
//! Pure. Not here: what to do about a refused login in particular (`login_advice.rs`).

use super::reply_meaning::WaitClass;
use super::trouble::{Cause, Phase, Trouble};

impl Trouble {
    /// Returns what to do about it.
    pub fn advice_for_anybody(&self) -> &'static str {
        match self.cause.of_host() {
            Cause::Waits { reason, .. } => of_class(reason.class),
            Cause::BeforeRestart { class: Some(class), .. } => of_class(*class),
            Cause::NoSecret(_) | Cause::Misfit(_) => {
                "mend the settings of the relay: nullmta check and nullmta probe say which"
            }
            _ => of_phase(self.phase),
        }
    }
}

fn of_class(class: WaitClass) -> &'static str {
    match class {
        WaitClass::Throttle(_) => {
            "nothing: the relay wants mail more slowly, and gets it so; if it lasts, set relay.rate or ask its provider for more"
        }
        WaitClass::Quota => {
            "nothing, if it is rare: mail goes on when the provider allows more; else ask the provider for a higher limit, and \
             see with nullmta queue shape who sends so much"
        }
        WaitClass::Configuration(_) => {
            "somebody must act at the provider or in the configuration: nullmta status says what, to those who run the daemon"
        }
    }
}

fn of_phase(phase: Phase) -> &'static str {
    match phase {
        Phase::Resolve => {
            "check the name in relayhost and the name servers of this host: nullmta probe shows the lookup"
        }
        Phase::Connect => {
            "check the host and the port in relayhost, and whether a firewall or the network of this host lets it out; \
             nullmta probe tries each address"
        }
        Phase::Greeting | Phase::Ehlo => {
            "the relay answers and does not want this host: its words are in the log; ask whoever runs it"
        }
        Phase::StartTls | Phase::Tls => {
            "no secret and no mail was sent; nullmta probe shows the certificate, and what to set in [tls]"
        }
        Phase::Auth => "check user name and secret in [auth]: nullmta probe tries them, and sends nothing",
        Phase::Mail | Phase::Rcpt | Phase::Data | Phase::Content | Phase::Dot | Phase::Rset | Phase::Quit => {
            "the relay broke off while it took mail, and is tried again; if it lasts, its words are in the log"
        }
    }
}
