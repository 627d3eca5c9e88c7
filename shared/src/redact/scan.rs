//! One pass over a text: finds positions where a secret may be, calls the detectors, writes the result.
//!
//! Tables over bytes (built at compile time) decide in a few instructions whether a position is a candidate; no
//! automaton and no regular expression is built at the process's start. A detector is a pure function of the text left
//! of the position (as redacted, so that a second pass sees the same) and of the text that follows; none reads farther
//! than a bounded distance without consuming it, so that every text takes linear time.
//!
//! Users: `redact`.

use std::borrow::Cow;
use std::ops::Range;

use super::kind::Kind;
use super::{assignment, card, email, network, pem, quoted, tokens, url};

/// How a text is interpreted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Mode {
    /// As prose or output of programs.
    Prose,
    /// As versions: `1.2.3.4` is no address.
    Version,
    /// As a code location (`session.token:refresh`): a colon assigns nothing.
    Code,
}

/// A secret near a position: it includes the last `back` bytes left of the position; right of it, it begins at `start`
/// (0 if `back` is not) and ends before `end`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct SecretMatch {
    pub(super) back: usize,
    pub(super) start: usize,
    pub(super) end: usize,
    pub(super) kind: Kind,
}

impl SecretMatch {
    /// A secret right of the position.
    pub(super) fn ahead(start: usize, end: usize, kind: Kind) -> Self {
        Self { back: 0, start, end, kind }
    }
}

/// The text with each secret replaced; borrowed if there is none.
///
/// The result is scanned again until nothing more is found: a secret may be visible only after an adjacent one was
/// replaced.
pub(super) fn redact(text: &str, mode: Mode) -> Cow<'_, str> {
    /// Only a text made for it needs more.
    const PASSES: usize = 5;
    let Some((mut result, mut changed)) = once(text, mode, 0..text.len()) else { return Cow::Borrowed(text) };
    for _ in 1..PASSES {
        let Some((again, where_changed)) = once(&result, mode, changed) else { break };
        (result, changed) = (again, where_changed);
    }
    Cow::Owned(result)
}

/// Scans a range of the text. Returns the result, and its range of changed lines; none if nothing was found.
fn once(text: &str, mode: Mode, lines: Range<usize>) -> Option<(String, Range<usize>)> {
    let mut scan = Scan {
        text,
        mode,
        at: lines.start,
        stop: lines.end,
        written: String::new(),
        copied: 0,
        first: usize::MAX,
        last: 0,
        ahead: None,
    };
    scan.run();
    if scan.written.is_empty() {
        return None;
    }
    let last = scan.last;
    scan.written.push_str(&text[scan.copied..]);
    let result = scan.written;
    let start = result[..scan.first].rfind('\n').map_or(0, |index| index + 1);
    let end = result[last..].find('\n').map_or(result.len(), |index| last + index);
    Some((result, start..end))
}

struct Scan<'text> {
    text: &'text str,
    mode: Mode,
    /// The current position.
    at: usize,
    /// The end of the range to scan.
    stop: usize,
    /// The redacted text so far; empty as long as nothing was found.
    written: String,
    /// Up to here the text is copied to `written`.
    copied: usize,
    /// The start in `written` of the first secret's word.
    first: usize,
    /// The end in `written` of the last secret's word.
    last: usize,
    /// A URL's password, found at its scheme; the text before it is scanned first.
    ahead: Option<(usize, usize)>,
}

impl<'text> Scan<'text> {
    fn run(&mut self) {
        let bytes = self.text.as_bytes();
        loop {
            let stop = self.ahead.map_or(self.stop, |(start, _)| start);
            while self.at < stop && !INTEREST.at(bytes, self.at) {
                self.at += 1;
            }
            if self.at < stop {
                self.scan_position(bytes[self.at]);
            } else if let Some((start, end)) = self.ahead.take() {
                // A secret before it may overlap it.
                let start = start.max(self.at);
                if start < end {
                    self.replace(SecretMatch::ahead(start - self.at, end - self.at, Kind::Password));
                }
            } else {
                return;
            }
        }
    }

