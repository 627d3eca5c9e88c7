//! `SendGrid`'s signature: ECDSA on the curve P-256 with SHA-256 over the timestamp's text and the raw body, in the headers
//! `X-Twilio-Email-Event-Webhook-Signature` (base64 of DER) and `…-Timestamp` (seconds).

use aws_lc_rs::signature::{ECDSA_P256_SHA256_ASN1, UnparsedPublicKey};
use axum::http::HeaderMap;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use chrono::{DateTime, TimeDelta, Utc};

const SIGNATURE: &str = "x-twilio-email-event-webhook-signature";
const TIMESTAMP: &str = "x-twilio-email-event-webhook-timestamp";

/// The DER prefix of every P-256 `SubjectPublicKeyInfo`; the uncompressed point follows.
const P256: [u8; 26] = [
    0x30, 0x59, 0x30, 0x13, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01, 0x06, 0x08, 0x2a, 0x86, 0x48, 0xce,
    0x3d, 0x03, 0x01, 0x07, 0x03, 0x42, 0x00,
];
/// The size of an uncompressed point.
const POINT: usize = 65;

/// The oldest signature that is accepted. `SendGrid` retries for a day, perhaps with the first signature. A replayed
/// event changes nothing, since events are idempotent.
const OLDEST: TimeDelta = TimeDelta::hours(25);
/// Allows for clock differences.
const AHEAD: TimeDelta = TimeDelta::minutes(5);

/// The public key of `SendGrid`'s signatures.
#[derive(Debug, Clone)]
pub struct PublicKey([u8; POINT]);

/// Why a signature is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SignatureError {
    /// The signature or its timestamp is missing.
    #[error("the signature or its timestamp is missing")]
    Missing,
    /// The timestamp is too old, or in the future.
    #[error("the signature's timestamp is not of the last day")]
    NotOfNow,
    /// It is for another body, or made with another key.
    #[error("the signature is wrong")]
    Wrong,
}

