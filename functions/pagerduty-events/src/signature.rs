//! `PagerDuty`'s signature: `v1=` and the HMAC-SHA256 of the raw body, in hexadecimal digits, under the subscription's
//! secret. During a rotation of secrets there are several, separated by commas: one of them has to be valid.
//!
//! Source: <https://developer.pagerduty.com/docs/verifying-webhook-signatures>.

use axum::http::HeaderMap;
use secrecy::SecretString;
pub use shared::signature::SignatureError;

const HEADER: &str = "x-pagerduty-signature";
const VERSION: &str = "v1=";
/// The most signatures that are compared.
const SIGNATURES: usize = 10;

/// Verifies that one of the request's signatures is valid, in constant time.
///
/// # Errors
/// When there is none, or none is valid for this body.
pub fn verify(secret: &SecretString, headers: &HeaderMap, body: &[u8]) -> Result<(), SignatureError> {
    let given = headers.get(HEADER).and_then(|value| value.to_str().ok()).ok_or(SignatureError::Missing)?;
    let signatures = given.split(',').filter_map(|one| one.trim().strip_prefix(VERSION)).take(SIGNATURES);
    let mut results = signatures.map(|one| shared::signature::verify(secret, &[body], one.as_bytes()));
    if results.any(|result| result.is_ok()) { Ok(()) } else { Err(SignatureError::Wrong) }
}

/// The header's value for a body.
#[must_use]
pub fn sign(secret: &SecretString, body: &[u8]) -> String {
    format!("{VERSION}{}", shared::signature::sign(secret, &[body]))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A body and its signature, from the tests of `PagerDuty`'s own Go client.
    const SECRET: &str = "lDQHScfUeXUKaQRNF+8XIiDKZ7XX3itBAYzwU0TARw8lJqRnkKl2iB1anSb0Z+IK";
    const BODY: &str = include_str!("../fixtures/priority-updated.json");
    const SIGNATURE: &str = "v1=0c0b9495b893a39e70d1fea2fe11fbe0a825f88b9f67846f6cc07dd2bc5476cd";

    fn check(signature: Option<&str>, body: &str) -> Result<(), SignatureError> {
        let headers = signature.map(|it| (axum::http::HeaderName::from_static(HEADER), it.parse().unwrap()));
        verify(&SecretString::from(SECRET), &headers.into_iter().collect(), body.as_bytes())
    }

    #[test]
    fn pagerduty_s_own_signature_is_verified_also_among_others() {
        assert_eq!(sign(&SecretString::from(SECRET), BODY.as_bytes()), SIGNATURE);
        for signature in
            [SIGNATURE, &format!("v1={},{SIGNATURE}", "0".repeat(64)), &format!(" {SIGNATURE} , v2=x"), SIGNATURE]
        {
            assert_eq!(check(Some(signature), BODY), Ok(()), "{signature}");
        }
    }

    #[test]
    fn everything_else_is_refused() {
        assert_eq!(check(None, BODY), Err(SignatureError::Missing));
        for (signature, body) in [
            (SIGNATURE, "{}"),
            ("", BODY),
            ("v1=", BODY),
            (&SIGNATURE[3..], BODY),
            (&SIGNATURE.replacen("v1", "v2", 1), BODY),
            (&SIGNATURE.to_uppercase(), BODY),
            (&SIGNATURE[..60], BODY),
        ] {
            assert_eq!(check(Some(signature), body), Err(SignatureError::Wrong), "{signature}");
        }
    }
}
