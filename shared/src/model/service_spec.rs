//! The configuration of a service: what is checked, how often, and when it notifies.
//!
//! Users: `cli` (reads it from a file), `probe`, `status`.

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{AlertPolicy, CheckSettings};

/// The kind of a check.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// A request over HTTP. Target: `http://…` or `https://…`.
    Http,
    /// A TCP connection. Target: `host:port`.
    Tcp,
    /// A TLS handshake and its certificates. Target: `host:port`.
    Tls,
    /// A name's records. Target: the name.
    Dns,
    /// A Postgres server and its health. Target: `${VARIABLE}`, which contains the connection string.
    Postgres,
    /// A job that sends heartbeats: a missing one is the failure. Target: empty.
    Heartbeat,
}

impl Kind {
    /// Every kind.
    pub const ALL: [Self; 6] = [Self::Http, Self::Tcp, Self::Tls, Self::Dns, Self::Postgres, Self::Heartbeat];

    /// The spelling in columns, answers and files.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Tcp => "tcp",
            Self::Tls => "tls",
            Self::Dns => "dns",
            Self::Postgres => "postgres",
            Self::Heartbeat => "heartbeat",
        }
    }

    /// The kind of exactly this name.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == text)
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.as_str())
    }
}

/// The configuration of a service.
#[derive(Debug, Clone, PartialEq)]
pub struct ServiceSpec {
    /// Unique within its environment, 1 to 100 characters.
    pub name: String,
    /// The environment.
    pub environment: String,
    /// The application of its incidents.
    pub application: String,
    /// The common name of services from one entry, such as several addresses of one console.
    pub group: Option<String>,
    /// The kind of check.
    pub kind: Kind,
    /// The target; its form depends on the kind.
    pub target: String,
    /// The timeout of one attempt.
    pub timeout: Duration,
    /// The interval; none = `monitoring_interval_seconds`.
    pub interval: Option<Duration>,
    /// Whether it is probed.
    pub enabled: bool,
    /// How it is checked.
    pub check: CheckSettings,
    /// When it notifies.
    pub policy: AlertPolicy,
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
    /// Not a valid target of this kind.
    #[error("target {0}")]
    Target(&'static str),
    /// A status out of range, or none at all.
    #[error("expected_statuses must be between 100 and 599, and at least one")]
    ExpectedStatuses,
    /// Out of range.
    #[error("timeout must be between 100 ms and 30 s, not {0:?}")]
    Timeout(Duration),
    /// Out of range: more often than the probe runs, or less than daily.
    #[error("interval must be whole seconds between 30 s and 1 day, not {0:?}")]
    Interval(Duration),
    /// All attempts of a check take up to twice the timeout, and must end before the next check.
    #[error("twice the timeout ({timeout:?}) must be shorter than the interval ({interval:?})")]
    TimeoutAgainstInterval {
        /// The timeout of one attempt.
        timeout: Duration,
        /// The time between two checks.
        interval: Duration,
    },
    /// A setting of the check or of the alert policy is out of range.
    #[error("{0}")]
    Setting(String),
}

impl ServiceSpec {
    /// The default timeout.
    pub const DEFAULT_TIMEOUT: Duration = Duration::from_secs(5);
    /// The default interval.
    pub const DEFAULT_INTERVAL: Duration = Duration::from_secs(60);
    /// The shortest interval.
    pub const MIN_INTERVAL: Duration = Duration::from_secs(30);

    /// An HTTP service with defaults for everything else.
    #[must_use]
    pub fn http(name: &str, environment: &str, url: &str) -> Self {
        Self {
            name: name.to_owned(),
            environment: environment.to_owned(),
            application: name.to_owned(),
            group: None,
            kind: Kind::Http,
            target: url.to_owned(),
            timeout: Self::DEFAULT_TIMEOUT,
            interval: None,
            enabled: true,
            check: CheckSettings::default(),
            policy: AlertPolicy::default(),
        }
    }

