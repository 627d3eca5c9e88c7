//! EventBridge's patterns, as far as our template uses them: which events a rule means. Pure.
//!
//! A pattern is an object whose fields the event must all have; a list says what a field may be. Values are compared as
//! JSON (300 is not 300.0), upper and lower case count, and of a list in the event one element is enough. Operators:
//! `prefix`, `suffix`, `anything-but` (also of a prefix or suffix), `exists`, `numeric`. Anything else is refused: a rule
//! that we would read differently from AWS must not pass for one that works.

use serde_json::{Map, Value};

/// What a rule means.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Pattern(Vec<(String, Wanted)>);

/// What a field must be.
#[derive(Debug, Clone, PartialEq)]
enum Wanted {
    /// An object with these fields.
    Object(Pattern),
    /// One of these.
    OneOf(Vec<Test>),
}

/// One way in which a field can be right.
#[derive(Debug, Clone, PartialEq)]
enum Test {
    Is(Value),
    Prefix(String),
    Suffix(String),
    NoneOf(Vec<Test>),
    Exists(bool),
    Numeric(Vec<(Comparison, f64)>),
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Comparison {
    Equal,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
}

/// What is wrong with a pattern.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the pattern's field {field}: {problem}")]
pub(crate) struct PatternError {
    field: String,
    problem: String,
}

impl Pattern {
    /// Reads a pattern.
    pub(crate) fn parse(pattern: &Value) -> Result<Self, PatternError> {
        match pattern {
            Value::Object(fields) => Self::of(fields, ""),
            _ => Err(refused("(all of it)", "it is no object")),
        }
    }

    fn of(fields: &Map<String, Value>, place: &str) -> Result<Self, PatternError> {
        if fields.is_empty() {
            return Err(refused(if place.is_empty() { "(all of it)" } else { place }, "it is empty"));
        }
        let field = |(name, wanted): (&String, &Value)| {
            let place = if place.is_empty() { name.clone() } else { format!("{place}.{name}") };
            if name.starts_with('$') {
                return Err(refused(&place, "this operator is not known here"));
            }
            let wanted = match wanted {
                Value::Object(fields) => Wanted::Object(Self::of(fields, &place)?),
                Value::Array(tests) if !tests.is_empty() => {
                    Wanted::OneOf(tests.iter().map(|test| Test::of(test, &place)).collect::<Result<_, _>>()?)
                }
                _ => return Err(refused(&place, "it is neither an object nor a list of values")),
            };
            Ok((name.clone(), wanted))
        };
        fields.iter().map(field).collect::<Result<_, _>>().map(Self)
    }

    /// Whether the rule means this event.
    pub(crate) fn matches(&self, event: &Value) -> bool {
        match event {
            // One of a list of objects is enough.
            Value::Array(items) => items.iter().any(|item| self.matches(item)),
            _ => self.0.iter().all(|(name, wanted)| match wanted {
                Wanted::Object(pattern) => match event.get(name) {
                    Some(value) => pattern.matches(value),
                    // Only what asks for an absence is right then.
                    None => pattern.matches(&Value::Null),
                },
                Wanted::OneOf(tests) => tests.iter().any(|test| test.passes(event.get(name))),
            }),
        }
    }
}

impl Test {
    fn of(test: &Value, place: &str) -> Result<Self, PatternError> {
        let Value::Object(operator) = test else {
            return if test.is_array() {
                Err(refused(place, "it is a list in a list"))
            } else {
                Ok(Self::Is(test.clone()))
            };
        };
        let mut operators = operator.iter();
        let (Some((name, operand)), None) = (operators.next(), operators.next()) else {
            return Err(refused(place, "an operator stands alone"));
        };
        let wrong = || refused(place, &format!("{name} can't be used with {operand}"));
        match (name.as_str(), operand) {
            ("prefix", Value::String(text)) => Ok(Self::Prefix(text.clone())),
            ("suffix", Value::String(text)) => Ok(Self::Suffix(text.clone())),
            ("exists", Value::Bool(exists)) => Ok(Self::Exists(*exists)),
            ("numeric", Value::Array(parts)) => comparisons(parts).map(Self::Numeric).ok_or_else(wrong),
            ("anything-but", operand) => excluded(operand).map(Self::NoneOf).ok_or_else(wrong),
            ("prefix" | "suffix" | "exists" | "numeric", _) => Err(wrong()),
            _ => Err(refused(place, &format!("the operator {name} is not known here"))),
        }
    }

