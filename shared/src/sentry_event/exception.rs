//! The exceptions of an event, and the one that names the error.

use serde_json::Value;

use super::fields::{items, part};

/// The most exceptions that are read: SDKs end a chain at 50.
const EXCEPTIONS: usize = 100;

/// The exceptions of an event, in their order: each after its cause.
#[derive(Debug)]
pub(super) struct Exceptions<'a>(Vec<&'a Value>);

impl<'a> Exceptions<'a> {
    /// The exceptions of this event: `{"values": […]}`, a bare list, or a single one.
    pub(super) fn of(event: &'a Value) -> Self {
        let listed = ["exception", "sentry.interfaces.Exception"].into_iter().find_map(|name| {
            let last = items(event, name).rev().filter(|value| value.is_object()).take(EXCEPTIONS);
            let mut values: Vec<_> = last.collect();
            values.reverse();
            (!values.is_empty()).then_some(values)
        });
        let alone = || {
            let exception = part(event, "exception");
            let is_one = ["type", "value", "stacktrace"].iter().any(|name| exception.get(name).is_some());
            is_one.then(|| vec![exception])
        };
        Self(listed.or_else(alone).unwrap_or_default())
    }

    /// Each before its cause.
    pub(super) fn outermost_first(&self) -> impl Iterator<Item = &'a Value> {
        self.0.iter().rev().copied()
    }

    /// The exception that names the error: the last one is the outermost raised. A group with one member is replaced by
    /// that member.
    pub(super) fn raised(&self) -> &'a Value {
        let Some(mut raised) = self.0.last().copied() else { return &Value::Null };
        // Bounded by the number of exceptions: ids of a hostile event may form a cycle.
        for _ in 1..self.0.len() {
            let Some(only) = self.only_member(raised) else { break };
            raised = only;
        }
        raised
    }

    /// The only member of a group; none if it is no group, or has several.
    fn only_member(&self, group: &Value) -> Option<&'a Value> {
        let is_group = mechanism(group, "is_exception_group").and_then(Value::as_bool);
        let id = mechanism(group, "exception_id").and_then(Value::as_u64).filter(|_| is_group == Some(true));
        let of_group = |value: &&Value| mechanism(value, "parent_id").and_then(Value::as_u64) == id;
        let mut members = self.0.iter().copied().filter(of_group);
        let only = members.next().filter(|_| id.is_some());
        if members.next().is_some() { None } else { only }
    }
}

fn mechanism<'a>(exception: &'a Value, name: &str) -> Option<&'a Value> {
    exception.get("mechanism")?.get(name)
}

/// Whether the program's own code caught it; none if unknown.
pub(super) fn handled(exception: &Value) -> Option<bool> {
    mechanism(exception, "handled").and_then(Value::as_bool)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn raised(exception: &Value) -> Value {
        let event = json!({ "exception": exception });
        Exceptions::of(&event).raised().get("type").cloned().unwrap_or_default()
    }

    #[test]
    fn the_outermost_raised_names_the_error() {
        let (cause, outer) = (json!({"type": "KeyError"}), json!({"type": "LookupFailed"}));
        for exception in [
            json!({"values": [cause, outer]}),
            json!([cause, outer]),
            json!({"values": [cause, outer, null, "x", []]}),
            outer.clone(),
        ] {
            assert_eq!(raised(&exception), "LookupFailed", "{exception}");
        }
        for exception in [json!(null), json!({}), json!([]), json!({"values": null}), json!([1]), json!("x")] {
            assert_eq!(raised(&exception), Value::Null, "{exception}");
        }
    }

    #[test]
    fn a_group_with_one_member_is_replaced_by_it() {
        let member = |kind: &str, id: u64, parent: u64| json!({"type": kind, "mechanism": {"exception_id": id, "parent_id": parent}});
        let group = json!({"type": "ExceptionGroup", "mechanism": {"exception_id": 0, "is_exception_group": true}});
        assert_eq!(raised(&json!([member("ValueError", 1, 0), group])), "ValueError");
        assert_eq!(raised(&json!([member("OSError", 2, 0), member("ValueError", 1, 0), group])), "ExceptionGroup");
        let circle = json!({"type": "A", "mechanism": {"exception_id": 1, "parent_id": 1, "is_exception_group": true}});
        assert_eq!(raised(&json!([circle, circle])), "A");
        assert_eq!(raised(&json!([{"type": "Cause"}, group])), "ExceptionGroup");
    }
}
