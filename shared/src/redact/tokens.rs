//! Keys and tokens with known prefixes; and `Bearer …`, `Basic …`.
//!
//! Base64 is not decoded, except for `Basic`; text that begins like an encoded JSON object (`eyJ`) is redacted as a
//! whole.
//!
//! Users: `scan`.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD;

use super::kind::Kind;
use super::scan::{SecretMatch, at_word_start, meaning};

/// A token's prefix, and what must follow.
pub(super) struct Mark {
    pub(super) text: &'static str,
    shape: Shape,
}

#[derive(Clone, Copy)]
enum Shape {
    /// At least this many characters of this set.
    Run(usize, Set),
    /// The same, only at the start of a word: the prefix alone is too common.
    WordRun(usize, Set),
    /// `sk-`, and random characters.
    OpenAi,
    Aws,
    Jwt,
    SendGrid,
    /// A host whose paths are secrets.
    Path,
    Bearer,
    Basic,
}

#[derive(Clone, Copy)]
enum Set {
    Alphanumeric,
    Url,
    Base64,
    Hex,
}

const fn mark(text: &'static str, shape: Shape) -> Mark {
    Mark { text, shape }
}

use Set::{Alphanumeric, Base64, Hex, Url};
use Shape::{Run, WordRun};

/// Sorted by the first byte.
#[rustfmt::skip]
pub(super) static MARKS: [Mark; 75] = [
    mark("ABIA", Shape::Aws), mark("ACCA", Shape::Aws), mark("AGE-SECRET-KEY-1", Run(20, Alphanumeric)),
    mark("AIza", Run(30, Url)), mark("AKIA", Shape::Aws), mark("ASIA", Shape::Aws), mark("ATATT3", Run(20, Url)),
    mark("BASIC", Shape::Basic), mark("BEARER", Shape::Bearer), mark("Basic", Shape::Basic),
    mark("Bearer", Shape::Bearer),
    mark("GOCSPX-", Run(16, Url)),
    mark("NRAK-", Run(16, Alphanumeric)),
    mark("PMAK-", Run(16, Url)),
    mark("SG.", Shape::SendGrid), mark("SK", WordRun(32, Hex)),
    mark("api.telegram.org/bot", Shape::Path), mark("atlasv1.", Run(16, Url)),
    mark("basic", Shape::Basic), mark("bearer", Shape::Bearer),
    mark("dapi", WordRun(32, Hex)), mark("dckr_pat_", Run(16, Url)), mark("discord.com/api/webhooks/", Shape::Path),
    mark("discordapp.com/api/webhooks/", Shape::Path), mark("doo_v1_", Run(16, Hex)), mark("dop_v1_", Run(16, Hex)),
    mark("dp.pt.", Run(20, Alphanumeric)),
    mark("eyJ", Shape::Jwt),
    mark("figd_", Run(16, Url)),
    mark("gho_", Run(16, Alphanumeric)), mark("ghp_", Run(16, Alphanumeric)), mark("ghr_", Run(16, Alphanumeric)),
    mark("ghs_", Run(16, Alphanumeric)), mark("ghu_", Run(16, Alphanumeric)), mark("github_pat_", Run(16, Url)),
    mark("gldt-", Run(16, Url)), mark("glpat-", Run(16, Url)), mark("glptt-", Run(16, Url)),
    mark("glrt-", Run(16, Url)), mark("gsk_", Run(30, Alphanumeric)),
    mark("hf_", WordRun(30, Alphanumeric)), mark("hooks.slack.com%2F", Shape::Path),
    mark("hooks.slack.com/", Shape::Path), mark("hvb.", Run(20, Url)), mark("hvs.", Run(20, Url)),
    mark("key-", WordRun(32, Hex)),
    mark("lin_api_", Run(16, Alphanumeric)),
    mark("npm_", Run(30, Alphanumeric)),
    mark("ntn_", WordRun(30, Alphanumeric)),
    mark("pplx-", Run(20, Alphanumeric)), mark("pscale_", Run(20, Url)), mark("pypi-Ag", Run(16, Url)),
    mark("r8_", WordRun(30, Alphanumeric)), mark("rk_live_", Run(10, Alphanumeric)),
    mark("rk_test_", Run(10, Alphanumeric)),
    mark("rubygems_", Run(20, Hex)), mark("rzp_live_", Run(10, Alphanumeric)),
    mark("sb_secret_", Run(10, Url)), mark("sbp_", Run(20, Alphanumeric)), mark("secret_", WordRun(40, Alphanumeric)),
    mark("shpat_", Run(20, Alphanumeric)),
    mark("shpss_", Run(20, Alphanumeric)), mark("sk-", Shape::OpenAi), mark("sk_live_", Run(10, Alphanumeric)),
    mark("sk_test_", Run(10, Alphanumeric)), mark("sntrys_", Run(16, Base64)), mark("sntryu_", Run(16, Alphanumeric)),
    mark("tskey-", Run(10, Url)),
    mark("whsec_", Run(16, Base64)),
    mark("xai-", Run(30, Alphanumeric)), mark("xapp-", Run(10, Url)), mark("xkeysib-", Run(20, Url)),
    mark("xox", Run(12, Url)),
    mark("ya29.", Run(16, Url)), mark("ya29%2E", Run(16, Url)),
];

