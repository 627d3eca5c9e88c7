//! Signatures of those who call us: HMAC-SHA256 under a secret that both sides know, in lower-case hexadecimal digits.
//! What each of them signs, and where its signature stands, is told in its function.
//!
//! Users: `sentry-webhook`, `slack-actions`, `pagerduty-events`.

use hmac::{Hmac, KeyInit as _, Mac as _};
use secrecy::{ExposeSecret as _, SecretString};
use sha2::Sha256;
use subtle::ConstantTimeEq as _;

use crate::model::text::hex;

/// Why a request is not of whom it should be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SignatureError {
    /// It carries none.
    #[error("the signature is missing")]
    Missing,
    /// It is of other bytes, or of somebody who does not know the secret.
    #[error("the signature is wrong")]
    Wrong,
    /// It was made too long ago, or in the future: somebody may have kept it.
    #[error("the signature is too old")]
    Stale,
}

/// The signature of these bytes, one part after the other.
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

/// Compares the signature of these bytes with a given one, in constant time.
///
/// # Errors
/// When the given one is another.
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
