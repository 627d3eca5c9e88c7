//! Normalises a message: each part that varies between occurrences becomes its kind in angle brackets.
//!
//! One pass over the text, no regular expressions. Idempotent: a placeholder is a word like any other, and no digit is
//! left.

use std::net::{IpAddr, SocketAddr};

use super::places;
use super::quotes::Quotes;

/// All placeholders.
const PLACEHOLDERS: [&str; 10] =
    ["<n>", "<id>", "<ip>", "<hex>", "<mac>", "<url>", "<path>", "<text>", "<uuid>", "<email>"];

/// Redaction's placeholders that have an equivalent here.
const REDACTED: [(&str, &str); 2] = [("[email]", "<email>"), ("[ip]", "<ip>")];

/// The message with each varying part replaced, and white space folded. Stops at about this many bytes.
pub(super) fn normalise(message: &str, limit: usize) -> String {
    let text = message.trim();
    let mut scan = Scan {
        text,
        at: 0,
        out: String::with_capacity(text.len().min(limit) + 16),
        quotes: Quotes::default(),
        places_from: 0,
        token: Token::default(),
    };
    while scan.at < text.len() && scan.out.len() < limit {
        scan.step();
    }
    scan.out
}

/// Whether a word or placeholder ends right before this position.
pub(super) fn is_word_before(text: &str, at: usize) -> bool {
    let before = &text[..at];
    before.ends_with(char::is_alphanumeric)
        || (before.ends_with('>') && PLACEHOLDERS.iter().any(|placeholder| before.ends_with(placeholder)))
}

/// Whether a word or placeholder begins at this position.
pub(super) fn is_word_after(text: &str, at: usize) -> bool {
    text[at..].starts_with(char::is_alphanumeric) || replaced_at(&text[at..]).is_some()
}

fn placeholder_at(rest: &str) -> Option<&'static str> {
    if !rest.starts_with('<') {
        return None;
    }
    PLACEHOLDERS.into_iter().find(|placeholder| rest.starts_with(placeholder))
}

/// The placeholder that begins here, ours or redaction's: its kind, and its length.
fn replaced_at(rest: &str) -> Option<(&'static str, usize)> {
    let own = placeholder_at(rest).map(|placeholder| (placeholder, placeholder.len()));
    let redacted =
        || REDACTED.into_iter().find(|(word, _)| rest.starts_with(word)).map(|(word, kind)| (kind, word.len()));
    own.or_else(redacted)
}

/// Characters of ids, addresses and numbers.
fn is_token_char(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.' | ':' | '@' | '+' | '%')
}

/// A run of such characters, and the position of an e-mail address in it.
#[derive(Debug, Default)]
struct Token {
    end: usize,
    email: Option<(usize, usize)>,
}

struct Scan<'a> {
    text: &'a str,
    at: usize,
    out: String,
    quotes: Quotes,
    /// No further path or URL begins before this position.
    places_from: usize,
    token: Token,
}