impl PublicKey {
    /// Parses the key as `SendGrid` shows it: base64, with or without PEM's lines.
    ///
    /// # Errors
    /// What the text should be.
    pub fn parse(text: &str) -> Result<Self, &'static str> {
        let lines = text.lines().map(str::trim).filter(|line| !line.starts_with("-----"));
        let encoded: String = lines.flat_map(str::chars).filter(|letter| !letter.is_whitespace()).collect();
        let der = BASE64.decode(encoded).map_err(|_| "it is not base64")?;
        let point = der.strip_prefix(&P256[..]).ok_or("it is not a public key on the curve P-256")?;
        // Each verification checks whether the point is on the curve.
        point.try_into().map(Self).map_err(|_| "it is not a public key on the curve P-256")
    }

    /// Verifies a request's signature.
    ///
    /// # Errors
    /// When it is missing, wrong, too old or from the future.
    pub fn verify(&self, headers: &HeaderMap, body: &[u8], now: DateTime<Utc>) -> Result<(), SignatureError> {
        let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
        let (Some(signature), Some(timestamp)) = (text(SIGNATURE), text(TIMESTAMP)) else {
            return Err(SignatureError::Missing);
        };
        let signature = BASE64.decode(signature).map_err(|_| SignatureError::Wrong)?;
        let signed = [timestamp.as_bytes(), body].concat();
        UnparsedPublicKey::new(&ECDSA_P256_SHA256_ASN1, self.0)
            .verify(&signed, &signature)
            .map_err(|_| SignatureError::Wrong)?;
        // The timestamp is checked after the signature: only then is it authentic.
        let at = timestamp.parse().ok().and_then(|seconds| DateTime::from_timestamp(seconds, 0));
        let at = at.ok_or(SignatureError::NotOfNow)?;
        if at < now - OLDEST || at > now + AHEAD { Err(SignatureError::NotOfNow) } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Key, signature and body as `SendGrid`'s own libraries test them.
    const KEY: &str = "MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAE83T4O/n84iotIvIW4mdBgQ/7dAfSmpqIM8kF9mN1flpVKS3GRqe62gw+2fNNRaINXvVpiglSI8eNEc6wEA3F+g==";
    const OTHER_KEY: &str = "MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEqTxd43gyp8IOEto2LdIfjRQrIbsd4SXZkLW6jDutdhXSJCWHw8REntlo7aNDthvj+y7GjUuFDb/R1NGe1OPzpA==";
    const SIGNED: &str =
        "MEUCIGHQVtGj+Y3LkG9fLcxf3qfI10QysgDWmMOVmxG0u6ZUAiEAyBiXDWzM+uOe5W0JuG+luQAbPIqHh89M15TluLtEZtM=";
    const AT: &str = "1600112502";
    const BODY: &str = concat!(
        r#"[{"email":"hello@world.com","event":"dropped","reason":"Bounced Address","#,
        r#""sg_event_id":"ZHJvcC0xMDk5NDkxOS1MUnpYbF9OSFN0T0doUTRrb2ZTbV9BLTA","#,
        r#""sg_message_id":"LRzXl_NHStOGhQ4kofSm_A.filterdrecv-p3mdw1-756b745b58-kmzbl-18-5F5FC76C-9.0","#,
        r#""smtp-id":"<LRzXl_NHStOGhQ4kofSm_A@ismtpd0039p1iad1.sendgrid.net>","timestamp":1600112492}]"#,
        "\r\n"
    );

    fn verify(key: &str, signature: &str, timestamp: &str, body: &str, late: TimeDelta) -> Result<(), SignatureError> {
        let name = |name: &'static str| axum::http::HeaderName::from_static(name);
        let headers = HeaderMap::from_iter([
            (name(SIGNATURE), signature.parse().unwrap()),
            (name(TIMESTAMP), timestamp.parse().unwrap()),
        ]);
        let now = DateTime::from_timestamp(1_600_112_502, 0).unwrap() + late;
        PublicKey::parse(key).unwrap().verify(&headers, body.as_bytes(), now)
    }

    #[test]
    fn sendgrid_s_own_signature_is_verified() {
        let none = TimeDelta::zero();
        assert_eq!(verify(KEY, SIGNED, AT, BODY, none), Ok(()));
        let pem = format!("-----BEGIN PUBLIC KEY-----\n{}\n{}\n-----END PUBLIC KEY-----\n", &KEY[..64], &KEY[64..]);
        assert_eq!(verify(&pem, SIGNED, AT, BODY, none), Ok(()));
    }

    #[test]
    fn everything_else_is_refused() {
        let none = TimeDelta::zero();
        for (key, signature, timestamp, body) in [
            (OTHER_KEY, SIGNED, AT, BODY),
            (KEY, SIGNED, "1600112503", BODY),
            (KEY, SIGNED, AT, BODY.trim_end()),
            (KEY, SIGNED, AT, ""),
            (KEY, "", AT, BODY),
            (KEY, "AAAA", AT, BODY),
            (KEY, "not base64", AT, BODY),
        ] {
            assert_eq!(verify(key, signature, timestamp, body, none), Err(SignatureError::Wrong), "{signature}");
        }
        let key = PublicKey::parse(KEY).unwrap();
        assert_eq!(key.verify(&HeaderMap::new(), b"", Utc::now()), Err(SignatureError::Missing));
    }

    #[test]
    fn a_signature_is_valid_for_a_day() {
        for (late, expected) in [
            (TimeDelta::hours(24), Ok(())),
            (TimeDelta::hours(26), Err(SignatureError::NotOfNow)),
            (TimeDelta::minutes(-4), Ok(())),
            (TimeDelta::minutes(-6), Err(SignatureError::NotOfNow)),
        ] {
            assert_eq!(verify(KEY, SIGNED, AT, BODY, late), expected, "{late}");
        }
    }

    #[test]
    fn an_invalid_key_is_refused() {
        for text in ["", "AAAA", "not base64", &KEY[..80], &format!("{}AAAA", &KEY[..120])] {
            assert!(PublicKey::parse(text).is_err(), "{text}");
        }
    }
}