    /// Scans one position, and advances.
    fn scan_position(&mut self, byte: u8) {
        let rest = self.rest();
        let (meaning, width) = meaning(rest.as_bytes());
        let mode = self.mode;
        let found = match meaning {
            b'@' => email::find(self.left(), rest, width),
            b':' if is_scheme_end(rest, width) => {
                self.ahead = url::password(rest).map(|(start, end)| (self.at + start, self.at + end));
                self.at += 3 * width;
                return;
            }
            b':' => self.colon(rest, width),
            b'=' if self.belongs_to_url(width) => None,
            b'=' => assignment::find(self.left(), rest, width, mode),
            _ if byte == b'%' => None,
            b'0'..=b'9' => {
                let length = rest.bytes().take_while(u8::is_ascii_digit).count();
                let found = self.digits(rest, length);
                if found.is_none() {
                    self.at += length;
                    return;
                }
                found
            }
            b',' => quoted::pair(self.left(), rest),
            b'>' => quoted::element(self.left(), rest),
            b'"' | b'\'' => quoted::after_word(self.left(), rest),
            b'-' => pem::find(rest).or_else(|| assignment::flag(self.left(), rest)),
            _ => tokens::find(self.left(), rest),
        };
        match found {
            Some(found) => self.replace(found),
            None => self.at += width,
        }
    }

    fn digits(&mut self, rest: &str, length: usize) -> Option<SecretMatch> {
        match (length, rest.as_bytes().get(length)) {
            (1..=3, Some(b'.')) if self.mode != Mode::Version => network::ipv4(self.left(), rest),
            (4, Some(b' ' | b'-')) | (13..=19, _) => card::find(self.left(), rest),
            _ => None,
        }
    }

    fn colon(&mut self, rest: &'text str, width: usize) -> Option<SecretMatch> {
        let mode = self.mode;
        if mode != Mode::Code && !self.belongs_to_url(width) && !is_line_number(self.left(), rest) {
            let found = assignment::find(self.left(), rest, width, mode);
            if found.is_some() {
                return found;
            }
        }
        if width > 1 { None } else { network::ipv6(self.left(), rest) }
    }

    /// Whether this is the colon between a URL's user and its password, which is handled already.
    fn belongs_to_url(&self, width: usize) -> bool {
        self.ahead.is_some_and(|(start, _)| self.at + width == start)
    }

    fn rest(&self) -> &'text str {
        &self.text[self.at..]
    }

    /// The redacted text left of the position.
    fn left(&mut self) -> &str {
        if self.written.is_empty() {
            return &self.text[..self.at];
        }
        self.written.push_str(&self.text[self.copied..self.at]);
        self.copied = self.at;
        &self.written
    }

    fn replace(&mut self, found: SecretMatch) {
        self.written.push_str(&self.text[self.copied..self.at + found.start]);
        self.written.truncate(self.written.len() - found.back);
        self.first = self.first.min(self.written.len());
        self.written.push_str(found.kind.word());
        self.last = self.written.len();
        self.at += found.end;
        self.copied = self.at;
    }
}

/// Whether a colon separates the parts of a code location: `payment.ts:100:17`.
fn is_line_number(left: &str, rest: &str) -> bool {
    const LONGEST: usize = 6;
    if !rest.as_bytes().get(1).is_some_and(u8::is_ascii_digit) {
        return false;
    }
    let mut before = left.bytes().rev().take(LONGEST).skip_while(u8::is_ascii_digit);
    match [before.next(), before.next(), before.next()] {
        [Some(b':'), _, _] => true,
        [_, second, third] => second == Some(b'.') || third == Some(b'.'),
    }
}

/// The decoded character here, and its width: `%3D` and `%253D` mean `=`.
pub(super) fn meaning(bytes: &[u8]) -> (u8, usize) {
    let Some(&first) = bytes.first() else { return (0, 0) };
    if first != b'%' {
        return (first, 1);
    }
    let digits = |from: usize| Some(hex_digit(*bytes.get(from)?)? * 16 + hex_digit(*bytes.get(from + 1)?)?);
    match digits(1) {
        Some(b'%') => digits(3).map_or((b'%', 3), |byte| (byte, 5)),
        Some(byte) => (byte, 3),
        None => (first, 1),
    }
}

