//! The route and escalation changes of a file, shown before they are applied. Pure.

use std::collections::BTreeMap;
use std::time::Duration;

use humantime::format_duration;
use serde::Serialize;
use shared::model::{EscalationPolicy, FileName, GroupLabel, Matchers, Receiver, Route, Routing};

use super::changes::{Others, Setting, counts, settings_between};

/// A changed route or escalation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Named {
    /// Its name.
    pub name: String,
    /// Its changed settings.
    pub settings: Vec<Setting>,
}

/// The changes of routes, or of escalations.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct ListChanges {
    /// New ones.
    pub added: Vec<String>,
    /// Changed ones.
    pub changed: Vec<Named>,
    /// Removed ones.
    pub removed: Vec<String>,
    /// The number of unchanged ones.
    pub unchanged: usize,
    /// Those of this file that are no longer in it, and are kept without `--prune`.
    pub kept: Vec<String>,
    /// Whether the order of the remaining ones changes.
    pub reordered: bool,
}

/// The changes of the routing.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct RoutingChanges {
    /// Of routes.
    pub routes: ListChanges,
    /// Of escalations.
    pub escalations: ListChanges,
    /// The routing to store; none = unchanged.
    pub wanted: Option<Routing>,
    /// The other file that the routing came from until now.
    pub taken_from: Option<FileName>,
}

impl RoutingChanges {
    /// Compares the file of this name with the stored routing, which came from `owner`. A file with routing replaces
    /// all of it; one without removes it only if it came from the same file.
    #[must_use]
    pub fn of(
        file: &FileName,
        wanted: Option<&Routing>,
        stored: &Routing,
        owner: Option<&FileName>,
        others: Others,
    ) -> Self {
        let none = Routing::default();
        let wanted = match (wanted, others) {
            (None, _) if owner != Some(file) => return Self::default(),
            (None, Others::Keep) => {
                let mut kept = Self::default();
                kept.routes.kept = stored.routes.iter().map(|route| route.name.clone()).collect();
                kept.escalations.kept = stored.escalations.iter().map(|policy| policy.name.clone()).collect();
                return kept;
            }
            (None, Others::Prune) => &none,
            (Some(wanted), _) => wanted,
        };
        Self {
            routes: ListChanges::of(
                &wanted.routes.iter().map(|it| (it.name.as_str(), shown(it))).collect::<Vec<_>>(),
                &stored.routes.iter().map(|it| (it.name.as_str(), shown(it))).collect::<Vec<_>>(),
            ),
            escalations: ListChanges::of(
                &wanted.escalations.iter().map(|it| (it.name.as_str(), steps(it))).collect::<Vec<_>>(),
                &stored.escalations.iter().map(|it| (it.name.as_str(), steps(it))).collect::<Vec<_>>(),
            ),
            wanted: (wanted != stored).then(|| wanted.clone()),
            taken_from: owner.filter(|owner| *owner != file && *stored != none).cloned(),
        }
    }

    /// The lines to print.
    #[must_use]
    pub fn lines(&self) -> Vec<String> {
        let mut lines = Vec::new();
        for (what, list) in [("route", &self.routes), ("escalation", &self.escalations)] {
            lines.extend(list.added.iter().map(|name| format!("+ {what} {name}")));
            for Named { name, settings } in &list.changed {
                lines.push(format!("~ {what} {name}"));
                lines.extend(settings.iter().map(|setting| format!("    {setting}")));
            }
            lines.extend(list.removed.iter().map(|name| format!("- {what} {name}")));
        }
        if self.routes.reordered {
            lines.push("~ routes in another order".to_owned());
        }
        lines
    }

    /// Summaries with counts; none if the file has no routing.
    #[must_use]
    pub fn summary(&self) -> Vec<String> {
        [("routes", &self.routes), ("escalations", &self.escalations)]
            .into_iter()
            .filter_map(|(what, list)| Some(format!("{what}: {}", list.summary()?)))
            .collect()
    }
}

impl ListChanges {
    /// Compares two lists of names with settings, in their order.
    fn of(wanted: &[(&str, Settings)], stored: &[(&str, Settings)]) -> Self {
        let mut changes = Self::default();
        let known: BTreeMap<&str, &Settings> = stored.iter().map(|(name, settings)| (*name, settings)).collect();
        let named: BTreeMap<&str, &Settings> = wanted.iter().map(|(name, settings)| (*name, settings)).collect();
        for (name, settings) in wanted {
            let Some(before) = known.get(name) else {
                changes.added.push((*name).to_owned());
                continue;
            };
            let settings = settings_between(before, settings);
            if settings.is_empty() {
                changes.unchanged += 1;
            } else {
                changes.changed.push(Named { name: (*name).to_owned(), settings });
            }
        }
        changes.removed =
            stored.iter().filter(|(name, _)| !named.contains_key(name)).map(|(name, _)| (*name).to_owned()).collect();
        let before = stored.iter().map(|(name, _)| name).filter(|name| named.contains_key(*name));
        let after = wanted.iter().map(|(name, _)| name).filter(|name| known.contains_key(*name));
        changes.reordered = !before.eq(after);
        changes
    }

    fn summary(&self) -> Option<String> {
        let mut counts = counts(self.added.len(), self.changed.len(), self.removed.len(), self.unchanged);
        counts.extend(self.reordered.then(|| "in another order".to_owned()));
        (!counts.is_empty()).then(|| counts.join(", "))
    }
}

type Settings = BTreeMap<String, String>;

