//! While the database is unavailable reports are deferred durably and replayed: each exactly once.

mod bus;
mod journal;
mod journey;
mod local;
mod others;
mod replay;

pub(crate) use bus::client;

use chrono::Utc;
use harness::Database;
use serde_json::{Value, json};
use shared::model::{DeliveryKey, Report};
use shared::publish::{BusConfig, Publisher};

/// A report with this message, with the idempotency key of a caller.
pub(crate) fn report(message: &str) -> Report {
    let key = DeliveryKey::named("api", message.as_bytes());
    Report::new(key, "api", message.to_owned(), Utc::now()).storable()
}

/// A report that Postgres refuses, because of a NUL in its key.
pub(crate) fn poison() -> Report {
    let mut report = serde_json::to_value(report("poison")).unwrap();
    report["delivery_key"]["text"] = json!("api:\0");
    serde_json::from_value(report).unwrap()
}

/// An intake on this database.
pub(crate) fn intake(database: &Database) -> shared::intake::Intake {
    let store = database.store();
    shared::intake::Intake::new(store.clone(), Publisher::new(store, BusConfig::default()), Default::default())
}

/// An intake whose database is unavailable.
pub(crate) fn intake_without_database() -> shared::intake::Intake {
    let url = "postgresql://agent:nothing@127.0.0.1:9/none?sslmode=disable";
    let config = shared::config::DatabaseConfig::at(url.into());
    let store = shared::store::Store::new(&config, "test", shared::store::PoolSize::LAMBDA).unwrap();
    shared::intake::Intake::new(store.clone(), Publisher::new(store, BusConfig::default()), Default::default())
}

/// How many reports of this message have been counted.
pub(crate) async fn occurrences(database: &Database, message: &str) -> i64 {
    let sql = "SELECT coalesce(sum(occurrences), 0)::bigint FROM incidents WHERE error_message = $1";
    database.rows(sql, &[&message]).await[0].get(0)
}

/// A batch as Lambda gets it from SQS: messages with these ids and bodies.
pub(crate) fn batch(messages: &[(&str, String)]) -> Value {
    let records = messages.iter().map(|(id, body)| {
        json!({
            "messageId": id,
            "receiptHandle": "AQEBwJnKyrHigUMZj6rYigCgxlaS3SLy0a",
            "body": body,
            "attributes": {
                "ApproximateReceiveCount": "1", "SentTimestamp": "1795428000000",
                "SenderId": "AIDAIENQZJOLO23YVJ4VO", "ApproximateFirstReceiveTimestamp": "1795428000001",
            },
            "messageAttributes": {},
            "md5OfBody": "e4e68fb7bd0e697a0ae8f1bb342846b3",
            "eventSource": "aws:sqs",
            "eventSourceARN": "arn:aws:sqs:eu-west-1:123456789012:deferred",
            "awsRegion": "eu-west-1",
        })
    });
    json!({ "Records": records.collect::<Vec<_>>() })
}

/// The ids of the failed messages, which the queue retries.
pub(crate) fn failed(answer: &Value) -> Vec<&str> {
    let failures = answer["batchItemFailures"].as_array().unwrap();
    failures.iter().map(|failure| failure["itemIdentifier"].as_str().unwrap()).collect()
}
