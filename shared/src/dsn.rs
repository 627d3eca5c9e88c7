//! DSN keys: what an SDK presents to prove that it may report for an application.
//!
//! A DSN is `{scheme}://{public key}@{host}/{number}`. The key is an HMAC of the application's number and the key's
//! version under a secret of the server, so that it can be verified without the database. Revoked versions and quotas,
//! which need the database, are checked in [`crate::applications`].
//!
//! Users: `sentry-envelope`, `cli`, the local stack.

use std::fmt;

use hmac::{Hmac, KeyInit as _, Mac as _};
use secrecy::{ExposeSecret as _, SecretString};
use sha2::Sha256;
use subtle::ConstantTimeEq as _;

use crate::config::Environment;
use crate::model::text::hex;

/// The secret from which all keys of a server are derived.
#[derive(Debug, Clone)]
pub struct DsnSecret(SecretString);

/// The secret is too short.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("must have at least {} characters", DsnSecret::SHORTEST)]
pub struct WeakSecret;

impl DsnSecret {
    /// The variable that contains it.
    pub const VARIABLE: &str = "DSN_SECRET";
    /// The shortest secret: DSNs are public, and their secret can be guessed offline.
    const SHORTEST: usize = 16;

    /// The secret.
    ///
    /// # Errors
    /// When it is too short.
    pub fn new(secret: SecretString) -> Result<Self, WeakSecret> {
        if secret.expose_secret().len() < Self::SHORTEST { Err(WeakSecret) } else { Ok(Self(secret)) }
    }

    /// Reads `DSN_SECRET`. Without it, no report with a DSN is accepted.
    pub fn read(environment: &mut Environment<'_>) -> Option<Self> {
        match Self::new(environment.secret(Self::VARIABLE)?) {
            Ok(secret) => Some(secret),
            Err(weak) => {
                environment.problem(Self::VARIABLE, weak);
                None
            }
        }
    }

    /// The first bytes of this text's HMAC under the secret, in hexadecimal digits.
    pub(crate) fn digits_of(&self, text: &str, bytes: usize) -> String {
        // An HMAC takes keys of any length.
        let mac = Hmac::<Sha256>::new_from_slice(self.expose().as_bytes()).map(|mut mac| {
            mac.update(text.as_bytes());
            mac.finalize().into_bytes()
        });
        mac.map(|mac| hex(&mac[..bytes])).unwrap_or_default()
    }

    /// The secret's text, for the file that stores it.
    #[must_use]
    pub fn expose(&self) -> &str {
        self.0.expose_secret()
    }
}

/// The version of an application's key: the first is 1; each rotation adds one and revokes all earlier ones.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KeyVersion(pub u16);

impl KeyVersion {
    /// The version of a new application.
    pub const FIRST: Self = Self(1);
}

/// The public key in a DSN: 4 hexadecimal digits of the version, 28 of the HMAC. Not a secret: browser pages contain
/// it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct PublicKey(String);

impl PublicKey {
    const VERSION_DIGITS: usize = 4;
    const MAC_BYTES: usize = 14;
    const DIGITS: usize = Self::VERSION_DIGITS + 2 * Self::MAC_BYTES;

    /// The key of an application.
    #[must_use]
    pub fn of(secret: &DsnSecret, project: i64, version: KeyVersion) -> Self {
        let digits = secret.digits_of(&format!("watchkeeper-dsn:v{}:{project}", version.0), Self::MAC_BYTES);
        Self(format!("{:04x}{digits}", version.0))
    }

    /// The version of the key, if this text is a key of the application; in constant time.
    #[must_use]
    pub fn verify(text: &str, secret: &DsnSecret, project: i64) -> Option<KeyVersion> {
        let lower = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
        if text.len() != Self::DIGITS || !text.bytes().all(lower) {
            return None;
        }
        let version = KeyVersion(u16::from_str_radix(&text[..Self::VERSION_DIGITS], 16).ok()?);
        let expected = Self::of(secret, project, version);
        bool::from(expected.0.as_bytes().ct_eq(text.as_bytes())).then_some(version)
    }

