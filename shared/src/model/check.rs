//! A health check's identity, verdict and failure reason.

use std::fmt;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// The namespace of check ids (a `UUIDv4` made once for this purpose).
const CHECK_NAMESPACE: Uuid = Uuid::from_u128(0x6f1c_2b7e_93d4_4a58_8e0b_5d27_c4a1_f036);

/// The period of a service's interval that a check covers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Slot {
    /// When it began.
    pub start: DateTime<Utc>,
    /// Its length; 0 = an extra check outside the schedule. Part of the identity: after a change of the interval
    /// another slot may begin at the same instant.
    pub period_seconds: i64,
}

/// `CHK-<UUIDv5>` of service, region and slot. Makes checks idempotent: the same check run twice has the same id, and
/// is stored and counted once.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct CheckId(String);

impl CheckId {
    /// The id of a service's check of one slot.
    #[must_use]
    pub fn of(service: Uuid, region: &str, slot: Slot) -> Self {
        let name = format!("{service}/{region}/{}/{}", slot.period_seconds, slot.start.timestamp_micros());
        Self(format!("CHK-{}", Uuid::new_v5(&CHECK_NAMESPACE, name.as_bytes())))
    }

    /// The id's text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// The verdict of a check.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    /// It works.
    Healthy,
    /// It answers, but slowly or with a limit exceeded.
    Degraded,
    /// It does not work.
    Failed,
}

impl Verdict {
    /// The spelling in `service_health_checks.status`.
    #[must_use]
    pub fn as_status(self) -> &'static str {
        match self {
            Self::Healthy => "healthy",
            Self::Degraded => "degraded",
            Self::Failed => "down",
        }
    }

    /// The verdict of this spelling in `service_health_checks.status`.
    #[must_use]
    pub fn from_status(text: &str) -> Option<Self> {
        [Self::Healthy, Self::Degraded, Self::Failed].into_iter().find(|verdict| verdict.as_status() == text)
    }
}

/// Why a check failed, machine-readable; the accompanying text is for people.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FailureReason {
    /// No answer before the timeout.
    Timeout,
    /// The name has no address.
    Dns,
    /// The certificate or the handshake was refused.
    Tls,
    /// The port is closed.
    ConnectionRefused,
    /// The peer closed the connection.
    ConnectionReset,
    /// The connection failed for another reason.
    Connect,
    /// A redirect loop, or too many redirects.
    Redirect,
    /// An unexpected status.
    Status,
    /// A protocol violation.
    Protocol,
    /// A condition is not met.
    Condition,
    /// The body exceeds the read limit, and a condition needs all of it.
    BodyTooLarge,
    /// It answered slowly.
    Slow,
    /// A heartbeat is overdue, or reported a failure.
    Heartbeat,
    /// The address guard refuses its address.
    Blocked,
    /// The configuration is unusable, such as a variable that is not set.
    Misconfigured,
    /// Our own failure: this process lacks sockets, ports or memory. Never stored.
    Ours,
}

impl FailureReason {
    /// The spelling in columns, answers and events.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Timeout => "timeout",
            Self::Dns => "dns",
            Self::Tls => "tls",
            Self::ConnectionRefused => "connection_refused",
            Self::ConnectionReset => "connection_reset",
            Self::Connect => "connect",
            Self::Redirect => "redirect",
            Self::Status => "status",
            Self::Protocol => "protocol",
            Self::Condition => "condition",
            Self::BodyTooLarge => "body_too_large",
            Self::Slow => "slow",
            Self::Heartbeat => "heartbeat",
            Self::Blocked => "blocked",
            Self::Misconfigured => "misconfigured",
            Self::Ours => "ours",
        }
    }
}

impl fmt::Display for FailureReason {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_check_has_one_id() {
        let service = Uuid::from_u128(7);
        let slot = Slot { start: DateTime::UNIX_EPOCH, period_seconds: 60 };
        let longer = Slot { period_seconds: 120, ..slot };
        assert_ne!(CheckId::of(service, "local", slot), CheckId::of(service, "local", longer));
        assert_eq!(CheckId::of(service, "local", slot), CheckId::of(service, "local", slot));
        assert_ne!(CheckId::of(service, "local", slot), CheckId::of(service, "eu-west-1", slot));
        assert!(CheckId::of(service, "local", slot).as_str().len() <= 50);
    }
}
