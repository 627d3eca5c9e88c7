//! Finds the value behind a secret's name: in quotes, in brackets, to the end of a header's line, or bare.
//!
//! Users: `assignment`, `quoted`.

use super::keys::{self, Secret, Strength};
use super::kind::{Kind, is_mask, word_at_start};
use super::prose;
use super::scan::meaning;

/// The context of a value.
#[expect(clippy::struct_excessive_bools, reason = "independent facts about one value")]
pub(super) struct ValueContext<'text> {
    /// The name before it.
    pub(super) name: &'text str,
    /// Behind `:`, not `=`.
    pub(super) colon: bool,
    /// With white space around the sign.
    pub(super) spaced: bool,
    /// The sign is percent-encoded.
    pub(super) encoded: bool,
    /// The name stands in quotes.
    pub(super) quoted_name: bool,
    /// One of several settings separated by `;`, whose values may contain spaces.
    pub(super) in_settings: bool,
    /// A query parameter.
    pub(super) in_query: bool,
    /// The name is the last part of a path.
    pub(super) is_path: bool,
    /// A header with a value of several words.
    pub(super) is_header: bool,
    /// What the name indicates.
    pub(super) secret: Secret,
}

/// A quote or bracket that is not closed within this many bytes ends at its line's end.
const LONGEST: usize = 65_536;

/// The value at the beginning of the text, after white space.
pub(super) fn find(text: &str, context: &ValueContext<'_>) -> Option<(usize, usize)> {
    let begin = gap(text, context.encoded);
    let value = &text[begin..];
    if value.is_empty() || word_at_start(value).is_some() {
        return None;
    }
    let (start, end) = if let Some((start, end)) = inside_quotes(value) {
        if is_mask(&value[start..end])
            || (context.secret.strength == Strength::Counted && is_number(&value[start..end]))
        {
            return None;
        }
        (start, end)
    } else if context.secret.strength != Strength::Weak && value.starts_with(['[', '{']) {
        (0, brackets(value)?)
    } else if let Some(end) = context.is_header.then(|| header(value, context)).flatten() {
        (0, end)
    } else {
        (0, bare(value, context)?)
    };
    (start < end).then_some((begin + start, begin + end))
}

/// The content of the quoted text at the beginning; to the end of its line if not closed.
pub(super) fn inside_quotes(text: &str) -> Option<(usize, usize)> {
    let bytes = text.as_bytes();
    // Python's b'…', u'…'.
    let prefix = usize::from(matches!(bytes.first(), Some(b'b' | b'u' | b'r')) && quote(&bytes[1..]).is_some());
    let (mark, escapes, width) = quote(&bytes[prefix..])?;
    let begin = prefix + width;
    let (mut at, mut backslashes) = (begin, 0);
    let limit = bytes.len().min(begin + LONGEST);
    while at < limit {
        let (meant, taken) = if width > 1 && escapes == 0 { quote_meaning(&bytes[at..]) } else { (bytes[at], 1) };
        if meant == mark && closes(escapes, backslashes) {
            return Some((begin, at - backslashes.min(escapes)));
        }
        backslashes = if meant == b'\\' { backslashes + 1 } else { 0 };
        at += taken;
    }
    Some((begin, begin + line(&text[begin..])))
}

/// Whether a quote behind this many backslashes closes one that was opened behind `escapes`.
fn closes(escapes: usize, backslashes: usize) -> bool {
    if escapes == 0 { backslashes.is_multiple_of(2) } else { backslashes <= escapes }
}

/// The quote at the beginning: its character, the number of backslashes before it, and its width.
fn quote(bytes: &[u8]) -> Option<(u8, usize, usize)> {
    let escapes = bytes.iter().take_while(|byte| **byte == b'\\').count();
    let (meant, width) = quote_meaning(&bytes[escapes..]);
    matches!(meant, b'"' | b'\'' | b'`').then_some((meant, escapes, escapes + width))
}

