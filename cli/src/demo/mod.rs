//! `watchkeeper start --demo`: reports errors, checks a demo service through an outage, prints the incidents, and ends.
//!
//! Errors are sent over HTTP; the demo service is checked while it is healthy, while it fails, and after it recovers.
//! The exit code is 0 if the outage's incident was opened and resolved.

mod target;

use std::collections::BTreeMap;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context as _, ensure};
use chrono::Utc;
use local::stack::Stack;
use secrecy::SecretString;
use sentry_webhook::signature::sign;
use serde_json::{Value, json};
use shared::model::{ServiceSpec, ServiceState};
use shared::store::services::Wanted;
use shared::store::{Store, StoreError, services};

use crate::commands::incidents;
use crate::output;
use crate::remote::Remote;
use crate::selection::ServerUrl;
use target::Target;

/// The demo's service, and the environment of everything in the demo.
const SERVICE: &str = "demo-shop";
const ENVIRONMENT: &str = "demo";

/// The keys that the demo uses.
pub struct Keys {
    /// For reporting errors.
    pub ingest: Option<SecretString>,
    /// For reading.
    pub read: Option<SecretString>,
    /// The secret of the Sentry webhook.
    pub sentry: Option<SecretString>,
}

/// Runs the demo.
///
/// # Errors
/// When a step fails, or has an unexpected outcome.
pub async fn run(stack: &Stack, store: &Store, keys: &Keys, json: bool) -> anyhow::Result<ExitCode> {
    let url = ServerUrl::parse(&stack.url())?;
    let reporting = Remote::new(url.clone(), keys.ingest.clone())?;
    let reading = Remote::new(url, keys.read.clone())?;
    let demo = Demo { stack, store, keys, reporting, reading, json };
    demo.send_errors().await?;
    let incident = demo.watch_a_service().await?;
    demo.show(&incident).await?;
    Ok(ExitCode::SUCCESS)
}

struct Demo<'a> {
    stack: &'a Stack,
    store: &'a Store,
    keys: &'a Keys,
    reporting: Remote,
    reading: Remote,
    json: bool,
}

