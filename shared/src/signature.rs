//! Signatures of inbound webhooks: HMAC-SHA256 under a shared secret, in lower-case hexadecimal digits. Each webhook
//! function defines what is signed, and which header carries the signature.
//!
//! Users: `sentry-webhook`, `slack-actions`, `pagerduty-events`.

use hmac::{Hmac, KeyInit as _, Mac as _};
use secrecy::{ExposeSecret as _, SecretString};
use sha2::Sha256;
use subtle::ConstantTimeEq as _;

use crate::model::text::hex;

/// Why a signature is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SignatureError {
    /// The request has no signature.
    #[error("the signature is missing")]
    Missing,
    /// It is of other bytes, or under another secret.
    #[error("the signature is wrong")]
    Wrong,
    /// It is too old, or from the future: it may be a replayed request.
    #[error("the signature is too old")]
    Stale,
}

/// The signature of these parts, concatenated.
#[must_use]
pub fn sign(secret: &SecretString, parts: &[&[u8]]) -> String {
    // An HMAC takes keys of any length.
    let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(secret.expose_secret().as_bytes()) else {
        return String::new();
    };
    for part in parts {
        mac.update(part);
    }
    hex(&mac.finalize().into_bytes())
}

/// Verifies a given signature of these parts, in constant time.
///
/// # Errors
/// When it differs.
pub fn verify(secret: &SecretString, parts: &[&[u8]], given: &[u8]) -> Result<(), SignatureError> {
    let expected = sign(secret, parts);
    let right = !expected.is_empty() && bool::from(given.ct_eq(expected.as_bytes()));
    if right { Ok(()) } else { Err(SignatureError::Wrong) }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 4231, test case 2.
    const RFC: &str = "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843";

    #[test]
    fn a_signature_is_of_all_parts_in_their_order() {
        let secret = SecretString::from("Jefe");
        assert_eq!(sign(&secret, &[b"what do ya want for nothing?"]), RFC);
        assert_eq!(verify(&secret, &[b"what do ya want ", b"for nothing?"], RFC.as_bytes()), Ok(()));
        for (parts, given) in [
            (&[&b"for nothing?"[..], b"what do ya want "][..], RFC),
            (&[b"what do ya want for nothing?"], &RFC.to_uppercase()),
            (&[b"what do ya want for nothing?"], &RFC[..63]),
            (&[b"what do ya want for nothing?"], ""),
        ] {
            assert_eq!(verify(&secret, parts, given.as_bytes()), Err(SignatureError::Wrong), "{given}");
        }
    }
}
