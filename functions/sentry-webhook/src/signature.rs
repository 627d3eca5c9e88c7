//! Sentry's signature: lower-case hexadecimal HMAC-SHA256 of the raw body, under the integration's client secret or
//! under a service hook's own.
//!
//! Source: `SentryApp.build_signature`; nothing but the body is signed: no header, no timestamp.

use axum::http::HeaderMap;
use secrecy::SecretString;
use shared::signature;
pub use shared::signature::SignatureError;

/// The kinds of signed webhooks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WebhookKind {
    /// An integration's webhook, or a call of its UI components.
    Integration,
    /// A project's service hook.
    ServiceHook,
}

impl WebhookKind {
    /// The kind of a request.
    #[must_use]
    pub fn of(headers: &HeaderMap) -> Self {
        let signed = |kind: Self| kind.headers().iter().any(|name| headers.contains_key(*name));
        if signed(Self::ServiceHook) && !signed(Self::Integration) { Self::ServiceHook } else { Self::Integration }
    }

    /// The headers of its signature: webhooks have the first, calls of UI components the second.
    fn headers(self) -> &'static [&'static str] {
        match self {
            Self::Integration => &["sentry-hook-signature", "sentry-app-signature"],
            Self::ServiceHook => &["x-servicehook-signature"],
        }
    }
}

/// Verifies the request's signature, in constant time.
///
/// # Errors
/// When it is missing or wrong.
pub fn verify(
    kind: WebhookKind,
    secret: &SecretString,
    headers: &HeaderMap,
    body: &[u8],
) -> Result<(), SignatureError> {
    let given = kind.headers().iter().find_map(|name| headers.get(*name)).ok_or(SignatureError::Missing)?;
    signature::verify(secret, &[body], given.as_bytes())
}

/// The signature of a body.
#[must_use]
pub fn sign(secret: &SecretString, body: &[u8]) -> String {
    signature::sign(secret, &[body])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn secret() -> SecretString {
        SecretString::from("test_secret")
    }

    /// Bodies and signatures as Sentry makes them.
    const VECTORS: [(&str, &str); 3] = [
        (
            r#"{"action":"created","installation":{"uuid":"a8e5d37a-696c-4c54-adb5-b3f28d64c7de"},"data":{"issue":{"id":"100","title":"ZeroDivisionError"}},"actor":{"type":"application","id":"sentry","name":"Sentry"}}"#,
            "628f9b03bf4c6e889ce94b81d31e7d4612241b779fdbecfbfe2dea635cbbc1e0",
        ),
        ("", "f7f9bd47fb987337b5796fdc1fdb9ba221d0d5396814bfcaf9521f43fd8927fd"),
        (
            r#"{"action":"created","data":{"comment":"café 😀"}}"#,
            "deab372e98ea36cb51cc68828bee8db554a5ca2cabc7470e8a4c6fa837431b20",
        ),
    ];

    fn headers(signature: &str) -> HeaderMap {
        let name = axum::http::HeaderName::from_static("sentry-hook-signature");
        HeaderMap::from_iter([(name, signature.parse().unwrap())])
    }

    #[test]
    fn sentrys_own_signatures_are_verified() {
        for (body, signature) in VECTORS {
            assert_eq!(sign(&secret(), body.as_bytes()), signature);
            assert_eq!(verify(WebhookKind::Integration, &secret(), &headers(signature), body.as_bytes()), Ok(()));
        }
    }

    #[test]
    fn the_header_decides_the_kind_of_webhook() {
        let named = |names: &[&'static str]| -> HeaderMap {
            let value = || axum::http::HeaderValue::from_static("x");
            names.iter().map(|name| (axum::http::HeaderName::from_static(name), value())).collect()
        };
        for (names, kind) in [
            (&["sentry-hook-signature"][..], WebhookKind::Integration),
            (&["sentry-app-signature"], WebhookKind::Integration),
            (&["x-servicehook-signature"], WebhookKind::ServiceHook),
            (&["x-servicehook-signature", "sentry-hook-signature"], WebhookKind::Integration),
            (&[], WebhookKind::Integration),
        ] {
            assert_eq!(WebhookKind::of(&named(names)), kind, "{names:?}");
        }
        let (body, signature) = VECTORS[0];
        let hook = HeaderMap::from_iter([(
            axum::http::HeaderName::from_static("x-servicehook-signature"),
            signature.parse().unwrap(),
        )]);
        assert_eq!(verify(WebhookKind::ServiceHook, &secret(), &hook, body.as_bytes()), Ok(()));
        assert_eq!(verify(WebhookKind::Integration, &secret(), &hook, body.as_bytes()), Err(SignatureError::Missing));
    }

    #[test]
    fn everything_else_is_refused() {
        let (body, signature) = VECTORS[0];
        for wrong in
            ["", &signature[..63], &signature.to_uppercase(), &format!("sha256={signature}"), &format!("{signature}0")]
        {
            assert_eq!(
                verify(WebhookKind::Integration, &secret(), &headers(wrong), body.as_bytes()),
                Err(SignatureError::Wrong),
                "{wrong}"
            );
        }
        let changed = body.replacen("100", "101", 1);
        assert_eq!(
            verify(WebhookKind::Integration, &secret(), &headers(signature), changed.as_bytes()),
            Err(SignatureError::Wrong)
        );
        assert_eq!(
            verify(WebhookKind::Integration, &secret(), &HeaderMap::new(), body.as_bytes()),
            Err(SignatureError::Missing)
        );
        let other = SecretString::from("another_secret");
        assert_eq!(
            verify(WebhookKind::Integration, &other, &headers(signature), body.as_bytes()),
            Err(SignatureError::Wrong)
        );
    }
}