impl Scan<'_> {
    fn step(&mut self) {
        let rest = &self.text[self.at..];
        let Some(c) = rest.chars().next() else { return };
        if let Some(len) = self.pod(rest) {
            self.replace("<id>", len);
        } else if let Some(word) = plain_word(rest) {
            self.out.push_str(word);
            self.at += word.len();
        } else if c.is_whitespace() {
            let after = rest.trim_start();
            let white = &rest[..rest.len() - after.len()];
            self.out.push(if white.contains('\n') { '\n' } else { ' ' });
            self.at += white.len();
        } else if let Some((placeholder, len)) = self.placeholder(rest) {
            if self.at >= self.places_from {
                self.no_place_before(self.at + len + places::path_end(&rest[len..]));
            }
            self.replace(placeholder, len);
        } else if let Some(len) = self.quotes.at(self.text, self.at) {
            self.replace("<text>", len);
        } else if let Some((kind, len)) = self.place(c).or_else(|| self.address()) {
            self.replace(kind, len);
        } else if c.is_ascii_alphanumeric() || self.is_sign(rest) {
            self.word(rest);
        } else {
            self.out.push(c);
            self.at += c.len_utf8();
        }
    }

    /// Replaces a part by its kind. A list of one kind becomes one placeholder, since its length varies.
    fn replace(&mut self, kind: &str, len: usize) {
        self.at += len;
        let listed = self.out.trim_end_matches(' ').strip_suffix(',').filter(|before| before.ends_with(kind));
        match listed.map(str::len) {
            Some(end) => self.out.truncate(end),
            None => self.out.push_str(kind),
        }
    }

    /// The five-letter suffix of a Kubernetes pod's name, behind its replica set's hash.
    fn pod(&self, rest: &str) -> Option<usize> {
        const LENGTH: usize = 5;
        let of_name = |byte: &u8| b"bcdfghjklmnpqrstvwxz2456789".contains(byte);
        let is_end = rest.as_bytes().get(..LENGTH)?.iter().all(of_name) && self.out.ends_with("<hex>-");
        (is_end && !rest[LENGTH..].starts_with(char::is_alphanumeric)).then_some(LENGTH)
    }

    /// A placeholder, ours or redaction's; an address includes its port.
    fn placeholder(&self, rest: &str) -> Option<(&'static str, usize)> {
        let (kind, len) = replaced_at(rest)?;
        let port = rest[len..].strip_prefix(':').filter(|_| kind == "<ip>").map_or(0, digits);
        let port = if port == 0 || is_word_after(self.text, self.at + len + 1 + port) { 0 } else { port + 1 };
        Some((kind, len + port))
    }

    /// A path or URL that begins here.
    fn place(&mut self, c: char) -> Option<(&'static str, usize)> {
        let begins = c.is_alphanumeric() || matches!(c, '/' | '\\' | '.' | '~');
        if self.at < self.places_from || !begins {
            return None;
        }
        let before = &self.text[..self.at];
        // `</div>` closes an element.
        let amid = is_word_before(self.text, self.at) || (c == '/' && before.ends_with('<'));
        let rest = &self.text[self.at..];
        let found = if amid { None } else { places::at(rest) };
        if found.is_none() {
            self.no_place_before(self.at + places::path_end(rest));
        }
        found
    }

    /// Records that no path or URL begins in the run that ends here. A placeholder belongs to the run, as its original
    /// did.
    fn no_place_before(&mut self, end: usize) {
        self.places_from = end;
        while let Some((_, len)) = replaced_at(&self.text[self.places_from..]) {
            self.places_from += len;
            self.places_from += places::path_end(&self.text[self.places_from..]);
        }
    }

    /// An e-mail address, network address or UUID that begins here.
    fn address(&mut self) -> Option<(&'static str, usize)> {
        if self.at >= self.token.end {
            self.token = self.token_here()?;
        }
        if let Some((start, end)) = self.token.email.filter(|(start, _)| *start == self.at) {
            // Another one may follow.
            self.token.end = end;
            return Some(("<email>", end - start));
        }
        let rest = &self.text[self.at..self.token.end];
        if is_word_before(self.text, self.at) {
            return None;
        }
        if is_uuid(rest) {
            return Some(("<uuid>", 36));
        }
        // Longer tokens are no addresses.
        if rest.len() > 96 {
            return None;
        }
        let core = rest.trim_end_matches(['.', ':', '-']);
        if is_mac(core) {
            return Some(("<mac>", core.len()));
        }
        is_ip(core).then_some(("<ip>", core.len()))
    }

    /// The token that begins here, placeholders included.
    fn token_here(&self) -> Option<Token> {
        let mut end = self.at;
        while let Some(c) = self.text[end..].chars().next() {
            if is_token_char(c) {
                end += 1;
            } else if let Some((_, len)) = replaced_at(&self.text[end..]) {
                end += len;
            } else {
                break;
            }
        }
        let token = &self.text[self.at..end];
        let inside = |(start, end)| (self.at + start, self.at + end);
        let in_word = is_word_before(self.text, self.at);
        (!token.is_empty())
            .then(|| Token { end, email: email(token).filter(|(start, _)| *start > 0 || !in_word).map(inside) })
    }

    /// Whether a number with a sign begins here.
    fn is_sign(&self, rest: &str) -> bool {
        matches!(rest.as_bytes(), [b'-' | b'+', b'0'..=b'9', ..]) && !is_word_before(self.text, self.at)
    }

    /// A word: an id, a number, or a word whose numbers are replaced.
    fn word(&mut self, rest: &str) {
        let sign = usize::from(rest.starts_with(['-', '+']));
        let end = sign + word_end(&rest[sign..]);
        let word = &rest[sign..end];
        if word.bytes().all(|byte| byte.is_ascii_digit()) || is_exponential(word) {
            self.replace("<n>", number_end(rest, end));
        } else if word.len() == 32 && word.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            self.out.push_str(&rest[..sign]);
            self.replace("<uuid>", end - sign);
            self.at += sign;
        } else if let Some(number) = leading_number(rest, sign, end) {
            self.replace("<n>", number);
        } else {
            self.out.push_str(&rest[..sign]);
            self.at += match (is_hexadecimal(word), is_mixed_id(word)) {
                (true, _) => {
                    self.out.push_str("<hex>");
                    end
                }
                (_, true) => {
                    self.out.push_str("<id>");
                    end
                }
                _ => {
                    push_without_numbers(&mut self.out, word);
                    // `v1.2.3`, `python3.11`
                    if word.ends_with(|c: char| c.is_ascii_digit()) { number_end(rest, end) } else { end }
                }
            };
        }
    }
}

/// A plain word: letters followed by a character that can't continue an id, address or path. The common case.
fn plain_word(rest: &str) -> Option<&str> {
    let end = rest.bytes().position(|byte| !byte.is_ascii_alphabetic()).unwrap_or(rest.len());
    let plain =
        matches!(rest.as_bytes().get(end), None | Some(b' ' | b'\n' | b',' | b';' | b'!' | b'(' | b')' | b'"' | b'\''));
    (end > 0 && plain).then(|| &rest[..end])
}

fn word_end(rest: &str) -> usize {
    rest.bytes().position(|byte| !byte.is_ascii_alphanumeric()).unwrap_or(rest.len())
}

