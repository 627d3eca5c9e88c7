//! Who is told of a problem, and what it is told together with: routes to groups. Pure.
//!
//! Routes are asked in their order; the first that means the problem decides, and the next as well where it says
//! `continue`. Where there is no route, or none means the problem, the built-in ones hold: CRITICAL and HIGH go to SMS and
//! PagerDuty, MEDIUM and LOW to e-mail, everything to Slack, Discord and webhooks; a severity for which that names nobody
//! goes to whoever there is. A route without channels is a decision too: nobody is told, and nobody else is asked.

use std::collections::BTreeSet;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use shared::model::{Channel, EscalationPolicy, GroupLabel, Labels, Receiver, Route, Routing, Severity};
use uuid::Uuid;

/// The name of the built-in route. No route of a file can have it.
pub const BUILT_IN: &str = "(built-in)";

/// The longest key of a group, in bytes: with what stands before it, it fits into every channel's 255.
const KEY_BYTES: usize = 200;

/// A group that a problem belongs to, and how that is told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RoutedGroup {
    /// Which group: the route, and what its problems have in common. The same whenever it is asked.
    pub group_key: String,
    /// By which route.
    pub route: String,
    /// How it is told.
    pub settings: Settings,
}

/// How a group is told. Stored with it, so that what was heard is told as it was meant then.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Settings {
    /// Who is told.
    pub receivers: Vec<Receiver>,
    /// How long the first problem waits for others.
    pub group_wait_seconds: u32,
    /// How long those wait that join later.
    pub group_interval_seconds: u32,
    /// After this time without a reaction it is told again.
    pub repeat_interval_seconds: Option<u32>,
    /// Whom to tell when nobody reacts.
    pub escalation: Option<EscalationPolicy>,
    /// What its problems have in common, for people; none = it is one problem by itself.
    pub label: Option<String>,
}

/// Whom the environment names: the single addresses of e-mail and SMS, the default and the named ones of the rest.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Configured(Vec<Receiver>);

impl Configured {
    /// Those, where an e-mail channel without addresses writes to this one.
    #[must_use]
    pub fn new(configured: Vec<Receiver>, notification_email: Option<&str>) -> Self {
        let address = notification_email.and_then(|email| Receiver::parse(&format!("email:{email}")).ok());
        let mut named = Vec::with_capacity(configured.len());
        for receiver in configured {
            let whom = if receiver == Receiver::default_of(Channel::Email) { address.clone() } else { Some(receiver) };
            named.extend(whom.filter(|whom| !named.contains(whom)));
        }
        Self(named)
    }

    /// All of them.
    #[must_use]
    pub fn all(&self) -> &[Receiver] {
        &self.0
    }

    /// Whom a receiver of a route stands for: `email` and `sms` for all addresses that the environment names. One that
    /// nothing is configured for stays: that it can't be told must show.
    fn expand(&self, receiver: &Receiver) -> Vec<Receiver> {
        if receiver.name().is_none() && matches!(receiver.channel(), Channel::Email | Channel::Sms) {
            let addresses: Vec<_> = self.0.iter().filter(|it| it.channel() == receiver.channel()).cloned().collect();
            if !addresses.is_empty() {
                return addresses;
            }
        }
        vec![receiver.clone()]
    }

    fn by_default(&self, severity: Severity) -> Vec<Receiver> {
        let is_bad = matches!(severity, Severity::Critical | Severity::High);
        let its = |receiver: &&Receiver| match receiver.channel() {
            Channel::Slack | Channel::Discord | Channel::Webhook => true,
            Channel::Sms | Channel::PagerDuty => is_bad,
            Channel::Email => !is_bad,
        };
        let its: Vec<_> = self.0.iter().filter(its).cloned().collect();
        // A machine may read a webhook: of what is bad a person should hear; for the rest it wakes nobody.
        let somebody_hears = its.iter().any(|it| it.channel() != Channel::Webhook || !is_bad);
        if somebody_hears { its } else { self.0.clone() }
    }
}

