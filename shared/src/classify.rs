//! Classifies a report: severity and category. Pure.
//!
//! The built-in rules are literals on the message, ASCII case-insensitive, in one automaton; the highest severity with
//! a match wins. Operators' rules (`system_config`, key `classification_rules`) take precedence; they are compiled
//! once, and a rule that does not compile leaves only the built-in rules in force.
//!
//! Users: `intake`; `store::settings` (reads the operators' rules).

use std::sync::LazyLock;

use aho_corasick::AhoCorasick;
use regex::{RegexSet, RegexSetBuilder};
use serde::Deserialize;
use serde_json::Value;

use crate::model::{Category, Report, Severity};

/// The classification of a report.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Classification {
    /// The severity.
    pub severity: Severity,
    /// The category.
    pub category: Category,
}

/// The built-in rules: a message that contains the text has this severity.
pub const BUILT_IN: [(&str, Severity); 21] = [
    ("database connection failed", Severity::Critical),
    ("502 bad gateway", Severity::Critical),
    ("authentication service down", Severity::Critical),
    ("security breach", Severity::Critical),
    ("data loss", Severity::Critical),
    ("cannot connect to database", Severity::Critical),
    ("api timeout", Severity::High),
    ("500 internal server error", Severity::High),
    ("payment processing failed", Severity::High),
    ("cannot read property", Severity::High),
    ("syntax error", Severity::High),
    ("undefined is not a function", Severity::High),
    ("typeerror", Severity::High),
    ("slow query", Severity::Medium),
    ("rate limit approaching", Severity::Medium),
    ("cache miss", Severity::Medium),
    ("timeout warning", Severity::Medium),
    ("deprecation", Severity::Medium),
    ("warning", Severity::Low),
    ("missing image", Severity::Low),
    ("404", Severity::Low),
];

/// The severity of a message that no rule matches.
const DEFAULT_SEVERITY: Severity = Severity::Medium;

/// None only if the patterns above could not be compiled, which a test rules out.
static AUTOMATON: LazyLock<Option<AhoCorasick>> =
    LazyLock::new(|| AhoCorasick::builder().ascii_case_insensitive(true).build(BUILT_IN.map(|(text, _)| text)).ok());

fn built_in_severity(message: &str) -> Severity {
    AUTOMATON
        .as_ref()
        .and_then(|automaton| {
            automaton.find_overlapping_iter(message).map(|found| BUILT_IN[found.pattern().as_usize()].1).max()
        })
        .unwrap_or(DEFAULT_SEVERITY)
}

fn category_of(report: &Report) -> Category {
    let endpoint = report.endpoint.as_deref().unwrap_or_default();
    let error_type = report.error_type.as_deref().unwrap_or_default();
    if !endpoint.is_empty() || error_type.contains("api") {
        return Category::Backend;
    }
    if report.application.contains("frontend") {
        return Category::Frontend;
    }
    let message = report.message.to_lowercase();
    let mentions = |words: [&str; 2]| words.iter().any(|word| message.contains(word));
    if mentions(["db", "database"]) {
        Category::Database
    } else if mentions(["auth", "unauthorized"]) {
        Category::Security
    } else if mentions(["network", "timeout"]) {
        Category::Infrastructure
    } else {
        Category::Unknown
    }
}

/// An operator's rule, as in `system_config`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct OperatorRule {
    /// The rule's name in log lines (default: its pattern).
    name: Option<String>,
    /// A regular expression on the message, case-sensitive unless it says `(?i)`.
    pattern: String,
    severity: Severity,
    category: Option<Category>,
}

/// Why an operator's rules were refused.
#[derive(Debug, thiserror::Error)]
pub enum RuleError {
    /// A rule with a field that is missing, misspelt or of another type.
    #[error("classification_rules[{index}] is not a rule: {reason}")]
    Shape {
        /// Its index, from 0.
        index: usize,
        /// What is wrong with it.
        reason: String,
    },
    /// The value is no array.
    #[error("classification_rules must be a JSON array of rules")]
    NotAList,
    /// The pattern is no regular expression, or too large.
    #[error("classification rule \"{name}\" has a bad pattern {pattern:?}")]
    Pattern {
        /// The rule's name.
        name: String,
        /// The pattern as written.
        pattern: String,
        /// What the compiler says.
        #[source]
        source: regex::Error,
    },
}

