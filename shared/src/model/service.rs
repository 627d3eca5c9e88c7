//! A service that is probed: what an operator configured, and what the probe knows of it.

use std::fmt;
use std::time::Duration;

use chrono::{DateTime, Utc};
use serde::Serialize;
use uuid::Uuid;

use super::Severity;

/// The environment of whatever names none.
pub const DEFAULT_ENVIRONMENT: &str = "production";

/// How a service is, as far as we know.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum ServiceState {
    /// It passes its checks.
    Healthy,
    /// It answers, but not well.
    Degraded,
    /// It fails its checks.
    Down,
    /// Not checked yet.
    Unknown,
}

impl ServiceState {
    /// Every state.
    pub const ALL: [Self; 4] = [Self::Healthy, Self::Degraded, Self::Down, Self::Unknown];

    /// The spelling in columns, answers and events.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Healthy => "healthy",
            Self::Degraded => "degraded",
            Self::Down => "down",
            Self::Unknown => "unknown",
        }
    }

    /// The state of exactly this name.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.as_str() == text)
    }
}

impl fmt::Display for ServiceState {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.as_str())
    }
}

/// How bad a failed health check is in this environment: CRITICAL in production and wherever the name says
/// nothing else, HIGH where changes are tried out, MEDIUM in development, LOW on a laptop.
#[must_use]
pub fn severity_of_failed_check(environment: &str) -> Severity {
    match environment.trim().to_ascii_lowercase().as_str() {
        "test" | "testing" | "staging" | "stage" | "qa" | "preview" => Severity::High,
        "development" | "dev" => Severity::Medium,
        "local" | "localhost" => Severity::Low,
        _ => Severity::Critical,
    }
}

/// What an operator says about a service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServiceSpec {
    /// Unique within its environment, 1 to 100 characters.
    pub name: String,
    /// Where it runs.
    pub environment: String,
    /// Which application its incidents belong to.
    pub application: String,
    /// What is asked, `http` or `https`.
    pub url: String,
    /// The status that means healthy.
    pub expected_status: u16,
    /// How long one attempt may take.
    pub timeout: Duration,
    /// How often; none = `monitoring_interval_seconds`.
    pub interval: Option<Duration>,
    /// Whether it is probed at all.
    pub enabled: bool,
}

/// What is wrong with a service's specification.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ServiceSpecError {
    /// No name, or a very long one.
    #[error("name must have 1 to 100 characters, none of them a control character or a space at either end")]
    Name,
    /// No application, or a very long one.
    #[error("application must have 1 to 100 characters")]
    Application,
    /// No environment, or a very long one.
    #[error("environment must have 1 to 64 characters")]
    Environment,
    /// Not something that can be asked over HTTP.
    #[error("url is not an http or https address")]
    Url,
    /// Not a status.
    #[error("expected_status must be between 200 and 599, not {0}")]
    ExpectedStatus(u16),
    /// Too short to answer, or longer than a check may take.
    #[error("timeout must be between 100 ms and 30 s, not {0:?}")]
    Timeout(Duration),
    /// More often than the probe runs, or less than daily.
    #[error("interval must be whole seconds between 60 s and 1 day, not {0:?}")]
    Interval(Duration),
    /// All attempts of a check take up to twice the time-out, and must end before the next check.
    #[error("twice the timeout ({timeout:?}) must be shorter than the interval ({interval:?})")]
    TimeoutAgainstInterval {
        /// The timeout of one attempt.
        timeout: Duration,
        /// The time between two checks.
        interval: Duration,
    },
}

impl ServiceSpec {
    /// The time-out of a service that names none.
    pub const DEFAULT_TIMEOUT: Duration = Duration::from_secs(5);
    /// The status that means healthy where nothing else is said.
    pub const DEFAULT_EXPECTED_STATUS: u16 = 200;
    const MIN_INTERVAL: Duration = Duration::from_secs(60);

