//! The errors of command lines, and the replies to them.
//!
//! Promise: a reply repeats nothing that the client wrote.
//!
//! Not here: parsing a line (`command.rs`, `parameters.rs`).
//!
//! RFC 5321 4.2.4 and 4.3.2, RFC 3463.

use super::reply::Reply;
use crate::envelope::BadAddress;
use crate::status::Status;

/// The reason why a line is not a valid command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BadCommand {
    /// It does not begin with a verb of SMTP.
    Unknown,
    /// It is HTTP, or a header field: from a browser that was tricked into connecting, or from a client that sends
    /// content although DATA was refused.
    OtherProtocol,
    /// It contains octets that are not UTF-8.
    NotUtf8,
    /// The command has too many or too few arguments; holds its syntax.
    BadArguments(&'static str),
    /// BDAT has no valid count, so the end of the chunk is not known.
    BadChunk,
    /// The path of MAIL is not valid.
    BadReversePath(BadAddress),
    /// The path of RCPT is not valid.
    BadRecipient(BadAddress),
    /// An address is in UTF-8, but MAIL had no SMTPUTF8.
    NeedsSmtputf8,
    /// A parameter belongs to no extension that EHLO announces.
    UnknownParameter,
    /// The value of the parameter is malformed.
    BadParameter(&'static str),
    /// The parameter occurs twice.
    DuplicateParameter(&'static str),
}

impl BadCommand {
    /// Returns the reply to the client.
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

    /// Returns whether the session must end: the next octets may be content, which would be taken for commands.
    pub fn is_hopeless(self) -> bool {
        matches!(self, BadCommand::OtherProtocol | BadCommand::BadChunk)
    }
}
