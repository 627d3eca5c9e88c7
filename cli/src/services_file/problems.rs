//! All problems of a file, each with its line.

use std::collections::BTreeSet;
use std::fmt;

/// The problems found so far.
#[derive(Debug)]
pub(super) struct Problems<'a> {
    text: &'a str,
    found: BTreeSet<(usize, String)>,
}

/// Why a file is refused: each problem with its line.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub struct FileRefusal(pub(super) Vec<(usize, String)>);

impl fmt::Display for FileRefusal {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, (line, what)) in self.0.iter().enumerate() {
            let end = if index == 0 { "" } else { "\n" };
            write!(formatter, "{end}  line {line}: {what}")?;
        }
        Ok(())
    }
}

/// A problem of a value: its byte offset, and the reason.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Wrong {
    pub(super) at: usize,
    pub(super) why: String,
}

/// A value, or all its problems.
pub(super) type Read<T> = Result<T, Vec<Wrong>>;

impl<'a> Problems<'a> {
    pub(super) fn of(text: &'a str) -> Self {
        Self { text, found: BTreeSet::new() }
    }

    /// Records a problem at this byte offset. Deduplicates, since all entries share the problems of a default.
    pub(super) fn note(&mut self, at: usize, what: impl fmt::Display) {
        self.note_line(self.line(at), what);
    }

    /// Records a problem in this line.
    pub(super) fn note_line(&mut self, line: usize, what: impl fmt::Display) {
        self.found.insert((line, what.to_string()));
    }

    /// The line of this byte offset, from 1.
    pub(super) fn line(&self, at: usize) -> usize {
        self.text.as_bytes()[..at.min(self.text.len())].iter().filter(|byte| **byte == b'\n').count() + 1
    }

    pub(super) fn is_none(&self) -> bool {
        self.found.is_empty()
    }

    /// Why the file is refused.
    pub(super) fn refusal(self) -> FileRefusal {
        FileRefusal(self.found.into_iter().collect())
    }
}

/// `, did you mean "…"?`, if one of the known words is similar.
pub(super) fn suggestion<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> String {
    known
        .into_iter()
        .map(|known| (strsim::damerau_levenshtein(word, known), known))
        .filter(|(distance, known)| *distance <= (known.len() / 3).max(1))
        .min()
        .map(|(_, known)| format!(", did you mean \"{known}\"?"))
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn problems_are_sorted_by_line_and_deduplicated() {
        let mut problems = Problems::of("a\nb\nc");
        for (at, what) in [(4, "third"), (0, "first"), (4, "third"), (99, "the end")] {
            problems.note(at, what);
        }
        assert!(!problems.is_none());
        assert_eq!(problems.refusal().to_string(), "  line 1: first\n  line 3: the end\n  line 3: third");
    }

    #[test]
    fn a_near_word_is_suggested_and_a_far_one_is_not() {
        let known = ["timeout", "interval", "url"];
        assert_eq!(suggestion("timeuot", known), ", did you mean \"timeout\"?");
        assert_eq!(suggestion("ulr", known), ", did you mean \"url\"?");
        assert_eq!(suggestion("colour", known), "");
    }
}
