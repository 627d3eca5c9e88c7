//! From a problem to its groups: which receivers are notified, and together with which other problems. Pure.
//!
//! Routes are tried in order; the first that matches decides, and the next as well where it says `continue`. Where no route
//! matches, each channel gets its default severities ([`shared::model::ChannelTraits`]); a severity that no configured channel
//! takes goes to all of them. A route without channels is a decision too: it notifies no receiver, and no later route is tried.

use std::collections::BTreeSet;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use shared::model::{Channel, EscalationPolicy, GroupLabel, Labels, Receiver, Route, Routing, Severity};
use uuid::Uuid;

/// The name of the built-in route. No route of a file can have it.
pub(crate) const BUILT_IN: &str = "(built-in)";

/// The longest key of a group, in bytes: with what stands before it, it fits into every channel's 255.
const KEY_BYTES: usize = 200;

/// A group that a route leads to, and how it is notified.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct RoutedGroup {
    /// Which group: the route, and what its problems have in common. Always the same for the same problem.
    pub(crate) group_key: String,
    /// By which route.
    pub(crate) route: String,
    /// How it is notified.
    pub(crate) settings: Settings,
}

/// How a group is notified. Stored with it: a changed route does not change what waits.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Settings {
    /// Which receivers are notified.
    pub(crate) receivers: Vec<Receiver>,
    /// How long the first problem waits for others.
    pub(crate) group_wait_seconds: u32,
    /// How long those wait that join later.
    pub(crate) group_interval_seconds: u32,
    /// After this time without a reaction it is notified again.
    pub(crate) repeat_interval_seconds: Option<u32>,
    /// Which receivers are added when it is not acknowledged.
    pub(crate) escalation: Option<EscalationPolicy>,
    /// What its problems have in common, for people; none = it is one problem by itself.
    pub(crate) label: Option<String>,
}

/// The receivers that the environment configures: the single addresses of e-mail and SMS, the default and the named ones of
/// the rest.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Configured(Vec<Receiver>);

impl Configured {
    /// Those, where an e-mail channel without addresses writes to this one.
    pub(crate) fn new(configured: Vec<Receiver>, notification_email: Option<&str>) -> Self {
        let address = notification_email.and_then(|email| Receiver::parse(&format!("email:{email}")).ok());
        let mut named = Vec::with_capacity(configured.len());
        for receiver in configured {
            let whom = if receiver == Receiver::default_of(Channel::Email) { address.clone() } else { Some(receiver) };
            named.extend(whom.filter(|whom| !named.contains(whom)));
        }
        Self(named)
    }

    /// All of them.
    pub(crate) fn all(&self) -> &[Receiver] {
        &self.0
    }

    /// What a receiver of a route stands for: `email` and `sms` for all configured addresses. One that is not configured stays:
    /// that it can't be notified must show.
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
        let takes = |it: &&Receiver| it.channel().traits().default_severities.contains(&severity);
        let receivers: Vec<_> = self.0.iter().filter(takes).cloned().collect();
        // A program may read a webhook: a severe problem must reach a person; for the rest that is no reason to page one.
        let is_severe = matches!(severity, Severity::Critical | Severity::High);
        let is_enough = receivers.iter().any(|it| it.channel() != Channel::Webhook || !is_severe);
        if is_enough { receivers } else { self.0.clone() }
    }
}

/// The groups that a problem belongs to. No receiver is notified twice: one that an earlier route names is left out of the later
/// ones, and a route without remaining receivers leads to no group. Problems that a route groups, but notifies to fewer receivers
/// for that reason, are a group of their own. None = no receiver is notified.
pub(crate) fn route_to_groups(
    routing: &Routing,
    configured: &Configured,
    subject: &str,
    labels: &Labels,
    now: DateTime<Utc>,
) -> Vec<RoutedGroup> {
    let mut groups = Vec::new();
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
            groups.push(group_of(routing, route, (receivers, &left_out), subject, labels));
        }
        if !route.continues {
            return groups;
        }
    }
    if !is_decided {
        let receivers = configured.by_default(labels.severity);
        if !receivers.is_empty() {
            groups.push(RoutedGroup {
                group_key: group_key(BUILT_IN, subject),
                route: BUILT_IN.to_owned(),
                settings: Settings { receivers, ..Settings::default() },
            });
        }
    }
    groups
}

/// The receivers of a route or of a step of an escalation policy, in their order, each once.
pub(crate) fn expanded(configured: &Configured, receivers: &[Receiver]) -> Vec<Receiver> {
    let mut named = BTreeSet::new();
    receivers.iter().flat_map(|it| configured.expand(it)).filter(|it| named.insert(it.clone())).collect()
}

fn group_of(
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

/// The key by which channels find a group's messages again.
pub(crate) fn dedup_key(group_key: &str) -> String {
    format!("watchkeeper:{group_key}")
}

/// What the problems of a group have in common. As JSON, whose quotes keep two values from being mistaken for two others.
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
    let parts: Vec<_> = group_by
        .iter()
        .map(|it| match value(*it, labels) {
            "" => format!("no {}", it.as_str()),
            value => format!("{} {value}", it.as_str()),
        })
        .collect();
    parts.join(", ")
}

#[cfg(test)]
mod tests;
