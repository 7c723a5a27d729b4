//! The senders from whom a sink takes mail.
//!
//! Promises: with no verified sender named, everybody is one; the null reverse-path always is.

use super::fault::{FaultEffect, SinkPhase, parse_effect};

/// The senders who are verified, and what the others meet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SenderRule {
    /// The addresses, or the domains with an `@` in front.
    pub(super) verified: Vec<String>,
    /// The phase at which the others are refused.
    pub(super) phase: SinkPhase,
    /// The effect on them, as in a fault, with `{sender}` for the reverse-path and `{domain}` for its domain.
    pub(super) effect: &'static str,
}

impl Default for SenderRule {
    fn default() -> Self {
        let effect = "550 5.7.1 {sender} is not a verified sender";
        SenderRule { verified: Vec::new(), phase: SinkPhase::Mail, effect }
    }
}

impl SenderRule {
    /// Returns the same rule with these senders: addresses, or domains with an `@` in front.
    pub fn verifying(self, verified: Vec<String>) -> Self {
        SenderRule { verified, ..self }
    }

    /// Returns what `sender` meets at `phase`; `None` if nothing.
    pub(super) fn strike(&self, phase: SinkPhase, sender: &str) -> Option<FaultEffect> {
        let is_refused = phase == self.phase && !sender.is_empty() && !self.is_verified(sender);
        is_refused.then(|| self.effect(sender)).flatten()
    }

    fn is_verified(&self, sender: &str) -> bool {
        let is_it = |verified: &String| match verified.strip_prefix('@') {
            Some(domain) => domain_of(sender).eq_ignore_ascii_case(domain),
            None => sender.eq_ignore_ascii_case(verified),
        };
        self.verified.is_empty() || self.verified.iter().any(is_it)
    }

    /// Returns the effect on `sender`.
    pub(super) fn effect(&self, sender: &str) -> Option<FaultEffect> {
        // Within `raw`, a backslash would begin an escape.
        let sender = sender.replace('\\', "?");
        let text = self.effect.replace("{sender}", &sender).replace("{domain}", domain_of(&sender));
        parse_effect(&text).ok().filter(|effect| effect.is_possible_at(self.phase))
    }
}

fn domain_of(address: &str) -> &str {
    address.rsplit_once('@').map_or("", |(_, domain)| domain)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_those_who_are_not_verified_are_refused() {
        let verified = vec!["ann@example.org".into(), "@example.net".into()];
        let rule = SenderRule { verified, ..SenderRule::default() };
        for (sender, refused) in [
            ("ANN@example.org", false),
            ("anyone@Example.net", false),
            ("", false),
            ("bob@example.org", true),
            ("ann@sub.example.net", true),
            (r#""a\b"@example.org"#, true),
        ] {
            let struck = rule.strike(SinkPhase::Mail, sender);
            let expected =
                refused.then(|| format!("550 5.7.1 {} is not a verified sender", sender.replace('\\', "?")));
            assert_eq!(struck.map(|effect| effect.to_string()), expected, "{sender}");
            assert_eq!(rule.strike(SinkPhase::Dot, sender), None);
        }
        assert_eq!(SenderRule::default().strike(SinkPhase::Mail, "bob@example.org"), None);
    }
}
