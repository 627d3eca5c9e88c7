//! Any field of any delivery may be missing, null or of another type: none of that is an error of ours.

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

/// Sends a body the way that the fixture of this name comes.
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

/// Every place of a JSON value, as JSON pointers.
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

/// Every body that differs from this one in one place: each place once, and those that are looked at first with each of
/// what is not expected there.
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
async fn no_field_that_is_missing_null_or_of_another_type_is_an_error_of_ours() {
    let stack = Arc::new(stack().await);
    let mut senders = JoinSet::new();
    for (name, whole) in fixtures() {
        let stack = Arc::clone(&stack);
        senders.spawn(async move {
            for (place, body) in mutants(&whole) {
                let answer = send(&stack, &name, &body).await;
                // Of what is not signed a minute takes only so many; the function's own tests try them all.
                let fits = matches!(answer.status, 200 | 400) || (name.starts_with("legacy") && answer.status == 429);
                assert!(fits, "{name} {place}: {answer:?}");
            }
        });
    }
    senders.join_all().await;
}

#[tokio::test]
async fn a_delivery_that_is_cut_off_anywhere_is_no_error_of_ours() {
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
