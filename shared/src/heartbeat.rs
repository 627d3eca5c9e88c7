//! Heartbeat tokens: what a job presents to say that it lives.
//!
//! A token is made of the service's name under a secret of the server, so that it can be told again and again and is kept
//! nowhere; the database holds only its hash.
//!
//! Users: `heartbeat`, the operator's tool.

use std::fmt;

use sha2::{Digest as _, Sha256};

use crate::dsn::DsnSecret;
use crate::model::text::hex;

/// What a job presents. Who has it can report for this one service, and nothing else.
#[derive(Clone, PartialEq, Eq)]
pub struct HeartbeatToken(String);

impl HeartbeatToken {
    const BYTES: usize = 16;

    /// The token of a service.
    #[must_use]
    pub fn of(secret: &DsnSecret, name: &str, environment: &str) -> Self {
        Self(secret.digits_of(&format!("heartbeat:{name}/{environment}"), Self::BYTES))
    }

    /// The token that this text is, if it has the form of one.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let lower = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
        (text.len() == 2 * Self::BYTES && text.bytes().all(lower)).then(|| Self(text.to_owned()))
    }

    /// What the database keeps of it.
    #[must_use]
    pub fn hash(&self) -> String {
        hex(&Sha256::digest(self.0.as_bytes()))
    }

    /// Where the job reports, at a Watchkeeper of this address (`http://127.0.0.1:8080`).
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
    fn each_service_has_a_token_of_its_own_that_can_be_told_again() {
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
        let told = url.strip_prefix("https://w.example/api/heartbeat/").and_then(HeartbeatToken::parse).unwrap();
        assert_eq!(told, token);
        assert!(!format!("{token:?}").contains(&url[url.len() - 32..]), "a log line must not tell it");
    }

    #[test]
    fn what_has_another_form_is_no_token() {
        for text in ["", "abc", &"A".repeat(32), &"0".repeat(33), &"ä".repeat(16), "0123456789abcdef0123456789abcde/"]
        {
            assert_eq!(HeartbeatToken::parse(text), None, "{text}");
        }
        assert!(HeartbeatToken::parse(&"0".repeat(32)).is_some());
    }
}