    /// Whether a field is right that has this value; none = it is not there.
    fn passes(&self, value: Option<&Value>) -> bool {
        match (self, value) {
            // Only leaves exist: an object is none, nor is an empty list.
            (Self::Exists(exists), value) => {
                let is_leaf = value.is_some_and(|value| match value {
                    Value::Object(_) => false,
                    Value::Array(items) => !items.is_empty(),
                    _ => true,
                });
                is_leaf == *exists
            }
            (_, None) => false,
            (_, Some(Value::Array(items))) => items.iter().any(|item| self.passes(Some(item))),
            (_, Some(Value::Object(_))) => false,
            (Self::Is(wanted), Some(value)) => wanted == value,
            (Self::Prefix(prefix), Some(value)) => value.as_str().is_some_and(|text| text.starts_with(prefix)),
            (Self::Suffix(suffix), Some(value)) => value.as_str().is_some_and(|text| text.ends_with(suffix)),
            (Self::NoneOf(tests), value) => !tests.iter().any(|test| test.passes(value)),
            (Self::Numeric(comparisons), Some(value)) => value
                .as_f64()
                .is_some_and(|number| comparisons.iter().all(|(comparison, bound)| comparison.holds(number, *bound))),
        }
    }
}

impl Comparison {
    fn parse(text: &str) -> Option<Self> {
        Some(match text {
            "=" => Self::Equal,
            "<" => Self::Less,
            "<=" => Self::LessOrEqual,
            ">" => Self::Greater,
            ">=" => Self::GreaterOrEqual,
            _ => return None,
        })
    }

