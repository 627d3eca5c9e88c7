//! Events as they are on the bus: messages for consumers, and what producers publish.

use std::future::Future;
use std::path::Path;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use chrono::Utc;
use serde_json::{Value, json};
use shared::bus::{Bus, BusError, Entry, Taken, Transport};
use shared::events::{Event, ReceivedEvent};
use shared::publish::Publisher;
use uuid::Uuid;

use crate::Database;

/// A message of the bus, with a new id: the contract's sample of this event with these fields.
#[must_use]
pub fn message(detail_type: &str, fields: &Value) -> Value {
    let mut detail = sample(detail_type, fields);
    if let (Some(detail), Some(fields)) = (detail.as_object_mut(), fields.as_object()) {
        detail.extend(fields.clone());
        detail.extend([("id".to_owned(), json!(Uuid::now_v7())), ("version".to_owned(), json!(1))]);
    }
    envelope(detail_type, &detail)
}

fn sample(detail_type: &str, fields: &Value) -> Value {
    if !Event::TYPES.contains(&detail_type) {
        return json!({});
    }
    let shape = if fields["reason"] == "severity" { ".severity" } else { "" };
    let path = format!("{}/../shared/src/events/samples/{detail_type}{shape}.json", env!("CARGO_MANIFEST_DIR"));
    let text = std::fs::read_to_string(Path::new(&path)).expect("each event has a sample");
    let mut sample: Value = serde_json::from_str(&text).expect("a sample is JSON");
    if detail_type.starts_with("Alert") && fields.get("incident_id").is_none() {
        sample["detail"]["incident_id"] = Value::Null;
    }
    sample["detail"].take()
}

fn envelope(detail_type: &str, detail: &Value) -> Value {
    json!({
        "version": "0", "id": Uuid::new_v4(), "detail-type": detail_type, "source": "watchkeeper", "account": "0",
        "time": "2026-11-24T00:00:00Z", "region": "local", "resources": [], "detail": detail,
    })
}

/// Publishes what waits in the outbox, and reads it as a consumer does, in the order of publication.
pub async fn published(database: &Database) -> Vec<ReceivedEvent> {
    let bus = Collecting::default();
    let publisher = Publisher::over(database.store(), Bus::over(bus.clone()), Duration::from_secs(10));
    publisher.sweep(Utc::now()).await.expect("the outbox should be published");
    let messages = bus.0.lock().expect("no test panics with it").clone();
    let read = |message: &Value| Event::read(&message.to_string()).expect("an event of the contract");
    messages.iter().map(|message| read(message).expect("a known event")).collect()
}

/// A bus that keeps what it takes.
#[derive(Clone, Default)]
struct Collecting(Arc<Mutex<Vec<Value>>>);

impl Transport for Collecting {
    fn put<'a>(
        &'a self,
        entries: &'a [Entry],
    ) -> Pin<Box<dyn Future<Output = Result<Vec<Taken>, BusError>> + Send + 'a>> {
        let messages = entries.iter().map(|entry| {
            let detail: Value = serde_json::from_str(&entry.detail).expect("a detail is JSON");
            envelope(&entry.detail_type, &detail)
        });
        self.0.lock().expect("no test panics with it").extend(messages);
        Box::pin(std::future::ready(Ok(vec![Ok(()); entries.len()])))
    }

    fn is_warm(&self) -> bool {
        true
    }
}