/// The first index in [`MARKS`] of each first byte.
static FIRST: [u8; 128] = first();

const fn first() -> [u8; 128] {
    let mut table = [u8::MAX; 128];
    let mut index = MARKS.len();
    while index > 0 {
        index -= 1;
        table[MARKS[index].text.as_bytes()[0] as usize] = index as u8;
    }
    table
}

/// The token that begins `rest`.
pub(super) fn find(left: &str, rest: &str) -> Option<SecretMatch> {
    let byte = rest.as_bytes().first()?;
    let from = usize::from(*FIRST.get(usize::from(*byte))?);
    let second = rest.as_bytes().get(1)?;
    let marks = MARKS.get(from..)?.iter().take_while(|mark| mark.text.as_bytes()[0] == *byte);
    for mark in marks.filter(|mark| mark.text.as_bytes()[1] == *second) {
        let Some(tail) = rest.strip_prefix(mark.text) else { continue };
        let begin = mark.text.len();
        let found = match mark.shape {
            Run(least, set) => run(tail, least, set).map(|end| (0, begin + end, Kind::Token)),
            WordRun(least, set) if at_word_start(left) => {
                run(tail, least, set).map(|end| (0, begin + end, Kind::Token))
            }
            WordRun(..) => None,
            Shape::OpenAi => open_ai(left, tail).map(|end| (0, begin + end, Kind::Token)),
            Shape::Aws => aws(tail).map(|end| (0, begin + end, Kind::Token)),
            Shape::Jwt => jwt(tail).map(|(end, kind)| (0, begin + end, kind)),
            Shape::SendGrid => send_grid(tail).map(|end| (0, begin + end, Kind::Token)),
            Shape::Path => path(tail).map(|end| (begin, begin + end, Kind::Token)),
            Shape::Bearer => bearer(left, tail).map(|(start, end)| (begin + start, begin + end, Kind::Token)),
            Shape::Basic => basic(left, tail).map(|(start, end)| (begin + start, begin + end, Kind::Token)),
        };
        if let Some((start, end, kind)) = found {
            return Some(SecretMatch::ahead(start, end, kind));
        }
    }
    None
}

fn is_in(byte: u8, set: Set) -> bool {
    match set {
        Alphanumeric => byte.is_ascii_alphanumeric(),
        Url => byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-',
        Base64 => byte.is_ascii_alphanumeric() || b"_-+/=".contains(&byte),
        Hex => byte.is_ascii_hexdigit(),
    }
}

/// The length of the run at the beginning, if it is long enough.
fn run(text: &str, least: usize, set: Set) -> Option<usize> {
    let short = text.bytes().take(least).take_while(|byte| is_in(*byte, set)).count();
    (short == least).then(|| text.bytes().take_while(|byte| is_in(*byte, set)).count())
}

fn open_ai(left: &str, tail: &str) -> Option<usize> {
    /// Prefixes that name the kind of key.
    const NAMED: [&str; 6] = ["ant-", "proj-", "svcacct-", "admin-", "or-", "lf-"];
    /// Random characters must appear within this many.
    const WINDOW: usize = 64;
    let named = NAMED.iter().any(|name| tail.starts_with(name));
    let random = || {
        let window = &tail[..tail.bytes().take(WINDOW).take_while(|byte| is_in(*byte, Url)).count()];
        let long = window.split(['-', '_']).any(|part| part.len() >= 16);
        long && window.bytes().any(|byte| byte.is_ascii_digit())
    };
    if named || (at_word_start(left) && random()) { run(tail, 16, Url) } else { None }
}

/// A key's id, and the secret if it follows directly.
fn aws(tail: &str) -> Option<usize> {
    const SECRET: usize = 40;
    let is_id = |byte: &u8| byte.is_ascii_uppercase() || byte.is_ascii_digit();
    let short = tail.bytes().take(16).take_while(is_id).count();
    if short < 16 {
        return None;
    }
    let id = tail.bytes().take_while(is_id).count();
    let gap = tail[id..].bytes().take(4).take_while(|byte| b" \t,;:|/\"'".contains(byte)).count();
    let is_secret = |byte: &u8| byte.is_ascii_alphanumeric() || b"+/".contains(byte);
    let secret = tail[id + gap..].bytes().take(SECRET + 1).take_while(is_secret).count();
    Some(if gap > 0 && secret == SECRET { id + gap + secret } else { id })
}

