//! `notify` on a real database: what events store, and what receivers get over real HTTP.

mod certificates;
mod counts;
mod deliveries;
mod escalations;
mod groups;
pub(crate) mod inbox;
mod mutes;
mod once;
mod order;
mod pages;
mod trouble;
mod upkeep;
mod volume;
mod who;

use std::collections::BTreeMap;

use aws_lambda_events::sqs::{SqsBatchResponse, SqsEvent, SqsMessage};
use chrono::{DateTime, Utc};
use harness::Database;
use notify::App;
use notify::app::NotifyConfig;
use serde_json::{Value, json};
use shared::config::{Environment, Secrets};

use inbox::Inbox;

const WEBHOOK_SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

/// `notify` on its own database, with these channels.
pub(crate) struct Notifier {
    pub(crate) database: Database,
    pub(crate) app: App,
}

impl Notifier {
    /// With these variables.
    pub(crate) async fn with(variables: &[(&str, String)]) -> Self {
        let database = Database::migrated().await;
        let app = app(&database, variables);
        Self { database, app }
    }

    /// With the signed webhook at this inbox.
    pub(crate) async fn to(inbox: &Inbox) -> Self {
        Self::with(&webhook(inbox)).await
    }

    /// Routes and escalations, as `apply` stores them.
    pub(crate) async fn route(&self, routing: Value) {
        let parsed: shared::model::Routing = serde_json::from_value(routing.clone()).unwrap();
        parsed.validate().unwrap();
        self.database
            .rows(
                "INSERT INTO system_config (key, value) VALUES ('notification_routing', $1)
                ON CONFLICT (key) DO UPDATE SET value = EXCLUDED.value",
                &[&routing],
            )
            .await;
    }

    /// An open incident of an error.
    pub(crate) async fn incident(&self, id: &str, severity: &str) {
        self.incident_of(id, severity, "shop").await;
    }

    pub(crate) async fn incident_of(&self, id: &str, severity: &str, application: &str) {
        self.database
            .rows(
                "INSERT INTO incidents (incident_id, title, severity, category, application, error_message, detected_at)
                VALUES ($1::text, 'It broke: ' || $1::text, $2::text, 'backend', $3::text, 'boom', now())",
                &[&id, &severity, &application],
            )
            .await;
    }

    pub(crate) async fn set(&self, id: &str, assignments: &str) {
        self.database.execute(&format!("UPDATE incidents SET {assignments} WHERE incident_id = '{id}'")).await;
    }

    pub(crate) async fn resolve(&self, id: &str) {
        self.set(id, "status = 'resolved', resolved_at = now(), handled_by = 'ana'").await;
        self.receive(&[of_incident("IncidentResolved", id)]).await;
    }

    pub(crate) async fn acknowledge(&self, id: &str) {
        self.set(id, "status = 'acknowledged', handled_by = 'ana'").await;
        self.receive(&[of_incident("IncidentAcknowledged", id)]).await;
    }

    pub(crate) async fn reopen(&self, id: &str) {
        self.set(id, "status = 'detected', resolved_at = NULL, handled_by = NULL, reopened_at = now()").await;
        self.receive(&[of_incident("IncidentReopened", id)]).await;
    }

    /// Opens an incident and notifies of it.
    pub(crate) async fn open(&self, id: &str, severity: &str) {
        self.incident(id, severity).await;
        self.receive(&[of_incident("IncidentOpened", id)]).await;
    }

    /// Receives these events, all successfully.
    pub(crate) async fn receive(&self, events: &[Value]) {
        let response = notify::handle(&self.app, batch(events)).await;
        assert_eq!(failures(&response), [] as [&str; 0]);
    }

    /// A sweep at this time.
    pub(crate) async fn sweep(&self, now: DateTime<Utc>) {
        notify::sweep(&self.app, now).await.unwrap();
    }

    /// Simulates the passing of time: moves all stored times into the past.
    pub(crate) async fn pass(&self, seconds: u32) {
        let ago = |columns: &[&str]| -> String {
            let set = |it: &&str| format!("{it} = {it} - interval '{seconds} seconds'");
            columns.iter().map(set).collect::<Vec<_>>().join(", ")
        };
        let groups = ago(&["first_seen_at", "last_told_at", "due_at"]);
        let messages = ago(&["created_at", "next_attempt_at", "claimed_until", "sent_at"]);
        let receivers = ago(&["refilled_at", "paused_until", "held_since", "failing_since"]);
        self.database
            .execute(&format!(
                "UPDATE notification_groups SET {groups}; UPDATE notifications SET {messages};
                UPDATE notification_receivers SET {receivers}"
            ))
            .await;
    }

    /// `status kind` of all messages, in their order.
    pub(crate) async fn messages(&self) -> Vec<String> {
        let sql = "SELECT status || ' ' || kind || ' ' || channel FROM notifications ORDER BY created_at, channel, recipient, id";
        self.database.rows(sql, &[]).await.iter().map(|row| row.get(0)).collect()
    }
}

/// An App of the function on this database.
pub(crate) fn app(database: &Database, variables: &[(&str, String)]) -> App {
    let variables: BTreeMap<String, String> =
        variables.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect();
    let named = variables.clone();
    let mut config = Environment::from_lookup(|name| variables.get(name).cloned()).read(NotifyConfig::read).unwrap();
    config.channels.named = Secrets::from_lookup(move |name| named.get(name).cloned());
    App::new(database.store(), config).unwrap()
}

pub(crate) fn webhook(inbox: &Inbox) -> [(&'static str, String); 2] {
    [("NOTIFY_WEBHOOK_URL", inbox.url("/")), ("NOTIFY_WEBHOOK_SECRET", WEBHOOK_SECRET.to_owned())]
}

/// Further webhooks, as `webhook:NAME`: the inbox gets them at `/NAME`.
pub(crate) fn named(inbox: &Inbox, name: &str) -> [(&'static str, String); 2] {
    let leak = |text: String| -> &'static str { Box::leak(text.into_boxed_str()) };
    [
        (leak(format!("NOTIFY_WEBHOOK_URL_{name}")), inbox.url(&format!("/{name}"))),
        (leak(format!("NOTIFY_WEBHOOK_SECRET_{name}")), WEBHOOK_SECRET.to_owned()),
    ]
}

/// An event of an incident, as the bus sends it.
pub(crate) fn of_incident(detail_type: &str, incident_id: &str) -> Value {
    event(detail_type, json!({"incident_id": incident_id}))
}

/// An event, as the bus sends it.
pub(crate) fn event(detail_type: &str, detail: Value) -> Value {
    harness::events::message(detail_type, &detail)
}

/// A batch of the queue.
pub(crate) fn batch(events: &[Value]) -> SqsEvent {
    let mut batch = SqsEvent::default();
    for (nth, event) in events.iter().enumerate() {
        let mut message = SqsMessage::default();
        message.message_id = Some(nth.to_string());
        message.body = Some(event.to_string());
        batch.records.push(message);
    }
    batch
}

pub(crate) fn failures(response: &SqsBatchResponse) -> Vec<&str> {
    response.batch_item_failures.iter().map(|failure| failure.item_identifier.as_str()).collect()
}
