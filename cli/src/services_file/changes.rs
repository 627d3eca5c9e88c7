//! The service changes of a file, shown before they are applied. Pure. No secrets: headers and bodies only name them.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use humantime::format_duration;
use serde::Serialize;
use shared::model::{FileName, Kind, ServiceSpec};
use shared::store::services::{Configured, Origin};

use crate::output::shortened;

/// A service by name and environment.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct ServiceKey {
    /// Its environment.
    pub environment: String,
    /// Its name.
    pub service: String,
}

/// A setting that changes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Setting {
    /// Its name in the file.
    pub setting: String,
    /// The old value; none = not set.
    pub old: Option<String>,
    /// The new value; none = not set.
    pub new: Option<String>,
}

/// A new service.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Added {
    /// The service.
    #[serde(flatten)]
    pub which: ServiceKey,
    /// Its kind.
    pub kind: Kind,
    /// Its target.
    pub target: String,
}

/// A changed service.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Changed {
    /// The service.
    #[serde(flatten)]
    pub which: ServiceKey,
    /// Its changed settings.
    pub settings: Vec<Setting>,
}

/// The service changes of a file.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct Changes {
    /// New services.
    pub added: Vec<Added>,
    /// Changed services.
    pub changed: Vec<Changed>,
    /// Services that are removed, because they are no longer in the file.
    pub removed: Vec<ServiceKey>,
    /// The number of unchanged services.
    pub unchanged: usize,
    /// Services of this file that are no longer in it, and are kept without `--prune`.
    pub kept: Vec<ServiceKey>,
    /// Services of other files; never removed.
    pub elsewhere: Vec<Elsewhere>,
    /// Services in this file that came from another one.
    pub taken_over: Vec<Elsewhere>,
}

/// A service of another file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Elsewhere {
    /// The service.
    #[serde(flatten)]
    pub which: ServiceKey,
    /// The file that it came from; none = unknown.
    pub file: Option<FileName>,
}

/// Whether services of this file that are no longer in it are removed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Others {
    /// Keep them.
    Keep,
    /// Remove them.
    Prune,
}

impl Changes {
    /// Compares the file of this name with the stored services.
    #[must_use]
    pub fn of(file: &FileName, wanted: &[ServiceSpec], configured: &[Configured], others: Others) -> Self {
        let mut changes = Self::default();
        let known: BTreeMap<ServiceKey, &Configured> = configured.iter().map(|it| (which(&it.spec), it)).collect();
        let mut named = BTreeSet::new();
        for spec in wanted {
            let which = which(spec);
            named.insert(which.clone());
            let Some(configured) = known.get(&which) else {
                changes.added.push(Added { which, kind: spec.kind, target: spec.target.clone() });
                continue;
            };
            if let Some(other) = configured.file.as_ref().filter(|other| *other != file) {
                changes.taken_over.push(Elsewhere { which: which.clone(), file: Some(other.clone()) });
            }
            let settings = differences(configured, spec, file);
            if settings.is_empty() {
                changes.unchanged += 1;
            } else {
                changes.changed.push(Changed { which, settings });
            }
        }
        let left = known.into_iter().filter(|(which, it)| it.origin == Origin::File && !named.contains(which));
        let (own, elsewhere): (Vec<_>, Vec<_>) = left.partition(|(_, it)| it.file.as_ref() == Some(file));
        changes.elsewhere =
            elsewhere.into_iter().map(|(which, it)| Elsewhere { which, file: it.file.clone() }).collect();
        let left: Vec<ServiceKey> = own.into_iter().map(|(which, _)| which).collect();
        match others {
            Others::Keep => changes.kept = left,
            Others::Prune => changes.removed = left,
        }
        changes.added.sort_by(|a, b| a.which.cmp(&b.which));
        changes.changed.sort_by(|a, b| a.which.cmp(&b.which));
        changes
    }

    /// The lines to print: one per service, and one per changed setting.
    #[must_use]
    pub fn lines(&self) -> Vec<String> {
        let mut lines = Vec::new();
        for Added { which, kind, target } in &self.added {
            lines.push(format!("+ {which}  {kind} {target}").trim_end().to_owned());
        }
        for Changed { which, settings } in &self.changed {
            lines.push(format!("~ {which}"));
            lines.extend(settings.iter().map(|setting| format!("    {setting}")));
        }
        lines.extend(self.removed.iter().map(|which| format!("- {which}")));
        lines
    }

