//! Which receivers are notified of what: routes, and how they escalate. Serialised, it is what `system_config` keeps under
//! [`Routing::KEY`]; a field that is missing there has its default.
//!
//! Users: `notify` (decides by it), the operator's tool (reads it from a file).

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use super::{Matchers, Receiver};

/// Which receivers are notified of what. Without a matching route each channel gets its default severities.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Routing {
    /// In their order: the first that means a problem decides, and the next as well where it says `continue`.
    pub routes: Vec<Route>,
    /// Which receivers are added when a problem is not acknowledged.
    pub escalations: Vec<EscalationPolicy>,
}

/// One way from problems to people.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Route {
    /// Unique.
    pub name: String,
    /// Which problems.
    #[serde(rename = "match")]
    pub matchers: Matchers,
    /// Which receivers are notified. None is a decision too.
    pub channels: Vec<Receiver>,
    /// The policy of this name says which receivers are added when a problem is not acknowledged.
    pub escalation: Option<String>,
    /// What problems have in common that are notified together; empty: each incident by itself.
    pub group_by: Vec<GroupLabel>,
    /// How long the first one waits for others.
    pub group_wait_seconds: u32,
    /// How long those wait that join later; none = [`Route::GROUP_INTERVAL_SECONDS`], and no time for an incident by itself.
    pub group_interval_seconds: Option<u32>,
    /// After this time without a reaction it is notified again; none = never.
    pub repeat_interval_seconds: Option<u32>,
    /// Whether later routes are asked too.
    #[serde(rename = "continue")]
    pub continues: bool,
}

/// What problems may have in common.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum GroupLabel {
    /// How bad they are.
    Severity,
    /// Which part of the system.
    Category,
    /// The application.
    Application,
    /// Where it runs.
    Environment,
    /// The probed service.
    Service,
}

impl GroupLabel {
    /// Every label.
    pub const ALL: [Self; 5] = [Self::Severity, Self::Category, Self::Application, Self::Environment, Self::Service];

    /// The spelling in files and rows.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Severity => "severity",
            Self::Category => "category",
            Self::Application => "application",
            Self::Environment => "environment",
            Self::Service => "service",
        }
    }

    /// The label of exactly this name.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|label| label.as_str() == text)
    }
}

/// Which receivers are added, step by step, until the problem is acknowledged or over.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct EscalationPolicy {
    /// Unique.
    pub name: String,
    /// In the order of their times.
    pub steps: Vec<EscalationStep>,
}

/// One step.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct EscalationStep {
    /// How long after the first message, in seconds.
    pub after_seconds: u32,
    /// Which receivers are notified then.
    pub channels: Vec<Receiver>,
}

impl Routing {
    /// Where `system_config` keeps it.
    pub const KEY: &str = "notification_routing";
    /// Where `system_config` keeps which file of services it came from: `{"name": …}`.
    pub const FILE_KEY: &str = "notification_routing_file";
    const ITEMS: usize = 100;

    /// The policy of this name.
    #[must_use]
    pub fn escalation(&self, name: &str) -> Option<&EscalationPolicy> {
        self.escalations.iter().find(|policy| policy.name == name)
    }

    /// What is wrong with it, if anything.
    ///
    /// # Errors
    /// Naming the route or policy.
    pub fn validate(&self) -> Result<(), String> {
        if self.routes.len() > Self::ITEMS || self.escalations.len() > Self::ITEMS {
            return Err(format!("at most {} routes, and as many escalations", Self::ITEMS));
        }
        let mut seen = BTreeSet::new();
        for route in &self.routes {
            let problem = |what: &str| format!("route \"{}\": {what}", route.name);
            check_name(&route.name).map_err(problem)?;
            if !seen.insert(&route.name) {
                return Err(problem("there is another of this name"));
            }
            route.validate().map_err(|why| problem(&why))?;
            if let Some(name) = &route.escalation
                && self.escalation(name).is_none()
            {
                return Err(problem(&format!("there is no escalation \"{name}\"")));
            }
        }
        let mut seen = BTreeSet::new();
        for policy in &self.escalations {
            let problem = |what: &str| format!("escalation \"{}\": {what}", policy.name);
            check_name(&policy.name).map_err(problem)?;
            if !seen.insert(&policy.name) {
                return Err(problem("there is another of this name"));
            }
            policy.validate().map_err(problem)?;
        }
        Ok(())
    }
}

