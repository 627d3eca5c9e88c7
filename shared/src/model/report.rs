//! One received error, normalised: the common form of every wire format.

use std::borrow::Cow;
use std::fmt;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use sha2::{Digest, Sha256};

use super::service::DEFAULT_ENVIRONMENT;
use super::text::{first_chars, hex, storable, storable_object};
use super::{IncidentId, Severity};

/// The application of a report that names none.
const UNKNOWN_APPLICATION: &str = "unknown";

/// The idempotency key of a delivery, by which a redelivered report is recognised: unique per delivery, at most 200
/// bytes of ASCII.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct DeliveryKey {
    text: String,
    chosen_by_caller: bool,
}

impl DeliveryKey {
    /// The key of a delivery that its sender named. `namespace` separates kinds of senders. The name is untrusted: it
    /// is hashed, so that neither its length nor its bytes matter.
    #[must_use]
    pub fn named(namespace: &str, name: &[u8]) -> Self {
        Self { text: format!("{namespace}:{}", hex(&Sha256::digest(name))), chosen_by_caller: true }
    }

    /// The key of a delivery that its content identifies, such as an event's id.
    #[must_use]
    pub fn derived(namespace: &str, content: &[u8]) -> Self {
        Self { chosen_by_caller: false, ..Self::named(namespace, content) }
    }

    /// A unique key, for a delivery that has none.
    #[must_use]
    pub fn unique(namespace: &str, now: DateTime<Utc>) -> Self {
        Self { text: format!("{namespace}:{}", uuid_at(now)), chosen_by_caller: false }
    }

    /// Whether the caller chose it, and so may have reused it by mistake.
    #[must_use]
    pub fn chosen_by_caller(&self) -> bool {
        self.chosen_by_caller
    }

    /// The key as stored.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }
}

impl fmt::Display for DeliveryKey {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.text)
    }
}

/// How a report is counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Counting {
    /// The error happened once more.
    Occurrence,
    /// Another system announces an error: opens an incident, but is not counted as an occurrence.
    Announcement,
}

/// The user that an error affected: enough to count distinct users, too little to identify them.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct UserKey(String);

impl UserKey {
    /// The key of this identity (an id, an e-mail address, …): 16 hexadecimal digits of a hash. Each scope, such as an
    /// application, gives the same identity another key.
    #[must_use]
    pub fn of(scope: &str, identity: &str) -> Self {
        let mut hasher = Sha256::new();
        hasher.update((scope.len() as u64).to_le_bytes());
        hasher.update(scope);
        hasher.update(identity);
        Self(hex(&hasher.finalize()[..8]))
    }

    /// The key as stored.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// One received error, normalised. [`Report::storable`] makes it fit its columns. Serialised when it is deferred
/// because the database is unavailable.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// The idempotency key.
    pub delivery_key: DeliveryKey,
    /// The reporter, in its own word (`api` by default).
    pub source: String,
    /// The error's message; never blank.
    pub message: String,
    /// The incident's title, where it is not the beginning of the message.
    pub title: Option<String>,
    /// The exception's class, as the language names it.
    pub error_type: Option<String>,
    /// The stack trace, as text.
    pub stack: Option<String>,
    /// The code that raised it, as `module:function` or the like: the last frame of the application's own.
    pub crash_frame: Option<String>,
    /// The reporter's own grouping; `{{ default }}` stands for our grouping. Empty = our grouping.
    pub client_fingerprint: Vec<String>,
    /// Number of the application (`applications`) whose DSN was used. Its name, and its environment if the report names
    /// none, are read from the database when that is available.
    pub project: Option<i64>,
    /// The failing application (default: `unknown`).
    pub application: String,
    /// The environment (default: `production`).
    pub environment: String,
    /// The release that failed.
    pub release: Option<String>,
    /// The affected user.
    pub user: Option<UserKey>,
    /// The route or operation that failed.
    pub endpoint: Option<String>,
    /// A severity that the reporter chose; it overrides the rules.
    pub severity: Option<Severity>,
    /// The lowest severity that the rules may give it.
    pub at_least: Option<Severity>,
    /// The highest severity that the built-in rules may give it; an operator's rule may exceed it. (Reports deferred by
    /// an earlier version lack this field.)
    #[serde(default)]
    pub at_most: Option<Severity>,
    /// The reporter's own grouping, such as `sentry:4711`: one incident across environments.
    pub upstream_group: Option<UpstreamGroup>,
    /// How it is counted.
    pub counting: Counting,
    /// Everything else that was reported.
    pub context: Map<String, Value>,
    /// When it was received.
    pub received_at: DateTime<Utc>,
}

impl Report {
    /// Column widths, in characters.
    const TITLE: usize = 255;
    const ERROR_TYPE: usize = 50;
    const APPLICATION: usize = 100;
    const ENVIRONMENT: usize = 64;
    const ENDPOINT: usize = 500;
    const RELEASE: usize = 250;
    const SOURCE: usize = 100;

