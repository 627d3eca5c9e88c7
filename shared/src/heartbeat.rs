//! Heartbeat tokens, which jobs present with each heartbeat.
//!
//! A token is derived from the service's name, its environment and a version under a secret of the server, so that it
//! can be printed again and is not stored; the database stores only its hash. Another version is another token.
//!
//! Tokens of the former derivation (no version, and `a/b` in `c` had the token of `a` in `b/c`) stay valid until they
//! are rotated: jobs use them.
//!
//! Users: `heartbeat`, `cli`.

use std::fmt;

use sha2::{Digest as _, Sha256};

use crate::dsn::DsnSecret;
use crate::model::ServiceSpec;
use crate::model::text::hex;

/// A job's token. It authorises heartbeats for one service, and nothing else.
#[derive(Clone, PartialEq, Eq)]
pub struct HeartbeatToken(String);

impl HeartbeatToken {
    const BYTES: usize = 16;

    /// The first token of a service.
    #[must_use]
    pub fn of(secret: &DsnSecret, name: &str, environment: &str) -> Self {
        Self::of_version(secret, name, environment, 1)
    }

    /// The token of a service with this version. Each part is prefixed with its length, so that no two services share a
    /// token.
    #[must_use]
    pub fn of_version(secret: &DsnSecret, name: &str, environment: &str, version: u32) -> Self {
        let parts = format!("{}:{name}{}:{environment}{version}", name.len(), environment.len());
        Self(secret.digits_of(&format!("heartbeat-token:{parts}"), Self::BYTES))
    }

    /// The token of the former derivation.
    #[must_use]
    pub fn former(secret: &DsnSecret, name: &str, environment: &str) -> Self {
        Self(secret.digits_of(&format!("heartbeat:{name}/{environment}"), Self::BYTES))
    }

    /// The valid token of a service with this stored hash: a former one stays valid while the version is 1.
    #[must_use]
    pub fn in_force(secret: &DsnSecret, spec: &ServiceSpec, stored_hash: Option<&str>) -> Self {
        let ServiceSpec { name, environment, check, .. } = spec;
        let former = Self::former(secret, name, environment);
        if check.token_version == 1 && stored_hash.is_some_and(|stored| stored == former.hash()) {
            return former;
        }
        Self::of_version(secret, name, environment, check.token_version)
    }

    /// Parses a token.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let lower = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
        (text.len() == 2 * Self::BYTES && text.bytes().all(lower)).then(|| Self(text.to_owned()))
    }

    /// The hash that the database stores.
    #[must_use]
    pub fn hash(&self) -> String {
        hex(&Sha256::digest(self.0.as_bytes()))
    }

    /// The heartbeat URL, at a Watchkeeper of this address (`http://127.0.0.1:8080`).
    #[must_use]
    pub fn url(&self, address: &str) -> String {
        format!("{}/api/heartbeat/{}", address.trim_end_matches('/'), self.0)
    }
}

impl fmt::Debug for HeartbeatToken {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("HeartbeatToken(…)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn secret(text: &str) -> DsnSecret {
        DsnSecret::new(text.into()).unwrap()
    }

    #[test]
    fn each_service_has_its_own_reproducible_token() {
        let server = secret("a secret of a server");
        let token = HeartbeatToken::of(&server, "nightly", "production");
        assert_eq!(token, HeartbeatToken::of(&server, "nightly", "production"));
        for other in [
            HeartbeatToken::of(&server, "nightly", "test"),
            HeartbeatToken::of(&server, "weekly", "production"),
            HeartbeatToken::of(&secret("a secret of another"), "nightly", "production"),
        ] {
            assert_ne!(token.hash(), other.hash());
        }
        let url = token.url("https://w.example/");
        let parsed = url.strip_prefix("https://w.example/api/heartbeat/").and_then(HeartbeatToken::parse).unwrap();
        assert_eq!(parsed, token);
        assert!(!format!("{token:?}").contains(&url[url.len() - 32..]), "a log line must not contain it");
    }

    #[test]
    fn no_two_services_share_a_token_and_another_version_is_another() {
        let server = secret("a secret of a server");
        let token = |name: &str, environment: &str, version| {
            HeartbeatToken::of_version(&server, name, environment, version).hash()
        };
        let all = [
            token("a/b", "c", 1),
            token("a", "b/c", 1),
            token("a", "b/c", 2),
            token("a", "b/c", 12),
            token("a", "b/c1", 2),
            token("", "a/b/c", 1),
            token("a/b/c", "", 1),
            token("1:a", "", 1),
            token("", "1:a", 1),
        ];
        let distinct: std::collections::BTreeSet<&String> = all.iter().collect();
        assert_eq!(distinct.len(), all.len());
    }

    #[test]
    fn a_former_token_stays_valid_until_it_is_rotated() {
        let server = secret("a secret of a server");
        let mut spec = ServiceSpec::http("a/b", "c", "");
        let former = HeartbeatToken::former(&server, "a/b", "c");
        assert_eq!(former, HeartbeatToken::former(&server, "a", "b/c"), "which is why the derivation changed");
        let stored = former.hash();
        assert_eq!(HeartbeatToken::in_force(&server, &spec, Some(&stored)), former);
        for (stored, version) in [(None, 1), (Some("another"), 1), (Some(stored.as_str()), 2), (None, 2)] {
            spec.check.token_version = version;
            let token = HeartbeatToken::in_force(&server, &spec, stored);
            assert_eq!(token, HeartbeatToken::of_version(&server, "a/b", "c", version), "{stored:?} {version}");
        }
    }

    #[test]
    fn a_malformed_token_is_refused() {
        for text in ["", "abc", &"A".repeat(32), &"0".repeat(33), &"ä".repeat(16), "0123456789abcdef0123456789abcde/"]
        {
            assert_eq!(HeartbeatToken::parse(text), None, "{text}");
        }
        assert!(HeartbeatToken::parse(&"0".repeat(32)).is_some());
    }
}
