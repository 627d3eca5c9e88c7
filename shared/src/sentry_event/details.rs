//! The context of a report: further fields of an event, bounded to some 64 kB. The user's identity, cookies, headers,
//! bodies and local variables are dropped.

use serde_json::{Map, Value};

use super::exception::handled;
use super::fields::{before_query, id, items, part, scalar, tag, tags, text, without_query};

/// Bytes of JSON for a single word, a line and a URL.
const WORD: usize = 256;
const LINE: usize = 1_024;
const ADDRESS: usize = 2_048;

/// Bytes of JSON for all of these together.
const TAGS: usize = 14_000;
const BREADCRUMBS: usize = 14_000;
const EXTRA: usize = 14_000;

/// The most items kept: the first tags, the last breadcrumbs.
const MOST_TAGS: usize = 50;
const MOST_BREADCRUMBS: usize = 20;

/// The depth to which a value is kept, and the items of one list or object.
const DEPTH: usize = 4;
const ITEMS: usize = 50;

/// The details of an event.
pub(super) fn of(event: &Value, raised: &Value) -> Map<String, Value> {
    let mut details = Map::new();
    let mut keep = |name: &str, value: Option<Value>| {
        if let Some(value) = value {
            details.insert(name.to_owned(), value);
        }
    };
    for name in ["platform", "logger", "server_name", "dist"] {
        keep(name, text(event, name).map(|word| cut(word, WORD)));
    }
    for name in ["culprit", "transaction"] {
        keep(name, text(event, name).map(|line| cut(line, LINE)));
    }
    keep("sentry_event_id", id(event, "event_id").map(|id| cut(&id, WORD)));
    keep("release", release(event).map(|release| cut(&release, WORD)));
    keep("datetime", when(event));
    keep("handled", handled(raised).map(Value::Bool));
    let context = |name: &str| event.get("contexts").and_then(|contexts| contexts.get(name)).unwrap_or(&Value::Null);
    for name in ["runtime", "os", "browser"] {
        keep(name, versioned(context(name)));
    }
    keep("sdk", versioned(part(event, "sdk")));
    keep("device", text(context("device"), "model").map(|model| cut(model, WORD)));
    keep("trace_id", text(context("trace"), "trace_id").map(|id| cut(id, WORD)));
    keep("request", request(part(event, "request")));
    keep("tags", tags_of(event));
    keep("breadcrumbs", breadcrumbs(event));
    keep("extra", Budget(EXTRA).object(part(event, "extra"), DEPTH));
    details
}

/// The release that failed.
pub(super) fn release(event: &Value) -> Option<std::borrow::Cow<'_, str>> {
    text(event, "release").map(Into::into).or_else(|| tag(event, "release"))
}

/// When it happened: Sentry sends text, SDKs also seconds.
fn when(event: &Value) -> Option<Value> {
    let given = text(event, "datetime").or_else(|| text(event, "timestamp"));
    given.map(|time| cut(time, WORD)).or_else(|| {
        let seconds = event.get("timestamp").and_then(Value::as_f64)?;
        #[expect(clippy::cast_possible_truncation, reason = "an out-of-range value is refused next")]
        let at = chrono::DateTime::from_timestamp_millis((seconds * 1_000.0).round() as i64)?;
        Some(at.to_rfc3339_opts(chrono::SecondsFormat::Millis, true).into())
    })
}

/// `CPython 3.11.7`.
fn versioned(context: &Value) -> Option<Value> {
    let name = text(context, "name")?;
    Some(match text(context, "version") {
        Some(version) => cut(&format!("{name} {version}"), WORD),
        None => cut(name, WORD),
    })
}

/// The request: method and URL only.
fn request(request: &Value) -> Option<Value> {
    let method = text(request, "method").map(|method| ("method", cut(method, WORD)));
    let url = text(request, "url").map(|url| ("url", cut(before_query(url), ADDRESS)));
    let kept: Map<String, Value> =
        method.into_iter().chain(url).map(|(name, value)| (name.to_owned(), value)).collect();
    (!kept.is_empty()).then_some(Value::Object(kept))
}

fn tags_of(event: &Value) -> Option<Value> {
    let mut budget = Budget(TAGS);
    let kept: Map<String, Value> = tags(event)
        .filter(|(key, _)| !is_personal(key))
        .take(MOST_TAGS)
        .map_while(|(key, value)| Some((budget.key(key)?, budget.text(without_query(&value))?)))
        .collect();
    (!kept.is_empty()).then_some(Value::Object(kept))
}

