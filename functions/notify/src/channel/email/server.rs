//! Where e-mails are handed over.

use std::fmt;
use std::time::Duration;

use lettre::transport::smtp::client::{Certificate, CertificateStore, Tls, TlsParameters};
use lettre::{AsyncSmtpTransport, Tokio1Executor};
use secrecy::{ExposeSecret as _, SecretString};
use shared::address::is_this_machine;
use shared::tls::{self, Trust};
use url::Url;

/// A server that takes e-mails, as `SMTP_URL` names it: `smtps://USER:PASSWORD@HOST`, `smtp://HOST?tls=required`.
#[derive(Clone)]
pub struct SmtpServer {
    url: SecretString,
    /// Whose signature on its certificate is believed, as PEM text; none = the public authorities'.
    ca: Option<String>,
}

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
        if host.starts_with('[') {
            return Err("an IPv6 address can't be connected to: name the host");
        }
        let server = Self { url: text.clone(), ca: None };
        // What the mail client can't read would only show with the first e-mail.
        server
            .client(Duration::from_secs(1))
            .ok_or("the mail client can't read it: are user and password %-encoded?")?;
        Ok(server)
    }

    /// The same server, whose certificate is signed by these (PEM text), as a company's own often is.
    ///
    /// # Errors
    /// When there is none in the text.
    pub fn trusting(self, ca: &str) -> Result<Self, &'static str> {
        tls::client_config(&Trust::Only(ca.to_owned())).map_err(|_| "it holds no usable certificate (PEM)")?;
        Ok(Self { ca: Some(ca.to_owned()), ..self })
    }

    /// A client of this server. None when lettre reads the address otherwise than we do.
    pub(super) fn client(&self, patience: Duration) -> Option<AsyncSmtpTransport<Tokio1Executor>> {
        // Not the error: it may hold the address, and so the password.
        let client = AsyncSmtpTransport::<Tokio1Executor>::from_url(self.url.expose_secret()).ok()?;
        let client = match (&self.ca, Url::parse(self.url.expose_secret()).ok()?) {
            (Some(ca), url) => client.tls(trusted(ca, &url)?),
            (None, _) => client,
        };
        Some(client.timeout(Some(patience)).build())
    }
}

/// TLS as the address wants it, with these certificates and no others.
fn trusted(ca: &str, url: &Url) -> Option<Tls> {
    let parameters = TlsParameters::builder(url.host_str()?.to_owned())
        .certificate_store(CertificateStore::None)
        .add_root_certificate(Certificate::from_pem(ca.as_bytes()).ok()?)
        .build()
        .ok()?;
    let wish = url.query_pairs().find(|(name, _)| name == "tls").map(|(_, value)| value.into_owned());
    Some(match (url.scheme(), wish.as_deref()) {
        ("smtps", _) => Tls::Wrapper(parameters),
        (_, Some("required")) => Tls::Required(parameters),
        (_, Some(_)) => Tls::Opportunistic(parameters),
        (_, None) => Tls::None,
    })
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
            ("smtp://[::1]:25", false),
            ("smtps://user:%ff@mail.example.com", false),
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