    /// The report with every NUL replaced and every value cut to its column; the whole of a cut value is kept in the
    /// context (under its own name, unless the reporter uses that name).
    #[must_use]
    pub fn storable(mut self) -> Self {
        self.context = storable_object(self.context);
        self.message = storable(&self.message).into_owned();
        self.title = self.title.map(|title| storable(&title).into_owned());
        self.stack = self.stack.map(|stack| storable(&stack).into_owned());
        self.source = self.bounded("source", &self.source.clone(), Self::SOURCE);
        self.application = self.bounded("application", &self.application.clone(), Self::APPLICATION);
        self.environment = self.bounded("environment", &self.environment.clone(), Self::ENVIRONMENT);
        self.release = self.release.take().map(|release| self.bounded("release", &release, Self::RELEASE));
        self.endpoint = self.endpoint.take().map(|endpoint| self.bounded("endpoint", &endpoint, Self::ENDPOINT));
        self.error_type =
            self.error_type.take().map(|error_type| self.bounded("error_type", &error_type, Self::ERROR_TYPE));
        // The application's name is looked up by the project's number later.
        if self.project.is_some() && self.application.trim().is_empty() {
            return self;
        }
        if self.application.trim().is_empty() {
            self.application = UNKNOWN_APPLICATION.to_owned();
        }
        if self.environment.trim().is_empty() {
            DEFAULT_ENVIRONMENT.clone_into(&mut self.environment);
        }
        self
    }

    /// A report of this message, without any further facts.
    #[must_use]
    pub fn new(delivery_key: DeliveryKey, source: &str, message: String, received_at: DateTime<Utc>) -> Self {
        Self {
            delivery_key,
            source: source.to_owned(),
            message,
            title: None,
            error_type: None,
            stack: None,
            crash_frame: None,
            client_fingerprint: Vec::new(),
            project: None,
            application: String::new(),
            environment: String::new(),
            release: None,
            user: None,
            endpoint: None,
            severity: None,
            at_least: None,
            at_most: None,
            upstream_group: None,
            counting: Counting::Occurrence,
            context: Map::new(),
            received_at,
        }
    }

    /// The incident's title: at most 255 characters.
    #[must_use]
    pub fn title(&self) -> &str {
        first_chars(self.title.as_deref().unwrap_or(&self.message), Self::TITLE)
    }

    /// Stores a value without a column in the context, without overwriting the reporter's own value.
    pub fn keep_in_context(&mut self, name: &str, value: Value) {
        match self.context.get(name) {
            Some(present) if *present == value => {}
            Some(_) => {
                self.context.insert(format!("reported_{name}"), value);
            }
            None => {
                self.context.insert(name.to_owned(), value);
            }
        }
    }

    /// A hash of the error's content: detects that a delivery key was reused for another report.
    #[must_use]
    pub fn content_hash(&self) -> String {
        let mut hasher = Sha256::new();
        let parts = [Some(&self.message), self.error_type.as_ref(), Some(&self.application), Some(&self.environment)];
        for part in parts {
            let part = part.map_or("", String::as_str);
            hasher.update((part.len() as u64).to_le_bytes());
            hasher.update(part.as_bytes());
        }
        hex(&hasher.finalize())
    }

    /// The id of the incident that it may open.
    #[must_use]
    pub fn candidate_incident_id(&self) -> IncidentId {
        IncidentId::for_report(self.received_at)
    }

    fn bounded(&mut self, name: &str, value: &str, limit: usize) -> String {
        let value = storable(value);
        let cut = first_chars(&value, limit);
        if cut.len() < value.len() {
            self.keep_in_context(name, Value::String(value.clone().into_owned()));
        }
        cut.to_owned()
    }
}

/// Another system's id of a group of errors.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct UpstreamGroup {
    /// The system, in lower-case letters.
    pub system: Cow<'static, str>,
    /// Its id of the group.
    pub id: String,
}

/// A time-ordered id (`UUIDv7`) of this instant.
#[must_use]
pub fn uuid_at(now: DateTime<Utc>) -> uuid::Uuid {
    let seconds = u64::try_from(now.timestamp()).unwrap_or(0);
    uuid::Uuid::new_v7(uuid::Timestamp::from_unix(uuid::NoContext, seconds, now.timestamp_subsec_nanos()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn report(context: Value) -> Report {
        let Value::Object(context) = context else { unreachable!() };
        let key = DeliveryKey::named("api", b"1");
        Report { context, ..Report::new(key, "api", "boom".into(), DateTime::UNIX_EPOCH) }
    }

    #[test]
    fn a_cut_value_is_kept_whole_in_the_context() {
        let long = "E".repeat(60);
        let mut given = report(json!({"error_type": "mine"}));
        given.error_type = Some(long.clone());
        given.endpoint = Some("/".repeat(501));
        let stored = given.storable();
        assert_eq!(stored.error_type.as_deref(), Some(&long[..50]));
        assert_eq!(stored.context["error_type"], "mine");
        assert_eq!(stored.context["reported_error_type"], long);
        assert_eq!(stored.context["endpoint"], "/".repeat(501));
    }

    #[test]
    fn the_title_is_255_characters_even_across_an_emoji() {
        let mut given = report(json!({}));
        given.message = "😀".repeat(300);
        assert_eq!(given.title().chars().count(), 255);
    }

    #[test]
    fn application_and_environment_have_defaults() {
        let stored = report(json!({})).storable();
        assert_eq!((stored.application.as_str(), stored.environment.as_str()), ("unknown", "production"));
    }

    #[test]
    fn a_delivery_key_is_short_for_any_name() {
        assert!(DeliveryKey::named("api", &[0xff; 9000]).as_str().len() < 200);
        assert_ne!(DeliveryKey::named("api", b"a"), DeliveryKey::named("sentry", b"a"));
    }
}
