//! Finds URLs and paths within a message.

/// The kind and length of the URL or path that begins here.
pub(super) fn at(rest: &str) -> Option<(&'static str, usize)> {
    if let Some(len) = windows(rest) {
        return Some(("<path>", len));
    }
    let end = path_end(rest);
    let run = &rest[..end];
    if is_scheme(run) && rest[end..].starts_with("://") {
        return Some(("<url>", url_end(rest)));
    }
    let near = &rest[end..rest.floor_char_boundary(end + 96)];
    if run == "data" && near.starts_with(':') && near.contains("base64,") {
        return Some(("<url>", url_end(rest)));
    }
    // A placeholder may have replaced the end.
    let whole = !rest[end..].starts_with('<');
    let end = trimmed(run);
    is_path(&rest[..end], whole).then_some(("<path>", end))
}

/// The length without trailing punctuation, which belongs to the sentence.
fn trimmed(run: &str) -> usize {
    run.trim_end_matches(['.', ',', ':', ';', '!', '?', '-']).len()
}

/// `C:\…`, `C:/…`, `\\server\…`.
fn windows(rest: &str) -> Option<usize> {
    let root = match rest.as_bytes() {
        [b'A'..=b'Z' | b'a'..=b'z', b':', b'\\' | b'/', next, ..]
            if next.is_ascii_alphanumeric() || matches!(next, b'\\' | b'.' | b'_' | b'~' | b'$' | b'%' | 0x80..) =>
        {
            3
        }
        [b'\\', b'\\', next, ..] if next.is_ascii_alphanumeric() => 2,
        _ => return None,
    };
    let part = |c: char| c.is_alphanumeric() || matches!(c, '\\' | '/' | '_' | '-' | '.' | '~' | '+' | '%' | '@' | '$');
    let end = rest[root..].find(|c| !part(c)).map_or(rest.len(), |end| root + end);
    Some(trimmed(&rest[..end]))
}

fn is_scheme(run: &str) -> bool {
    run.len() <= 32
        && run.starts_with(|c: char| c.is_ascii_alphabetic())
        && run.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'-' | b'.'))
}

/// The open brackets: a URL or path ends before a bracket that it did not open.
#[derive(Default)]
struct Brackets(u8);

impl Brackets {
    fn admits(&mut self, c: char) -> bool {
        match c {
            '(' | '[' | '{' => self.0 = self.0.saturating_add(1),
            ')' | ']' | '}' if self.0 == 0 => return false,
            ')' | ']' | '}' => self.0 -= 1,
            _ => {}
        }
        true
    }
}

fn url_end(rest: &str) -> usize {
    let mut brackets = Brackets::default();
    let ends = |c: char| c.is_whitespace() || matches!(c, '"' | '\'' | '`' | '<' | '>' | '|');
    let end = rest.find(|c| ends(c) || !brackets.admits(c)).unwrap_or(rest.len());
    trimmed(&rest[..end])
}

/// The end of the run of path characters, including a query.
pub(super) fn path_end(rest: &str) -> usize {
    let mut brackets = Brackets::default();
    let (mut slashes, mut query) = (0, false);
    let mut last = '\0';
    let end = rest.find(|c: char| {
        let before = std::mem::replace(&mut last, c);
        let admitted = match c {
            '/' => {
                slashes += 1;
                true
            }
            '_' | '-' | '.' | '~' | '+' | '%' | '@' => true,
            ':' | '*' if before == '/' => true,
            '?' | '#' if slashes > 0 => {
                query = true;
                true
            }
            '=' | '&' | ';' | ',' | ':' => query,
            '[' | ']' | '{' | '}' => slashes > 0 && brackets.admits(c),
            _ => c.is_alphanumeric(),
        };
        !admitted
    });
    end.unwrap_or(rest.len())
}

/// Whether such a run is a path, not a pair of words such as `and/or` or `text/html`.
fn is_path(run: &str, whole: bool) -> bool {
    if !run.contains('/') || !run.contains(char::is_alphanumeric) {
        return false;
    }
    if ["/", "./", "../", "~/"].iter().any(|root| run.starts_with(root)) {
        return true;
    }
    let last = run.rsplit('/').next().unwrap_or_default();
    let extension = last.rsplit_once('.').map_or("", |(_, extension)| extension);
    let has_extension = whole
        && (1..=5).contains(&extension.len())
        && extension.starts_with(|c: char| c.is_ascii_alphabetic())
        && extension.bytes().all(|byte| byte.is_ascii_alphanumeric());
    run.contains(char::is_alphabetic) && (has_extension || run.bytes().filter(|byte| *byte == b'/').count() > 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_and_paths_are_found_with_their_ends() {
        for (rest, kind, found) in [
            ("/srv/app/x.py:12: in f", "<path>", "/srv/app/x.py"),
            ("/a b", "<path>", "/a"),
            ("/orders/{id}/[slug]) x", "<path>", "/orders/{id}/[slug]"),
            ("/srv/x.py] x", "<path>", "/srv/x.py"),
            ("/users/:id/x y", "<path>", "/users/:id/x"),
            ("/x?a=1&b=2,3 y", "<path>", "/x?a=1&b=2,3"),
            ("/x?", "<path>", "/x"),
            ("./x", "<path>", "./x"),
            ("../x/y.", "<path>", "../x/y"),
            ("~/.ssh/id", "<path>", "~/.ssh/id"),
            ("src/main.rs:3", "<path>", "src/main.rs"),
            ("a/b/c", "<path>", "a/b/c"),
            ("/home/[redacted]/x", "<path>", "/home/[redacted]/x"),
            (r"C:\Users\ann\x.txt is", "<path>", r"C:\Users\ann\x.txt"),
            ("c:/temp/x, y", "<path>", "c:/temp/x"),
            (r"\\server\share x", "<path>", r"\\server\share"),
            ("https://x.example/a?b=(c)#d) y", "<url>", "https://x.example/a?b=(c)#d"),
            ("postgres://u:[redacted]@db:5432/x", "<url>", "postgres://u:[redacted]@db:5432/x"),
            ("http://[::1]:8080/x.", "<url>", "http://[::1]:8080/x"),
            ("webpack:///./src/x.js", "<url>", "webpack:///./src/x.js"),
            ("data:image/png;base64,AAAA= x", "<url>", "data:image/png;base64,AAAA="),
        ] {
            assert_eq!(at(rest), Some((kind, found.len())), "{rest}");
        }
    }

    #[test]
    fn words_with_a_slash_are_no_paths() {
        for rest in
            ["and/or", "text/html", "n/a", "1/2", "11/23/2026", "/", "//", "/ x", "x:y", r"App\Http\User", "data: x"]
        {
            assert_eq!(at(rest), None, "{rest}");
        }
    }
}