impl Route {
    /// How long those wait that join a group later, where the route does not say.
    pub const GROUP_INTERVAL_SECONDS: u32 = 300;
    const RECEIVERS: usize = 20;
    const DAY: u32 = 86_400;
    /// Notifications should not be repeated more often.
    const LEAST_REPEAT_SECONDS: u32 = 60;

    fn validate(&self) -> Result<(), String> {
        self.matchers.validate()?;
        if self.channels.len() > Self::RECEIVERS {
            return Err(format!("channels: at most {}", Self::RECEIVERS));
        }
        if self.group_by.iter().collect::<BTreeSet<_>>().len() != self.group_by.len() {
            return Err("group_by: each label once".to_owned());
        }
        if self.group_wait_seconds > 3_600 {
            return Err("group_wait must be at most 1 hour".to_owned());
        }
        if self.group_interval_seconds.is_some_and(|seconds| seconds > Self::DAY) {
            return Err("group_interval must be at most 1 day".to_owned());
        }
        match self.repeat_interval_seconds {
            Some(seconds) if !(Self::LEAST_REPEAT_SECONDS..=30 * Self::DAY).contains(&seconds) => {
                Err("repeat_interval must be between 1 minute and 30 days".to_owned())
            }
            _ => Ok(()),
        }
    }
}

impl EscalationPolicy {
    const STEPS: usize = 20;

    fn validate(&self) -> Result<(), &'static str> {
        if self.steps.is_empty() {
            return Err("there is no step");
        }
        if self.steps.len() > Self::STEPS {
            return Err("at most 20 steps");
        }
        if self.steps.iter().any(|step| step.channels.is_empty()) {
            return Err("each step needs channels");
        }
        if self.steps.iter().any(|step| step.after_seconds > 7 * 86_400) {
            return Err("a step comes within 7 days");
        }
        if !self.steps.is_sorted_by(|a, b| a.after_seconds < b.after_seconds) {
            return Err("each step comes after the one before it");
        }
        Ok(())
    }
}

fn check_name(name: &str) -> Result<(), &'static str> {
    let is_plain = |letter: char| letter.is_alphanumeric() || matches!(letter, '-' | '_' | '.' | ' ');
    let is_good = !name.is_empty() && name.chars().count() <= 60 && name.chars().all(is_plain);
    if is_good { Ok(()) } else { Err("a name has 1 to 60 letters, digits, spaces, `-`, `_` or `.`") }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn routing(json: &str) -> Routing {
        serde_json::from_str(json).unwrap()
    }

    #[test]
    fn what_is_missing_has_its_default_and_what_is_unknown_is_refused() {
        let read = routing(r#"{"routes": [{"name": "all", "channels": ["slack"]}]}"#);
        assert_eq!(read.validate(), Ok(()));
        assert!(read.routes[0].matchers.is_any() && !read.routes[0].continues);
        assert!(serde_json::from_str::<Routing>(r#"{"routes": [{"name": "all", "chanels": []}]}"#).is_err());
    }

    #[test]
    fn each_mistake_is_named_with_its_place() {
        for (json, part) in [
            (r#"{"routes": [{"name": ""}]}"#, "a name has"),
            (r#"{"routes": [{"name": "a"}, {"name": "a"}]}"#, "route \"a\": there is another"),
            (r#"{"routes": [{"name": "a", "escalation": "b"}]}"#, "no escalation \"b\""),
            (r#"{"routes": [{"name": "a", "repeat_interval_seconds": 5}]}"#, "repeat_interval"),
            (r#"{"routes": [{"name": "a", "group_by": ["service", "service"]}]}"#, "group_by"),
            (r#"{"escalations": [{"name": "a"}]}"#, "no step"),
            (r#"{"escalations": [{"name": "a", "steps": [{"after_seconds": 5}]}]}"#, "needs channels"),
            (
                r#"{"escalations": [{"name": "a", "steps": [{"after_seconds": 5, "channels": ["sms"]},
                    {"after_seconds": 5, "channels": ["sms"]}]}]}"#,
                "after the one before",
            ),
        ] {
            let refused = routing(json).validate().unwrap_err();
            assert!(refused.contains(part), "{json}: {refused}");
        }
    }
}
