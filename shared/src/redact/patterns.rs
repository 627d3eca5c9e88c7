//! Operators' own patterns: regular expressions, compiled only if there are any.
//!
//! Users: `redact`, `json`.

use std::borrow::Cow;

use regex::{Regex, RegexBuilder, RegexSet, RegexSetBuilder};

use super::kind::{Kind, word_at_start};

/// An invalid pattern of an operator.
#[derive(Debug, thiserror::Error)]
#[error("redaction pattern {pattern:?} can't be used")]
pub struct PatternError {
    /// The pattern as written.
    pub pattern: String,
    /// What the compiler says.
    #[source]
    pub source: regex::Error,
}

/// Compiled patterns; by default none.
#[derive(Debug, Default)]
pub(super) struct Patterns {
    /// Finds the matching patterns in one pass. None if there are no patterns: even an empty set takes 0.1 ms to build.
    set: Option<RegexSet>,
    each: Vec<Regex>,
}

impl Patterns {
    /// The memory limit of all patterns together, as of the operators' rules.
    const COMPILED_BYTES: usize = 2 * 1024 * 1024;

    /// Ignores blank patterns, which would match everywhere.
    pub(super) fn compile(patterns: &[impl AsRef<str>]) -> Result<Self, PatternError> {
        let patterns: Vec<&str> = patterns.iter().map(|it| it.as_ref().trim()).filter(|it| !it.is_empty()).collect();
        let mut each = Vec::with_capacity(patterns.len());
        for pattern in &patterns {
            let compiled = RegexBuilder::new(pattern).size_limit(Self::COMPILED_BYTES).build();
            each.push(compiled.map_err(|source| PatternError { pattern: (*pattern).to_owned(), source })?);
        }
        let set = RegexSetBuilder::new(&patterns).size_limit(Self::COMPILED_BYTES).build();
        let set = set.map_err(|source| PatternError { pattern: "all patterns together".to_owned(), source })?;
        Ok(Self { set: Some(set), each })
    }

    /// The text with each match replaced.
    pub(super) fn redact<'text>(&self, text: &'text str) -> Cow<'text, str> {
        let mut result = Cow::Borrowed(text);
        for index in self.set.iter().flat_map(|set| set.matches(text)) {
            if let Some(replaced) = self.each.get(index).and_then(|pattern| replace(pattern, &result)) {
                result = Cow::Owned(replaced);
            }
        }
        result
    }
}

/// None if nothing changed. A match within one of our words is skipped: it is redacted already.
fn replace(pattern: &Regex, text: &str) -> Option<String> {
    let (mut written, mut copied) = (String::new(), 0);
    for found in pattern.find_iter(text).filter(|found| !found.is_empty()) {
        let bracket = text[..found.start() + 1_usize.min(found.len())].rfind('[');
        let within =
            bracket.is_some_and(|at| word_at_start(&text[at..]).is_some_and(|length| at + length >= found.end()));
        if !within {
            written.push_str(&text[copied..found.start()]);
            written.push_str(Kind::Other.word());
            copied = found.end();
        }
    }
    if copied == 0 {
        return None;
    }
    written.push_str(&text[copied..]);
    Some(written)
}
