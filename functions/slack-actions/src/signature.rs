//! Slack's signature: `v0=` and the HMAC-SHA256, in hexadecimal digits, of `v0:TIMESTAMP:BODY` under the app's signing secret.
//! The timestamp prevents a replay of an intercepted request.
//!
//! Source: <https://docs.slack.dev/authentication/verifying-requests-from-slack>.

use axum::http::HeaderMap;
use chrono::{DateTime, TimeDelta, Utc};
use secrecy::SecretString;
pub use shared::signature::SignatureError;

/// The most that a request's timestamp may differ from now.
const SKEW: TimeDelta = TimeDelta::minutes(5);
const VERSION: &str = "v0";

/// Verifies the request's signature, in constant time, and then its timestamp.
///
/// # Errors
/// When it is missing, does not match the body and timestamp, or the timestamp is stale.
pub fn verify(
    secret: &SecretString,
    headers: &HeaderMap,
    body: &[u8],
    now: DateTime<Utc>,
) -> Result<(), SignatureError> {
    let header = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    let timestamp = header("x-slack-request-timestamp").ok_or(SignatureError::Missing)?;
    let given = header("x-slack-signature").ok_or(SignatureError::Missing)?;
    let given = given.strip_prefix(VERSION).and_then(|rest| rest.strip_prefix('=')).ok_or(SignatureError::Wrong)?;
    shared::signature::verify(secret, &parts(timestamp, body), given.as_bytes())?;
    let made_at = timestamp.parse().ok().and_then(|seconds| DateTime::from_timestamp(seconds, 0));
    let is_of_now = made_at.is_some_and(|made_at: DateTime<Utc>| (now - made_at).abs() <= SKEW);
    if is_of_now { Ok(()) } else { Err(SignatureError::Stale) }
}

/// The header's value for a body that is sent at this time.
#[must_use]
pub fn sign(secret: &SecretString, timestamp: &str, body: &[u8]) -> String {
    format!("{VERSION}={}", shared::signature::sign(secret, &parts(timestamp, body)))
}

fn parts<'a>(timestamp: &'a str, body: &'a [u8]) -> [&'a [u8]; 5] {
    [VERSION.as_bytes(), b":", timestamp.as_bytes(), b":", body]
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The example of Slack's documentation.
    const SECRET: &str = "8f742231b10e8888abcd99yyyzzz85a5";
    const TIMESTAMP: &str = "1531420618";
    const SIGNATURE: &str = "v0=a2114d57b48eac39b9ad189dd8316235a7b4a8d21a10bd27519666489c69b503";
    const BODY: &str = "token=xyzz0WbapA4vBCDEFasx0q6G&team_id=T1DC2JH3J&team_domain=testteamnow&channel_id=G8PSS9T3V\
        &channel_name=foobar&user_id=U2CERLKJA&user_name=roadrunner&command=%2Fwebhook-collect&text=&response_url=\
        https%3A%2F%2Fhooks.slack.com%2Fcommands%2FT1DC2JH3J%2F397700885554%2F96rGlfmibIGlgcZRskXaIFfN&trigger_id=\
        398738663015.47445629121.803a0bc887a14d10d2c447fce8b6703c";

    fn check(signature: Option<&str>, timestamp: Option<&str>, body: &str, later: i64) -> Result<(), SignatureError> {
        let mut headers = HeaderMap::new();
        for (name, value) in [("x-slack-signature", signature), ("x-slack-request-timestamp", timestamp)] {
            if let Some(value) = value {
                headers.insert(name, value.parse().unwrap());
            }
        }
        let now = DateTime::from_timestamp(1_531_420_618 + later, 0).unwrap();
        verify(&SecretString::from(SECRET), &headers, body.as_bytes(), now)
    }

    #[test]
    fn slack_s_documented_example_is_verified() {
        assert_eq!(sign(&SecretString::from(SECRET), TIMESTAMP, BODY.as_bytes()), SIGNATURE);
        for later in [0, 300, -300] {
            assert_eq!(check(Some(SIGNATURE), Some(TIMESTAMP), BODY, later), Ok(()), "{later}");
        }
    }

    #[test]
    fn invalid_and_stale_signatures_are_refused() {
        let bare = &SIGNATURE[3..];
        for (signature, timestamp, body, later, refused) in [
            (None, Some(TIMESTAMP), BODY, 0, SignatureError::Missing),
            (Some(SIGNATURE), None, BODY, 0, SignatureError::Missing),
            (Some(SIGNATURE), Some(TIMESTAMP), BODY, 301, SignatureError::Stale),
            (Some(SIGNATURE), Some(TIMESTAMP), BODY, -301, SignatureError::Stale),
            (Some(SIGNATURE), Some("1531420619"), BODY, 0, SignatureError::Wrong),
            (Some(SIGNATURE), Some(TIMESTAMP), "token=xyzz0WbapA4vBCDEFasx0q6G", 0, SignatureError::Wrong),
            (Some(bare), Some(TIMESTAMP), BODY, 0, SignatureError::Wrong),
            (Some(&format!("v1={bare}")), Some(TIMESTAMP), BODY, 0, SignatureError::Wrong),
            (Some(&SIGNATURE[..66]), Some(TIMESTAMP), BODY, 0, SignatureError::Wrong),
            (Some("v0="), Some(TIMESTAMP), BODY, 0, SignatureError::Wrong),
            (Some(""), Some(TIMESTAMP), BODY, 0, SignatureError::Wrong),
        ] {
            assert_eq!(check(signature, timestamp, body, later), Err(refused), "{signature:?} {timestamp:?} {later}");
        }
        let secret = SecretString::from(SECRET);
        for timestamp in ["", "soon", "99999999999999999999", "-1"] {
            let signature = sign(&secret, timestamp, BODY.as_bytes());
            assert_eq!(check(Some(&signature), Some(timestamp), BODY, 0), Err(SignatureError::Stale), "{timestamp}");
        }
    }
}
