//! `POST /api/{project}/envelope/` and `/store/`: envelopes and events of SDKs, and hostile input.

mod answers;
mod browser;
mod captures;
mod delivery;
mod hostile;
mod items;
mod lambda;
mod public;

use harness::{Answer, Database, TestStack};
use serde_json::{Value, json};
use shared::dsn::{KeyVersion, PublicKey};
use shared::model::{ApplicationChanges, Limits};

/// Captured envelopes of real SDKs, by name.
const CAPTURES: [(&str, &str); 8] = [
    ("py-1", include_str!("../../../functions/sentry-envelope/fixtures/py-1.envelope")),
    ("py-2", include_str!("../../../functions/sentry-envelope/fixtures/py-2.envelope")),
    ("py-3", include_str!("../../../functions/sentry-envelope/fixtures/py-3.envelope")),
    ("node-1", include_str!("../../../functions/sentry-envelope/fixtures/node-1.envelope")),
    ("node-2", include_str!("../../../functions/sentry-envelope/fixtures/node-2.envelope")),
    ("node-3", include_str!("../../../functions/sentry-envelope/fixtures/node-3.envelope")),
    ("node-4", include_str!("../../../functions/sentry-envelope/fixtures/node-4.envelope")),
    ("node-5", include_str!("../../../functions/sentry-envelope/fixtures/node-5.envelope")),
];

/// The captured envelope of this name.
fn capture(name: &str) -> &'static str {
    CAPTURES.iter().find(|(known, _)| *known == name).unwrap().1
}

/// A stack with an application that reports to it.
struct Sdk {
    stack: TestStack,
    project: i64,
    key: PublicKey,
}

impl Sdk {
    async fn start() -> Self {
        Self::limited(Limits::default()).await
    }

    async fn limited(limits: impl Into<ApplicationChanges>) -> Self {
        let stack = TestStack::builder().start(Database::migrated().await).await;
        let project = stack.application("shop", Some("staging"), limits).await;
        let key = PublicKey::of(&TestStack::dsn_secret(), project, KeyVersion::FIRST);
        Self { stack, project, key }
    }

    /// A request as Python's SDK makes it: with the key in a header.
    fn request(&self, route: &str) -> reqwest::RequestBuilder {
        let auth = format!("Sentry sentry_key={}, sentry_version=7, sentry_client=sentry.python/2.75.0", self.key);
        self.stack.request("POST", &format!("/api/{}/{route}", self.project)).header("x-sentry-auth", auth)
    }

    async fn envelope(&self, body: impl Into<reqwest::Body>) -> Answer {
        self.stack.send(self.request("envelope/").body(body)).await
    }

    async fn store(&self, body: impl Into<reqwest::Body>) -> Answer {
        self.stack.send(self.request("store/").body(body)).await
    }

    async fn incidents(&self) -> i64 {
        self.stack.database.count("incidents").await
    }
}

/// An envelope of these items: types and payloads.
fn envelope(items: &[(&str, &str)]) -> String {
    let mut text = "{}\n".to_owned();
    for (kind, payload) in items {
        text += &format!("{{\"type\":\"{kind}\",\"length\":{}}}\n{payload}\n", payload.len());
    }
    text
}

/// An event with this message.
fn event(message: &str) -> Value {
    json!({"event_id": uuid::Uuid::new_v4().simple().to_string(), "message": message, "level": "error"})
}
