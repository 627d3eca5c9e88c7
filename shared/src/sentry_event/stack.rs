//! Stack traces: as text, newest call first, each cause after what it caused; and the crash frame, by which errors are
//! grouped.

use serde_json::Value;

use super::exception::Exceptions;
use super::fields::{first_bytes, items, part, said, text as text_of};

/// Frames kept of one exception, and exceptions of a chain: a deep recursion repeats itself.
const FRAMES: usize = 100;
const EXCEPTIONS: usize = 10;

/// Bytes of the whole text, of an exception's value, and of each part of a line.
const TEXT: usize = 64_000;
const VALUE: usize = 4_000;
const WORD: usize = 300;

/// Paths of libraries: some SDKs mark all code as the application's own.
const LIBRARIES: [&str; 8] = [
    "node_modules/",
    "site-packages/",
    "dist-packages/",
    "node:",
    "webpack/bootstrap",
    "<frozen ",
    "-extension://",
    "/vendor/bundle/",
];

/// The text of all exceptions, or of the thread that failed.
pub(super) fn text(event: &Value, exceptions: &Exceptions<'_>) -> Option<String> {
    let mut text = String::new();
    let of_thread = of_thread(event, exceptions.raised());
    for (position, exception) in exceptions.outermost_first().take(EXCEPTIONS).enumerate() {
        let kind = said(exception, "type").unwrap_or("Error".into());
        let what = said(exception, "value").unwrap_or_default();
        let lead = if position == 0 { "" } else { "Caused by: " };
        push_line(&mut text, &format!("{lead}{}: {}", first_bytes(&kind, WORD), first_bytes(&what, VALUE)));
        let own = exception.get("stacktrace").filter(|trace| has_frames(trace));
        push_frames(&mut text, own.or(of_thread.filter(|_| position == 0)));
    }
    if text.is_empty() {
        push_frames(&mut text, of_thread.or_else(|| alone(event)));
    }
    (!text.is_empty()).then_some(text)
}

/// The crash frame, as `module:function`: the application's own last call.
pub(super) fn crash_frame(event: &Value, exceptions: &Exceptions<'_>) -> Option<String> {
    let raised = exceptions.raised();
    let of_raised = raised.get("stacktrace").filter(|trace| has_frames(trace));
    let of_causes = || exceptions.outermost_first().filter_map(|exception| exception.get("stacktrace"));
    of_raised
        .into_iter()
        .chain(of_thread(event, raised))
        .chain(alone(event))
        .chain(of_causes())
        .find_map(crash_frame_of)
}

fn crash_frame_of(trace: &Value) -> Option<String> {
    let own = |frame: &Value| frame.get("in_app").and_then(Value::as_bool);
    let newest = || items(trace, "frames").rev().take(FRAMES);
    // The innermost of the best kind: own code and no library, marked as own code, unmarked and no library, any.
    newest()
        .filter(|frame| own(frame) == Some(true) && !is_library(frame))
        .chain(newest().filter(|frame| own(frame) == Some(true)))
        .chain(newest().filter(|frame| own(frame).is_none() && !is_library(frame)))
        .chain(newest())
        .find_map(name)
}

fn is_library(frame: &Value) -> bool {
    ["filename", "abs_path"]
        .iter()
        .filter_map(|name| text_of(frame, name))
        .any(|path| LIBRARIES.iter().any(|library| path.contains(library)))
}

/// `module:function`, without a module `filename:function`.
fn name(frame: &Value) -> Option<String> {
    let place = ["module", "filename", "abs_path"].iter().find_map(|name| text_of(frame, name)).or_else(|| {
        // A native library's path depends on the machine.
        text_of(frame, "package").map(|package| package.rsplit(['/', '\\']).next().unwrap_or(package))
    });
    let function = text_of(frame, "function").map(|function| first_bytes(function, WORD));
    match (place.map(|place| first_bytes(place, WORD)), function) {
        (Some(place), function) => Some(format!("{place}:{}", function.unwrap_or("?"))),
        (None, function) => function.map(str::to_owned),
    }
}

/// The stack of the thread that failed: the exception's, else one that crashed, else the one that reported.
fn of_thread<'a>(event: &'a Value, raised: &Value) -> Option<&'a Value> {
    let of_raised = raised.get("thread_id").filter(|id| !id.is_null());
    let traced = || items(event, "threads").filter(|thread| thread.get("stacktrace").is_some_and(has_frames));
    let is = |thread: &Value, name: &str| thread.get(name).and_then(Value::as_bool) == Some(true);
    traced()
        .find(|thread| of_raised.is_some() && thread.get("id") == of_raised)
        .or_else(|| traced().find(|thread| is(thread, "crashed")))
        .or_else(|| traced().find(|thread| is(thread, "current")))
        .or_else(|| traced().next().filter(|_| traced().nth(1).is_none()))?
        .get("stacktrace")
}

/// The event's own stack, of no exception and no thread.
fn alone(event: &Value) -> Option<&Value> {
    Some(part(event, "stacktrace")).filter(|trace| has_frames(trace))
}

fn has_frames(trace: &Value) -> bool {
    items(trace, "frames").any(Value::is_object)
}