/// The rules in force.
#[derive(Debug, Default)]
pub struct Classifier {
    operator: Option<(RegexSet, Vec<OperatorRule>)>,
}

impl Classifier {
    /// The memory limit of the compiled rules (regex's default of 10 MiB is too much for a small Lambda).
    const COMPILED_BYTES: usize = 2 * 1024 * 1024;

    /// The operators' rules before the built-in ones.
    ///
    /// # Errors
    /// The first rule that can't be used, named.
    pub fn with_operator_rules(rules: &Value) -> Result<Self, RuleError> {
        let Value::Array(items) = rules else {
            return Err(RuleError::NotAList);
        };
        let mut parsed = Vec::with_capacity(items.len());
        for (index, item) in items.iter().enumerate() {
            let rule = OperatorRule::deserialize(item)
                .map_err(|error| RuleError::Shape { index, reason: error.to_string() })?;
            Self::compile(std::slice::from_ref(&rule)).map_err(|source| RuleError::Pattern {
                name: rule.name.clone().unwrap_or_else(|| rule.pattern.clone()),
                pattern: rule.pattern.clone(),
                source,
            })?;
            parsed.push(rule);
        }
        let set = Self::compile(&parsed).map_err(|source| RuleError::Pattern {
            name: "all rules together".to_owned(),
            pattern: String::new(),
            source,
        })?;
        Ok(Self { operator: Some((set, parsed)) })
    }

    /// Classifies a report: by the first operator's rule that matches, else by the built-in rules; a severity that the
    /// reporter chose overrides both. The level that an SDK gave bounds the built-in rules only.
    #[must_use]
    pub fn classify(&self, report: &Report) -> Classification {
        let rule = self.operator.as_ref().and_then(|(set, rules)| {
            let first = set.matches(&report.message).into_iter().next()?;
            rules.get(first)
        });
        let by_rules = || {
            let built_in = || {
                let found = built_in_severity(&report.message);
                report.at_most.map_or(found, |most| found.min(most))
            };
            let found = rule.map_or_else(built_in, |rule| rule.severity);
            report.at_least.map_or(found, |least| found.max(least))
        };
        let severity = report.severity.unwrap_or_else(by_rules);
        let category = rule.and_then(|rule| rule.category).unwrap_or_else(|| category_of(report));
        Classification { severity, category }
    }

    fn compile(rules: &[OperatorRule]) -> Result<RegexSet, regex::Error> {
        RegexSetBuilder::new(rules.iter().map(|rule| &rule.pattern)).size_limit(Self::COMPILED_BYTES).build()
    }
}

#[cfg(test)]
mod tests {
    use chrono::DateTime;
    use serde_json::json;

    use super::*;
    use crate::model::DeliveryKey;

    fn report(message: &str) -> Report {
        let key = DeliveryKey::named("api", b"1");
        Report { application: "shop".into(), ..Report::new(key, "api", message.into(), DateTime::UNIX_EPOCH) }
    }

    fn severity(message: &str) -> Severity {
        Classifier::default().classify(&report(message)).severity
    }

    #[test]
    fn every_built_in_rule_gives_its_own_severity() {
        assert!(AUTOMATON.is_some());
        for (text, expected) in BUILT_IN {
            // "timeout warning" and "api timeout" contain or touch other rules' words; the worst one wins.
            assert_eq!(severity(&format!("x {} y", text.to_uppercase())), expected, "{text}");
        }
    }

    #[test]
    fn the_worst_match_wins_wherever_it_stands() {
        assert_eq!(severity("warning: 404, then data loss"), Severity::Critical);
        assert_eq!(severity("TypeError: cache miss"), Severity::High);
    }

    #[test]
    fn a_message_that_no_rule_knows_is_medium() {
        assert_eq!(severity("the flux capacitor is empty"), Severity::Medium);
        assert_eq!(severity("ÄÖÜ \u{FFFD}"), Severity::Medium);
    }

