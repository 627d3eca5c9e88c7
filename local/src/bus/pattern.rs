//! EventBridge's patterns, as far as our template uses them: which events a rule matches. Pure.
//!
//! A pattern is an object whose fields the event must all have; a list names the values that a field may have. Values are
//! compared as JSON (300 is not 300.0), upper and lower case count, and of a list in the event one element is enough. Every
//! operator (`prefix`, `anything-but`, `$or` and others) is refused at the start: no rule may match here differently from
//! AWS.

use serde_json::{Map, Value};

/// What a rule matches: fields, and what each must be.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Pattern(Vec<(String, Wanted)>);

/// What a field must be.
#[derive(Debug, Clone, PartialEq)]
enum Wanted {
    /// An object with these fields.
    Object(Pattern),
    /// One of these values.
    OneOf(Vec<Value>),
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
                return Err(unknown(&place, name));
            }
            let wanted = match wanted {
                Value::Object(fields) => Wanted::Object(Self::of(fields, &place)?),
                Value::Array(values) if !values.is_empty() => Wanted::OneOf(values_in(values, &place)?),
                _ => return Err(refused(&place, "it is neither an object nor a list of values")),
            };
            Ok((name.clone(), wanted))
        };
        fields.iter().map(field).collect::<Result<_, _>>().map(Self)
    }

    /// Whether the rule matches this event.
    pub(crate) fn matches(&self, event: &Value) -> bool {
        match event {
            // One of a list of objects is enough.
            Value::Array(items) => items.iter().any(|item| self.matches(item)),
            _ => self.0.iter().all(|(name, wanted)| match (wanted, event.get(name)) {
                (_, None) => false,
                (Wanted::Object(pattern), Some(value)) => pattern.matches(value),
                (Wanted::OneOf(wanted), Some(Value::Array(items))) => items.iter().any(|item| wanted.contains(item)),
                (Wanted::OneOf(wanted), Some(value)) => wanted.contains(value),
            }),
        }
    }
}

fn values_in(values: &[Value], place: &str) -> Result<Vec<Value>, PatternError> {
    for value in values {
        match value {
            Value::Object(operator) => return Err(unknown(place, operator.keys().next().map_or("{}", String::as_str))),
            Value::Array(_) => return Err(refused(place, "it is a list in a list")),
            _ => {}
        }
    }
    Ok(values.to_vec())
}

fn unknown(field: &str, operator: &str) -> PatternError {
    let problem = "is not known to the local bus: add it to local/src/bus/pattern.rs, or do without it";
    refused(field, &format!("the operator {operator} {problem}"))
}

fn refused(field: &str, problem: &str) -> PatternError {
    PatternError { field: field.to_owned(), problem: problem.to_owned() }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn every_field_must_match_and_of_a_list_one_value_is_enough() {
        let event = json!({
            "detail-type": "EC2 Instance State-change Notification", "source": "aws.ec2", "region": "us-west-1",
            "resources": ["arn:1", "arn:2"],
            "detail": {
                "state": "terminated", "count": 5, "none": null, "yes": true,
                "source-ip": {"address": "10.0.0.9"}, "items": [{"sku": "x", "n": 1}, {"sku": "y", "n": 2}],
            },
        });
        for (pattern, wanted) in [
            (json!({"source": ["aws.ec2"]}), true),
            (json!({"source": ["aws.s3", "aws.ec2"], "detail-type": ["EC2 Instance State-change Notification"]}), true),
            (json!({"source": ["aws.ec2"], "region": ["eu-west-1"]}), false),
            (json!({"source": ["AWS.EC2"]}), false),
            (json!({"source": ["aws.ec"]}), false),
            (json!({"missing": ["aws.ec2"]}), false),
            (json!({"missing": [null]}), false),
            (json!({"missing": {"deeper": ["x"]}}), false),
            (json!({"resources": ["arn:2"]}), true),
            (json!({"resources": ["arn:3", "arn:4"]}), false),
            (json!({"source": ["aws.ec2"], "detail": {"state": ["running", "terminated"]}}), true),
            (json!({"detail": {"source-ip": {"address": ["10.0.0.9"]}}}), true),
            (json!({"detail": {"source-ip": {"address": ["10.0.0.1"]}}}), false),
            (json!({"detail": {"source-ip": ["10.0.0.9"]}}), false),
            (json!({"detail": {"items": {"sku": ["y"]}}}), true),
            (json!({"detail": {"items": {"sku": ["x"], "n": [2]}}}), false),
            (json!({"detail": {"count": [5], "yes": [true], "none": [null]}}), true),
            (json!({"detail": {"count": [5.0]}}), false),
            (json!({"detail": {"count": ["5"]}}), false),
        ] {
            assert_eq!(Pattern::parse(&pattern).unwrap().matches(&event), wanted, "{pattern}");
        }
    }

    #[test]
    fn what_the_template_does_not_use_is_refused_with_its_place() {
        for (pattern, problem) in [
            (json!([]), "no object"),
            (json!({}), "empty"),
            (json!({"detail": {}}), "detail: it is empty"),
            (json!({"source": "watchkeeper"}), "source: it is neither"),
            (json!({"source": []}), "source: it is neither"),
            (json!({"source": [["a"]]}), "a list in a list"),
            (json!({"$or": [{"source": ["a"]}]}), "the operator $or is not known"),
            (json!({"detail": {"a": ["x", {"prefix": "b"}]}}), "detail.a: the operator prefix is not known"),
            (json!({"detail": {"a": [{"anything-but": ["b"]}]}}), "the operator anything-but is not known"),
            (json!({"detail": {"a": [{"exists": false}]}}), "the operator exists is not known"),
            (json!({"detail": {"a": [{}]}}), "the operator {} is not known"),
        ] {
            let refused = Pattern::parse(&pattern).unwrap_err().to_string();
            assert!(refused.contains(problem), "{pattern}: {refused}");
        }
    }
}
