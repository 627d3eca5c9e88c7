//! Takes secrets and what tells about people out of reports, before anything is stored, logged or sent on. Pure.
//!
//! What goes, each kind with its word: e-mail addresses `[email]`, IP addresses `[ip]`, card numbers `[card]`, JSON Web
//! Tokens `[jwt]`, keys and tokens `[token]`, passwords `[password]`, cookies `[cookie]`, private keys `[private_key]`;
//! `[redacted]` for other values under names that look secret and for what an operator's pattern finds.
//!
//! - The same text gives the same result, so that fingerprints stay stable; redacting twice is redacting once.
//! - Ordinary text stays byte for byte: ids, times, versions, paths, stack traces. In doubt the name decides: a value
//!   under `password` goes whatever it looks like, a value under `token_count` stays.
//! - Nothing is built at the process's start, and no text, however hostile, costs more than linear time.
//!
//! Each file of `redact/` finds one kind of secret; `scan` passes once over a text and asks them.
//!
//! Users: `intake`.

mod assignment;
mod card;
mod email;
mod json;
mod keys;
mod kind;
mod network;
mod patterns;
mod pem;
mod prose;
mod quoted;
mod scan;
mod tokens;
mod url;
mod value;

#[cfg(test)]
mod tests;

use std::borrow::Cow;
use std::sync::Arc;

use serde_json::Value;

pub use self::patterns::PatternError;

use self::json::Walk;
use self::patterns::Patterns;
use self::scan::Mode;
use crate::config::Environment;
use crate::model::Report;

/// Replaces secrets: the built-in kinds, and what the operator's patterns match. Cheap to make and to clone.
#[derive(Debug, Clone, Default)]
pub struct Redactor {
    patterns: Arc<Patterns>,
}

impl Redactor {
    /// Also replaces what these regular expressions match in any text, key or number; blank ones count as none.
    ///
    /// # Errors
    /// The first pattern that can't be used, named.
    pub fn with_patterns(patterns: &[impl AsRef<str>]) -> Result<Self, PatternError> {
        Ok(Self { patterns: Arc::new(Patterns::compile(patterns)?) })
    }

    /// Reads `REDACT_PATTERNS`: one regular expression a line.
    pub fn read(environment: &mut Environment<'_>) -> Self {
        let patterns = environment.optional("REDACT_PATTERNS").unwrap_or_default();
        let patterns: Vec<&str> = patterns.lines().filter(|line| !line.trim().is_empty()).collect();
        Self::with_patterns(&patterns).unwrap_or_else(|error| {
            environment.problem("REDACT_PATTERNS", crate::store::chain(&error));
            Self::default()
        })
    }

    /// The report without its secrets. Keys that only recognise it (delivery, user, upstream group) stay.
    #[must_use]
    pub fn report(&self, mut report: Report) -> Report {
        let walk = Walk::new(&self.patterns);
        let put = |field: &mut String, mode: Mode| {
            if let Cow::Owned(redacted) = walk.text(field, mode) {
                *field = redacted;
            }
        };
        put(&mut report.message, Mode::Prose);
        for field in [&mut report.source, &mut report.application, &mut report.environment] {
            put(field, Mode::Prose);
        }
        for field in [&mut report.title, &mut report.stack, &mut report.endpoint].into_iter().flatten() {
            put(field, Mode::Prose);
        }
        for field in [&mut report.error_type, &mut report.crash_frame].into_iter().flatten() {
            put(field, Mode::Code);
        }
        if let Some(release) = &mut report.release {
            put(release, Mode::Version);
        }
        for part in &mut report.client_fingerprint {
            put(part, Mode::Code);
        }
        walk.object(&mut report.context);
        report
    }

    /// The value without its secrets, at any depth.
    #[must_use]
    pub fn value(&self, mut value: Value) -> Value {
        Walk::new(&self.patterns).value(&mut value);
        value
    }

    /// The text without its secrets; borrowed if there are none.
    #[must_use]
    pub fn text<'text>(&self, text: &'text str) -> Cow<'text, str> {
        Walk::new(&self.patterns).text(text, Mode::Prose)
    }
}