    /// A summary with counts.
    #[must_use]
    pub fn summary(&self) -> String {
        counts(self.added.len(), self.changed.len(), self.removed.len(), self.unchanged).join(", ")
    }
}

/// `2 added`, `1 changed`; zero counts are left out.
pub(super) fn counts(added: usize, changed: usize, removed: usize, unchanged: usize) -> Vec<String> {
    [(added, "added"), (changed, "changed"), (removed, "removed"), (unchanged, "unchanged")]
        .into_iter()
        .filter(|(count, _)| *count > 0)
        .map(|(count, word)| format!("{count} {word}"))
        .collect()
}

impl std::fmt::Display for Setting {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let shown = |value: &Option<String>| value.clone().unwrap_or_else(|| "-".to_owned());
        write!(formatter, "{}: {} → {}", self.setting, shown(&self.old), shown(&self.new))
    }
}

impl std::fmt::Display for ServiceKey {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "{} ({})", self.service, self.environment)
    }
}

fn which(spec: &ServiceSpec) -> ServiceKey {
    ServiceKey { environment: spec.environment.clone(), service: spec.name.clone() }
}

fn differences(configured: &Configured, wanted: &ServiceSpec, file: &FileName) -> Vec<Setting> {
    let mut old = shown(&configured.spec);
    let mut new = shown(wanted);
    if configured.origin == Origin::Environment {
        old.insert("from".to_owned(), "the environment".to_owned());
        new.insert("from".to_owned(), "this file".to_owned());
    }
    // A row of an unknown file belongs to this one from now on, without a line.
    if let Some(other) = configured.file.as_ref().filter(|other| *other != file) {
        old.insert("file".to_owned(), other.to_string());
        new.insert("file".to_owned(), file.to_string());
    }
    settings_between(&old, &new)
}

/// The settings that differ.
pub(super) fn settings_between(old: &BTreeMap<String, String>, new: &BTreeMap<String, String>) -> Vec<Setting> {
    let names: BTreeSet<String> = old.keys().chain(new.keys()).cloned().collect();
    names
        .into_iter()
        .filter(|name| old.get(name) != new.get(name))
        .map(|name| Setting { old: old.get(&name).cloned(), new: new.get(&name).cloned(), setting: name })
        .collect()
}

/// All settings that are set, as a file would have them.
fn shown(spec: &ServiceSpec) -> BTreeMap<String, String> {
    /// Bodies are cut; their length shows a change behind the cut.
    const BODY: usize = 60;
    let time = |time: Duration| format_duration(time).to_string();
    let seconds = |seconds: u32| time(Duration::from_secs(seconds.into()));
    let (check, policy) = (&spec.check, &spec.policy);
    let list = |items: &[String]| (!items.is_empty()).then(|| items.join(", "));
    let settings: [(&str, Option<String>); 25] = [
        ("application", Some(spec.application.clone())),
        ("group", spec.group.clone()),
        ("kind", Some(spec.kind.to_string())),
        ("target", Some(spec.target.clone())),
        ("timeout", Some(time(spec.timeout))),
        ("interval", spec.interval.map(time)),
        ("enabled", Some(spec.enabled.to_string())),
        ("method", Some(check.method.clone())),
        ("body", check.body.as_ref().map(|body| format!("{} ({} bytes)", shortened(body, BODY), body.len()))),
        ("expected_statuses", Some(check.expected_statuses.to_string())),
        ("conditions", list(&check.conditions)),
        ("degraded_above", check.degraded_above_ms.map(|it| time(Duration::from_millis(it.into())))),
        ("certificate_warning_days", Some(check.certificate_warning_days.to_string())),
        ("max_redirects", Some(check.max_redirects.to_string())),
        ("record", Some(as_json(&check.dns_record))),
        ("server", check.dns_server.clone()),
        ("grace", Some(seconds(check.grace_seconds))),
        ("token_version", Some(check.token_version.to_string())),
        ("limits", Some(as_json(&check.postgres))),
        ("failure_threshold", Some(policy.failure_threshold.to_string())),
        ("recovery_threshold", Some(policy.recovery_threshold.to_string())),
        ("parents", list(&policy.parents)),
        ("tags", list(&policy.tags)),
        ("maintenance", (!policy.maintenance.is_empty()).then(|| as_json(&policy.maintenance))),
        ("quorum", policy.quorum.map(|quorum| quorum.to_string())),
    ];
    let mut shown: BTreeMap<String, String> =
        settings.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?))).collect();
    if let Some(after) = policy.page_after_seconds {
        shown.insert("page_after".to_owned(), seconds(after));
    }
    shown.extend(check.headers.iter().map(|(name, value)| (format!("headers.{name}"), value.clone())));
    shown
}

