//! How a service is checked. Stored as JSON; a missing field has its default, so that a newer version reads what an
//! older one wrote.

use std::collections::BTreeMap;
use std::fmt;
use std::ops::RangeInclusive;

use serde::{Deserialize, Serialize};

use super::Kind;
use super::service_spec::is_variable;

/// How a service is checked. Header values and the body may contain `${PROBE_SECRET_…}`: the probe substitutes that
/// variable of its own environment in each request.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct CheckSettings {
    /// `http`: the method.
    pub method: String,
    /// `http`: the request headers.
    pub headers: BTreeMap<String, String>,
    /// `http`: the request body.
    pub body: Option<String>,
    /// `http`: the statuses that count as success.
    pub expected_statuses: Statuses,
    /// Further conditions on the answer, such as `[BODY].db.ok == true`.
    pub conditions: Vec<String>,
    /// Above this latency, in milliseconds, it is degraded.
    pub degraded_above_ms: Option<u32>,
    /// `http` and `tls`: an alert is raised this many days before a certificate expires; 0 = never.
    pub certificate_warning_days: u16,
    /// `http`: the most redirects to follow; more are a failure. Where a 3xx is expected, none is followed.
    pub max_redirects: u8,
    /// `dns`: the record type.
    pub dns_record: DnsRecord,
    /// `dns`: the name server, as `address:port`; none = the system's resolvers.
    pub dns_server: Option<String>,
    /// `heartbeat`: the grace period after its interval, in seconds.
    pub grace_seconds: u32,
    /// `heartbeat`: the version of its token, from 1; another version is another token.
    #[serde(skip_serializing_if = "is_first")]
    pub token_version: u32,
    /// `postgres`: limits beyond which it is degraded.
    pub postgres: PostgresLimits,
}

impl Default for CheckSettings {
    fn default() -> Self {
        Self {
            method: "GET".to_owned(),
            headers: BTreeMap::new(),
            body: None,
            expected_statuses: Statuses::default(),
            conditions: Vec::new(),
            degraded_above_ms: None,
            certificate_warning_days: 14,
            max_redirects: 5,
            dns_record: DnsRecord::default(),
            dns_server: None,
            grace_seconds: 0,
            token_version: 1,
            postgres: PostgresLimits::default(),
        }
    }
}

/// The default is not serialised, so that the stored value stays what an earlier version wrote.
#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
fn is_first(version: &u32) -> bool {
    *version == 1
}

/// The record type that a `dns` check queries.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum DnsRecord {
    /// IPv4 addresses.
    #[default]
    A,
    /// IPv6 addresses.
    Aaaa,
    /// The canonical name.
    Cname,
    /// Mail servers.
    Mx,
    /// Name servers.
    Ns,
    /// Text records.
    Txt,
}

/// Limits beyond which a Postgres server that answers is degraded. None = no limit.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct PostgresLimits {
    /// Connections in use, as a share (0 to 1) of the server's maximum.
    pub connections_ratio: Option<f64>,
    /// The longest transaction's age, in seconds.
    pub transaction_seconds: Option<u32>,
    /// Backends that wait for a lock.
    pub blocked_backends: Option<u32>,
    /// Deadlocks since the last check.
    pub deadlocks: Option<u32>,
    /// Cache hits, as a share (0 to 1): below this it is degraded.
    pub cache_hit_ratio: Option<f64>,
    /// The database's size, in bytes.
    pub size_bytes: Option<u64>,
}

impl Default for PostgresLimits {
    fn default() -> Self {
        Self {
            connections_ratio: Some(0.8),
            transaction_seconds: Some(300),
            blocked_backends: Some(5),
            deadlocks: Some(1),
            cache_hit_ratio: None,
            size_bytes: None,
        }
    }
}

/// HTTP statuses, as ranges: `[[200, 299], [404, 404]]`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Statuses(Vec<(u16, u16)>);

impl Default for Statuses {
    fn default() -> Self {
        Self::one(200)
    }
}

impl Statuses {
    /// One status.
    #[must_use]
    pub fn one(status: u16) -> Self {
        Self(vec![(status, status)])
    }

    /// The statuses in these ranges.
    #[must_use]
    pub fn of(ranges: impl IntoIterator<Item = RangeInclusive<u16>>) -> Self {
        Self(ranges.into_iter().map(|range| (*range.start(), *range.end())).collect())
    }

