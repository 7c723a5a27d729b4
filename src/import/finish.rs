//! The last check of a draft before it is written.
//!
//! Promises: 1. a key that nullmta's own parser refuses is left out, with the message of the parser as the reason;
//! 2. no key, comment or reason contains a secret.
//!
//! Not here: how it is written (`render.rs`).

use std::path::Path;

use super::draft::ConfigDraft;
use super::location::{ImportError, SourceLocation};
use super::render::render;
use crate::config::{Config, Environment};
use crate::secret::Secret;

impl ConfigDraft {
    /// Returns the text of the file. `start` is the location of an error if there is no relayhost.
    pub(super) fn finish(
        mut self,
        origin: &str,
        start: &SourceLocation,
        hostname: &str,
    ) -> Result<String, ImportError> {
        self.keep_what_is_accepted(start, hostname)?;
        self.hide_secrets();
        Ok(render(&self, origin))
    }

    /// Removes the keys that the parser refuses (promise 1).
    fn keep_what_is_accepted(&mut self, start: &SourceLocation, hostname: &str) -> Result<(), ImportError> {
        // Whether a relayhost is valid depends on the mode: they are one question.
        let (base, others): (Vec<_>, Vec<_>) = std::mem::take(&mut self.groups)
            .into_iter()
            .partition(|group| group.iter().any(|key| ["relayhost", "tls.mode"].contains(&key.name)));
        self.groups = base;
        let relayhost = self.groups.iter().flatten().find(|key| key.name == "relayhost");
        let location =
            relayhost.and_then(|key| key.from.first()).map_or(start, |cited| &cited.location).clone();
        self.refusal(hostname).map_or(Ok(()), |refusal| Err(location.error(refusal)))?;
        let mut has_all_rules = true;
        for group in others {
            let is_rule = group.iter().any(|key| key.name == "rewrite.header.match");
            if is_rule && !has_all_rules {
                let from = group.into_iter().flat_map(|key| key.from).collect();
                self.not_carried(from, "it stands behind a rule that is left out");
                continue;
            }
            self.groups.push(group);
            if let Some(refusal) = self.refusal(hostname) {
                has_all_rules &= !is_rule;
                let refused = self.groups.pop().into_iter().flatten();
                match refused.flat_map(|key| key.from).collect::<Vec<_>>() {
                    // A default, which no line set.
                    from if from.is_empty() => self.warn(&refusal),
                    from => self.not_carried(from, &refusal),
                }
            }
        }
        Ok(())
    }

    /// Returns the message with which the parser refuses the keys; `None` if it accepts them.
    fn refusal(&self, hostname: &str) -> Option<String> {
        let only_keys = ConfigDraft { groups: self.groups.clone(), ..ConfigDraft::default() };
        let environment = Environment { hostname: hostname.into() };
        let refused = Config::parse(&render(&only_keys, ""), Path::new(""), &environment).err()?.to_string();
        // Its line is one of a text that nobody sees.
        Some(refused.split_once(": ").map_or(refused.clone(), |(_, said)| said.into()))
    }

    /// Removes every shown value that contains a secret (promise 2).
    fn hide_secrets(&mut self) {
        let hidden = &self.hidden;
        let holds_one = |text: &str| {
            hidden.iter().filter_map(Secret::text).any(|secret| !secret.is_empty() && text.contains(secret))
        };
        let of_keys = self.groups.iter_mut().flatten().flat_map(|key| &mut key.from);
        let of_remarks = self.remarks.iter_mut().filter_map(|remark| remark.about.as_mut());
        for cited in of_keys.chain(of_remarks) {
            cited.shown = cited.shown.take().filter(|value| !holds_one(value));
        }
    }
}