    fn holds(self, number: f64, bound: f64) -> bool {
        match self {
            Self::Equal => number == bound,
            Self::Less => number < bound,
            Self::LessOrEqual => number <= bound,
            Self::Greater => number > bound,
            Self::GreaterOrEqual => number >= bound,
        }
    }
}

/// `[">", 0, "<=", 5]`.
fn comparisons(parts: &[Value]) -> Option<Vec<(Comparison, f64)>> {
    if parts.is_empty() || parts.len() > 4 || !parts.len().is_multiple_of(2) {
        return None;
    }
    parts.chunks(2).map(|pair| Some((Comparison::parse(pair[0].as_str()?)?, pair[1].as_f64()?))).collect()
}

/// What `anything-but` excludes: a value, a list of values, or what begins or ends with a text or one of a list of texts.
fn excluded(operand: &Value) -> Option<Vec<Test>> {
    fn each(value: &Value) -> Option<Vec<&Value>> {
        match value {
            Value::Array(values) if values.is_empty() => None,
            Value::Array(values) => Some(values.iter().collect()),
            value => Some(vec![value]),
        }
    }
    if let Value::Object(operator) = operand {
        let mut operators = operator.iter();
        let (Some((name, texts)), None) = (operators.next(), operators.next()) else { return None };
        let test = |text: &Value| {
            let text = text.as_str()?.to_owned();
            match name.as_str() {
                "prefix" => Some(Test::Prefix(text)),
                "suffix" => Some(Test::Suffix(text)),
                _ => None,
            }
        };
        return each(texts)?.into_iter().map(test).collect();
    }
    let value = |value: &Value| (value.is_string() || value.is_number()).then(|| Test::Is(value.clone()));
    each(operand)?.into_iter().map(value).collect()
}

fn refused(field: &str, problem: &str) -> PatternError {
    PatternError { field: field.to_owned(), problem: problem.to_owned() }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn event() -> Value {
        json!({
            "version": "0", "id": "17793124-05d4-b198-2fde-7ededc63b103", "detail-type": "EC2 Instance State-change Notification",
            "source": "aws.ec2", "account": "123456789012", "time": "2017-10-02T18:43:48Z", "region": "us-west-1",
            "resources": ["arn:aws:ec2:us-west-1:123456789012:instance/i-1", "arn:2"],
            "detail": {
                "state": "terminated", "c-count": 5, "d-count": 9.5, "x-limit": 301.8, "none": null, "empty": "", "yes": true,
                "file": "dir/picture.png", "list": [], "tags": ["a", "b"],
                "source-ip": {"address": "10.0.0.9"}, "items": [{"sku": "x", "n": 1}, {"sku": "y", "n": 2}],
            },
        })
    }

    /// Whether the detail's field is right.
    fn detail(name: &str, tests: Value) -> bool {
        Pattern::parse(&json!({"detail": {name: tests}})).unwrap().matches(&event())
    }

    #[test]
    fn every_field_must_be_right_and_of_a_list_one_value_is_enough() {
        for (pattern, wanted) in [
            (json!({"source": ["aws.ec2"]}), true),
            (json!({"source": ["aws.s3", "aws.ec2"], "detail-type": ["EC2 Instance State-change Notification"]}), true),
            (json!({"source": ["aws.ec2"], "region": ["eu-west-1"]}), false),
            (json!({"source": ["AWS.EC2"]}), false),
            (json!({"source": ["aws.ec"]}), false),
            (json!({"missing": ["aws.ec2"]}), false),
            (json!({"resources": ["arn:2"]}), true),
            (json!({"resources": ["arn:3", "arn:4"]}), false),
            (json!({"source": ["aws.ec2"], "detail": {"state": ["running", "terminated"]}}), true),
            (json!({"detail": {"source-ip": {"address": ["10.0.0.9"]}}}), true),
            (json!({"detail": {"source-ip": {"address": ["10.0.0.1"]}}}), false),
            (json!({"detail": {"items": {"sku": ["y"]}}}), true),
            (json!({"detail": {"items": {"sku": ["x"], "n": [2]}}}), false),
        ] {
            assert_eq!(Pattern::parse(&pattern).unwrap().matches(&event()), wanted, "{pattern}");
        }
    }

    #[test]
    fn operators_mean_what_aws_documents() {
        for (name, tests, wanted) in [
            ("c-count", json!([5]), true),
            ("c-count", json!([5.0]), false),
            ("c-count", json!(["5"]), false),
            ("yes", json!([true]), true),
            ("none", json!([null]), true),
            ("none", json!([""]), false),
            ("empty", json!([""]), true),
            ("missing", json!([null]), false),
            ("state", json!([{"prefix": "term"}]), true),
            ("state", json!([{"prefix": "Term"}]), false),
            ("c-count", json!([{"prefix": "5"}]), false),
            ("file", json!([{"suffix": ".png"}]), true),
            ("file", json!([{"suffix": ".jpg"}, {"suffix": "e.png"}]), true),
            ("state", json!([{"anything-but": "initializing"}]), true),
            ("state", json!([{"anything-but": "terminated"}]), false),
            ("state", json!([{"anything-but": ["stopped", "terminated"]}]), false),
            ("state", json!([{"anything-but": {"prefix": "term"}}]), false),
            ("state", json!([{"anything-but": {"prefix": ["init", "run"]}}]), true),
            ("file", json!([{"anything-but": {"suffix": ".png"}}]), false),
            ("x-limit", json!([{"anything-but": [100, 200, 300]}]), true),
            ("c-count", json!([{"anything-but": 5}]), false),
            ("missing", json!([{"anything-but": "x"}]), false),
            ("tags", json!([{"anything-but": "a"}]), true),
            ("tags", json!([{"anything-but": ["a", "b"]}]), false),
            ("c-count", json!([{"numeric": [">", 0, "<=", 5]}]), true),
            ("c-count", json!([{"numeric": ["<", 5]}]), false),
            ("d-count", json!([{"numeric": ["<", 10]}]), true),
            ("x-limit", json!([{"numeric": ["=", 301.8]}]), true),
            ("state", json!([{"numeric": [">=", 0]}]), false),
            ("state", json!([{"exists": true}]), true),
            ("state", json!([{"exists": false}]), false),
            ("none", json!([{"exists": true}]), true),
            ("missing", json!([{"exists": false}]), true),
            ("source-ip", json!([{"exists": true}]), false),
            ("list", json!([{"exists": true}]), false),
            ("missing", json!(["x", {"exists": false}]), true),
        ] {
            assert_eq!(detail(name, tests.clone()), wanted, "{name}: {tests}");
        }
    }

    #[test]
    fn an_absence_is_seen_in_an_object_that_is_absent_itself() {
        let pattern = Pattern::parse(&json!({"detail": {"error": {"code": [{"exists": false}]}}})).unwrap();
        assert!(pattern.matches(&event()));
        assert!(!pattern.matches(&json!({"detail": {"error": {"code": 1}}})));
    }

    #[test]
    fn what_we_would_read_differently_from_aws_is_refused_with_its_place() {
        for (pattern, told) in [
            (json!([]), "no object"),
            (json!({}), "empty"),
            (json!({"detail": {}}), "detail: it is empty"),
            (json!({"source": "watchkeeper"}), "source: it is neither"),
            (json!({"source": []}), "source: it is neither"),
            (json!({"source": [["a"]]}), "a list in a list"),
            (json!({"$or": [{"source": ["a"]}]}), "$or: this operator"),
            (json!({"detail": {"a": [{"wildcard": "*.png"}]}}), "detail.a: the operator wildcard"),
            (json!({"detail": {"a": [{"cidr": "10.0.0.0/8"}]}}), "the operator cidr"),
            (json!({"detail": {"a": [{"equals-ignore-case": "b"}]}}), "the operator equals-ignore-case"),
            (json!({"detail": {"a": [{"prefix": {"equals-ignore-case": "b"}}]}}), "prefix can't be used with"),
            (json!({"detail": {"a": [{"prefix": "b", "suffix": "c"}]}}), "stands alone"),
            (json!({"detail": {"a": [{}]}}), "stands alone"),
            (json!({"detail": {"a": [{"numeric": [">"]}]}}), "numeric can't be used with"),
            (json!({"detail": {"a": [{"numeric": ["!=", 1]}]}}), "numeric can't be used with"),
            (json!({"detail": {"a": [{"exists": "yes"}]}}), "exists can't be used with"),
            (json!({"detail": {"a": [{"anything-but": []}]}}), "anything-but can't be used with"),
            (json!({"detail": {"a": [{"anything-but": {"wildcard": "*"}}]}}), "anything-but can't be used with"),
        ] {
            let refused = Pattern::parse(&pattern).unwrap_err().to_string();
            assert!(refused.contains(told), "{pattern}: {refused}");
        }
    }
}
