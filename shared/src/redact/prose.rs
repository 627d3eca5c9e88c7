//! Texts behind a secret's name that are no secrets: words of a sentence, types, templates, code.
//!
//! Users: `value`.

/// Whether this is a word of a sentence (`password: must be …`).
pub(super) fn is_word(value: &str) -> bool {
    is_in(value, WORDS)
}

/// Whether this is a type or value of a language (`token: str`, `password=null`).
pub(super) fn is_of_code(value: &str) -> bool {
    is_in(value, OF_CODE)
}

fn is_in(value: &str, words: &[&str]) -> bool {
    const LONGEST: usize = 16;
    if value.len() > LONGEST {
        return false;
    }
    let word = value.trim_matches(['&', '*', '?', '"', '\'']).to_ascii_lowercase();
    let word = word.split(['<', '[', '|']).next().unwrap_or_default();
    words.contains(&word)
}

#[rustfmt::skip]
const WORDS: &[&str] = &[
    "a", "about", "after", "all", "already", "an", "and", "any", "are", "as", "at", "be", "been", "before", "both",
    "but", "by", "can", "can't", "cannot", "changed", "could", "denied", "did", "disabled", "do", "does", "doesn't",
    "don't", "empty", "enabled", "error", "expected", "expired", "failed", "field", "for", "from", "found", "got",
    "had", "has", "have", "if", "illegal", "in", "incorrect", "invalid", "is", "isn't", "it", "its", "length", "may",
    "mismatch", "missing", "must", "need", "needs", "neither", "new", "no", "not", "of", "on", "or", "please",
    "received", "rejected", "required", "reset", "should", "so", "that", "the", "there", "these", "this", "to",
    "token", "too", "unable", "unauthorized", "unexpected", "unknown", "user", "value", "was", "were", "when",
    "while", "will", "with", "wrong", "yes", "you", "your",
];

#[rustfmt::skip]
const OF_CODE: &[&str] = &[
    "any", "await", "bool", "boolean", "bytes", "enum", "false", "function", "int", "integer", "n/a", "nil", "none",
    "null", "number", "object", "option", "optional", "self", "str", "string", "struct", "true", "undefined", "unique",
    "varchar", "void",
];

/// Whether this is a template's placeholder: `${PASSWORD}`, `%s`, `$1`, `{{ token }}`, `?`.
pub(super) fn is_template(value: &str) -> bool {
    let is_number = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    ["${", "$(", "{{", "<%", "%(", "#{"].iter().any(|start| value.starts_with(start))
        || matches!(value, "?" | "%s" | "%d" | "%v" | "%r" | "{}" | "...")
        || value.strip_prefix('$').is_some_and(is_number)
}

/// Whether this is an expression: a call (`get_token(…`), or a path of names (`request.token`).
pub(super) fn is_code(value: &str, after: &str) -> bool {
    let names =
        |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_alphabetic() || b"_.".contains(&byte));
    let call =
        value.split_once(['(', '[']).map(|(name, _)| name).or_else(|| after.starts_with(['(', '[']).then_some(value));
    call.is_some_and(names) || (value.contains('.') && names(value))
}
