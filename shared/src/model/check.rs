//! A health check's identity and why it failed.

use std::fmt;

use chrono::{DateTime, Utc};
use serde::Serialize;
use uuid::Uuid;

/// The namespace of check ids (a `UUIDv4` made once for this purpose).
const CHECK_NAMESPACE: Uuid = Uuid::from_u128(0x6f1c_2b7e_93d4_4a58_8e0b_5d27_c4a1_f036);

/// `CHK-<UUIDv5>` of service, region and the instant that the check stands for: the same check run twice has the
/// same id, so it is stored and counted once.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct CheckId(String);

impl CheckId {
    /// The id of a service's check for one instant: the start of its slot, or the moment of a check out of turn.
    #[must_use]
    pub fn of(service: Uuid, region: &str, instant: DateTime<Utc>) -> Self {
        let name = format!("{service}/{region}/{}", instant.timestamp_micros());
        Self(format!("CHK-{}", Uuid::new_v5(&CHECK_NAMESPACE, name.as_bytes())))
    }

    /// The id's text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Why a check failed, for machines; the text beside it is for people.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum FailureReason {
    /// No answer in time.
    Timeout,
    /// The name has no address.
    Dns,
    /// The certificate or the handshake was refused.
    Tls,
    /// Nothing listens there.
    ConnectionRefused,
    /// The peer hung up.
    ConnectionReset,
    /// It could not be reached for another reason.
    Connect,
    /// It redirects in a circle, or too often.
    Redirect,
    /// It answered with another status than expected.
    Status,
    /// It answered something that is not HTTP.
    Protocol,
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
    fn the_same_check_has_the_same_id_and_another_has_another() {
        let service = Uuid::from_u128(7);
        let slot = DateTime::UNIX_EPOCH;
        assert_eq!(CheckId::of(service, "local", slot), CheckId::of(service, "local", slot));
        assert_ne!(CheckId::of(service, "local", slot), CheckId::of(service, "eu-west-1", slot));
        assert!(CheckId::of(service, "local", slot).as_str().len() <= 50);
    }
}
