//! Where a channel answers. Whoever knows a webhook's address may post to it, so an address is kept like a password: it
//! is in no error, no log and no `Debug`.

use std::fmt;
use std::net::IpAddr;

use secrecy::{ExposeSecret as _, SecretString};
use url::{Host, Url};

/// An address that may be posted to: `https`, or this machine.
#[derive(Clone)]
pub struct Address(SecretString);

impl Address {
    /// Parts of an address that are shorter than this are in everybody's words, and hide nothing.
    const SECRET_CHARS: usize = 6;

    /// Reads an address.
    ///
    /// # Errors
    /// Why it can't be used; does not repeat it.
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

    /// One of a vendor's, as its documentation names it.
    #[must_use]
    pub(super) fn of_vendor(url: &'static str) -> Self {
        Self(SecretString::from(url))
    }

    /// The address itself.
    pub(super) fn expose(&self) -> &str {
        self.0.expose_secret()
    }

    /// The address of a path under this one.
    pub(super) fn under(&self, path: &str) -> Self {
        Self(SecretString::from(format!("{}{path}", self.expose().trim_end_matches('/'))))
    }

    /// The address with one more parameter.
    pub(super) fn with_query(&self, name: &str, value: &str) -> Self {
        let Ok(mut url) = Url::parse(self.expose()) else { return self.clone() };
        url.query_pairs_mut().append_pair(name, value);
        Self(SecretString::from(String::from(url)))
    }

    /// The text without what may open this address: servers like to repeat the path that they do not know.
    pub(super) fn hide(&self, text: &str) -> String {
        let Ok(url) = Url::parse(self.expose()) else { return text.to_owned() };
        let parts = url.path().split('/').chain(url.query()).chain(url.password());
        parts
            .filter(|part| part.len() >= Self::SECRET_CHARS)
            .fold(text.to_owned(), |text, part| text.replace(part, "[hidden]"))
    }
}

impl fmt::Debug for Address {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Address")
    }
}

/// Whether a host is this machine: what is sent there crosses no network.
pub(super) fn is_this_machine<S: AsRef<str>>(host: &Host<S>) -> bool {
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
    fn secrets_are_sent_in_the_clear_to_this_machine_only() {
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
    fn what_opens_an_address_is_hidden_from_what_a_server_says_of_it() {
        let address = Address::parse("https://example.com/hooks/T0SECRET/xoxsecret?key=abcdefgh").unwrap();
        assert_eq!(
            address.hide("Cannot POST /hooks/T0SECRET/xoxsecret?key=abcdefgh"),
            "Cannot POST /hooks/[hidden]/[hidden]?[hidden]"
        );
        assert_eq!(format!("{address:?}"), "Address");
        assert_eq!(address.with_query("wait", "true").expose().rsplit('?').next(), Some("key=abcdefgh&wait=true"));
    }
}
