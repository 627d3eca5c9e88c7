//! Which heartbeats may be deferred while the database is unavailable, so that tokens can't be looked up. Pure.
//!
//! Known tokens always: those that were loaded when this process first reached the database, or were accepted since.
//! Unknown ones too, since a process may have started during the outage, but with a rate limit: a client that invents
//! tokens must not fill the queue.

use std::collections::HashSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};

use chrono::{DateTime, Utc};
use shared::defer::Allowance;

/// The rate limit of heartbeats with unknown tokens.
pub const UNKNOWN_PER_MINUTE: u32 = 300;

/// The most hashes that a process stores; further ones count as unknown.
const KNOWN: usize = 10_000;

/// The tokens that a process knows.
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
    /// Adds the hash of a token that exists.
    pub fn remember(&self, hash: &str) {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if known.len() < KNOWN && !known.contains(hash) {
            known.insert(hash.to_owned());
        }
    }

    /// Whether the tokens of all jobs were loaded.
    pub fn is_loaded(&self) -> bool {
        self.is_loaded.load(Ordering::Relaxed)
    }

    /// Adds the hashes of all tokens.
    pub fn remember_all<'a>(&self, hashes: impl IntoIterator<Item = &'a String>) {
        hashes.into_iter().for_each(|hash| self.remember(hash));
        self.is_loaded.store(true, Ordering::Relaxed);
    }

    /// Whether a heartbeat with the token of this hash may be deferred. Unknown tokens count against the rate limit.
    pub fn may_defer(&self, hash: &str, now: DateTime<Utc>) -> bool {
        self.known.lock().unwrap_or_else(PoisonError::into_inner).contains(hash) || self.unknown.take(now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unknown_tokens_are_deferred_up_to_the_rate_limit_and_known_ones_always() {
        let (tokens, now) = (Tokens::default(), DateTime::UNIX_EPOCH);
        tokens.remember("known");
        for number in 0..UNKNOWN_PER_MINUTE {
            assert!(tokens.may_defer(&format!("made up {number}"), now), "{number}");
        }
        assert!(!tokens.may_defer("one more", now) && tokens.may_defer("known", now));
    }

    #[test]
    fn a_loaded_token_is_deferred_during_a_flood_of_unknown_ones() {
        let (tokens, now) = (Tokens::default(), DateTime::UNIX_EPOCH);
        tokens.remember_all(&["daily".to_owned()]);
        assert!(tokens.is_loaded());
        (0..=UNKNOWN_PER_MINUTE).for_each(|number| _ = tokens.may_defer(&format!("made up {number}"), now));
        assert!(!tokens.may_defer("one more", now) && tokens.may_defer("daily", now));
    }
}