/// The groups that a problem belongs to. Nobody is told twice: whom an earlier route names is left out of the later ones, and
/// a route that is left with nobody names no group. Of several problems that a route tells together, those that are told
/// to fewer receivers for that reason are a group of their own. None = nobody is told.
#[must_use]
pub fn route_to_groups(
    routing: &Routing,
    configured: &Configured,
    subject: &str,
    labels: &Labels,
    now: DateTime<Utc>,
) -> Vec<RoutedGroup> {
    let mut ways = Vec::new();
    let mut named = BTreeSet::new();
    let mut is_decided = false;
    for route in &routing.routes {
        if !route.matchers.matches(labels, now) {
            continue;
        }
        is_decided = true;
        let all = expanded(configured, &route.channels);
        let (receivers, left_out): (Vec<_>, Vec<_>) = all.into_iter().partition(|it| named.insert(it.clone()));
        if !receivers.is_empty() {
            ways.push(way(routing, route, (receivers, &left_out), subject, labels));
        }
        if !route.continues {
            return ways;
        }
    }
    if !is_decided {
        let receivers = configured.by_default(labels.severity);
        if !receivers.is_empty() {
            ways.push(RoutedGroup {
                group_key: group_key(BUILT_IN, subject),
                route: BUILT_IN.to_owned(),
                settings: Settings { receivers, ..Settings::default() },
            });
        }
    }
    ways
}

/// Whom a route or a step of a ladder names, in their order, each once.
#[must_use]
pub fn expanded(configured: &Configured, receivers: &[Receiver]) -> Vec<Receiver> {
    let mut named = BTreeSet::new();
    receivers.iter().flat_map(|it| configured.expand(it)).filter(|it| named.insert(it.clone())).collect()
}

fn way(
    routing: &Routing,
    route: &Route,
    (receivers, left_out): (Vec<Receiver>, &[Receiver]),
    subject: &str,
    labels: &Labels,
) -> RoutedGroup {
    let is_alone = route.group_by.is_empty();
    let common = if is_alone { subject.to_owned() } else { common(&route.group_by, left_out, labels) };
    let interval = if is_alone { 0 } else { Route::GROUP_INTERVAL_SECONDS };
    RoutedGroup {
        group_key: group_key(&route.name, &common),
        route: route.name.clone(),
        settings: Settings {
            receivers,
            group_wait_seconds: route.group_wait_seconds,
            group_interval_seconds: route.group_interval_seconds.unwrap_or(interval),
            repeat_interval_seconds: route.repeat_interval_seconds,
            escalation: route.escalation.as_deref().and_then(|name| routing.escalation(name)).cloned(),
            label: (!is_alone).then(|| label(&route.group_by, labels)),
        },
    }
}

/// What channels know a group's problem by.
#[must_use]
pub fn dedup_key(group_key: &str) -> String {
    format!("watchkeeper:{group_key}")
}

/// What the problems of a group have in common. As JSON, whose quotes keep two values from looking like two others.
fn common(group_by: &[GroupLabel], left_out: &[Receiver], labels: &Labels) -> String {
    let mut group_by = group_by.to_vec();
    group_by.sort_unstable();
    let mut common: serde_json::Map<_, _> =
        group_by.iter().map(|it| (it.as_str().to_owned(), value(*it, labels).into())).collect();
    if !left_out.is_empty() {
        common.insert("without".to_owned(), left_out.iter().map(ToString::to_string).collect());
    }
    serde_json::Value::Object(common).to_string()
}

fn group_key(route: &str, common: &str) -> String {
    let key = format!("{route}/{common}");
    if key.len() <= KEY_BYTES { key } else { format!("#{}", Uuid::new_v5(&Uuid::NAMESPACE_OID, key.as_bytes())) }
}

fn value(label: GroupLabel, labels: &Labels) -> &str {
    match label {
        GroupLabel::Severity => labels.severity.as_str(),
        GroupLabel::Category => labels.category.as_str(),
        GroupLabel::Application => &labels.application,
        GroupLabel::Environment => &labels.environment,
        GroupLabel::Service => labels.service.as_deref().unwrap_or_default(),
    }
}

fn label(group_by: &[GroupLabel], labels: &Labels) -> String {
    let told: Vec<_> = group_by
        .iter()
        .map(|it| match value(*it, labels) {
            "" => format!("no {}", it.as_str()),
            value => format!("{} {value}", it.as_str()),
        })
        .collect();
    told.join(", ")
}

#[cfg(test)]
mod tests;
