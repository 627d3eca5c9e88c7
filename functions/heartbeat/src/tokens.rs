//! Whose sign of life may wait while the database is away and nobody can look whether a token is known. Pure.
//!
//! A token that the database knew when this process first reached it may, always, and so may one that was accepted since.
//! Others may too, since a process may have started while the database was away, but only so many in a minute: whoever makes tokens up must not fill the place where they wait.

use std::collections::HashSet;
use std::sync::atomic::{AtomicBool, Ordering};
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
    is_loaded: AtomicBool,
    unknown: Allowance,
}

impl Default for Tokens {
    fn default() -> Self {
        Self { known: Mutex::default(), is_loaded: AtomicBool::new(false), unknown: Allowance::new(UNKNOWN_PER_MINUTE) }
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

    /// Whether the tokens of all jobs were remembered.
    pub fn is_loaded(&self) -> bool {
        self.is_loaded.load(Ordering::Relaxed)
    }

    /// The database knows these, and no others now.
    pub fn remember_all<'a>(&self, hashes: impl IntoIterator<Item = &'a String>) {
        hashes.into_iter().for_each(|hash| self.remember(hash));
        self.is_loaded.store(true, Ordering::Relaxed);
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

    #[test]
    fn a_job_that_has_not_reported_yet_waits_beside_a_flood_of_made_up_tokens() {
        let (tokens, now) = (Tokens::default(), DateTime::UNIX_EPOCH);
        tokens.remember_all(&["daily".to_owned()]);
        assert!(tokens.is_loaded());
        (0..=UNKNOWN_PER_MINUTE).for_each(|number| _ = tokens.may_wait(&format!("made up {number}"), now));
        assert!(!tokens.may_wait("one more", now) && tokens.may_wait("daily", now));
    }
}