impl Demo<'_> {
    /// Prints a line; with `--json`, only the outcome is printed.
    fn say(&self, line: impl std::fmt::Display) {
        if !self.json {
            output::say(line);
        }
    }

    async fn send_errors(&self) -> anyhow::Result<()> {
        self.say("\n1. Errors come in over POST /api/autonomous/error");
        for error in errors() {
            let answer = self.reporting.post("/api/autonomous/error", &error).await?;
            self.print_report(error["error"]["message"].as_str().unwrap_or_default(), &answer);
        }
        match &self.keys.sentry {
            Some(secret) => self.send_as_sentry(secret).await,
            None => Ok(()),
        }
    }

    /// A webhook as Sentry sends it: a real event, signed over its bytes.
    async fn send_as_sentry(&self, secret: &SecretString) -> anyhow::Result<()> {
        self.say("   and from Sentry over POST /webhooks/sentry");
        let event_id = uuid::Uuid::new_v4().simple().to_string();
        let body = json!({
            "action": "created",
            "data": { "error": {
                "event_id": event_id, "issue_id": "4711", "level": "error", "environment": ENVIRONMENT,
                "title": "ZeroDivisionError: division by zero",
                "exception": { "values": [{
                    "type": "ZeroDivisionError", "value": "division by zero",
                    "stacktrace": { "frames": [{ "function": "rate", "filename": "shop/rates.py", "lineno": 12 }] },
                }] },
                "url": format!("https://sentry.io/api/0/projects/acme/shop/events/{event_id}/"),
                "web_url": format!("https://acme.sentry.io/issues/4711/events/{event_id}/"),
            } },
        })
        .to_string();
        let signature = sign(secret, body.as_bytes());
        let headers = [("sentry-hook-resource", "error"), ("sentry-hook-signature", signature.as_str())];
        let answer = self.reporting.post_bytes("/webhooks/sentry", body, &headers).await?;
        self.print_report("ZeroDivisionError: division by zero", &answer);
        Ok(())
    }

    /// Prints one line for a report and its incident.
    fn print_report(&self, message: &str, answer: &Value) {
        let text = |name: &str| answer[name].as_str().unwrap_or_default().to_owned();
        let what = if answer["created"] == true { "opens" } else { "one more of" };
        let (id, severity, category) = (text("incident_id"), text("severity"), text("category"));
        self.say(format_args!("   {message:<50} {what:<11} {id} ({severity}, {category})"));
    }

    /// Probes the demo service through an outage; returns the incident that it opened.
    async fn watch_a_service(&self) -> anyhow::Result<String> {
        let target = Target::start().await.context("start the demo service")?;
        self.store_service(service(&target.url())).await.context("store the demo service")?;
        self.say(format_args!("\n2. {SERVICE} is checked while it is healthy, and then fails"));
        let (state, _) = self.round().await?;
        ensure!(state == ServiceState::Healthy, "{SERVICE} should be healthy by now, not {state}");
        target.set_failing(true);
        let (_, first) = self.round().await?;
        let (_, second) = self.round().await?;
        let incident = first.context("the outage should have opened an incident")?;
        ensure!(second.as_ref() == Some(&incident), "a second failed check should stay in the same incident");
        self.say(format_args!("\n3. {SERVICE} recovers: two good checks in a row end the outage"));
        target.set_failing(false);
        self.round().await?;
        let (state, _) = self.round().await?;
        ensure!(state == ServiceState::Healthy, "two good checks should have ended the outage");
        Ok(incident)
    }

    /// Removes and stores the service, so that it has no history: an earlier demo may have been interrupted, and
    /// several would make it flap.
    async fn store_service(&self, service: ServiceSpec) -> Result<(), StoreError> {
        let removed = &[(service.name.clone(), service.environment.clone())];
        let (service, none) = (&[service], &BTreeMap::new());
        for wanted in [
            &Wanted { services: &[], token_hashes: none, removed, routing: None },
            &Wanted { services: service, token_hashes: none, removed: &[], routing: None },
        ] {
            self.store.run(|client| async move { services::apply(&client, wanted, Utc::now()).await }).await?;
        }
        Ok(())
    }

    /// Checks the demo service; returns its state and incident.
    async fn round(&self) -> anyhow::Result<(ServiceState, Option<String>)> {
        let report = probe::check_now(self.stack.probe(), Duration::ZERO, &|_, _| {}).await?;
        if let Some(switch) = report.stopped_by {
            anyhow::bail!("the demo can't check its service: stopped by {switch}");
        }
        let checked = report
            .checked
            .iter()
            .find(|checked| checked.service == SERVICE && checked.environment == ENVIRONMENT)
            .context("the demo service was not checked")?;
        let status = checked.http_status.map_or_else(|| "no answer".to_owned(), |status| format!("status {status}"));
        let incident = checked.incident_id.as_ref().map(ToString::to_string);
        let suffix = incident.as_ref().map(|id| format!(", {id}")).unwrap_or_default();
        self.say(format_args!("   {SERVICE}: {status} in {} ms, {}{suffix}", checked.response_time_ms, checked.state));
        Ok((checked.state, incident))
    }

    /// Prints the incidents, and checks that the outage's is resolved.
    async fn show(&self, incident: &str) -> anyhow::Result<()> {
        self.say("\n4. What an operator sees: watchkeeper incidents");
        let page = self.reading.get("/api/incidents", &[("environment", ENVIRONMENT), ("limit", "20")]).await?;
        if self.json {
            output::say(&page);
        } else {
            incidents::print(&page);
        }
        let ended = self.reading.get(&format!("/api/incidents/{incident}"), &[]).await?;
        ensure!(ended["status"] == "resolved", "{incident} should be resolved, but is {}", ended["status"]);
        self.say(format_args!("\nThe outage of {SERVICE} was detected, reported and resolved: {incident}."));
        Ok(())
    }
}

/// Errors as applications report them; the second and third have the same fingerprint.
fn errors() -> [Value; 6] {
    let error = |message: &str, kind: &str, application: &str, endpoint: Option<&str>| {
        json!({
            "error": { "message": message, "type": kind },
            "context": { "application": application, "environment": ENVIRONMENT, "endpoint": endpoint },
        })
    };
    [
        error("Database connection failed: timeout after 5000 ms", "PoolError", "shop", None),
        error("Payment processing failed for order 1017", "PaymentError", "shop", Some("/api/checkout")),
        error("Payment processing failed for order 1018", "PaymentError", "shop", Some("/api/checkout")),
        error("TypeError: undefined is not a function", "TypeError", "shop-frontend", None),
        error("Slow query: 2300 ms in db", "SlowQuery", "shop", None),
        error("Warning: missing image logo.png", "AssetWarning", "shop-frontend", None),
    ]
}

fn service(url: &str) -> ServiceSpec {
    ServiceSpec {
        application: "shop".to_owned(),
        timeout: Duration::from_secs(1),
        ..ServiceSpec::http(SERVICE, ENVIRONMENT, url)
    }
}