fn digits(rest: &str) -> usize {
    rest.bytes().position(|byte| !byte.is_ascii_digit()).unwrap_or(rest.len())
}

/// `2e5`.
fn is_exponential(word: &str) -> bool {
    let (mantissa, exponent) = word.split_at(digits(word));
    let power = exponent.strip_prefix(['e', 'E']).unwrap_or_default();
    !mantissa.is_empty() && !power.is_empty() && digits(power) == power.len() && word.len() < 8
}

/// The length of the number before a unit, as in `5ms` and `1.5s`; none for ids and other words.
fn leading_number(rest: &str, sign: usize, end: usize) -> Option<usize> {
    let word = &rest[sign..end];
    let leading = digits(word);
    let plain = !is_hexadecimal(word) && !is_mixed_id(word);
    // `1e-7`: the sign ends the word.
    let open = word.ends_with(['e', 'E']) && leading + 1 == word.len() && leading > 0;
    if open && matches!(rest.as_bytes().get(end..), Some([b'-' | b'+', b'0'..=b'9', ..])) {
        return Some(end + 1 + digits(&rest[end + 1..]));
    }
    (leading > 0 && plain).then_some(sign + leading)
}

/// The end of a number whose first digits end here: `12.5`, `1,000.50`, `1.2.3`, `3.1e-7`.
fn number_end(rest: &str, mut end: usize) -> usize {
    while let [b'.' | b',' | b'_', b'0'..=b'9', ..] = rest.as_bytes()[end..] {
        let word = &rest[end + 1..end + 1 + word_end(&rest[end + 1..])];
        if is_exponential(word) || digits(word) == word.len() {
            end += 1 + word.len();
        } else {
            return leading_number(&rest[end + 1..], 0, word.len()).map_or(end, |number| end + 1 + number);
        }
    }
    end
}

/// `0x7ffe12`, or at least seven hexadecimal digits with a number among them.
pub(super) fn is_hexadecimal(word: &str) -> bool {
    let digits = word.strip_prefix("0x").or_else(|| word.strip_prefix("0X")).unwrap_or(word);
    let prefixed = digits.len() < word.len();
    !digits.is_empty()
        && digits.bytes().all(|byte| byte.is_ascii_hexdigit())
        && (prefixed
            || (digits.len() >= 7
                && digits.bytes().any(|byte| byte.is_ascii_digit())
                && digits.bytes().any(|byte| byte.is_ascii_alphabetic())))
}

/// At least eight letters and digits that alternate at least three times, such as `7fGh3kL9sPq2`.
pub(super) fn is_mixed_id(word: &str) -> bool {
    let changes =
        word.as_bytes().windows(2).filter(|pair| pair[0].is_ascii_digit() != pair[1].is_ascii_digit()).count();
    word.len() >= 8 && changes >= 3
}

pub(super) fn push_without_numbers(out: &mut String, word: &str) {
    let mut in_number = false;
    for c in word.chars() {
        if !c.is_ascii_digit() {
            out.push(c);
        } else if !in_number {
            out.push_str("<n>");
        }
        in_number = c.is_ascii_digit();
    }
}

/// Whether the text begins with a UUID in its usual form.
fn is_uuid(rest: &str) -> bool {
    let bytes = rest.as_bytes();
    bytes.len() >= 36
        && bytes[..36].iter().enumerate().all(|(at, byte)| match at {
            8 | 13 | 18 | 23 => *byte == b'-',
            _ => byte.is_ascii_hexdigit(),
        })
        && !bytes.get(36).is_some_and(u8::is_ascii_alphanumeric)
}

/// `00:1b:44:11:3a:b7`.
fn is_mac(token: &str) -> bool {
    let bytes = token.as_bytes();
    bytes.len() == 17
        && bytes
            .iter()
            .enumerate()
            .all(|(at, byte)| if at % 3 == 2 { matches!(byte, b':' | b'-') } else { byte.is_ascii_hexdigit() })
}

fn is_ip(token: &str) -> bool {
    // Without its scope: `fe80::1%eth0`.
    let host = token.split('%').next().unwrap_or(token);
    // `fe::add` is an identifier.
    token.len() <= 64
        && host.contains(['.', ':'])
        && host.bytes().any(|byte| byte.is_ascii_digit())
        && (host.parse::<IpAddr>().is_ok() || host.parse::<SocketAddr>().is_ok())
}

/// The position of an e-mail address in a token; it begins after a colon.
fn email(token: &str) -> Option<(usize, usize)> {
    let at = token.find('@')?;
    let core = token.trim_end_matches(['.', ':', '-', '@', '%', '+', '_']);
    let start = token[..at].rfind(':').map_or(0, |colon| colon + 1);
    let host = core.get(at + 1..)?;
    let host = &host[..host.find(':').unwrap_or(host.len())];
    let (name, top) = host.rsplit_once('.')?;
    let valid = start < at
        && !name.is_empty()
        && top.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
        && top.bytes().any(|byte| byte.is_ascii_alphabetic())
        && !host.contains(['@', '<']);
    valid.then_some((start, at + 1 + host.len()))
}
