//! Normalises a crash frame: removes what varies between builds, machines and requests.

use super::normalise::{is_hexadecimal, is_mixed_id, push_without_numbers};

/// Names that languages and SDKs use for anonymous functions.
const NAMELESS: [&str; 9] = [
    "?",
    "<anonymous>",
    "(anonymous)",
    "anonymous",
    "<unknown>",
    "<lambda>",
    "{closure}",
    "{{closure}}",
    "Anonymous function",
];

/// `module:function` with build hashes, closure numbers and the like replaced.
pub(super) fn normalise(frame: &str) -> String {
    let (place, function) = split(frame);
    let mut out = String::with_capacity(frame.len());
    push_place(&mut out, place);
    out.push(':');
    push_function(&mut out, function.trim_start_matches(is_between).trim_end());
    out
}

/// Splits a frame into module and function. The module may be a URL or a path; the function may contain double colons,
/// and single ones in Objective-C.
pub(super) fn split(frame: &str) -> (&str, &str) {
    let bytes = frame.as_bytes();
    let single =
        |at: &usize| bytes[*at] == b':' && bytes.get(at + 1) != Some(&b':') && (*at == 0 || bytes[at - 1] != b':');
    let end =
        [":-[", ":+["].iter().find_map(|selector| frame.find(selector)).or_else(|| (0..bytes.len()).rfind(single));
    end.map_or(("", frame), |end| (&frame[..end], &frame[end + 1..]))
}

fn push_place(out: &mut String, place: &str) {
    let place = place.split(['?', '#']).next().unwrap_or(place);
    // The same build runs on many hosts.
    let place = place.rsplit_once("://").map_or(place, |(_, rest)| rest.split_once('/').map_or("", |(_, path)| path));
    // Package managers put versions and hashes into paths of packages.
    let place = place.rsplit_once("node_modules/").map_or(place, |(_, package)| package);
    push_parts(out, place.trim_start().trim_end_matches(is_between));
}

/// Separators of module and function, trimmed from both.
fn is_between(c: char) -> bool {
    c == ':' || c.is_whitespace()
}

fn push_function(out: &mut String, function: &str) {
    let function = function.split(" [as ").next().unwrap_or(function);
    let nameless = NAMELESS.iter().find(|name| function.ends_with(**name));
    match nameless.map(|name| &function[..function.len() - name.len()]) {
        // `Object.?` and `Object.<anonymous>`, but not `is_anonymous`.
        Some(owner) if owner.is_empty() || owner.ends_with(['.', ':', '$', '\\', '/']) => {
            push_parts(out, owner);
            out.push_str("<fn>");
        }
        _ => push_parts(out, function),
    }
}

/// Pushes the parts between punctuation: hashes replaced, and numbers in words replaced.
fn push_parts(out: &mut String, text: &str) {
    for part in text.split_inclusive(|c: char| !c.is_alphanumeric()) {
        let word = part.trim_end_matches(|c: char| !c.is_alphanumeric());
        let behind_dash = out.ends_with('-') || out.ends_with('.');
        if is_hash(word) || (behind_dash && is_mixed_case(word)) {
            out.push_str("<hash>");
        } else {
            push_without_numbers(out, word);
        }
        out.push_str(&part[word.len()..]);
    }
}

/// A hash that a bundler or compiler appends to a name.
fn is_hash(word: &str) -> bool {
    let has_digit = word.bytes().any(|byte| byte.is_ascii_digit());
    let hexadecimal = word.len() >= 6 && word.bytes().all(|byte| byte.is_ascii_hexdigit());
    has_digit && (hexadecimal || is_hexadecimal(word) || is_mixed_id(word) || word.len() >= 16)
}

/// Eight letters and digits, as Vite and esbuild append: `DiwrgTda`, but not `Checkout`.
fn is_mixed_case(word: &str) -> bool {
    let inner_capital = word.bytes().skip(1).any(|byte| byte.is_ascii_uppercase());
    let lower = word.bytes().any(|byte| byte.is_ascii_lowercase());
    word.len() == 8 && word.bytes().all(|byte| byte.is_ascii_alphanumeric()) && inner_capital && lower
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_is_the_same_across_builds_and_machines() {
        for (frames, expected) in [
            (&["app/checkout:pay"][..], "app/checkout:pay"),
            (&["app.views:OrderView.get"], "app.views:OrderView.get"),
            (
                &["https://a.example/js/main.3f2a1b.js?v=12:t", "https://b.example:8080/js/main.987654.js#x:t"],
                "js/main.<hash>.js:t",
            ),
            (&["/assets/index-DiwrgTda.js:t", "/assets/index-B2xQkz0a.js:t"], "/assets/index-<hash>.js:t"),
            (
                &[
                    "/app/node_modules/.pnpm/react@18.2.0/node_modules/react/index.js:render",
                    "C:/x/node_modules/react/index.js:render",
                ],
                "react/index.js:render",
            ),
            (&["s:Object.?", "s:Object.<anonymous>"], "s:Object.<fn>"),
            (&["app.views:<lambda>", "app.views:?", "app.views:<anonymous>"], "app.views:<fn>"),
            (&["__main__:<module>"], "__main__:<module>"),
            (&["main:main.foo.func1.2", "main:main.foo.func3.1"], "main:main.foo.func<n>.<n>"),
            (&["app:core::iter::{closure#0}", "app:core::iter::{closure#12}"], "app:core::iter::{closure#<n>}"),
            (&["a:b::c::h0123456789abcdef"], "a:b::c::<hash>"),
            (&["com.acme.Pay$$Lambda$17:run", "com.acme.Pay$$Lambda$8:run"], "com.acme.Pay$$Lambda$<n>:run"),
            (&["Pay.m:-[Pay run:with:]"], "Pay.m:-[Pay run:with:]"),
            (&["main", ":main"], ":main"),
            (&["s:Module._compile [as runMain]"], "s:Module._compile"),
            (&["a:is_anonymous"], "a:is_anonymous"),
            (
                &["/srv/releases/20261123/app/x.py:f", "/srv/releases/20261124/app/x.py:f"],
                "/srv/releases/<hash>/app/x.py:f",
            ),
            (&["my-Checkout.js:f"], "my-Checkout.js:f"),
        ] {
            for frame in frames {
                assert_eq!(normalise(frame), expected, "{frame}");
                assert_eq!(normalise(expected), expected);
            }
        }
    }
}