/// Header, body and signature; a truncated one, or a header alone, counts as a token.
fn jwt(tail: &str) -> Option<(usize, Kind)> {
    let header = run(tail, 6, Url)?;
    let mut end = header;
    for _ in 0..4 {
        let Some(more) = tail[end..].strip_prefix('.').and_then(|part| run(part, 1, Url)) else { break };
        end += 1 + more;
    }
    if end >= header + 4 {
        return Some((end, Kind::Jwt));
    }
    (header >= 20).then_some((header, Kind::Token))
}

fn send_grid(tail: &str) -> Option<usize> {
    let id = run(tail, 16, Url)?;
    let secret = run(tail[id..].strip_prefix('.')?, 16, Url)?;
    Some(id + 1 + secret)
}

fn path(tail: &str) -> Option<usize> {
    let part = |byte: &u8| byte.is_ascii_graphic() && !b"\"'<>()[]\\`".contains(byte);
    let end = tail.bytes().take_while(part).count();
    (end >= 8).then_some(end)
}

/// The token behind `Bearer`: what looks like one, or anything that is alone on its line.
fn bearer(left: &str, tail: &str) -> Option<(usize, usize)> {
    if !at_word_start(left) {
        return None;
    }
    let start = gap(tail);
    let token = &tail[start..];
    let is_part = |byte: &u8| byte.is_ascii_graphic() && !b"\"'`,;&<>()[]{}\\".contains(byte);
    let end = token.bytes().take_while(is_part).count();
    let token = &token[..end];
    // `Bearer realm="shop", error=invalid_token` is a challenge.
    let is_parameter = token.trim_end_matches('=').contains('=') || tail[start + end..].starts_with('"');
    if start == 0 || end == 0 || (is_parameter && token.contains('=')) {
        return None;
    }
    let core = token.trim_end_matches(['.', ':', '!', '?']);
    let is_random = core.len() >= 24
        || core.bytes().any(|byte| byte.is_ascii_digit())
        || core.bytes().skip(1).any(|byte| byte.is_ascii_uppercase());
    let is_word = matches!(core, "token" | "tokens" | "auth" | "authentication" | "authorization" | "scheme" | "Token");
    let alone = || !is_word && is_line_start(left) && is_line_end(&tail[start + end..]);
    (is_random || alone()).then_some((start, start + core.len())).filter(|_| !core.is_empty())
}

/// User and password behind `Basic`: Base64 of a text with a colon.
fn basic(left: &str, tail: &str) -> Option<(usize, usize)> {
    /// Longer credentials are redacted without decoding.
    const LONGEST: usize = 4_096;
    if !at_word_start(left) {
        return None;
    }
    let start = gap(tail);
    let is_part = |byte: &u8| byte.is_ascii_alphanumeric() || b"+/=_-".contains(byte);
    let end = tail[start..].bytes().take_while(is_part).count();
    let token = tail[start..start + end].trim_end_matches('=');
    if start == 0 || token.len() < 4 {
        return None;
    }
    let pair = || STANDARD_NO_PAD.decode(token).is_ok_and(|decoded| decoded.contains(&b':'));
    let digits = token.bytes().any(|byte| byte.is_ascii_digit());
    let is_random = token.len() >= 12 && digits && token.bytes().any(|byte| byte.is_ascii_uppercase());
    (is_random || token.len() > LONGEST || pair()).then_some((start, start + end))
}

/// The length of white space at the beginning, plain or percent-encoded.
fn gap(text: &str) -> usize {
    let mut at = 0;
    while at < 16 {
        match meaning(&text.as_bytes()[at..]) {
            (b' ' | b'\t' | b'+', width) => at += width,
            _ => break,
        }
    }
    at
}

fn is_line_start(left: &str) -> bool {
    let line = left.bytes().rev().take(32).take_while(|byte| *byte != b'\n');
    left.is_empty() || line.clone().count() < 32 && line.clone().all(|byte| b" \t\r\"'`>".contains(&byte))
}

fn is_line_end(right: &str) -> bool {
    let line = right.bytes().take(32).take_while(|byte| *byte != b'\n' && *byte != b'\r');
    line.clone().count() < 32 && line.clone().all(|byte| b" \t\"'`.,".contains(&byte))
}
