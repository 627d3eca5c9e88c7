//! Addresses of external services. A webhook's address authorises its holder to post, so it is a secret: it appears in
//! no error, no log and no `Debug`.
//!
//! Users: `notify`, `pagerduty-events`, `cli`.

use std::fmt;
use std::net::IpAddr;

use percent_encoding::percent_decode_str;
use secrecy::{ExposeSecret as _, SecretString};
use url::{Host, Url};

/// An address for requests: `https`, or this machine.
#[derive(Clone)]
pub struct Address(SecretString);

impl Address {
    /// Shorter parts of an address occur in ordinary text and are no secrets.
    const SECRET_CHARS: usize = 6;

    /// Parses an address.
    ///
    /// # Errors
    /// Why it can't be used, without the address itself.
    pub fn parse(text: &str) -> Result<Self, &'static str> {
        let url = Url::parse(text.trim()).map_err(|_| "it is no address (https://…)")?;
        let Some(host) = url.host() else { return Err("it names no host") };
        match url.scheme() {
            "https" => Ok(()),
            "http" if is_this_machine(&host) => Ok(()),
            "http" => Err("it must begin with https:// (http:// is for this machine only)"),
            _ => Err("it must begin with https://"),
        }?;
        Ok(Self(SecretString::from(String::from(url))))
    }

    /// A vendor's public address.
    #[must_use]
    pub fn of_vendor(url: &'static str) -> Self {
        Self(SecretString::from(url))
    }

    /// The address as text.
    #[must_use]
    pub fn expose(&self) -> &str {
        self.0.expose_secret()
    }

    /// The address with this path appended.
    #[must_use]
    pub fn under(&self, path: &str) -> Self {
        Self(SecretString::from(format!("{}{path}", self.expose().trim_end_matches('/'))))
    }

    /// The address with one more query parameter.
    #[must_use]
    pub fn with_query(&self, name: &str, value: &str) -> Self {
        let Ok(mut url) = Url::parse(self.expose()) else { return self.clone() };
        url.query_pairs_mut().append_pair(name, value);
        Self(SecretString::from(String::from(url)))
    }

    /// The text with this address's secret parts replaced: servers repeat an unknown path or a refused token in their
    /// answers, as written or decoded.
    #[must_use]
    pub fn hide(&self, text: &str) -> String {
        let Ok(url) = Url::parse(self.expose()) else { return text.to_owned() };
        let as_written = url.path().split('/').chain(url.query()).chain([url.username()]).chain(url.password());
        let decoded = as_written.clone().map(|part| percent_decode_str(part).decode_utf8_lossy().into_owned());
        let mut parts: Vec<String> = as_written.map(str::to_owned).chain(decoded).collect();
        for pair in url.query().unwrap_or_default().split('&') {
            parts.extend(pair.split_once('=').map(|(_, value)| value.to_owned()));
        }
        parts.extend(url.query_pairs().map(|(_, value)| value.into_owned()));
        parts.retain(|part| part.len() >= Self::SECRET_CHARS);
        // Longest first, so that of two overlapping parts the longer one is replaced.
        parts.sort_unstable_by_key(|part| std::cmp::Reverse(part.len()));
        parts.iter().fold(text.to_owned(), |text, part| text.replace(part.as_str(), "[hidden]"))
    }
}

impl fmt::Debug for Address {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Address")
    }
}

/// Whether a host is this machine: a request to it crosses no network.
#[must_use]
pub fn is_this_machine<S: AsRef<str>>(host: &Host<S>) -> bool {
    match host {
        Host::Domain(name) => match name.as_ref().parse::<IpAddr>() {
            Ok(address) => address.is_loopback(),
            Err(_) => name.as_ref().eq_ignore_ascii_case("localhost"),
        },
        Host::Ipv4(address) => address.is_loopback(),
        Host::Ipv6(address) => address.is_loopback(),
    }
}

#[cfg(test)]
mod tests {
    use super::Address;

    #[test]
    fn plain_http_is_for_this_machine_only() {
        for (text, good) in [
            ("https://hooks.slack.com/services/T0/B0/x", true),
            ("http://127.0.0.1:8081/slack", true),
            ("http://localhost:8081", true),
            ("http://[::1]:8081/", true),
            ("http://hooks.slack.com/services/T0/B0/x", false),
            ("http://localhost.example.com/", false),
            ("ftp://127.0.0.1/", false),
            ("hooks.slack.com/services/T0/B0/x", false),
            ("data:text/plain,x", false),
            ("", false),
        ] {
            assert_eq!(Address::parse(text).is_ok(), good, "{text}");
        }
    }

    #[test]
    fn secret_parts_of_an_address_are_hidden_in_a_servers_answer() {
        let address = Address::parse("https://example.com/hooks/T0SECRET/xoxsecret?key=abcdefgh").unwrap();
        assert_eq!(
            address.hide("Cannot POST /hooks/T0SECRET/xoxsecret?key=abcdefgh"),
            "Cannot POST /hooks/[hidden]/[hidden]?[hidden]"
        );
        let address = Address::parse("https://TOKEN123@example.com/in%20box/x?token=SEKRET%2F1234&a=b").unwrap();
        assert_eq!(
            address.hide("TOKEN123: \"in box\" of token SEKRET/1234 (SEKRET%2F1234) is off"),
            "[hidden]: \"[hidden]\" of token [hidden] ([hidden]) is off"
        );
        assert_eq!(format!("{address:?}"), "Address");
        let address = Address::parse("https://example.com/?key=abcdefgh").unwrap();
        assert_eq!(address.with_query("wait", "true").expose().rsplit('?').next(), Some("key=abcdefgh&wait=true"));
    }
}
