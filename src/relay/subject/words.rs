//! The subject of a refusal by its words, where its code and status do not say it.
//!
//! Promises: only whole words in their order count. A word that contains an address, a domain or a URL says nothing,
//! since anything may be in there.
//!
//! Two common texts are in no list because they say nothing: "mailbox unavailable" is the text of RFC 5321 for any 550,
//! and OpenSMTPD says "Invalid recipient" where it refuses to relay.
//!
//! Not here: what follows from the words (`subject.rs`).

/// The text of a reply as lower-case words with one space around each.
pub(super) struct Words(String);

impl Words {
    pub(super) fn of(lines: &[String]) -> Words {
        let mut text = String::from(" ");
        for word in lines.iter().flat_map(|line| line.split_whitespace()).filter(|word| !is_name(word)) {
            let word = word.to_lowercase().replace(['\'', '’'], "");
            for part in word.split(|c: char| !c.is_alphanumeric()).filter(|part| !part.is_empty()) {
                text.push_str(part);
                text.push(' ');
            }
        }
        Words(text)
    }

    /// Returns true if the words ask for a login, or refuse to relay. DMARC's "email must be authenticated" does neither.
    pub(super) fn ask_for_login(&self) -> bool {
        self.say(&LOGIN) && !self.say(&["spf", "dkim", "dmarc"])
    }

    /// Returns true if the words find fault with the sender, or with the name that we gave in EHLO.
    pub(super) fn blame_sender(&self) -> bool {
        self.say(&SENDER)
    }

    /// Returns true if the words say that there is no such mailbox, or that it cannot take anything.
    pub(super) fn blame_recipient(&self) -> bool {
        self.say(&RECIPIENT)
    }

    /// Returns true if the words find fault with the account that sends, or speak of what it may send, or of a policy.
    pub(super) fn blame_account(&self) -> bool {
        self.surely_blame_account() || self.say(&MAYBE_ACCOUNT)
    }

    /// Returns true if the words find fault with the account that sends, and cannot be about a recipient's mailbox, as
    /// "account" and "quota" can.
    pub(super) fn surely_blame_account(&self) -> bool {
        self.say(&ACCOUNT)
    }

    /// Returns true if the words say that the message is too large.
    pub(super) fn blame_size(&self) -> bool {
        self.say(&SIZE)
    }

    fn say(&self, phrases: &[&str]) -> bool {
        phrases.iter().any(|phrase| self.0.contains(&format!(" {phrase} ")))
    }
}

/// Returns true if the word contains an address, a domain, a URL or a number with dots.
fn is_name(word: &str) -> bool {
    let trimmed = word.trim_matches(|c: char| !c.is_alphanumeric());
    word.contains('@') || word.contains("://") || trimmed.contains('.')
}

const LOGIN: [&str; 32] = [
    "not authenticated",
    "authentication required",
    "authentication is required",
    "requires authentication",
    "must authenticate",
    "must be authenticated",
    "authenticate first",
    "please authenticate",
    "need to authenticate",
    "login required",
    "log in first",
    "must login",
    "must log in",
    "not logged in",
    "authentication needed",
    "auth required",
    "relay access denied",
    "relay denied",
    "relaying denied",
    "relaying disallowed",
    "relaying not allowed",
    "relaying prohibited",
    "relaying is denied",
    "relaying is prohibited",
    "relaying is not allowed",
    "relay not permitted",
    "not permitted to relay",
    "not allowed to relay",
    "unable to relay",
    "do not relay",
    // qmail: "that domain isn't in my list of allowed rcpthosts".
    "allowed rcpthosts",
    "list of allowed relay domains",
];

const SENDER: [&str; 9] = [
    "sender",
    "senders",
    "mail from",
    "from address",
    "envelope from",
    "return path",
    "reverse path",
    "helo",
    "ehlo",
];

const RECIPIENT: [&str; 40] = [
    "no such user",
    "no such recipient",
    "no such mailbox",
    "no such address",
    "no such domain",
    "no such local user",
    "no mailbox here by that name",
    "user unknown",
    "unknown user",
    "unknown local user",
    "unknown local part",
    "unknown recipient",
    "recipient unknown",
    "unknown mailbox",
    "mailbox unknown",
    "unknown address",
    "address unknown",
    "user not found",
    "recipient not found",
    "mailbox not found",
    "address not found",
    "user does not exist",
    "user doesnt exist",
    "recipient does not exist",
    "recipient doesnt exist",
    "mailbox does not exist",
    "mailbox doesnt exist",
    "address does not exist",
    "address doesnt exist",
    "not a valid mailbox",
    "not a known user",
    "user not local",
    "unrouteable address",
    "unroutable address",
    "account that you tried to reach",
    "mailbox full",
    "mailbox is full",
    "mailbox disabled",
    "mailbox is disabled",
    "mailbox name invalid",
];

const ACCOUNT: [&str; 19] = [
    "your account",
    "your mailbox",
    "your quota",
    "your domain",
    "your ip",
    "your message",
    "sending",
    "sendas",
    "allowed to send",
    "authorized to send",
    "permitted to send",
    "send as",
    "outgoing",
    "outbound",
    "policy",
    "policies",
    "daily limit",
    "too many messages",
    "rate limit",
];

const MAYBE_ACCOUNT: [&str; 17] = [
    "account",
    "accounts",
    "quota",
    "limit",
    "limits",
    "suspended",
    "blocked",
    "blacklisted",
    "blocklisted",
    "denied",
    "permission",
    "not allowed",
    "not permitted",
    "not authorized",
    "not verified",
    "unauthorized",
    "client host",
];

const SIZE: [&str; 9] = [
    "message size",
    "size limit",
    "size exceeds",
    "maximum size",
    "too large",
    "too big",
    "message too long",
    "message is too long",
    "line too long",
];

#[cfg(test)]
mod tests {
    use super::*;

    fn words(text: &str) -> Words {
        Words::of(&[text.to_owned()])
    }

    #[test]
    fn only_whole_words_outside_of_names_count() {
        assert!(words("<ann@example.net>: Sender-address rejected").blame_sender());
        assert!(words("user doesn't exist.").blame_recipient());
        assert!(words("(RELAY access DENIED)").ask_for_login());
        assert!(!words("<sender@example.net> no").blame_sender());
        assert!(!words("no, see https://policy.example/sender").blame_sender());
        assert!(!words("no: sender.example.net").blame_sender());
        assert!(!words("unauthenticated mail: authentication_requiredness").ask_for_login());
        assert!(!words("must be authenticated (DMARC)").ask_for_login());
    }

    #[test]
    fn texts_that_tell_nothing() {
        for text in ["mailbox unavailable", "Invalid recipient <ann@example.net>", "no", ""] {
            let words = words(text);
            assert!(!words.blame_recipient() && !words.blame_sender() && !words.blame_account(), "{text}");
            assert!(!words.ask_for_login() && !words.blame_size(), "{text}");
        }
    }
}
