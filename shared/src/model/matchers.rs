//! Matchers select problems by their labels, for routes and silences.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use super::{Category, MaintenanceWindow, Severity};

/// The labels of a problem, which matchers compare.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Labels {
    /// The severity.
    pub severity: Severity,
    /// The category.
    pub category: Category,
    /// The failing application.
    pub application: String,
    /// The environment.
    pub environment: String,
    /// The failing service, if the problem is about one.
    #[serde(default)]
    pub service: Option<String>,
    /// The service's tags.
    #[serde(default)]
    pub tags: Vec<String>,
}

/// Matches a problem if every list matches. An empty list matches everything. In names `*` stands for any characters.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Matchers {
    /// One of these.
    pub severity: Vec<Severity>,
    /// One of these.
    pub category: Vec<Category>,
    /// One of these.
    pub application: Vec<String>,
    /// One of these.
    pub environment: Vec<String>,
    /// One of these; a problem without a service does not match.
    pub service: Vec<String>,
    /// The service has one of these.
    pub tags: Vec<String>,
    /// Within one of these windows.
    pub hours: Vec<MaintenanceWindow>,
}

impl Matchers {
    /// The most items of a list, and characters of a name.
    const ITEMS: usize = 50;
    const NAME_CHARS: usize = 200;

    /// Whether this problem matches at this time.
    #[must_use]
    pub fn matches(&self, labels: &Labels, now: DateTime<Utc>) -> bool {
        let service = labels.service.as_deref();
        (self.severity.is_empty() || self.severity.contains(&labels.severity))
            && (self.category.is_empty() || self.category.contains(&labels.category))
            && names(&self.application, Some(&labels.application))
            && names(&self.environment, Some(&labels.environment))
            && names(&self.service, service)
            && (self.tags.is_empty() || labels.tags.iter().any(|tag| names(&self.tags, Some(tag))))
            && (self.hours.is_empty() || self.hours.iter().any(|window| window.contains(now)))
    }

    /// Whether every problem matches.
    #[must_use]
    pub fn is_any(&self) -> bool {
        *self == Self::default()
    }

    /// Checks the bounds of each list.
    ///
    /// # Errors
    /// The first list that is out of bounds, named.
    pub fn validate(&self) -> Result<(), String> {
        for (what, items) in [
            ("application", &self.application),
            ("environment", &self.environment),
            ("service", &self.service),
            ("tags", &self.tags),
        ] {
            if items.len() > Self::ITEMS {
                return Err(format!("{what}: at most {}", Self::ITEMS));
            }
            if items.iter().any(|item| item.is_empty() || item.chars().count() > Self::NAME_CHARS) {
                return Err(format!("{what}: a name has 1 to {} characters", Self::NAME_CHARS));
            }
        }
        if self.hours.len() > Self::ITEMS {
            return Err(format!("hours: at most {}", Self::ITEMS));
        }
        self.hours.iter().try_for_each(|window| window.validate().map_err(|error| format!("hours: {error}")))
    }
}

fn names(patterns: &[String], name: Option<&str>) -> bool {
    patterns.is_empty() || name.is_some_and(|name| patterns.iter().any(|pattern| glob(pattern, name)))
}

/// Whether the text matches this pattern, in which `*` stands for any characters. Linear in both lengths.
fn glob(pattern: &str, text: &str) -> bool {
    let Some((head, rest)) = pattern.split_once('*') else { return pattern == text };
    let Some(mut text) = text.strip_prefix(head) else { return false };
    let mut parts: Vec<&str> = rest.split('*').collect();
    let tail = parts.pop().unwrap_or_default();
    for part in parts {
        // The first occurrence is enough: the next star matches the rest.
        let Some(at) = text.find(part) else { return false };
        text = &text[at + part.len()..];
    }
    text.ends_with(tail)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels() -> Labels {
        Labels {
            severity: Severity::High,
            category: Category::Backend,
            application: "shop-api".to_owned(),
            environment: "production".to_owned(),
            service: Some("checkout".to_owned()),
            tags: vec!["external".to_owned(), "payments".to_owned()],
        }
    }

    fn matchers(json: &str) -> Matchers {
        serde_json::from_str(json).unwrap()
    }

    #[test]
    fn each_list_has_to_match() {
        // 2026-11-24 was a Tuesday.
        let now = "2026-11-24T10:00:00Z".parse().unwrap();
        for (json, expected) in [
            ("{}", true),
            (r#"{"severity": ["CRITICAL", "HIGH"]}"#, true),
            (r#"{"severity": ["LOW"]}"#, false),
            (r#"{"category": ["backend"], "application": ["shop-*"]}"#, true),
            (r#"{"category": ["backend"], "application": ["shop"]}"#, false),
            (r#"{"environment": ["staging", "prod*"]}"#, true),
            (r#"{"service": ["check*out"]}"#, true),
            (r#"{"service": ["*x*"]}"#, false),
            (r#"{"tags": ["pay*"]}"#, true),
            (r#"{"tags": ["internal"]}"#, false),
            (r#"{"hours": [{"weekdays": [], "start": "09:00:00", "end": "18:00:00", "time_zone": "UTC"}]}"#, true),
            (
                r#"{"hours": [{"weekdays": ["Sat"], "start": "09:00:00", "end": "18:00:00", "time_zone": "UTC"}]}"#,
                false,
            ),
        ] {
            assert_eq!(matchers(json).matches(&labels(), now), expected, "{json}");
        }
        let error = Labels { service: None, tags: Vec::new(), ..labels() };
        assert!(!matchers(r#"{"service": ["*"]}"#).matches(&error, now));
    }

    #[test]
    fn a_star_stands_for_any_characters() {
        for (pattern, text, expected) in [
            ("*", "", true),
            ("a*", "a", true),
            ("*a", "ba", true),
            ("*a", "ab", false),
            ("a*a", "a", false),
            ("a*b*c", "a-b-b-c", true),
            ("a*b*c", "a-c-b", false),
            ("**", "x", true),
            ("ä*ü", "ä☃ü", true),
        ] {
            assert_eq!(glob(pattern, text), expected, "{pattern} {text}");
        }
    }

    #[test]
    fn an_unknown_list_is_refused_not_ignored() {
        assert!(serde_json::from_str::<Matchers>(r#"{"sevrity": ["LOW"]}"#).is_err());
        assert!(matchers(r#"{"service": [""]}"#).validate().is_err());
    }
}
