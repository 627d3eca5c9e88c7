//! Finds quoted text within a message; apostrophes and unclosed quotes are none.

use super::normalise::{is_word_after, is_word_before};

/// Opening quotes with their closing quotes.
const PAIRS: [(char, &[char]); 10] = [
    ('"', &['"']),
    ('\'', &['\'']),
    ('`', &['`']),
    ('“', &['”', '“']),
    ('„', &['“', '”']),
    ('‘', &['’']),
    ('‚', &['‘', '’']),
    ('«', &['»']),
    ('‹', &['›']),
    ('「', &['」']),
];

/// How far a closing quote was searched for without a result.
#[derive(Debug, Default, Clone, Copy)]
struct Searched {
    /// Any closing quote.
    any: usize,
    /// A closing quote without a backslash before it.
    plain: usize,
}

/// Finds quoted text in one message, from its beginning to its end. Failed searches are remembered, so that a message
/// full of quotes takes linear time.
#[derive(Debug, Default)]
pub(super) struct Quotes {
    /// For each pair, and last for `` `this' ``.
    searched: [Searched; PAIRS.len() + 1],
}

impl Quotes {
    /// The length of the quoted text that begins here, quotes included.
    pub(super) fn at(&mut self, text: &str, start: usize) -> Option<usize> {
        let opening = text[start..].chars().next()?;
        if opening.is_ascii() && !matches!(opening, '"' | '\'' | '`') {
            return None;
        }
        let pair = PAIRS.iter().position(|(opens, _)| *opens == opening)?;
        if opening.is_ascii() && is_word_before(text, start) && !is_prefix_before(text, start) {
            return None;
        }
        let found = self.find(pair, PAIRS[pair].1, text, start);
        // GNU tools quote as `this'.
        found.or_else(|| if opening == '`' { self.find(PAIRS.len(), &['\''], text, start) } else { None })
    }

    fn find(&mut self, pair: usize, closes: &[char], text: &str, start: usize) -> Option<usize> {
        let searched = &mut self.searched[pair];
        if start < searched.any {
            return None;
        }
        let opening = text[start..].chars().next()?.len_utf8();
        // An apostrophe is often unpaired: its quoted text must be on one line.
        let one_line = closes.iter().any(|c| matches!(c, '\'' | '’'));
        let mut escaped = None;
        let mut backslash = false;
        let mut until = text.len();
        for (at, c) in text[start + opening..].char_indices() {
            let end = start + opening + at + c.len_utf8();
            if one_line && c == '\n' {
                until = end;
                break;
            }
            if closes.contains(&c) && !is_word_after(text, end) {
                if !backslash || start < searched.plain {
                    return Some(end - start);
                }
                escaped = escaped.or(Some(end - start));
            }
            backslash = c == '\\' && !backslash;
        }
        searched.plain = until;
        if escaped.is_none() {
            searched.any = until;
        }
        escaped
    }
}

/// Whether a literal's prefix stands before, as in `b'x'`.
fn is_prefix_before(text: &str, start: usize) -> bool {
    let before = text[..start].trim_end_matches(['b', 'B', 'f', 'F', 'r', 'R', 'u', 'U']);
    (1..=2).contains(&(start - before.len())) && !is_word_before(text, before.len())
}