fn push_frames(text: &mut String, trace: Option<&Value>) {
    for frame in trace.into_iter().flat_map(|trace| items(trace, "frames").rev().take(FRAMES)) {
        push_line(text, &line(frame));
    }
}

fn push_line(text: &mut String, line: &str) {
    if text.len() + line.len() < TEXT {
        if !text.is_empty() {
            text.push('\n');
        }
        text.push_str(line);
    }
}

fn line(frame: &Value) -> String {
    let word = |name: &&str| text_of(frame, name).map(|word| first_bytes(word, WORD));
    let function = ["function", "instruction_addr"].iter().find_map(word).unwrap_or("?");
    let file = ["filename", "abs_path", "module", "package"].iter().find_map(word).unwrap_or("?");
    let number = |name: &str| frame.get(name).and_then(Value::as_u64);
    match (number("lineno"), number("colno")) {
        (Some(line), Some(column)) => format!("    at {function} ({file}:{line}:{column})"),
        (Some(line), None) => format!("    at {function} ({file}:{line})"),
        _ => format!("    at {function} ({file})"),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn crash(event: &Value) -> Option<String> {
        crash_frame(event, &Exceptions::of(event))
    }

    fn of_frames(frames: &Value) -> Option<String> {
        crash(&json!({"exception": [{"type": "E", "stacktrace": {"frames": frames}}]}))
    }

    #[test]
    fn the_last_frame_of_the_applications_own_is_where_it_crashed() {
        let frame = |module: &str, own: Option<bool>| json!({"module": module, "function": "f", "in_app": own});
        for (frames, expected) in [
            (json!([frame("a", Some(true)), frame("b", Some(true)), frame("lib", Some(false))]), Some("b:f")),
            (json!([frame("a", None), frame("b", None)]), Some("b:f")),
            (json!([frame("a", Some(false)), frame("b", Some(false))]), Some("b:f")),
            (json!([frame("a", None), frame("b", Some(false))]), Some("a:f")),
            (
                json!([{"filename": "x.js", "function": "f", "in_app": true},
                    {"filename": "/n/node_modules/y/z.js", "function": "g", "in_app": true}]),
                Some("x.js:f"),
            ),
            (
                json!([{"filename": "node_modules/y/z.js", "function": "g", "in_app": true}]),
                Some("node_modules/y/z.js:g"),
            ),
            (json!([{"filename": "x.py"}]), Some("x.py:?")),
            (json!([{"function": "main"}]), Some("main")),
            (json!([{"package": "/usr/lib/libfoo.so", "instruction_addr": "0x7f12"}]), Some("libfoo.so:?")),
            (json!([frame("a", Some(true)), {"in_app": true}, null, 7]), Some("a:f")),
            (json!([]), None),
            (json!({"x": 1}), None),
        ] {
            assert_eq!(of_frames(&frames).as_deref(), expected, "{frames}");
        }
    }

    #[test]
    fn an_exception_without_a_stack_has_that_of_its_thread_or_of_its_cause() {
        let trace = |name: &str| json!({"frames": [{"module": name, "function": "f"}]});
        let raised = json!({"type": "E", "value": "v", "thread_id": 2});
        let threads = json!({"values": [
            {"id": 1, "crashed": true, "stacktrace": trace("crashed")},
            {"id": 2, "stacktrace": trace("raised")},
            {"id": 3, "current": true, "stacktrace": trace("current")},
        ]});
        let event = json!({"exception": [raised], "threads": threads});
        assert_eq!(crash(&event).as_deref(), Some("raised:f"));
        assert_eq!(text(&event, &Exceptions::of(&event)).unwrap(), "E: v\n    at f (raised)");
        let event = json!({"threads": threads});
        assert_eq!(crash(&event).as_deref(), Some("crashed:f"));
        assert_eq!(text(&event, &Exceptions::of(&event)).unwrap(), "    at f (crashed)");
        let event = json!({"threads": [{"current": true, "stacktrace": trace("current")}, {"stacktrace": trace("x")}]});
        assert_eq!(crash(&event).as_deref(), Some("current:f"));
        let event = json!({"exception": [{"type": "Cause", "stacktrace": trace("cause")}, {"type": "E"}]});
        assert_eq!(crash(&event).as_deref(), Some("cause:f"));
        let event = json!({"stacktrace": trace("alone")});
        assert_eq!(crash(&event).as_deref(), Some("alone:f"));
        assert_eq!(crash(&json!({"threads": [{"id": 1}]})), None);
    }

    #[test]
    fn the_text_is_bounded_however_long_its_parts() {
        let word = "😀".repeat(1_000);
        let frames: Vec<_> = (0..500).map(|_| json!({"function": word, "filename": word, "lineno": 3})).collect();
        let one = json!({"type": word, "value": "v".repeat(9_000), "stacktrace": {"frames": frames}});
        let event = json!({"exception": vec![one; 20]});
        let text = text(&event, &Exceptions::of(&event)).unwrap();
        assert!(text.len() <= TEXT && text.len() > TEXT - 5_000, "{}", text.len());
        assert!(crash(&event).unwrap().len() <= 2 * WORD + 1);
    }
}
