//! Refuses secrets in a file: it is shown, stored and shared. Secrets are referenced (`${PROBE_SECRET_…}`); the probe
//! reads them from its environment.

use reqwest::Url;
use shared::model::{CheckSettings, variables};
use shared::redact::Redactor;

/// Refuses a header value that looks like a secret.
pub(super) fn in_header(name: &str, value: &str) -> Result<(), String> {
    let references = variables(value).map_err(|error| format!("{name}: {error}"))?;
    let name_lower = name.to_ascii_lowercase();
    let is_credential = ["authorization", "cookie", "token", "secret", "password", "key", "auth", "session"]
        .iter()
        .any(|word| name_lower.split(['-', '_']).any(|part| part == *word || part.ends_with(word)));
    if references.is_empty() && (is_credential || has_secret(value)) { Err(refused(name)) } else { Ok(()) }
}

/// Refuses a body that looks like it contains a secret.
pub(super) fn in_body(body: &str) -> Result<(), String> {
    variables(body)?;
    if has_secret(&without_references(body)) { Err(refused("the body")) } else { Ok(()) }
}

/// Refuses an address with credentials.
pub(super) fn in_address(address: &str) -> Result<(), String> {
    let Ok(url) = Url::parse(address) else { return Ok(()) };
    let query_leaks = url.query_pairs().any(|(name, value)| has_secret(&format!("{name}={value}")));
    if !url.username().is_empty() || url.password().is_some() || query_leaks {
        return Err("an address must not contain a secret: send it in a header".to_owned());
    }
    Ok(())
}

fn refused(what: &str) -> String {
    format!(
        "{what} looks like a secret: write ${{{}NAME}}, and set that variable where the probe runs",
        CheckSettings::SECRET_PREFIX
    )
}

fn without_references(text: &str) -> String {
    let mut clean = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(start) = rest.find("${") {
        clean.push_str(&rest[..start]);
        rest = rest[start..].split_once('}').map_or("", |(_, after)| after);
    }
    clean + rest
}

/// Whether redaction finds a credential; email and IP addresses are none.
fn has_secret(text: &str) -> bool {
    let words = |text: &str| -> usize {
        ["[jwt]", "[token]", "[password]", "[cookie]", "[private_key]", "[redacted]"]
            .iter()
            .map(|word| text.matches(word).count())
            .sum()
    };
    words(&Redactor::default().text(text)) > words(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_with_secrets_are_refused() {
        for (name, value) in [
            ("accept", "application/json"),
            ("x-request-source", "watchkeeper"),
            ("authorization", "Bearer ${PROBE_SECRET_API}"),
            ("x-forwarded-for", "192.0.2.1"),
            ("host", "shop.example"),
        ] {
            assert_eq!(in_header(name, value), Ok(()), "{name}");
        }
        for (name, value) in [
            ("Authorization", "Bearer abcdef"),
            ("x-api-key", "abc"),
            ("apikey", "abc"),
            ("Cookie", "session=1"),
            ("x-client", "AKIAIOSFODNN7EXAMPLE"),
            ("accept", "${DATABASE_URL}"),
            ("accept", "${PROBE_SECRET_X"),
        ] {
            assert!(in_header(name, value).is_err(), "{name}: {value}");
        }
    }

    #[test]
    fn bodies_and_addresses_with_secrets_are_refused() {
        assert_eq!(in_body(r#"{"query": "{ shop { open } }", "token": "${PROBE_SECRET_T}"}"#), Ok(()));
        assert!(in_body(r#"{"password": "hunter2"}"#).is_err());
        assert_eq!(in_address("https://shop.example/health?deep=true"), Ok(()));
        for address in
            ["https://u:p@shop.example/", "https://u@shop.example/", "https://shop.example/?api_key=abcdef1234"]
        {
            assert!(in_address(address).is_err(), "{address}");
        }
    }
}