/// All settings of a route that are set, as a file would have them.
fn shown(route: &Route) -> Settings {
    let labels = route.group_by.iter().map(|label| GroupLabel::as_str(*label).to_owned());
    let settings: [(&str, Option<String>); 7] = [
        ("channels", Some(receivers(&route.channels)).filter(|all| !all.is_empty())),
        ("escalation", route.escalation.clone()),
        ("group_by", joined(labels)),
        ("group_wait", (route.group_wait_seconds > 0).then(|| time(route.group_wait_seconds))),
        ("group_interval", route.group_interval_seconds.map(time)),
        ("repeat_interval", route.repeat_interval_seconds.map(time)),
        ("continue", route.continues.then(|| "true".to_owned())),
    ];
    let own = settings.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?)));
    own.chain(matched(&route.matchers)).collect()
}

fn matched(matchers: &Matchers) -> impl Iterator<Item = (String, String)> {
    let Matchers { severity, category, application, environment, service, tags, hours } = matchers;
    let hours = serde_json::to_string(hours).ok().filter(|_| !hours.is_empty());
    [
        ("severity", joined(severity.iter().map(ToString::to_string))),
        ("category", joined(category.iter().map(ToString::to_string))),
        ("application", joined(application.iter().cloned())),
        ("environment", joined(environment.iter().cloned())),
        ("service", joined(service.iter().cloned())),
        ("tags", joined(tags.iter().cloned())),
        ("hours", hours.map(|hours| hours.replace('"', ""))),
    ]
    .into_iter()
    .filter_map(|(name, value)| Some((format!("match.{name}"), value?)))
}

/// The steps of a policy by time.
fn steps(policy: &EscalationPolicy) -> Settings {
    let step = |after: u32| format!("after {}", time(after));
    policy.steps.iter().map(|it| (step(it.after_seconds), receivers(&it.channels))).collect()
}

fn receivers(all: &[Receiver]) -> String {
    all.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

fn joined(items: impl Iterator<Item = String>) -> Option<String> {
    let all: Vec<String> = items.collect();
    (!all.is_empty()).then(|| all.join(", "))
}

fn time(seconds: u32) -> String {
    format_duration(Duration::from_secs(seconds.into())).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn routing(json: &str) -> Routing {
        serde_json::from_str(json).unwrap()
    }

    fn file(name: &str) -> FileName {
        FileName::parse(name).unwrap()
    }

    /// The changes of the file `mine`, which owns the stored routing.
    fn changes(wanted: Option<&Routing>, stored: &Routing, others: Others) -> RoutingChanges {
        RoutingChanges::of(&file("mine"), wanted, stored, Some(&file("mine")), others)
    }

    const STORED: &str = r#"{"routes": [
            {"name": "night", "channels": ["pagerduty"], "escalation": "all", "group_wait_seconds": 30},
            {"name": "gone", "channels": ["slack"]},
            {"name": "rest", "channels": ["slack"], "match": {"severity": ["LOW"]}}],
        "escalations": [{"name": "all", "steps": [{"after_seconds": 600, "channels": ["sms"]}]}]}"#;

    #[test]
    fn added_changed_and_removed_routes_are_listed_by_name() {
        let wanted = routing(
            r#"{"routes": [
                {"name": "rest", "channels": ["slack", "email:ops@example.com"], "match": {"severity": ["LOW", "MEDIUM"]}},
                {"name": "night", "channels": ["pagerduty"], "escalation": "all", "group_wait_seconds": 30},
                {"name": "new", "channels": []}],
            "escalations": [{"name": "all", "steps": [{"after_seconds": 900, "channels": ["sms"]}]}]}"#,
        );
        let changes = changes(Some(&wanted), &routing(STORED), Others::Keep);
        assert_eq!(
            changes.lines(),
            [
                "+ route new",
                "~ route rest",
                "    channels: slack → slack, email:ops@example.com",
                "    match.severity: LOW → LOW, MEDIUM",
                "- route gone",
                "~ escalation all",
                "    after 10m: sms → -",
                "    after 15m: - → sms",
                "~ routes in another order",
            ]
        );
        let expected =
            ["routes: 1 added, 1 changed, 1 removed, 1 unchanged, in another order", "escalations: 1 changed"];
        assert_eq!(changes.summary(), expected);
        assert_eq!(changes.wanted, Some(wanted));
    }

    #[test]
    fn a_file_without_routing_keeps_it_unless_it_is_pruned() {
        let stored = routing(STORED);
        let kept = changes(None, &stored, Others::Keep);
        assert_eq!((kept.lines().len(), kept.summary().len(), &kept.wanted), (0, 0, &None));
        assert_eq!(kept.routes.kept, ["night", "gone", "rest"]);
        let pruned = changes(None, &stored, Others::Prune);
        assert_eq!(pruned.lines(), ["- route night", "- route gone", "- route rest", "- escalation all"]);
        assert_eq!(pruned.wanted, Some(Routing::default()));
        let same = changes(Some(&stored), &stored, Others::Prune);
        assert_eq!((same.lines().len(), same.wanted), (0, None));
        assert_eq!(changes(None, &Routing::default(), Others::Prune).wanted, None);
    }

    #[test]
    fn routes_of_another_file_are_replaced_by_name_and_never_pruned() {
        let (stored, theirs) = (routing(STORED), file("theirs"));
        for owner in [Some(&theirs), None] {
            let kept = RoutingChanges::of(&file("mine"), None, &stored, owner, Others::Prune);
            assert_eq!(kept, RoutingChanges::default(), "{owner:?}");
        }
        let mine = routing(r#"{"routes": [{"name": "night", "channels": ["sms"]}]}"#);
        let taken = RoutingChanges::of(&file("mine"), Some(&mine), &stored, Some(&theirs), Others::Keep);
        assert_eq!((taken.taken_from, taken.wanted), (Some(theirs), Some(mine)));
    }
}