    /// Whether it contains this status.
    #[must_use]
    pub fn contains(&self, status: u16) -> bool {
        self.0.iter().any(|(first, last)| (*first..=*last).contains(&status))
    }

    /// Whether it contains a redirect, which then is not followed.
    #[must_use]
    pub fn expect_redirect(&self) -> bool {
        self.0.iter().any(|(first, last)| *first < 400 && *last >= 300)
    }

    fn is_valid_range((first, last): &(u16, u16)) -> bool {
        100 <= *first && first <= last && *last <= 599
    }

    /// Whether it is not empty, and every range is valid.
    #[must_use]
    pub fn is_valid(&self) -> bool {
        !self.0.is_empty() && self.0.iter().all(Self::is_valid_range)
    }
}

impl fmt::Display for Statuses {
    /// `200`, or `200-299 or 404`.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, (first, last)) in self.0.iter().enumerate() {
            if index > 0 {
                formatter.write_str(" or ")?;
            }
            if first == last { write!(formatter, "{first}")? } else { write!(formatter, "{first}-{last}")? }
        }
        Ok(())
    }
}

impl CheckSettings {
    /// Only variables with this prefix may be sent in headers and bodies: an operator who configures a service must not
    /// be able to send the agent's own secrets to it.
    pub const SECRET_PREFIX: &str = "PROBE_SECRET_";
    const CONDITIONS: usize = 20;
    const HEADERS: usize = 50;
    const TEXT_BYTES: usize = 16 * 1024;

    pub(super) fn validate(&self, kind: Kind) -> Result<(), String> {
        const METHODS: [&str; 7] = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"];
        if !METHODS.contains(&self.method.as_str()) {
            return Err(format!("method must be one of {}", METHODS.join(", ")));
        }
        if self.conditions.len() > Self::CONDITIONS {
            return Err(format!("conditions: at most {}", Self::CONDITIONS));
        }
        if self.headers.len() > Self::HEADERS {
            return Err(format!("headers: at most {}", Self::HEADERS));
        }
        for (name, value) in &self.headers {
            let token = |b: u8| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b);
            if name.is_empty()
                || !name.bytes().all(token)
                || ["host", "content-length", "transfer-encoding", "connection"]
                    .contains(&name.to_ascii_lowercase().as_str())
                    && !name.eq_ignore_ascii_case("host")
            {
                return Err(format!("headers: {name:?} can't be sent"));
            }
            if value.chars().any(char::is_control) || value.len() > Self::TEXT_BYTES {
                return Err(format!("headers: the value of {name} must be one line of at most 16 KiB"));
            }
            variables(value).map_err(|error| format!("headers: {name}: {error}"))?;
        }
        if let Some(body) = &self.body {
            if body.len() > Self::TEXT_BYTES {
                return Err("body: at most 16 KiB".to_owned());
            }
            variables(body).map_err(|error| format!("body: {error}"))?;
        }
        if self.max_redirects > 20 {
            return Err("max_redirects: at most 20".to_owned());
        }
        if self.dns_server.as_deref().is_some_and(|server| server.parse::<std::net::SocketAddr>().is_err()) {
            return Err("dns_server is not of the form address:port".to_owned());
        }
        let share = |name: &str, share: Option<f64>| match share {
            Some(share) if !(0.0..=1.0).contains(&share) => Err(format!("postgres.{name} must be between 0 and 1")),
            _ => Ok(()),
        };
        share("connections_ratio", self.postgres.connections_ratio)?;
        share("cache_hit_ratio", self.postgres.cache_hit_ratio)?;
        if kind == Kind::Heartbeat && !self.conditions.is_empty() {
            return Err("conditions: a heartbeat has none".to_owned());
        }
        Ok(())
    }
}

/// The names of the variables that a text references.
///
/// # Errors
/// A reference that is not closed, or to a variable that may not be sent out.
pub fn variables(text: &str) -> Result<Vec<&str>, String> {
    let mut names = Vec::new();
    let mut rest = text;
    while let Some(start) = rest.find("${") {
        let after = &rest[start + 2..];
        let end = after.find('}').ok_or("\"${\" is not closed")?;
        let name = &after[..end];
        if !is_variable(name) || !name.starts_with(CheckSettings::SECRET_PREFIX) {
            return Err(format!(
                "${{{name}}}: only variables whose names begin with {} are sent",
                CheckSettings::SECRET_PREFIX
            ));
        }
        names.push(name);
        rest = &after[end + 1..];
    }
    Ok(names)
}
