//! Any field of any delivery may be missing, null or of another type: none of that is a 500.

use std::sync::Arc;

use harness::{Answer, TestStack};
use serde_json::{Value, json};
use tokio::task::JoinSet;

use super::{PATH_SECRET, deliver, deliver_hook, deliver_unsigned, stack};

/// Every fixture, by name.
fn fixtures() -> Vec<(String, Value)> {
    let folder = format!("{}/../functions/sentry-webhook/fixtures", env!("CARGO_MANIFEST_DIR"));
    let mut found: Vec<_> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| {
            let entry = entry.unwrap();
            let text = std::fs::read_to_string(entry.path()).unwrap();
            (entry.file_name().into_string().unwrap(), serde_json::from_str(&text).unwrap())
        })
        .collect();
    found.sort_by(|one: &(String, Value), other| one.0.cmp(&other.0));
    found
}

/// Sends a body as deliveries of this fixture are sent.
async fn send(stack: &TestStack, name: &str, body: &str) -> Answer {
    let resources =
        ["error", "event_alert", "issue", "metric_alert", "comment", "installation", "activity_alert", "seer"];
    let resource = resources.iter().find(|resource| name.replace('-', "_").starts_with(*resource));
    match name {
        "legacy-plugin.json" => deliver_unsigned(stack, PATH_SECRET, body).await,
        "service-hook.json" => deliver_hook(stack, body).await,
        _ => deliver(stack, resource.unwrap_or(&"preprod_artifact"), body).await,
    }
}

/// Every position in a JSON value, as JSON pointers.
fn places(value: &Value, at: &str, found: &mut Vec<String>) {
    let children: Vec<(String, &Value)> = match value {
        Value::Object(object) => object.iter().map(|(key, child)| (key.replace('/', "~1"), child)).collect(),
        Value::Array(items) => items.iter().enumerate().map(|(index, child)| (index.to_string(), child)).collect(),
        _ => return,
    };
    for (key, child) in children {
        let place = format!("{at}/{key}");
        places(child, &place, found);
        found.push(place);
    }
}

/// Every body that differs from this one in one place: each place once, and the places that are evaluated first with every
/// kind of unexpected value.
fn mutants(whole: &Value) -> Vec<(String, String)> {
    let strange =
        [Value::Null, json!(-1.5e300), json!(""), json!("\u{0}😀"), json!([null, [1]]), json!({"": {}}), json!(true)];
    let mut found = Vec::new();
    places(whole, "", &mut found);
    let far = found.iter().enumerate().map(|(index, place)| (place, &strange[index % strange.len()]));
    let near = found.iter().filter(|place| place.matches('/').count() == 3);
    let near = near.flat_map(|place| [0, 3, 4, 5].map(|index| (place, &strange[index])));
    far.chain(near)
        .map(|(place, value)| {
            let mut broken = whole.clone();
            *broken.pointer_mut(place).unwrap() = value.clone();
            (place.clone(), broken.to_string())
        })
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_missing_null_or_mistyped_field_causes_no_500() {
    let stack = Arc::new(stack().await);
    let mut senders = JoinSet::new();
    for (name, whole) in fixtures() {
        let stack = Arc::clone(&stack);
        senders.spawn(async move {
            for (place, body) in mutants(&whole) {
                let answer = send(&stack, &name, &body).await;
                // Unsigned deliveries are rate limited; the function's own tests try all of them.
                let fits = matches!(answer.status, 200 | 400) || (name.starts_with("legacy") && answer.status == 429);
                assert!(fits, "{name} {place}: {answer:?}");
            }
        });
    }
    senders.join_all().await;
}

#[tokio::test]
async fn a_truncated_delivery_causes_no_500() {
    let stack = stack().await;
    for (name, whole) in fixtures() {
        let text = whole.to_string();
        for part in 0..12 {
            let cut = text.floor_char_boundary(text.len() * part / 12);
            let answer = send(&stack, &name, &text[..cut]).await;
            assert!(matches!(answer.status, 200 | 400 | 429), "{name} cut at {cut}: {answer:?}");
        }
    }
    let deep = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
    for resource in ["error", "issue", "something_new", ""] {
        for body in [deep.clone(), format!(r#"{{"data": {{"issue": {deep}}}}}"#)] {
            let answer = deliver(&stack, resource, &body).await;
            assert!(matches!(answer.status, 200 | 400), "{resource}: {answer:?}");
        }
    }
}