    /// The DSN with this key, for a Watchkeeper at this address (`http://127.0.0.1:8080`).
    #[must_use]
    pub fn dsn(&self, address: &str, project: i64) -> String {
        let (scheme, place) = address.split_once("://").unwrap_or(("https", address));
        format!("{scheme}://{}@{}/{project}", self.0, place.trim_end_matches('/'))
    }

    /// Its digits.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for PublicKey {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn secret(text: &str) -> DsnSecret {
        DsnSecret::new(SecretString::from(text)).unwrap()
    }

    #[test]
    fn the_key_derivation_never_changes() {
        // Deployed programs contain DSNs: this must never change. printf 'watchkeeper-dsn:v1:7' | openssl dgst -sha256
        // -hmac 'a secret of the server'
        let key = PublicKey::of(&secret("a secret of the server"), 7, KeyVersion::FIRST);
        assert_eq!(key.as_str(), "0001dfc965e62a7701cabde80a58cf49");
        let key = PublicKey::of(&secret("a secret of the server"), 7, KeyVersion(0xbeef));
        assert_eq!(&key.as_str()[..4], "beef");
    }

    #[test]
    fn a_key_is_valid_for_its_application_and_secret_only() {
        let ours = secret("a secret of the server");
        let key = PublicKey::of(&ours, 7, KeyVersion(3));
        assert_eq!(PublicKey::verify(key.as_str(), &ours, 7), Some(KeyVersion(3)));
        assert_eq!(PublicKey::verify(key.as_str(), &ours, 8), None);
        assert_eq!(PublicKey::verify(key.as_str(), &ours, -7), None);
        assert_eq!(PublicKey::verify(key.as_str(), &secret("another secret of it"), 7), None);
        // Another version's digits before the same HMAC.
        assert_eq!(PublicKey::verify(&format!("0004{}", &key.as_str()[4..]), &ours, 7), None);
    }

    #[test]
    fn what_is_no_key_is_refused() {
        let ours = secret("a secret of the server");
        let key = PublicKey::of(&ours, 7, KeyVersion(0xab));
        for text in
            ["", "0001", &key.as_str()[..31], &format!("{key}0"), &key.as_str().to_uppercase(), "ü".repeat(16).as_str()]
        {
            assert_eq!(PublicKey::verify(text, &ours, 7), None, "{text}");
        }
    }

    #[test]
    fn a_dsn_names_key_place_and_application() {
        let key = PublicKey::of(&secret("a secret of the server"), 7, KeyVersion::FIRST);
        assert_eq!(key.dsn("http://127.0.0.1:8080", 7), format!("http://{key}@127.0.0.1:8080/7"));
        assert_eq!(key.dsn("https://example.com/stage/", 7), format!("https://{key}@example.com/stage/7"));
    }

    #[test]
    fn a_short_secret_is_refused_by_name_and_no_secret_is_no_problem() {
        let read = |value: Option<&'static str>| {
            Environment::from_lookup(move |_| value.map(str::to_owned)).read(DsnSecret::read)
        };
        assert!(read(None).unwrap().is_none());
        assert_eq!(read(Some("0123456789abcdef")).unwrap().unwrap().expose(), "0123456789abcdef");
        let error = read(Some("0123456789abcde")).unwrap_err().to_string();
        assert!(error.contains("DSN_SECRET") && !error.contains("0123"), "{error}");
    }

    proptest! {
        #[test]
        fn no_random_text_is_a_valid_key(text in ".{0,40}", project: i64) {
            prop_assert_eq!(PublicKey::verify(&text, &secret("a secret of the server"), project), None);
        }

        #[test]
        fn every_key_verifies(project: i64, version: u16) {
            let ours = secret("a secret of the server");
            let key = PublicKey::of(&ours, project, KeyVersion(version));
            prop_assert_eq!(PublicKey::verify(key.as_str(), &ours, project), Some(KeyVersion(version)));
        }
    }
}