fn quote_meaning(bytes: &[u8]) -> (u8, usize) {
    match bytes {
        [b'&', b'q', b'u', b'o', b't', b';', ..] => (b'"', 6),
        [b'&', b'#', b'3', b'4', b';', ..] => (b'"', 5),
        [b'&', b'#', b'3', b'9', b';', ..] => (b'\'', 5),
        _ => meaning(bytes),
    }
}

/// The length of a list or object; to the end of its line if not closed. None if it is empty.
fn brackets(text: &str) -> Option<usize> {
    let mut depth = 0_usize;
    for (index, byte) in text.bytes().enumerate().take(LONGEST) {
        match byte {
            b'[' | b'{' => depth += 1,
            b']' | b'}' => depth -= 1,
            _ => {}
        }
        if depth == 0 {
            let inside = text[1..index].trim();
            let is_template = text.starts_with("{{") || inside.is_empty() || inside == "object Object";
            return (!is_template && word_at_start(inside.trim_start_matches(['"', '\''])).is_none())
                .then_some(index + 1);
        }
    }
    Some(line(text))
}

/// The end of a header's value with several words; None if it is an ordinary value.
fn header(text: &str, context: &ValueContext<'_>) -> Option<usize> {
    /// The first cookie's name ends within this.
    const NAME: usize = 256;
    let bytes = text.as_bytes();
    if context.secret.kind == Kind::Cookie {
        let ends_name = |byte: &u8| b"=\n\r\"'".contains(byte);
        let sign = bytes.iter().take(NAME).find(|byte| ends_name(byte));
        return (sign == Some(&b'=')).then(|| header_line(text));
    }
    let letters = |byte: &&u8| byte.is_ascii_alphanumeric() || **byte == b'-';
    let scheme = bytes.iter().take(NAME).take_while(letters).count();
    match text[..scheme].to_ascii_lowercase().as_str() {
        "bearer" | "basic" | "token" | "apikey" | "negotiate" | "ntlm" | "jwt" | "key" | "bot" => {
            let begin = scheme + gap(&text[scheme..], context.encoded);
            let ends = |byte: &u8| byte.is_ascii_whitespace() || b",;)}\"'`\\%".contains(byte);
            let length = bytes[begin..].iter().take_while(|byte| !ends(byte)).count();
            let word = &text[begin..begin + length];
            let is_word = prose::is_word(word) || prose::is_of_code(word);
            (begin > scheme && length > 0 && !is_word).then_some(begin + length)
        }
        "digest" | "aws4-hmac-sha256" | "oauth" | "hawk" | "sharedkey" | "sharedkeylite" | "signature" | "aws" => {
            Some(header_line(text))
        }
        _ => None,
    }
}

/// The length of the line, or up to the quote that encloses the header.
fn header_line(text: &str) -> usize {
    let bytes = text.as_bytes();
    let mut at = 0;
    while at < bytes.len() {
        match bytes[at] {
            b'\n' | b'\r' => break,
            b'\\' if matches!(bytes.get(at + 1), Some(b'n' | b'r' | b'"' | b'\'' | b'\\')) => break,
            // A cookie's or parameter's own quotes.
            mark @ (b'"' | b'\'') if at > 0 && bytes[at - 1] == b'=' => {
                let inner = bytes[at + 1..].iter().position(|byte| *byte == mark || *byte == b'\n');
                at = inner.map_or(bytes.len(), |inner| at + 1 + inner);
            }
            b'"' | b'\'' | b'`' => break,
            b'%' if matches!(meaning(&bytes[at..]).0, b'\n' | b'\r' | b'"' | b'\'') => break,
            _ => {}
        }
        at += 1;
    }
    at.min(bytes.len())
}

