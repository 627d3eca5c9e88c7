//! JSON: values under names that look secret, at any depth; every other text, number and object's key as it stands.
//!
//! Names also stand in pairs (`["Cookie", "a=b"]` in a list of pairs, `{"name": "Cookie", "value": "a=b"}`), before
//! their value in flat lists (`["--password", "…"]`, Node's `rawHeaders`), and in JSON within strings.
//! Under a secret's name all texts and numbers go and the structure stays; `true`, `false` and `null` tell nothing.
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

/// Deeper than any parser lets through; what lies deeper goes.
const DEEPEST: usize = 200;
/// JSON in JSON in JSON is read so many times; each level doubles the backslashes, so more is nobody's log.
const NESTED: usize = 3;

/// One walk over a value.
#[derive(Clone, Copy)]
pub(super) struct Walk<'patterns> {
    pub(super) patterns: &'patterns Patterns,
    /// How many strings the value lies in.
    nested: usize,
}

/// What is known about a value from where it stands.
#[derive(Clone, Copy)]
struct Place {
    depth: usize,
    mode: Mode,
    /// The name above it, if that looks secret.
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
        self.visit(value, Place { depth: 0, mode: Mode::Prose, secret: None, in_list: false });
    }

    /// The object with each secret replaced.
    pub(super) fn object(&self, object: &mut Map<String, Value>) {
        self.fields(object, Place { depth: 0, mode: Mode::Prose, secret: None, in_list: false });
    }

    /// A text that is JSON as a whole is read as such. It is written anew only if there was something in it, and then
    /// without what it said twice under one key.
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

    fn visit(&self, value: &mut Value, place: Place) {
        if place.depth > DEEPEST {
            if matches!(value, Value::Array(_) | Value::Object(_)) {
                dismantle(std::mem::replace(value, Value::String(Kind::Other.word().to_owned())));
            }
            return;
        }
        match value {
            Value::Null | Value::Bool(_) => {}
            Value::Number(number) => {
                let text = number.to_string();
                if let Some(kind) = self.kind_of_number(&text, place.secret) {
                    *value = Value::String(kind.word().to_owned());
                }
            }
            Value::String(text) => self.string(text, place),
            Value::Array(items) => self.items(items, place),
            Value::Object(object) => self.fields(object, Place { in_list: false, ..place }),
        }
    }

    fn string(&self, text: &mut String, place: Place) {
        match place.secret {
            // Numbers as some SDKs send them: as text.
            Some(Secret { strength: Strength::Counted, .. }) if text.bytes().all(|byte| byte.is_ascii_digit()) => {}
            Some(secret) if !is_mask(text) => {
                text.clear();
                text.push_str(secret.kind.word());
            }
            Some(_) => {}
            None => {
                if let Cow::Owned(redacted) = self.text(text, place.mode) {
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

    fn items(&self, items: &mut [Value], place: Place) {
        let is_pair = place.in_list && items.len() == 2;
        let inner = Place { depth: place.depth + 1, in_list: true, ..place };
        let mut named = None;
        for item in items {
            let next = match item {
                Value::String(text) if place.secret.is_none() => name_of_next(text, is_pair),
                _ => None,
            };
            let spared = place.secret.is_none() && is_pair && named.is_none() && next.is_some();
            let by_name = named.take().filter(|_| !matches!(item, Value::String(text) if text.starts_with("--")));
            if !spared {
                self.visit(item, Place { secret: place.secret.or(by_name), ..inner });
            }
            named = if by_name.is_some() { None } else { next };
        }
    }

    fn fields(&self, object: &mut Map<String, Value>, place: Place) {
        let of_pair = if place.secret.is_none() { secret_of_pair(object) } else { None };
        let mut renamed = false;
        for (key, value) in object.iter_mut() {
            let by_pair = of_pair.filter(|_| is_value_name(key));
            let name = self.text(key, Mode::Prose);
            let mode = if keys::tells_version(&name) { Mode::Version } else { place.mode };
            let secret = if holds_word(&name) { None } else { keys::secret(&name) };
            let secret = secret.or(by_pair).or(place.secret);
            self.visit(value, Place { depth: place.depth + 1, mode, secret, in_list: false });
            renamed |= matches!(name, Cow::Owned(_));
        }
        if renamed {
            self.rename(object);
        }
    }

    /// Keys can hold secrets too; two of one kind are told apart by a number.
    fn rename(&self, object: &mut Map<String, Value>) {
        for (key, value) in std::mem::take(object) {
            let name = self.text(&key, Mode::Prose).into_owned();
            let free = (2..).map(|number| format!("{name} ({number})"));
            let name = std::iter::once(name.clone()).chain(free).find(|name| !object.contains_key(name));
            object.insert(name.unwrap_or(key), value);
        }
    }
}

/// Whether one of our words stands in the name: of a secret that was in it, not of one under it. `user[password]` names
/// a field.
fn holds_word(name: &str) -> bool {
    let is_index = |at: usize| name[..at].ends_with(|c: char| c.is_ascii_alphanumeric() || c == ']');
    name.match_indices('[').any(|(at, _)| word_at_start(&name[at..]).is_some() && !is_index(at))
}

/// What a list's item says about the next one: in a pair any name; in a flat list a flag or a header.
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

/// Drops a value of any depth without recursion.
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