/// Whether a tag identifies a user.
fn is_personal(key: &str) -> bool {
    ["user", "ip", "email"].iter().any(|word| {
        let rest = key.strip_prefix(word);
        rest.is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '_']))
    })
}

/// The last breadcrumbs before the error, newest last.
fn breadcrumbs(event: &Value) -> Option<Value> {
    let mut budget = Budget(BREADCRUMBS);
    let newest = items(event, "breadcrumbs").rev().filter(|crumb| crumb.is_object()).take(MOST_BREADCRUMBS);
    let mut kept: Vec<Value> = newest.map_while(|crumb| breadcrumb(crumb, &mut budget)).collect();
    kept.reverse();
    (!kept.is_empty()).then_some(Value::Array(kept))
}

fn breadcrumb(crumb: &Value, budget: &mut Budget) -> Option<Value> {
    let mut kept = Map::new();
    for name in ["timestamp", "type", "category", "level", "message"] {
        if let Some(text) = crumb.get(name).and_then(scalar).filter(|text| !text.is_empty()) {
            kept.insert(budget.key(name)?, budget.text(&text)?);
        }
    }
    let data = crumb.get("data").and_then(Value::as_object).into_iter().flatten();
    // The query of a request, which may contain secrets.
    let data = data.filter(|(name, _)| !matches!(name.as_str(), "http.query" | "http.fragment"));
    let data: Map<String, Value> = data
        .take(ITEMS)
        .filter_map(|(name, value)| Some((name, scalar(value)?)))
        .map_while(|(name, value)| Some((budget.key(name)?, budget.text(without_query(&value))?)))
        .collect();
    if !data.is_empty() {
        kept.insert("data".to_owned(), Value::Object(data));
    }
    budget.spend(16)?;
    Some(Value::Object(kept))
}

/// The text, cut to this many bytes of JSON.
pub(super) fn cut(text: &str, limit: usize) -> Value {
    let mut size = 2;
    let end = text.char_indices().find(|(_, c)| {
        size += json_size(*c);
        size > limit
    });
    Value::from(end.map_or(text, |(end, _)| &text[..end]))
}

/// The bytes of a character in JSON.
fn json_size(c: char) -> usize {
    match c {
        '"' | '\\' => 2,
        // NUL becomes U+FFFD before it is stored.
        '\0'..='\u{1f}' => 6,
        _ => c.len_utf8(),
    }
}

/// The remaining bytes of JSON.
struct Budget(usize);

impl Budget {
    fn spend(&mut self, bytes: usize) -> Option<()> {
        self.0 = self.0.checked_sub(bytes)?;
        Some(())
    }

    fn text(&mut self, text: &str) -> Option<Value> {
        let kept = cut(text, LINE.min(self.0));
        // Quotation marks and separators.
        let size: usize = kept.as_str().unwrap_or_default().chars().map(json_size).sum();
        self.spend(size + 4)?;
        Some(kept)
    }

    fn key(&mut self, key: &str) -> Option<String> {
        match self.text(key.char_indices().nth(100).map_or(key, |(end, _)| &key[..end]))? {
            Value::String(key) => Some(key),
            _ => None,
        }
    }

    /// A value, cut in depth and length; none when the budget is spent.
    fn value(&mut self, value: &Value, depth: usize) -> Option<Value> {
        match value {
            Value::String(text) => self.text(without_query(text)),
            Value::Array(_) | Value::Object(_) if depth == 0 => self.text("…"),
            Value::Array(items) => {
                self.spend(4)?;
                Some(items.iter().take(ITEMS).map_while(|item| self.value(item, depth - 1)).collect())
            }
            Value::Object(_) => {
                self.spend(4)?;
                Some(self.object(value, depth).unwrap_or_else(|| Map::new().into()))
            }
            Value::Null | Value::Bool(_) | Value::Number(_) => {
                self.spend(26)?;
                Some(value.clone())
            }
        }
    }

    /// An object; none if it is none, or nothing of it is kept.
    fn object(&mut self, value: &Value, depth: usize) -> Option<Value> {
        let kept: Map<String, Value> = value
            .as_object()?
            .iter()
            .take(ITEMS)
            .map_while(|(key, value)| Some((self.key(key)?, self.value(value, depth.checked_sub(1)?)?)))
            .collect();
        (!kept.is_empty()).then_some(Value::Object(kept))
    }
}
