//! JSON: redacts values under secret names at any depth, and secrets within all other texts, numbers and keys.
//!
//! Names also occur in pairs (`["Cookie", "a=b"]` in a list of pairs, `{"name": "Cookie", "value": "a=b"}`), before
//! their value in flat lists (`["--password", "…"]`, Node's `rawHeaders`), and in JSON within strings. Under a secret
//! name all texts and numbers are redacted; the structure, `true`, `false` and `null` stay.
//!
//! Users: `redact`.

use std::borrow::Cow;

use serde_json::{Map, Value};

use super::assignment::is_header;
use super::card;
use super::keys::{self, Secret, Strength};
use super::kind::{Kind, is_mask, word_at_start};
use super::patterns::Patterns;
use super::scan::{self, Mode};

/// Deeper than any parser accepts; deeper values are redacted.
const DEEPEST: usize = 200;
/// The deepest JSON within strings that is parsed; each level doubles the backslashes, so that more does not occur.
const NESTED: usize = 3;

/// One walk over a value.
#[derive(Clone, Copy)]
pub(super) struct Walk<'patterns> {
    pub(super) patterns: &'patterns Patterns,
    /// The number of enclosing strings.
    nested: usize,
}

/// The position of a value.
#[derive(Clone, Copy)]
struct Position {
    depth: usize,
    mode: Mode,
    /// The secret name above it.
    secret: Option<Secret>,
    /// An item of a list.
    in_list: bool,
}

impl<'patterns> Walk<'patterns> {
    pub(super) fn new(patterns: &'patterns Patterns) -> Self {
        Self { patterns, nested: 0 }
    }

    /// The text with each secret replaced.
    pub(super) fn text<'text>(&self, text: &'text str, mode: Mode) -> Cow<'text, str> {
        let plain = scan::redact(text, mode);
        let plain = self.json_within(text, &plain).map_or(plain, Cow::Owned);
        match self.patterns.redact(&plain) {
            Cow::Owned(redacted) => Cow::Owned(redacted),
            Cow::Borrowed(_) => plain,
        }
    }

    /// The value with each secret replaced.
    pub(super) fn value(&self, value: &mut Value) {
        self.visit(value, Position { depth: 0, mode: Mode::Prose, secret: None, in_list: false });
    }

    /// The object with each secret replaced.
    pub(super) fn object(&self, object: &mut Map<String, Value>) {
        self.fields(object, Position { depth: 0, mode: Mode::Prose, secret: None, in_list: false });
    }

    /// Parses a text that is JSON as a whole. Serialised again only if something was redacted; duplicate keys are lost
    /// then.
    fn json_within(&self, text: &str, plain: &str) -> Option<String> {
        let trimmed = text.trim();
        let closes = (trimmed.starts_with('{') && trimmed.ends_with('}'))
            || (trimmed.starts_with('[') && trimmed.ends_with(']'));
        if !closes || trimmed.len() < 5 || self.nested == NESTED {
            return None;
        }
        let before: Value = serde_json::from_str(trimmed).ok()?;
        let mut after = before.clone();
        Self { nested: self.nested + 1, ..*self }.value(&mut after);
        (after != before || plain != text).then(|| after.to_string())
    }

    fn visit(&self, value: &mut Value, position: Position) {
        if position.depth > DEEPEST {
            if matches!(value, Value::Array(_) | Value::Object(_)) {
                dismantle(std::mem::replace(value, Value::String(Kind::Other.word().to_owned())));
            }
            return;
        }
        match value {
            Value::Null | Value::Bool(_) => {}
            Value::Number(number) => {
                let text = number.to_string();
                if let Some(kind) = self.kind_of_number(&text, position.secret) {
                    *value = Value::String(kind.word().to_owned());
                }
            }
            Value::String(text) => self.string(text, position),
            Value::Array(items) => self.items(items, position),
            Value::Object(object) => self.fields(object, Position { in_list: false, ..position }),
        }
    }

    fn string(&self, text: &mut String, position: Position) {
        match position.secret {
            // Some SDKs send numbers as text.
            Some(Secret { strength: Strength::Counted, .. }) if text.bytes().all(|byte| byte.is_ascii_digit()) => {}
            Some(secret) if !is_mask(text) => {
                text.clear();
                text.push_str(secret.kind.word());
            }
            Some(_) => {}
            None => {
                if let Cow::Owned(redacted) = self.text(text, position.mode) {
                    *text = redacted;
                }
            }
        }
    }

    fn kind_of_number(&self, text: &str, secret: Option<Secret>) -> Option<Kind> {
        match secret {
            Some(Secret { kind, strength: Strength::Strong }) => Some(kind),
            _ if card::is_number(text.as_bytes()) => Some(Kind::Card),
            _ => matches!(self.patterns.redact(text), Cow::Owned(_)).then_some(Kind::Other),
        }
    }

    fn items(&self, items: &mut [Value], position: Position) {
        let is_pair = position.in_list && items.len() == 2;
        let inner = Position { depth: position.depth + 1, in_list: true, ..position };
        let mut named = None;
        for item in items {
            let next = match item {
                Value::String(text) if position.secret.is_none() => name_of_next(text, is_pair),
                _ => None,
            };
            let spared = position.secret.is_none() && is_pair && named.is_none() && next.is_some();
            let by_name = named.take().filter(|_| !matches!(item, Value::String(text) if text.starts_with("--")));
            if !spared {
                self.visit(item, Position { secret: position.secret.or(by_name), ..inner });
            }
            named = if by_name.is_some() { None } else { next };
        }
    }

    fn fields(&self, object: &mut Map<String, Value>, position: Position) {
        let of_pair = if position.secret.is_none() { secret_of_pair(object) } else { None };
        let mut renamed = false;
        for (key, value) in object.iter_mut() {
            let by_pair = of_pair.filter(|_| is_value_name(key));
            let name = self.text(key, Mode::Prose);
            let mode = if keys::names_version(&name) { Mode::Version } else { position.mode };
            let secret = if contains_word(&name) { None } else { keys::secret(&name) };
            let secret = secret.or(by_pair).or(position.secret);
            self.visit(value, Position { depth: position.depth + 1, mode, secret, in_list: false });
            renamed |= matches!(name, Cow::Owned(_));
        }
        if renamed {
            self.rename(object);
        }
    }

    /// Redacts secrets in keys; equal results are numbered.
    fn rename(&self, object: &mut Map<String, Value>) {
        for (key, value) in std::mem::take(object) {
            let name = self.text(&key, Mode::Prose).into_owned();
            let free = (2..).map(|number| format!("{name} ({number})"));
            let name = std::iter::once(name.clone()).chain(free).find(|name| !object.contains_key(name));
            object.insert(name.unwrap_or(key), value);
        }
    }
}