    /// The specification, if it is valid. Conditions are not checked here: only the probe parses them.
    ///
    /// # Errors
    /// The first value that is out of range.
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
        check_target(self.kind, &self.target).map_err(ServiceSpecError::Target)?;
        if !self.check.expected_statuses.is_valid() {
            return Err(ServiceSpecError::ExpectedStatuses);
        }
        if self.timeout < Duration::from_millis(100) || self.timeout > Duration::from_secs(30) {
            return Err(ServiceSpecError::Timeout(self.timeout));
        }
        if let Some(interval) = self.interval
            && (interval < Self::MIN_INTERVAL || interval > Duration::from_hours(24) || interval.subsec_nanos() > 0)
        {
            return Err(ServiceSpecError::Interval(interval));
        }
        let interval = self.interval.unwrap_or(Self::DEFAULT_INTERVAL);
        if self.timeout * 2 >= interval {
            return Err(ServiceSpecError::TimeoutAgainstInterval { timeout: self.timeout, interval });
        }
        self.check.validate(self.kind).map_err(ServiceSpecError::Setting)?;
        self.policy.validate(&self.name).map_err(ServiceSpecError::Setting)?;
        Ok(self)
    }
}

fn check_target(kind: Kind, target: &str) -> Result<(), &'static str> {
    if target.chars().any(|c| c.is_control() || c.is_whitespace()) || target.len() > 2_000 {
        return Err("must have no spaces, and at most 2,000 characters");
    }
    match kind {
        Kind::Http => match url::Url::parse(target) {
            Ok(url) if matches!(url.scheme(), "http" | "https") && url.has_host() => Ok(()),
            _ => Err("is not an http or https address"),
        },
        Kind::Tcp | Kind::Tls => {
            let port = target.rsplit_once(':').and_then(|(host, port)| {
                // An IPv6 address stands in brackets.
                let bare = !host.contains(':') || (host.starts_with('[') && host.ends_with(']'));
                (bare && !host.is_empty()).then(|| port.parse::<u16>().ok()).flatten()
            });
            if port.is_some_and(|port| port > 0) { Ok(()) } else { Err("is not of the form host:port") }
        }
        Kind::Dns => {
            let name = target.trim_end_matches('.');
            let label = |label: &str| {
                (1..=63).contains(&label.len())
                    && label.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_'))
            };
            if name.len() <= 253 && name.split('.').all(label) { Ok(()) } else { Err("is not a domain name") }
        }
        Kind::Postgres => {
            let variable = target.strip_prefix("${").and_then(|rest| rest.strip_suffix('}'));
            if variable.is_some_and(is_variable) {
                Ok(())
            } else {
                Err("must be ${VARIABLE}: the environment variable that holds the connection string")
            }
        }
        Kind::Heartbeat => {
            if target.is_empty() {
                Ok(())
            } else {
                Err("must be left out: a heartbeat comes to us")
            }
        }
    }
}

/// Whether it is a valid name of an environment variable.
pub(crate) fn is_variable(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_uppercase() || b.is_ascii_digit() || b == b'_')
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Statuses;

    fn spec() -> ServiceSpec {
        ServiceSpec::http("backend", "production", "https://shop.example/health")
    }

    #[test]
    fn a_valid_specification_passes() {
        assert!(spec().validated().is_ok());
    }

    #[test]
    fn each_value_out_of_range_is_named() {
        type Change = fn(&mut ServiceSpec);
        let cases: [(Change, &str); 8] = [
            (|spec| spec.name = "  ".into(), "name"),
            (|spec| spec.environment = "e".repeat(65), "environment"),
            (|spec| spec.target = "ftp://x".into(), "target"),
            (|spec| spec.target = "shop.example/health".into(), "target"),
            (|spec| spec.check.expected_statuses = Statuses::one(42), "expected_statuses"),
            (|spec| spec.timeout = Duration::ZERO, "timeout"),
            (|spec| spec.interval = Some(Duration::from_secs(29)), "interval"),
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
    fn each_kind_has_its_own_targets() {
        for (kind, good, bad) in [
            (Kind::Http, &["http://a", "https://[::1]:8/x?y"][..], &["a", "ftp://a", "http://", ""][..]),
            (
                Kind::Tcp,
                &["db:5432", "10.0.0.1:1", "[::1]:22"],
                &["db", "db:0", "db:70000", "::1:22", ":22", "http://a:1"],
            ),
            (Kind::Tls, &["db:443"], &["db:x"]),
            (Kind::Dns, &["example.com", "_dmarc.example.com."], &["", "a..b", "exa mple", "http://a"]),
            (Kind::Postgres, &["${DATABASE_URL}"], &["postgresql://u:p@h/d", "${}", "${a b}", "DATABASE_URL"]),
            (Kind::Heartbeat, &[""], &["http://a"]),
        ] {
            for target in good {
                assert_eq!(check_target(kind, target), Ok(()), "{kind} {target}");
            }
            for target in bad {
                assert!(check_target(kind, target).is_err(), "{kind} {target}");
            }
        }
    }
}