    #[test]
    fn the_reporters_own_severity_wins() {
        let mut chosen = report("data loss");
        chosen.severity = Some(Severity::Low);
        assert_eq!(Classifier::default().classify(&chosen).severity, Severity::Low);
    }

    #[test]
    fn the_reports_lower_bound_limits_the_rules() {
        for (message, expected) in [("a warning", Severity::Medium), ("data loss", Severity::Critical)] {
            let mut given = report(message);
            given.at_least = Some(Severity::Medium);
            assert_eq!(Classifier::default().classify(&given).severity, expected);
        }
    }

    #[test]
    fn the_reports_upper_bound_limits_the_built_in_rules_only() {
        let operators =
            Classifier::with_operator_rules(&json!([{"pattern": "data loss", "severity": "CRITICAL"}])).unwrap();
        for (message, most, built_in, by_operator) in [
            ("data loss", Severity::Medium, Severity::Medium, Severity::Critical),
            ("data loss", Severity::Low, Severity::Low, Severity::Critical),
            ("a warning", Severity::Medium, Severity::Low, Severity::Low),
            ("nothing that a rule knows", Severity::Low, Severity::Low, Severity::Low),
        ] {
            let mut given = report(message);
            given.at_most = Some(most);
            assert_eq!(Classifier::default().classify(&given).severity, built_in, "{message}");
            assert_eq!(operators.classify(&given).severity, by_operator, "{message}");
        }
        let mut chosen = report("data loss");
        (chosen.severity, chosen.at_most) = (Some(Severity::High), Some(Severity::Low));
        assert_eq!(Classifier::default().classify(&chosen).severity, Severity::High, "the reporter's own choice");
    }

    #[test]
    fn the_category_is_the_first_that_matches() {
        type Change = fn(&mut Report);
        let cases: [(Change, &str, Category); 11] = [
            (|it| it.endpoint = Some("/pay".into()), "database", Category::Backend),
            (|it| it.endpoint = Some(String::new()), "database", Category::Database),
            (|it| it.error_type = Some("graphapiError".into()), "", Category::Backend),
            (|it| it.error_type = Some("ApiError".into()), "", Category::Unknown),
            (|it| it.application = "my-frontend".into(), "db gone", Category::Frontend),
            (|it| it.application = "Frontend".into(), "DB gone", Category::Database),
            (|_| {}, "Unauthorized", Category::Security),
            (|_| {}, "AUTH failed: network", Category::Security),
            (|_| {}, "Network unreachable", Category::Infrastructure),
            (|_| {}, "timeout", Category::Infrastructure),
            (|_| {}, "boom", Category::Unknown),
        ];
        for (change, message, expected) in cases {
            let mut given = report(message);
            change(&mut given);
            assert_eq!(Classifier::default().classify(&given).category, expected, "{message}");
        }
    }

    #[test]
    fn an_operators_rule_comes_before_the_built_in_ones() {
        let classifier = Classifier::with_operator_rules(&json!([
            {"name": "noise", "pattern": "^ResizeObserver", "severity": "LOW", "category": "frontend"},
            {"pattern": "(?i)data loss in the sandbox", "severity": "LOW"},
        ]))
        .unwrap();
        let decided = classifier.classify(&report("ResizeObserver loop: TypeError"));
        assert_eq!((decided.severity, decided.category), (Severity::Low, Category::Frontend));
        let decided = classifier.classify(&report("Data Loss in the Sandbox database"));
        assert_eq!((decided.severity, decided.category), (Severity::Low, Category::Database));
        assert_eq!(classifier.classify(&report("data loss")).severity, Severity::Critical);
    }

    #[test]
    fn a_bad_rule_is_named() {
        for (rules, named) in [
            (json!([{"name": "broken", "pattern": "(", "severity": "LOW"}]), "\"broken\""),
            (json!([{"pattern": "x", "severity": "URGENT"}]), "classification_rules[0]"),
            (json!({"pattern": "x"}), "must be a JSON array"),
        ] {
            let error = Classifier::with_operator_rules(&rules).unwrap_err().to_string();
            assert!(error.contains(named), "{error}");
        }
    }
}