fn as_json(value: &impl Serialize) -> String {
    serde_json::to_string(value).unwrap_or_default().replace('"', "")
}

#[cfg(test)]
mod tests {
    use super::*;
    use shared::model::Statuses;

    fn spec(name: &str) -> ServiceSpec {
        ServiceSpec::http(name, "production", "https://shop.example/")
    }

    fn configured(spec: ServiceSpec, origin: Origin) -> Configured {
        Configured { spec, origin, file: (origin == Origin::File).then(mine) }
    }

    fn mine() -> FileName {
        FileName::parse("mine").unwrap()
    }

    #[test]
    fn a_file_adds_changes_and_leaves_alone() {
        let stored = [
            configured(spec("same"), Origin::File),
            configured(spec("other"), Origin::File),
            configured(spec("backend"), Origin::Environment),
            configured(spec("mine"), Origin::File),
        ];
        let mut other = spec("other");
        other.check.expected_statuses = Statuses::one(204);
        other.check.headers.insert("apikey".to_owned(), "${PROBE_SECRET_KEY}".to_owned());
        other.interval = Some(Duration::from_secs(90));
        let wanted = [spec("new"), spec("same"), other];
        let changes = Changes::of(&mine(), &wanted, &stored, Others::Keep);
        assert_eq!(
            changes.lines(),
            [
                "+ new (production)  http https://shop.example/",
                "~ other (production)",
                "    expected_statuses: 200 → 204",
                "    headers.apikey: - → ${PROBE_SECRET_KEY}",
                "    interval: - → 1m 30s",
            ]
        );
        assert_eq!(changes.summary(), "1 added, 1 changed, 1 unchanged");
        assert_eq!(changes.kept.iter().map(ToString::to_string).collect::<Vec<_>>(), ["mine (production)"]);
        let pruned = Changes::of(&mine(), &wanted, &stored, Others::Prune);
        assert_eq!(pruned.lines().last().map(String::as_str), Some("- mine (production)"));
        assert_eq!((pruned.kept.len(), pruned.removed.len()), (0, 1), "what came from the environment stays");
    }

    #[test]
    fn a_service_of_the_environment_that_a_file_takes_over_changes() {
        let stored = [configured(spec("backend"), Origin::Environment)];
        let changes = Changes::of(&mine(), &[spec("backend")], &stored, Others::Prune);
        assert_eq!(changes.lines(), ["~ backend (production)", "    from: the environment → this file"]);
    }

    #[test]
    fn services_of_another_file_stay_and_are_reported_when_taken_over() {
        let theirs = FileName::parse("theirs").unwrap();
        let of = |name: &str, file: Option<&FileName>| Configured {
            file: file.cloned(),
            ..configured(spec(name), Origin::File)
        };
        let stored =
            [of("both", Some(&theirs)), of("theirs", Some(&theirs)), of("unknown", None), of("old", Some(&mine()))];
        let changes = Changes::of(&mine(), &[spec("both")], &stored, Others::Prune);
        assert_eq!(changes.lines(), ["~ both (production)", "    file: theirs → mine", "- old (production)"]);
        let elsewhere: Vec<_> =
            changes.elsewhere.iter().map(|it| (it.which.service.as_str(), it.file.as_ref())).collect();
        assert_eq!(elsewhere, [("theirs", Some(&theirs)), ("unknown", None)]);
        assert_eq!(changes.taken_over.len(), 1);
        let adopted = Changes::of(&mine(), &[spec("unknown")], &stored, Others::Keep);
        assert_eq!((adopted.unchanged, adopted.taken_over.len()), (1, 0), "it belongs to the first that applies it");
    }
}
