//! A webhook for any program, after the Standard Webhooks specification: the delivery's id, the time of the attempt
//! and the body are signed together (HMAC-SHA256), so that a receiver can verify who sent it, when, and whether it has it
//! already.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use chrono::{DateTime, SecondsFormat, Utc};
use hmac::{Hmac, KeyInit as _, Mac as _};
use reqwest::header::CONTENT_TYPE;
use secrecy::{ExposeSecret as _, SecretSlice, SecretString};
use serde_json::{Value, json};
use sha2::Sha256;

use super::config::WebhookConfig;
use super::http::Http;
use super::{Delivery, SendError, Sent};

/// What webhooks are signed with.
#[derive(Debug, Clone)]
pub struct SigningKey(SecretSlice<u8>);

impl SigningKey {
    /// The specification's: shorter can be guessed, longer is pointless.
    const BYTES: std::ops::RangeInclusive<usize> = 24..=64;

    /// Reads `whsec_` and the base64 of the key.
    ///
    /// # Errors
    /// What it should be.
    pub fn parse(text: &SecretString) -> Result<Self, &'static str> {
        let encoded = text.expose_secret().strip_prefix("whsec_").ok_or("it must begin with whsec_")?;
        let key = BASE64.decode(encoded).map_err(|_| "what follows whsec_ is not base64")?;
        if !Self::BYTES.contains(&key.len()) {
            return Err("what follows whsec_ must be the base64 of 24 to 64 bytes");
        }
        Ok(Self(SecretSlice::from(key)))
    }

    /// The signature of an attempt, as its header carries it.
    #[must_use]
    pub fn sign(&self, id: &str, timestamp: i64, body: &str) -> String {
        // An HMAC takes keys of any length.
        let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(self.0.expose_secret()) else { return String::new() };
        mac.update(format!("{id}.{timestamp}.{body}").as_bytes());
        format!("v1,{}", BASE64.encode(mac.finalize().into_bytes()))
    }
}

pub(super) async fn send(
    http: &Http,
    config: &WebhookConfig,
    delivery: &Delivery,
    now: DateTime<Utc>,
) -> Result<Sent, SendError> {
    let (id, timestamp, body) = (delivery.id.to_string(), now.timestamp(), body(delivery).to_string());
    let request = http
        .post(&config.url)
        .header(CONTENT_TYPE, "application/json")
        .header("webhook-id", &id)
        .header("webhook-timestamp", timestamp)
        .header("webhook-signature", config.key.sign(&id, timestamp, &body))
        .body(body);
    Ok(http.take("the webhook", &config.url, request, now).await?.sent(None))
}

/// The content: everything that is known, as it is. It is JSON, so nothing has to be escaped by hand.
fn body(delivery: &Delivery) -> Value {
    let notification = &delivery.notification;
    let mut data = json!(notification);
    if let Some(data) = data.as_object_mut() {
        data.insert("id".to_owned(), json!(delivery.id));
        data.insert("dedup_key".to_owned(), json!(delivery.dedup_key));
    }
    json!({
        "type": format!("notification.{}", notification.kind.as_str()),
        "timestamp": notification.at.to_rfc3339_opts(SecondsFormat::Millis, true),
        "data": data,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Those of the specification's own libraries.
    #[test]
    fn signatures_are_those_of_the_specification() {
        for (secret, id, timestamp, body, signature) in [
            (
                "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
                "msg_p5jXN8AQM9LWM0D4loKWxJek",
                1_614_265_330,
                r#"{"test": 2432232314}"#,
                "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
            ),
            (
                "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD",
                "msg_27UH4WbU6Z5A5EzD8u03UvzRbpk",
                1_649_367_553,
                r#"{"email":"test@example.com","username":"test_user"}"#,
                "v1,tZ1I4/hDygAJgO5TYxiSd6Sd0kDW6hPenDe+bTa3Kkw=",
            ),
        ] {
            let key = SigningKey::parse(&SecretString::from(secret)).unwrap();
            assert_eq!(key.sign(id, timestamp, body), signature);
        }
    }

    #[test]
    fn a_key_is_what_the_specification_says() {
        let short = format!("whsec_{}", BASE64.encode([1; 23]));
        let long = format!("whsec_{}", BASE64.encode([1; 65]));
        for text in ["MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "whsec_", "whsec_not base64", &short, &long] {
            assert!(SigningKey::parse(&SecretString::from(text)).is_err(), "{text}");
        }
        let key = SigningKey::parse(&SecretString::from(format!("whsec_{}", BASE64.encode([1; 64])))).unwrap();
        assert!(!format!("{key:?}").contains('1'), "{key:?}");
    }
}
