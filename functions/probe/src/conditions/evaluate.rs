//! Evaluates conditions. Cost: at most one walk over the body per condition, and one JSON parse.

use std::borrow::Cow;

use serde_json::Value;

use super::{Answer, Broken, Condition, Function, Operator, PathStep, Right, Seen, Subject, Term};

/// A longer value is cut before it is redacted.
const SEEN_BYTES: usize = 4_096;

/// The value of the left side.
enum Left<'a> {
    /// Absent, and why.
    Missing(&'static str),
    /// It can't be evaluated, and why.
    Unknown(&'static str),
    Text(Cow<'a, str>),
    Number(f64),
    /// Any of these.
    Each(&'a [String]),
}

/// The body, parsed as JSON when the first condition needs it.
enum Json {
    Unread,
    Read(Option<Value>),
}

/// The first condition that does not hold.
pub(super) fn first_broken<'c>(conditions: &'c [Condition], answer: &Answer<'_>) -> Option<Broken<'c>> {
    let mut json = Json::Unread;
    conditions.iter().find_map(|condition| {
        if condition.reads_json() && matches!(json, Json::Unread) {
            json = Json::Read(answer.body.and_then(|body| serde_json::from_str(body).ok()));
        }
        let json = match &json {
            Json::Read(Some(value)) => Some(value),
            _ => None,
        };
        condition.broken(answer, json)
    })
}

impl Condition {
    fn reads_json(&self) -> bool {
        match &self.subject {
            Subject::Body(path) => !path.is_empty() || self.function == Function::Len,
            _ => false,
        }
    }

    fn broken<'c>(&'c self, answer: &Answer<'_>, json: Option<&Value>) -> Option<Broken<'c>> {
        let left = match self.function {
            Function::None => self.value(answer, json),
            Function::Len => self.length(answer, json),
            Function::Has => match self.value(answer, json) {
                Left::Missing(_) => Left::Text("false".into()),
                Left::Unknown(why) => Left::Unknown(why),
                _ => Left::Text("true".into()),
            },
        };
        let holds = match (&self.right, &left) {
            (_, Left::Unknown(_)) => false,
            (Right::Any(terms), left) => left.is_any(terms) == (self.operator == Operator::Equal),
            (Right::Number(number), left) => left.number().is_some_and(|left| compare(left, self.operator, *number)),
        };
        if holds {
            return None;
        }
        Some(Broken { condition: &self.text, seen: self.seen(left) })
    }

    fn value<'a>(&self, answer: &Answer<'a>, json: Option<&'a Value>) -> Left<'a> {
        let text = |text: Option<String>, why| text.map_or(Left::Missing(why), |text| Left::Text(text.into()));
        match &self.subject {
            Subject::Status => answer.status.map_or(Left::Missing("there is no status"), |it| Left::Number(it.into())),
            Subject::Body(path) if path.is_empty() => {
                answer.body.map_or(Left::Missing("there is no body"), |body| Left::Text(body.trim().into()))
            }
            Subject::Body(path) => match json {
                None => Left::Unknown("the body is not JSON"),
                Some(json) => match walk(json, path) {
                    None => Left::Missing("there is no such field"),
                    Some(Value::String(text)) => Left::Text(text.as_str().into()),
                    Some(Value::Number(number)) => {
                        number.as_f64().map_or_else(|| Left::Text(number.to_string().into()), Left::Number)
                    }
                    Some(other) => Left::Text(other.to_string().into()),
                },
            },
            Subject::Header(name) => {
                let values = answer.headers.map(|headers| headers.get_all(name).iter()).into_iter().flatten();
                let values: Vec<Cow<'_, str>> = values.map(|value| String::from_utf8_lossy(value.as_bytes())).collect();
                text((!values.is_empty()).then(|| values.join(", ")), "there is no such header")
            }
            Subject::ResponseTime => Left::Number(answer.response_time.as_secs_f64() * 1_000.0),
            Subject::CertificateExpiration => answer
                .certificate_left
                .map_or(Left::Unknown("there is no certificate"), |left| Left::Number(left.as_seconds_f64() * 1_000.0)),
            Subject::Connected => Left::Text(answer.connected.to_string().into()),
            Subject::Ip => text(answer.address.map(|address| address.to_string()), "there is no address"),
            Subject::DnsCode => text(answer.dns_code.map(str::to_owned), "there is no code"),
            Subject::Answer => Left::Each(answer.records),
        }
    }

    fn length<'a>(&self, answer: &Answer<'a>, json: Option<&'a Value>) -> Left<'a> {
        let count = |count: usize| Left::Number(u32::try_from(count).unwrap_or(u32::MAX).into());
        if let Subject::Body(path) = &self.subject {
            match json.and_then(|json| walk(json, path)) {
                Some(Value::Array(items)) => return count(items.len()),
                Some(Value::Object(fields)) => return count(fields.len()),
                Some(Value::Null) => return Left::Unknown("it is null"),
                _ => {}
            }
        }
        match self.value(answer, json) {
            Left::Text(text) => count(text.chars().count()),
            Left::Each(records) => count(records.len()),
            Left::Number(_) => Left::Unknown("it is a number, which has no length"),
            Left::Missing(why) | Left::Unknown(why) => Left::Unknown(why),
        }
    }

    fn seen(&self, left: Left<'_>) -> Seen {
        let cut = |text: &str| text.get(..text.floor_char_boundary(SEEN_BYTES)).unwrap_or(text).to_owned();
        match (left, &self.subject) {
            (Left::Missing(why) | Left::Unknown(why), _) => Seen::Nothing(why),
            (Left::Text(text), Subject::Body(_) | Subject::Header(_)) => Seen::Said(cut(&text)),
            (Left::Text(text), _) => Seen::Value(cut(&text)),
            (Left::Number(number), Subject::ResponseTime) => Seen::Value(format!("{number:.0} ms")),
            (Left::Number(number), Subject::CertificateExpiration) => Seen::Value(days(number)),
            (Left::Number(number), _) => Seen::Value(number.to_string()),
            (Left::Each([]), _) => Seen::Nothing("there is no record"),
            (Left::Each(records), _) => Seen::Value(cut(&records.join(", "))),
        }
    }
}

impl Left<'_> {
    fn number(&self) -> Option<f64> {
        match self {
            Self::Number(number) => Some(*number),
            Self::Text(text) => text.trim().parse().ok().filter(|number: &f64| number.is_finite()),
            Self::Missing(_) | Self::Unknown(_) | Self::Each(_) => None,
        }
    }

    fn is_any(&self, terms: &[Term]) -> bool {
        match self {
            Self::Missing(_) | Self::Unknown(_) => false,
            Self::Text(text) => terms.iter().any(|term| term.is(text, None)),
            Self::Number(number) => {
                let text = number.to_string();
                terms.iter().any(|term| term.is(&text, Some(*number)))
            }
            Self::Each(records) => records.iter().any(|record| terms.iter().any(|term| term.is(record, None))),
        }
    }
}

impl Term {
    fn is(&self, text: &str, number: Option<f64>) -> bool {
        match self {
            Self::Pattern(pattern) => pattern.matches(text),
            Self::Text { text: expected, number: expected_number } => {
                let equal = |(a, b): (f64, f64)| compare(a, Operator::Equal, b);
                text == expected || number.zip(*expected_number).is_some_and(equal)
            }
        }
    }
}

#[expect(clippy::float_cmp, reason = "a condition means the number that it says")]
fn compare(left: f64, operator: Operator, right: f64) -> bool {
    match operator {
        Operator::Equal => left == right,
        Operator::Unequal => left != right,
        Operator::Less => left < right,
        Operator::LessOrEqual => left <= right,
        Operator::Greater => left > right,
        Operator::GreaterOrEqual => left >= right,
    }
}

fn walk<'a>(json: &'a Value, path: &[PathStep]) -> Option<&'a Value> {
    path.iter().try_fold(json, |value, step| match step {
        PathStep::Key(key) => value.get(key),
        PathStep::Index(index) => value.get(index),
    })
}

/// Milliseconds as days and hours: `13d 4h`, or `-2h`.
fn days(milliseconds: f64) -> String {
    let hours = (milliseconds / 3_600_000.0).trunc();
    let (days, rest) = ((hours / 24.0).trunc(), (hours % 24.0).abs());
    if days == 0.0 { format!("{hours}h") } else { format!("{days}d {rest}h") }
}