/// Whether the text ends with an escape, such as `\n` or `%3D`, whose letters are no part of a word.
pub(super) fn escape_at_end(left: &[u8]) -> bool {
    let from_end = |back: usize| left.len().checked_sub(back).map(|index| left[index]);
    let hex_end = |digits: usize| (1..=digits).all(|back| from_end(back).is_some_and(|byte| byte.is_ascii_hexdigit()));
    (from_end(2) == Some(b'\\') && matches!(from_end(1), Some(b'n' | b'r' | b't' | b'b' | b'f')))
        || (from_end(3) == Some(b'%') && hex_end(2))
        || (from_end(6) == Some(b'\\') && from_end(5) == Some(b'u') && hex_end(4))
}

/// The start of a run of word characters, after the letters of an escape.
pub(super) fn behind_escape(text: &str, start: usize) -> usize {
    let bytes = text.as_bytes();
    let Some(before) = start.checked_sub(1) else { return start };
    let taken = match (bytes[before], bytes.get(start)) {
        (b'\\', Some(b'u')) => 5,
        (b'\\', Some(b'n' | b'r' | b't' | b'b' | b'f')) => 1,
        (b'%', Some(b'2')) if bytes.get(start + 1) == Some(&b'5') => 4,
        (b'%', Some(_)) => 2,
        _ => 0,
    };
    let end = (start + taken).min(bytes.len());
    if text.is_char_boundary(end) && escape_at_end(&bytes[..end]) { end } else { start }
}

/// Whether a word may begin here.
pub(super) fn at_word_start(left: &str) -> bool {
    let last = left.as_bytes().last().copied().unwrap_or(b' ');
    !(last.is_ascii_alphanumeric() || last == b'_' || last == b'-') || escape_at_end(left.as_bytes())
}

fn is_scheme_end(rest: &str, width: usize) -> bool {
    let rest = rest.as_bytes();
    let follows = |index: usize| rest.get(index * width..).is_some_and(|rest| meaning(rest) == (b'/', width));
    follows(1) && follows(2)
}

fn hex_digit(byte: u8) -> Option<u8> {
    char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok())
}

/// Candidate positions: those where the tables for a byte and the two after it have a common bit.
struct Interest {
    first: [u32; 256],
    second: [u32; 256],
    third: [u32; 256],
}

impl Interest {
    #[inline]
    fn at(&self, bytes: &[u8], at: usize) -> bool {
        let byte = |index: usize| usize::from(bytes.get(index).copied().unwrap_or(0));
        let common = self.first[byte(at)] & self.second[byte(at + 1)];
        common != 0 && common & self.third[byte(at + 2)] != 0
    }
}

static INTEREST: Interest = interest();

const fn interest() -> Interest {
    /// Any following bytes.
    const ANY: u32 = 1;
    let mut tables = Interest { first: [0; 256], second: [ANY; 256], third: [ANY; 256] };
    let alone = b"@:=%0123456789,>\"'";
    let mut index = 0;
    while index < alone.len() {
        tables.first[alone[index] as usize] = ANY;
        index += 1;
    }
    // Each first byte of a mark has its own bit.
    let (mut index, mut group, mut last) = (0, ANY, 0);
    while index < tokens::MARKS.len() {
        let mark = tokens::MARKS[index].text.as_bytes();
        if mark[0] != last {
            group <<= 1;
            last = mark[0];
        }
        tables.first[mark[0] as usize] |= group;
        tables.second[mark[1] as usize] |= group;
        if mark.len() > 2 {
            tables.third[mark[2] as usize] |= group;
        } else {
            allow_all(&mut tables.third, group);
        }
        index += 1;
    }
    // `-----BEGIN`, `--password`.
    group <<= 1;
    tables.first[b'-' as usize] |= group;
    tables.second[b'-' as usize] |= group;
    allow_all(&mut tables.third, group);
    tables
}

const fn allow_all(table: &mut [u32; 256], group: u32) {
    let mut byte = 0;
    while byte < table.len() {
        table[byte] |= group;
        byte += 1;
    }
}