    /// The specification, if a probe can be run by it.
    ///
    /// # Errors
    /// The first value that is out of its range.
    pub fn validated(self) -> Result<Self, ServiceSpecError> {
        let length = |text: &str, limit: usize| {
            let clean = text.trim() == text && !text.chars().any(char::is_control);
            clean && (1..=limit).contains(&text.chars().count())
        };
        if !length(&self.name, 100) {
            return Err(ServiceSpecError::Name);
        }
        if !length(&self.application, 100) {
            return Err(ServiceSpecError::Application);
        }
        if !length(&self.environment, 64) {
            return Err(ServiceSpecError::Environment);
        }
        if self.url.chars().any(|c| c.is_control() || c.is_whitespace()) || self.url.len() > 2_000 {
            return Err(ServiceSpecError::Url);
        }
        match url::Url::parse(&self.url) {
            Ok(url) if matches!(url.scheme(), "http" | "https") && url.has_host() => {}
            _ => return Err(ServiceSpecError::Url),
        }
        if !(200..=599).contains(&self.expected_status) {
            return Err(ServiceSpecError::ExpectedStatus(self.expected_status));
        }
        if self.timeout < Duration::from_millis(100) || self.timeout > Duration::from_secs(30) {
            return Err(ServiceSpecError::Timeout(self.timeout));
        }
        if let Some(interval) = self.interval
            && (interval < Self::MIN_INTERVAL || interval > Duration::from_hours(24) || interval.subsec_nanos() > 0)
        {
            return Err(ServiceSpecError::Interval(interval));
        }
        let interval = self.interval.unwrap_or(Self::MIN_INTERVAL);
        if self.timeout * 2 >= interval {
            return Err(ServiceSpecError::TimeoutAgainstInterval { timeout: self.timeout, interval });
        }
        Ok(self)
    }
}

/// A service as the probe and the operator see it.
#[derive(Debug, Clone, Serialize)]
pub struct Service {
    /// The row's id.
    pub id: Uuid,
    /// Unique within its environment.
    pub name: String,
    /// Where it runs.
    pub environment: String,
    /// Which application its incidents belong to.
    pub application: String,
    /// What is asked. Not shown in answers: it may hold a secret.
    #[serde(skip)]
    pub url: String,
    /// The status that means healthy.
    #[serde(skip)]
    pub expected_status: u16,
    /// How long one attempt may take.
    #[serde(skip)]
    pub timeout: Duration,
    /// How it is.
    pub state: ServiceState,
    /// Since when.
    pub state_changed_at: Option<DateTime<Utc>>,
    /// Failed checks in a row.
    pub consecutive_failures: u32,
    /// Passed checks in a row.
    pub consecutive_successes: u32,
    /// When it was last checked.
    pub last_checked_at: Option<DateTime<Utc>>,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spec() -> ServiceSpec {
        ServiceSpec {
            name: "backend".into(),
            environment: "production".into(),
            application: "shop".into(),
            url: "https://shop.example/health".into(),
            expected_status: 200,
            timeout: Duration::from_secs(5),
            interval: None,
            enabled: true,
        }
    }

    #[test]
    fn a_usable_specification_passes() {
        assert!(spec().validated().is_ok());
    }

    #[test]
    fn each_value_out_of_range_is_named() {
        type Change = fn(&mut ServiceSpec);
        let cases: [(Change, &str); 8] = [
            (|spec| spec.name = "  ".into(), "name"),
            (|spec| spec.environment = "e".repeat(65), "environment"),
            (|spec| spec.url = "ftp://x".into(), "url"),
            (|spec| spec.url = "shop.example/health".into(), "url"),
            (|spec| spec.expected_status = 42, "expected_status"),
            (|spec| spec.timeout = Duration::ZERO, "timeout"),
            (|spec| spec.interval = Some(Duration::from_secs(59)), "interval"),
            (|spec| spec.timeout = Duration::from_secs(30), "twice the timeout"),
        ];
        for (change, named) in cases {
            let mut broken = spec();
            change(&mut broken);
            let error = broken.validated().unwrap_err().to_string();
            assert!(error.starts_with(named), "{error}");
        }
    }

    #[test]
    fn a_failed_check_is_as_bad_as_its_environment() {
        for (environment, severity) in [
            ("production", Severity::Critical),
            ("", Severity::Critical),
            ("eu-customers", Severity::Critical),
            ("Test", Severity::High),
            ("staging", Severity::High),
            ("development", Severity::Medium),
            ("local", Severity::Low),
        ] {
            assert_eq!(severity_of_failed_check(environment), severity, "{environment}");
        }
    }
}
