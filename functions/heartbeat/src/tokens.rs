//! Whose sign of life may wait while the database is away and nobody can look whether a token is known. Pure.
//!
//! A token that this process has seen accepted may, always. Others may too, since a process may have started a moment
//! ago, but only so many in a minute: whoever makes tokens up must not fill the place where they wait.

use std::collections::HashSet;
use std::sync::{Mutex, PoisonError};

use chrono::{DateTime, Utc};
use shared::defer::Allowance;

/// Signs of life with tokens that this process does not know, in a minute.
pub const UNKNOWN_PER_MINUTE: u32 = 300;

/// The hashes that a process remembers; of more jobs some count as unknown.
const KNOWN: usize = 10_000;

/// What one process knows of tokens.
#[derive(Debug)]
pub struct Tokens {
    known: Mutex<HashSet<String>>,
    unknown: Allowance,
}

impl Default for Tokens {
    fn default() -> Self {
        Self { known: Mutex::default(), unknown: Allowance::new(UNKNOWN_PER_MINUTE) }
    }
}

impl Tokens {
    /// The database knows the token of this hash.
    pub fn remember(&self, hash: &str) {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if known.len() < KNOWN && !known.contains(hash) {
            known.insert(hash.to_owned());
        }
    }

    /// Whether a sign of life with the token of this hash may wait. One with an unknown token is counted.
    pub fn may_wait(&self, hash: &str, now: DateTime<Utc>) -> bool {
        self.known.lock().unwrap_or_else(PoisonError::into_inner).contains(hash) || self.unknown.take(now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unknown_tokens_wait_up_to_a_number_a_minute_and_known_ones_always() {
        let (tokens, now) = (Tokens::default(), DateTime::UNIX_EPOCH);
        tokens.remember("known");
        for number in 0..UNKNOWN_PER_MINUTE {
            assert!(tokens.may_wait(&format!("made up {number}"), now), "{number}");
        }
        assert!(!tokens.may_wait("one more", now) && tokens.may_wait("known", now));
    }
}
