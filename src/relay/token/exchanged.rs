//! The tokens that were exchanged with an endpoint lately, which it or a relay may name when it refuses another one.
//!
//! Promises: the last [`KEPT`] tokens are masked in what either of them says.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};

use crate::secret::{Secret, SecretMasks};

/// The number of tokens that are kept: three access tokens and three refresh tokens.
const KEPT: usize = 6;

/// The last tokens, the newest one at the end.
#[derive(Default)]
pub(super) struct ExchangedTokens(Mutex<VecDeque<Secret>>);

impl ExchangedTokens {
    /// Keeps `token`.
    pub(super) fn keep(&self, token: &Secret) {
        // The list is whole between any two statements that can panic.
        let mut tokens = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if tokens.iter().any(|kept| kept.expose() == token.expose()) {
            return;
        }
        if tokens.len() == KEPT {
            tokens.pop_front();
        }
        tokens.push_back(token.clone());
    }

    /// Returns the masks of the tokens.
    pub(super) fn masks(&self) -> SecretMasks {
        let mut masks = SecretMasks::default();
        let tokens = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        tokens.iter().filter_map(Secret::text).for_each(|token| masks.keep(token));
        masks
    }
}
