//! Redacts secrets and personal data in reports, before anything is stored, logged or sent. Pure.
//!
//! Each kind is replaced by its word: e-mail addresses `[email]`, IP addresses `[ip]`, card numbers `[card]`, JSON Web
//! Tokens `[jwt]`, keys and tokens `[token]`, passwords `[password]`, cookies `[cookie]`, private keys `[private_key]`;
//! `[redacted]` for other values under secret names and for matches of an operator's pattern.
//!
//! - Deterministic, so that fingerprints stay stable; idempotent.
//! - Ordinary text stays byte for byte: ids, times, versions, paths, stack traces. In doubt the name decides: any value
//!   under `password` is redacted, a value under `token_count` stays.
//! - Nothing is built at the process's start, and every text, however hostile, takes linear time.
//!
//! Each file of `redact/` detects one kind of secret; `scan` passes once over a text and calls the detectors.
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

/// Redacts the built-in kinds, and matches of the operator's patterns. Cheap to make and to clone.
#[derive(Debug, Clone, Default)]
pub struct Redactor {
    patterns: Arc<Patterns>,
}

impl Redactor {
    /// Also redacts matches of these regular expressions in any text, key or number; blank ones are ignored.
    ///
    /// # Errors
    /// The first invalid pattern, named.
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

    /// The report without its secrets. Its keys (delivery, user, upstream group) stay.
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
