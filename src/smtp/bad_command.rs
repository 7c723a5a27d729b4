//! What is wrong with a line that is no command, and the reply to it.
//!
//! Promise: nothing of what the client wrote is repeated.
//!
//! Not here: how a line is read (`command.rs`, `parameters.rs`).
//!
//! RFC 5321 4.2.4 and 4.3.2, RFC 3463.

use super::reply::Reply;
use crate::envelope::BadAddress;
use crate::status::Status;

/// Why a line is no command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BadCommand {
    /// Not a verb of SMTP.
    Unknown,
    /// HTTP, or a message's header field: a browser made to talk to us, or a client that sends
    /// content after DATA was refused.
    OtherProtocol,
    /// Octets that are no UTF-8.
    NotUtf8,
    /// Arguments that the command does not have, or lacks: how it is written.
    BadArguments(&'static str),
    /// BDAT without a count that can be read: where the chunk ends is not known.
    BadChunk,
    /// The path of MAIL.
    BadReversePath(BadAddress),
    /// The path of RCPT.
    BadRecipient(BadAddress),
    /// A UTF-8 address without SMTPUTF8 on MAIL.
    NeedsSmtputf8,
    /// A parameter of no extension that EHLO announces.
    UnknownParameter,
    /// The parameter's value is malformed.
    BadParameter(&'static str),
    /// The parameter stands twice.
    DuplicateParameter(&'static str),
}

impl BadCommand {
    /// What the client is told.
    pub fn reply(self) -> Reply {
        let (code, subject, detail, text) = match self {
            BadCommand::Unknown => (500, 5, 1, "command not recognized".to_owned()),
            BadCommand::OtherProtocol => (554, 5, 1, "this is SMTP, and that was not".to_owned()),
            BadCommand::NotUtf8 => (501, 5, 2, "command line is not UTF-8".to_owned()),
            BadCommand::BadArguments(usage) => (501, 5, 4, format!("syntax: {usage}")),
            BadCommand::BadChunk => (501, 5, 4, "syntax: BDAT octets [LAST]".to_owned()),
            BadCommand::BadReversePath(why) => (501, 1, 7, why.to_string()),
            BadCommand::BadRecipient(why) => (501, 1, 3, why.to_string()),
            // RFC 6531 3.5.
            BadCommand::NeedsSmtputf8 => (553, 6, 7, "address needs SMTPUTF8 on MAIL".to_owned()),
            BadCommand::UnknownParameter => (555, 5, 4, "parameter not recognized".to_owned()),
            BadCommand::BadParameter(keyword) => (501, 5, 4, format!("malformed {keyword} parameter")),
            BadCommand::DuplicateParameter(keyword) => {
                (501, 5, 4, format!("{keyword} parameter given twice"))
            }
        };
        Reply::new(code, Status::permanent(subject, detail), text)
    }

    /// Whether the session has to end: what follows may be content that would be taken for commands.
    pub fn is_hopeless(self) -> bool {
        matches!(self, BadCommand::OtherProtocol | BadCommand::BadChunk)
    }
}