/// Whether the name contains one of our words, of a secret within the name. `user[password]` names a field.
fn contains_word(name: &str) -> bool {
    let is_index = |at: usize| name[..at].ends_with(|c: char| c.is_ascii_alphanumeric() || c == ']');
    name.match_indices('[').any(|(at, _)| word_at_start(&name[at..]).is_some() && !is_index(at))
}

/// Whether a list's item names the next one: in a pair any name; in a flat list a flag or a header.
fn name_of_next(text: &str, is_pair: bool) -> Option<Secret> {
    const LONGEST: usize = 100;
    if text.len() > LONGEST || !text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_-.".contains(&byte)) {
        return None;
    }
    let is_name = is_pair || text.starts_with("--") || is_header(text) || text.to_ascii_lowercase().starts_with("x-");
    if is_name { keys::secret(text) } else { None }
}

/// The secret's name in `{"name": "Cookie", "value": "…"}`.
fn secret_of_pair(object: &Map<String, Value>) -> Option<Secret> {
    const NAMES: [&str; 10] = ["name", "key", "k", "field", "header", "param", "Name", "Key", "id", "variable"];
    if !object.keys().any(|key| is_value_name(key)) {
        return None;
    }
    NAMES.iter().filter_map(|name| object.get(*name)?.as_str()).find_map(keys::secret)
}

fn is_value_name(key: &str) -> bool {
    matches!(key, "value" | "values" | "val" | "v" | "Value" | "content" | "data" | "stringValue")
}

/// Drops a value without recursion.
fn dismantle(value: Value) {
    let mut waiting = vec![value];
    while let Some(value) = waiting.pop() {
        match value {
            Value::Array(items) => waiting.extend(items),
            Value::Object(object) => waiting.extend(object.into_iter().map(|(_, value)| value)),
            _ => {}
        }
    }
}
