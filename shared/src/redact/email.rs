//! E-mail addresses, plain and percent-encoded; and `user:password@host` without a scheme.
//!
//! Not redacted: `git@host` (a repository, not a mailbox), `@decorators`, `package@1.2.3`, `image@2x.png`,
//! `root@localhost`, and function names in stack traces (`send@app.js`).
//!
//! Users: `scan`.

use super::kind::{Kind, word_at_start};
use super::scan::{SecretMatch, behind_escape, meaning};

/// Extensions of files and units that are no top-level domains.
#[rustfmt::skip]
const FILE_ENDINGS: [&str; 29] = [
    "js", "jsx", "ts", "tsx", "mjs", "cjs", "css", "scss", "html", "png", "jpg", "jpeg", "gif", "svg", "webp", "json",
    "xml", "yml", "yaml", "txt", "log", "java", "kt", "rb", "jar", "dll", "service", "socket", "timer",
];

/// The address whose `@` (or `%40`, of this width) begins `rest`.
pub(super) fn find(left: &str, rest: &str, width: usize) -> Option<SecretMatch> {
    let start = local_start(left);
    let local = &left[start..];
    if local.is_empty() {
        return None;
    }
    let after = &rest[width..];
    let domain = domain(after);
    if is_mail_domain(domain) && !local.eq_ignore_ascii_case("git") {
        return Some(SecretMatch { back: local.len(), start: 0, end: width + domain.len(), kind: Kind::Email });
    }
    credentials(left, after, domain)
}

/// The start of the local part at the end of `left`.
fn local_start(left: &str) -> usize {
    let mut start = left.len();
    for (index, c) in left.char_indices().rev() {
        if c == '%' {
            let (byte, width) = meaning(&left.as_bytes()[index..]);
            if !(byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'.' | b'_' | b'-')) || width == 1 {
                start = (index + width).max(start).min(left.len());
                break;
            }
        } else if !is_local(c) {
            break;
        }
        start = index;
    }
    let start = behind_escape(left, start);
    let text = &left[start..];
    left.len() - text.trim_start_matches(['.', '-', '+']).len()
}

fn is_local(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '+' | '-' | '~') || is_latin_like(c)
}

/// Letters of the scripts that put spaces between words.
fn is_latin_like(c: char) -> bool {
    !c.is_ascii() && c < '\u{590}' && c.is_alphabetic()
}

/// The host name at the beginning of the text.
fn domain(text: &str) -> &str {
    let end = text.find(|c: char| !(c.is_ascii_alphanumeric() || matches!(c, '.' | '-') || is_latin_like(c)));
    let run = &text[..end.unwrap_or(text.len())];
    let run = run.find("..").map_or(run, |dots| &run[..dots]);
    let mut domain = run.trim_end_matches(['.', '-']);
    // What follows without a space, such as an IP address, is no part of it.
    while let Some((before, last)) = domain.rsplit_once('.') {
        if last.chars().take(2).filter(|c| c.is_alphabetic()).count() == 2 {
            break;
        }
        domain = before.trim_end_matches('-');
    }
    domain
}

fn is_mail_domain(domain: &str) -> bool {
    let Some((first, rest)) = domain.split_once('.') else { return false };
    let last = rest.rsplit('.').next().unwrap_or(rest);
    let is_number = |label: &str| !label.is_empty() && label.bytes().all(|byte| byte.is_ascii_digit());
    let is_version = is_number(first) && rest.as_bytes().first().is_some_and(u8::is_ascii_digit);
    let is_retina = matches!(first, "1x" | "2x" | "3x" | "4x");
    !first.is_empty() && !is_version && !is_retina && !FILE_ENDINGS.contains(&last)
}

/// `user:password@` before a database's host: `root:hunter2@tcp(db:3306)`, `app:hunter2@localhost`.
fn credentials(left: &str, after: &str, host: &str) -> Option<SecretMatch> {
    const LONGEST: usize = 200;
    let from = left.len() - left.bytes().rev().take(LONGEST).take_while(|&byte| is_credential(byte)).count();
    let (user, password) = left[from..].split_once(':')?;
    if user.is_empty() || password.is_empty() || word_at_start(password).is_some() {
        return None;
    }
    let follows = &after[host.len()..];
    let port = follows.strip_prefix(':').is_some_and(|port| port.starts_with(|c: char| c.is_ascii_digit()));
    let socket = matches!(host, "tcp" | "unix") && follows.starts_with('(');
    let address = host.parse::<std::net::Ipv4Addr>().is_ok();
    // `image:tag@sha256:…` is a digest.
    if !(host == "localhost" || socket || address || (port && !host.starts_with("sha"))) {
        return None;
    }
    Some(SecretMatch { back: password.len(), start: 0, end: 0, kind: Kind::Password })
}

fn is_credential(byte: u8) -> bool {
    byte.is_ascii_graphic() && !matches!(byte, b'"' | b'\'' | b'@' | b'/' | b'=' | b'<' | b'>' | b',' | b'(' | b'\\')
}