/// The end of an unquoted value. None if it is prose, code or a template.
fn bare(text: &str, context: &ValueContext<'_>) -> Option<usize> {
    let bytes = text.as_bytes();
    let mut at = 0;
    while at < bytes.len() {
        let (meant, width) = meaning(&bytes[at..]);
        let after = || &text[at + 1..];
        let ends = match bytes[at] {
            b' ' if context.in_settings && continues_to_semicolon(after()) => false,
            byte if byte.is_ascii_whitespace() || byte.is_ascii_control() => true,
            b'\\' => matches!(bytes.get(at + 1), Some(b'n' | b'r' | b't' | b'u' | b'"' | b'\'' | b'\\')),
            b'"' | b'\'' | b'`' | b'&' | b';' | b',' | b'|' => ends_value(after()),
            b'<' => after().starts_with(['/', 'b']),
            b'#' => context.in_query,
            b'%' if width > 1 => {
                matches!(meant, b'"' | b'&' | b';' | b'\'' | b'\n' | b'\r') || (context.encoded && meant == b' ')
            }
            _ => false,
        };
        if ends {
            break;
        }
        at += if bytes[at] == b'%' { width } else { 1 };
    }
    let value = text[..at.min(text.len())].trim_end_matches([')', ']', '}', '>', '.', ',', ';', ':', '!', '?']);
    is_secret_value(value, &text[value.len()..], context).then_some(value.len())
}

/// Whether `Password=two words;` continues behind a space.
fn continues_to_semicolon(after: &str) -> bool {
    const LONGEST: usize = 64;
    after.bytes().take(LONGEST).find(|byte| b";=\"'\n".contains(byte)) == Some(b';')
}

/// Whether a separator before this text ends the value.
fn ends_value(after: &str) -> bool {
    const LONGEST_NAME: usize = 48;
    let bytes = after.as_bytes();
    let Some(first) = bytes.first() else { return true };
    if first.is_ascii_whitespace() || b"\"'`)]}>\\&;,|".contains(first) || after.starts_with("amp;") {
        return true;
    }
    let name =
        bytes.iter().take(LONGEST_NAME).take_while(|byte| byte.is_ascii_alphanumeric() || b"_-.[] ".contains(byte));
    matches!(bytes.get(name.count()), Some(b'=' | b':'))
}

/// Whether an unquoted text looks like a secret value.
fn is_secret_value(value: &str, after: &str, context: &ValueContext<'_>) -> bool {
    let secret = context.secret;
    if value.is_empty() || is_mask(value) || prose::is_of_code(value) || prose::is_template(value) {
        return false;
    }
    // `password=user` may be one, `password: user not found` is a sentence.
    if (context.colon || context.spaced) && prose::is_word(value) {
        return false;
    }
    if is_number(value) {
        let counted = secret.strength != Strength::Strong;
        // `auth/token:12` is a line of a file.
        let is_line = context.colon && !context.spaced && !context.quoted_name && secret.kind == Kind::Token;
        return !(counted || (is_line && value.len() <= 5));
    }
    let letters = value.bytes().all(|byte| byte.is_ascii_alphabetic() || byte == b'_');
    if context.is_path && context.colon && !context.spaced && letters {
        return false;
    }
    if context.spaced && prose::is_code(value, after) {
        return false;
    }
    // `login(password=password, token=auth_token)`.
    let is_argument =
        value.eq_ignore_ascii_case(context.name) || (value.contains('_') && keys::secret(value).is_some());
    if letters && is_argument && !context.in_query {
        return false;
    }
    match secret.strength {
        Strength::Weak => value.len() >= 6 && value.bytes().any(|byte| byte.is_ascii_digit()),
        Strength::Strong | Strength::Counted => true,
    }
}

fn is_number(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}

fn gap(text: &str, encoded: bool) -> usize {
    const LONGEST: usize = 64;
    let mut at = 0;
    while at < LONGEST {
        match meaning(&text.as_bytes()[at..]) {
            (b' ' | b'\t', 1) => at += 1,
            (b' ', width) if encoded => at += width,
            (b'+', 1) if encoded => at += 1,
            _ => break,
        }
    }
    at
}

fn line(text: &str) -> usize {
    text.find('\n').unwrap_or(text.len())
}
