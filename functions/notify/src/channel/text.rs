//! External text, made fit to be shown: no control characters, nothing that turns the direction of writing or hides
//! in it, and no more of it than there is room for. What a channel takes for markup, the channel's own file escapes.
//!
//! Lengths are counted in UTF-16 units, as the strictest of the channels do; no character is ever cut in two.

use shared::model::text::{is_blank, is_hidden};

/// Stands for what was cut off.
const CUT: char = '…';

/// The text on one line, of at most so many units. Keeps no more of the text than it needs.
#[must_use]
pub fn line(text: &str, limit: usize) -> String {
    let (mut clean, mut length, mut gap) = (String::new(), 0, false);
    for letter in text.chars().filter(|letter| !is_hidden(*letter)) {
        if is_blank(letter) {
            gap = !clean.is_empty();
            continue;
        }
        if std::mem::take(&mut gap) {
            clean.push(' ');
            length += 1;
        }
        clean.push(letter);
        length += letter.len_utf16();
        if length > limit {
            break;
        }
    }
    cut(&clean, limit)
}

/// The text with its lines, of at most so many units.
#[must_use]
pub fn block(text: &str, limit: usize) -> String {
    let mut lines = String::new();
    let mut room = limit + 1;
    for one in text.lines() {
        let indent = one.len() - one.trim_start_matches(' ').len();
        let one = format!("{}{}", &one[..indent.min(room)], line(one, room));
        room = room.saturating_sub(units(&one) + 1);
        lines.push_str(&one);
        lines.push('\n');
        if room == 0 {
            break;
        }
    }
    cut(lines.trim_end(), limit)
}

/// At most so many units of the text; what is cut off is replaced by one `…`.
#[must_use]
pub fn cut(text: &str, limit: usize) -> String {
    escaped(text, limit, |letter, into| into.push(letter))
}

/// The text with each character as `write` puts it, in at most so many units; nothing that was written as one is cut
/// in two.
#[must_use]
pub fn escaped(text: &str, limit: usize, write: impl Fn(char, &mut String)) -> String {
    let mut whole = String::new();
    let (mut length, mut end) = (0, 0);
    for letter in text.chars() {
        let before = whole.len();
        write(letter, &mut whole);
        length += units(&whole[before..]);
        if length > limit {
            whole.truncate(end);
            if limit > 0 {
                whole.push(CUT);
            }
            return whole;
        }
        if length < limit {
            end = whole.len();
        }
    }
    whole
}

/// How many UTF-16 units a text has.
#[must_use]
pub fn units(text: &str) -> usize {
    text.chars().map(char::len_utf16).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_one_line_of_what_can_be_seen() {
        for (text, shown) in [
            ("  two   words ", "two words"),
            ("subject\r\nBcc: eve@example.com", "subject Bcc: eve@example.com"),
            ("nul\0 bell\u{7} escape\u{1b}[31m", "nul bell escape [31m"),
            ("lines\u{2028}and\u{85}lines", "lines and lines"),
            ("evil\u{202e}gpj.exe\u{2066}", "evilgpj.exe"),
            ("👩\u{200d}🚀", "👩\u{200d}🚀"),
            ("", ""),
        ] {
            assert_eq!(line(text, 100), shown);
        }
    }

    #[test]
    fn what_is_too_long_is_cut_between_characters() {
        assert_eq!(line("abcdef", 6), "abcdef");
        assert_eq!(line("abcdefg", 6), "abcde…");
        assert_eq!(line("a😀😀😀", 6), "a😀😀…");
        assert_eq!(line("a😀😀😀", 7), "a😀😀😀");
        assert_eq!(line("abc", 0), "");
        assert_eq!(escaped("a&b", 5, |_, into| into.push_str("&amp;")), "…");
        assert_eq!(units(&line(&"\u{10000} ".repeat(1_000_000), 300)), 300);
    }

    #[test]
    fn a_block_keeps_its_lines() {
        assert_eq!(block("Error: x\r\n    at f (a.js:1)\n\n\tat g\n\n", 100), "Error: x\n    at f (a.js:1)\n\nat g");
        assert_eq!(block("one\ntwo", 5), "one\n…");
        assert!(units(&block(&"\n x".repeat(1_000_000), 300)) <= 300);
    }
}
