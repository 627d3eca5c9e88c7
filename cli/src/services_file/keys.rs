//! The settings of a service, and the kinds that have them.

use shared::model::Kind;
use toml::de::DeTable;

use super::problems::{Problems, suggestion};

/// The kind of an entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum EntryKind {
    /// One service, or several addresses of one.
    Of(Kind),
    /// A project of Supabase.
    Supabase,
}

impl EntryKind {
    const SUPABASE: &str = "supabase";

    pub(super) fn parse(text: &str) -> Option<Self> {
        if text == Self::SUPABASE { Some(Self::Supabase) } else { Kind::parse(text).map(Self::Of) }
    }

    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Of(kind) => kind.as_str(),
            Self::Supabase => Self::SUPABASE,
        }
    }

    fn all() -> impl Iterator<Item = Self> {
        Kind::ALL.into_iter().map(Self::Of).chain([Self::Supabase])
    }

    /// The names of all kinds.
    pub(super) fn names() -> impl Iterator<Item = &'static str> {
        Self::all().map(Self::as_str)
    }

    /// Whether an entry of this kind may have this setting.
    pub(super) fn knows(self, key: &str) -> bool {
        const HTTP: [&str; 8] =
            ["url", "urls", "method", "headers", "body", "expected_status", "expected_statuses", "max_redirects"];
        if COMMON.contains(&key) {
            return true;
        }
        match self {
            Self::Of(Kind::Heartbeat) => ["grace", "token_version"].contains(&key),
            _ if CHECKED.contains(&key) => true,
            Self::Of(Kind::Http) => {
                HTTP.contains(&key) || ["target", "conditions", "certificate_warning_days"].contains(&key)
            }
            Self::Of(Kind::Tcp) => ["target", "conditions"].contains(&key),
            Self::Of(Kind::Tls) => ["target", "conditions", "certificate_warning_days"].contains(&key),
            Self::Of(Kind::Dns) => ["target", "conditions", "record", "server"].contains(&key),
            Self::Of(Kind::Postgres) => ["target", "conditions", "limits"].contains(&key),
            Self::Supabase => {
                ["project", "anon_key", "functions", "database", "limits", "certificate_warning_days"].contains(&key)
            }
        }
    }
}

/// Settings of all kinds.
const COMMON: [&str; 13] = [
    "name",
    "environment",
    "application",
    "kind",
    "enabled",
    "interval",
    "failure_threshold",
    "recovery_threshold",
    "parents",
    "tags",
    "quorum",
    "page_after",
    "maintenance",
];

/// Settings of all kinds that we check actively, which a heartbeat is not.
const CHECKED: [&str; 2] = ["timeout", "degraded_above"];

/// Settings of some kinds.
const SPECIAL: [&str; 19] = [
    "target",
    "url",
    "urls",
    "method",
    "headers",
    "body",
    "expected_status",
    "expected_statuses",
    "max_redirects",
    "conditions",
    "certificate_warning_days",
    "record",
    "server",
    "grace",
    "token_version",
    "limits",
    "project",
    "anon_key",
    "functions",
];

/// Settings that identify a service, and therefore have no defaults.
const OWN: [&str; 8] = ["name", "target", "url", "urls", "project", "anon_key", "functions", "database"];

fn all() -> impl Iterator<Item = &'static str> {
    COMMON.into_iter().chain(CHECKED).chain(SPECIAL).chain(["database"])
}

/// The settings of `[defaults]` and of environment tables.
pub(super) fn of_defaults() -> Vec<&'static str> {
    all().filter(|key| !OWN.contains(key)).collect()
}

/// Records each setting that an entry of this kind can't have as a problem.
pub(super) fn refuse_foreign(table: &DeTable<'_>, kind: EntryKind, problems: &mut Problems<'_>) {
    for key in table.keys() {
        let name = key.get_ref().as_ref();
        if kind.knows(name) {
            continue;
        }
        let at = key.span().start;
        if all().any(|known| known == name) {
            let kinds: Vec<_> = EntryKind::all().filter(|other| other.knows(name)).map(EntryKind::as_str).collect();
            problems.note(
                at,
                format_args!("\"{name}\" is for services of kind {}, and this is {}", kinds.join(", "), kind.as_str()),
            );
        } else {
            let hint = suggestion(name, all().filter(|known| kind.knows(known)));
            problems.note(at, format_args!("\"{name}\" is no setting of a service{hint}"));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_setting_is_known_to_some_kind() {
        for key in all() {
            assert!(EntryKind::all().any(|kind| kind.knows(key)), "{key}");
        }
        assert!(!of_defaults().contains(&"url") && of_defaults().contains(&"interval"));
    }
}
