//! Where e-mails are handed over.

use std::fmt;

use secrecy::{ExposeSecret as _, SecretString};
use url::Url;

use crate::channel::address::is_this_machine;

/// A server that takes e-mails, as `SMTP_URL` names it: `smtps://USER:PASSWORD@HOST`, `smtp://HOST?tls=required`.
#[derive(Clone)]
pub struct SmtpServer(SecretString);

impl SmtpServer {
    /// Reads an address. What crosses a network is encrypted: `smtps`, or STARTTLS that is required. `?tls=opportunistic`
    /// falls back to the clear, as servers do among themselves; never with a password. This machine needs none of it.
    ///
    /// # Errors
    /// Why it can't be used; does not repeat it.
    pub fn parse(text: &SecretString) -> Result<Self, &'static str> {
        let url = Url::parse(text.expose_secret()).map_err(|_| "it is no address (smtps://USER:PASSWORD@HOST)")?;
        let host = url.host_str().filter(|host| !host.is_empty()).ok_or("it names no host")?;
        let is_near = url::Host::parse(host).is_ok_and(|host| is_this_machine(&host));
        let tls = url.query_pairs().find(|(name, _)| name == "tls").map(|(_, value)| value.into_owned());
        match (url.scheme(), tls.as_deref()) {
            ("smtps", None) | ("smtp", Some("required")) => {}
            ("smtp", Some("opportunistic")) if is_near || url.password().is_none() => {}
            ("smtp", None) if is_near => {}
            ("smtp", Some("opportunistic")) => {
                return Err("a password is sent over TLS only: smtps://, or smtp:// with ?tls=required");
            }
            ("smtp", None) => {
                return Err("smtp:// in the clear is for this machine only: add ?tls=required, or use smtps://");
            }
            _ => return Err("it must be smtps://…, or smtp://… with ?tls=required"),
        }
        if url.password().is_none() && !url.username().is_empty() {
            return Err("it names a user without a password");
        }
        Ok(Self(text.clone()))
    }

    /// The address itself.
    pub(super) fn expose(&self) -> &str {
        self.0.expose_secret()
    }
}

impl fmt::Debug for SmtpServer {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("SmtpServer")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_crosses_a_network_in_the_clear() {
        for (text, good) in [
            ("smtps://user:pass@mail.example.com", true),
            ("smtps://user:pass@mail.example.com:465/me.example.com", true),
            ("smtp://user:pass@mail.example.com:587?tls=required", true),
            ("smtp://mail.example.com?tls=opportunistic", true),
            ("smtp://127.0.0.1:2525", true),
            ("smtp://user:pass@localhost:2525", true),
            ("smtp://[::1]:25", true),
            ("smtp://mail.example.com", false),
            ("smtp://user:pass@mail.example.com?tls=opportunistic", false),
            ("smtp://127.0.0.1?tls=no", false),
            ("smtps://user@mail.example.com", false),
            ("smtps://", false),
            ("https://mail.example.com", false),
            ("mail.example.com:25", false),
        ] {
            assert_eq!(SmtpServer::parse(&SecretString::from(text)).is_ok(), good, "{text}");
        }
    }
}
