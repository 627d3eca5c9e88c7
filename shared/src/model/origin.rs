//! Origins of pages that may use an application's DSN: the operator's allow list, and whether it contains an origin.
//!
//! The rules are those of Sentry's "Allowed Domains" (`is_valid_origin` in `sentry/utils/http.py`):
//! `https://shop.example.com[:port]` is exactly this origin; `shop.example.com` this host with any scheme and port;
//! `*.example.com` the domain and all its subdomains; `*:8080` any host at this port; `*` anything. A path is refused
//! instead of being ignored, since an origin has none.
//!
//! Users: `store::applications`, `sentry-envelope`, `cli`.

use std::fmt;
use std::sync::Arc;

use url::{Host, Url};

/// The origin of a page: the value of `Origin`, or the start of `Referer`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Origin {
    scheme: String,
    host: String,
    /// None = the scheme's default.
    port: Option<u16>,
}

impl Origin {
    /// The origin of an address; none for `null`, which browsers send for pages without an origin.
    #[must_use]
    pub fn of(address: &str) -> Option<Self> {
        let url = Url::parse(address.trim()).ok()?;
        let host = url.host_str().filter(|host| !host.is_empty())?.to_ascii_lowercase();
        Some(Self { scheme: url.scheme().to_owned(), host, port: url.port() })
    }

    /// The port, or the scheme's default.
    fn effective_port(&self) -> Option<u16> {
        self.port.or(match self.scheme.as_str() {
            "http" => Some(80),
            "https" => Some(443),
            _ => None,
        })
    }
}

/// One entry of an application's allowed origins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AllowedOrigin {
    /// None = any.
    scheme: Option<String>,
    hosts: Hosts,
    /// None = the scheme's default; without a scheme any.
    port: Option<u16>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Hosts {
    Any,
    /// This domain and its subdomains.
    Under(String),
    Only(String),
}

/// A text that is neither an origin nor a pattern.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("an origin is written as https://shop.example.com, shop.example.com, *.example.com or *, without a path")]
pub struct OriginError;

impl AllowedOrigin {
    /// Parses an entry. Internationalised names become what browsers send (`xn--…`).
    ///
    /// # Errors
    /// When no origin can match it.
    pub fn parse(text: &str) -> Result<Self, OriginError> {
        let text = text.trim().trim_end_matches('/');
        let (scheme, rest) = match text.split_once("://") {
            Some(("*", rest)) => (None, rest),
            Some((scheme, rest)) => (Some(scheme_of(scheme).ok_or(OriginError)?), rest),
            None => (None, text),
        };
        let (hosts, port) = match rest.rsplit_once(':') {
            // An IPv6 address contains colons.
            Some((hosts, port)) if !port.ends_with(']') => (hosts, Some(port.parse().map_err(|_| OriginError)?)),
            _ => (rest, None),
        };
        let hosts = match hosts.strip_prefix("*.") {
            _ if hosts == "*" => Hosts::Any,
            Some(domain) => Hosts::Under(host_of(domain)?),
            None => Hosts::Only(host_of(hosts)?),
        };
        let own = match scheme.as_deref() {
            Some("http") => Some(80),
            Some("https") => Some(443),
            _ => None,
        };
        Ok(Self { scheme, hosts, port: port.filter(|port| Some(*port) != own) })
    }

    /// Whether this origin matches.
    #[must_use]
    pub fn matches(&self, origin: &Origin) -> bool {
        let scheme = self.scheme.as_ref().is_none_or(|scheme| *scheme == origin.scheme);
        let host = match &self.hosts {
            Hosts::Any => true,
            Hosts::Only(host) => *host == origin.host,
            Hosts::Under(domain) => {
                origin.host.strip_suffix(domain.as_str()).is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
            }
        };
        let port = match (&self.scheme, self.port) {
            (Some(_), port) => port == origin.port,
            (None, Some(port)) => Some(port) == origin.effective_port(),
            (None, None) => true,
        };
        scheme && host && port
    }

    fn is_any(&self) -> bool {
        self.scheme.is_none() && self.hosts == Hosts::Any && self.port.is_none()
    }
}

fn scheme_of(text: &str) -> Option<String> {
    let is_scheme = text.starts_with(|c: char| c.is_ascii_alphabetic())
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte));
    is_scheme.then(|| text.to_ascii_lowercase())
}

/// A host in the spelling of browsers.
fn host_of(text: &str) -> Result<String, OriginError> {
    let host = Host::parse(text).map_err(|_| OriginError)?;
    if text.contains('*') { Err(OriginError) } else { Ok(host.to_string()) }
}

impl fmt::Display for AllowedOrigin {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(scheme) = &self.scheme {
            write!(formatter, "{scheme}://")?;
        }
        match &self.hosts {
            Hosts::Any => formatter.write_str("*")?,
            Hosts::Under(domain) => write!(formatter, "*.{domain}")?,
            Hosts::Only(host) => formatter.write_str(host)?,
        }
        self.port.map_or(Ok(()), |port| write!(formatter, ":{port}"))
    }
}

/// The origins that may use an application's DSN; empty = any. Cheap to clone.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AllowedOrigins(Arc<[AllowedOrigin]>);

impl AllowedOrigins {
    /// The most entries of an application.
    pub const MOST: usize = 100;

    /// These without duplicates; any origin if `*` is among them.
    #[must_use]
    pub fn new(entries: Vec<AllowedOrigin>) -> Self {
        let mut each = Vec::with_capacity(entries.len());
        for entry in entries {
            if entry.is_any() {
                return Self::default();
            }
            if !each.contains(&entry) {
                each.push(entry);
            }
        }
        Self(each.into())
    }

    /// From the stored texts. An invalid entry matches nothing instead of being dropped: a row that was changed by hand
    /// must not turn an allow list into "any origin".
    #[must_use]
    pub fn from_stored(texts: &[String]) -> Self {
        let entry = |text: &String| {
            AllowedOrigin::parse(text).unwrap_or(AllowedOrigin {
                scheme: None,
                hosts: Hosts::Only(String::new()),
                port: None,
            })
        };
        Self::new(texts.iter().map(entry).collect())
    }

    /// Whether every origin may use the DSN.
    #[must_use]
    pub fn is_any(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether a page of this origin may use it; none = the browser sent no usable origin (`null`).
    #[must_use]
    pub fn allows(&self, origin: Option<&Origin>) -> bool {
        self.is_any() || origin.is_some_and(|origin| self.0.iter().any(|allowed| allowed.matches(origin)))
    }

    /// Each entry as text.
    #[must_use]
    pub fn texts(&self) -> Vec<String> {
        self.0.iter().map(ToString::to_string).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn allows(entry: &str, origin: &str) -> bool {
        let entry = AllowedOrigin::parse(entry).unwrap_or_else(|_| panic!("{entry} is an entry"));
        AllowedOrigins::new(vec![entry]).allows(Origin::of(origin).as_ref())
    }

    #[test]
    fn an_entry_means_what_it_means_in_sentry() {
        for (entry, origin, expected) in [
            ("https://shop.example.com", "https://shop.example.com", true),
            ("https://shop.example.com/", "HTTPS://Shop.Example.com/cart?a=1", true),
            ("https://shop.example.com:443", "https://shop.example.com", true),
            ("https://shop.example.com", "http://shop.example.com", false),
            ("https://shop.example.com", "https://shop.example.com:8443", false),
            ("https://shop.example.com:8443", "https://shop.example.com:8443", true),
            ("https://shop.example.com", "https://shop.example.com.evil.org", false),
            ("https://shop.example.com", "https://evil.org/https://shop.example.com", false),
            ("https://shop.example.com", "https://shop.example.com@evil.org", false),
            ("shop.example.com", "http://shop.example.com:3000", true),
            ("shop.example.com", "https://a.shop.example.com", false),
            ("shop.example.com:3000", "http://shop.example.com:3000", true),
            ("shop.example.com:80", "http://shop.example.com", true),
            ("shop.example.com:3000", "http://shop.example.com", false),
            ("*.example.com", "https://a.b.example.com:1", true),
            ("*.example.com", "https://example.com", true),
            ("*.example.com", "https://notexample.com", false),
            ("https://*.example.com", "https://a.example.com", true),
            ("https://*.example.com", "http://a.example.com", false),
            ("*:8080", "http://anything.org:8080", true),
            ("*:8080", "http://anything.org", false),
            ("*://shop.example.com", "http://shop.example.com", true),
            ("localhost", "http://localhost:5173", true),
            ("http://[::1]:3000", "http://[::1]:3000", true),
            ("[::1]", "http://[::1]:3000", true),
            ("127.0.0.1", "http://127.0.0.1:3000", true),
            ("b\u{fc}cher.example", "https://xn--bcher-kva.example", true),
            ("capacitor://localhost", "capacitor://localhost", true),
            ("chrome-extension://abcdef", "chrome-extension://abcdef", true),
            ("*", "https://anything.org", true),
            ("shop.example.com", "null", false),
            ("shop.example.com", "", false),
        ] {
            assert_eq!(allows(entry, origin), expected, "{entry} {origin}");
        }
        assert!(allows("*", "null"));
    }

    #[test]
    fn an_entry_that_no_origin_can_match_is_refused() {
        for wrong in [
            "",
            " ",
            "https://",
            "https://a.com/path",
            "a.com/b",
            "shop .com",
            "a*.com",
            "*a.com",
            "*.*.com",
            "a:x",
            "://a",
        ] {
            assert_eq!(AllowedOrigin::parse(wrong), Err(OriginError), "{wrong:?}");
        }
    }

    #[test]
    fn stored_entries_are_read_back_and_an_invalid_one_allows_nothing() {
        let texts = ["https://shop.example.com", "*.example.org", "*:8080", "http://[::1]:3000"].map(str::to_owned);
        assert_eq!(AllowedOrigins::from_stored(&texts).texts(), texts);
        let broken = AllowedOrigins::from_stored(&["https://a.com/path".to_owned()]);
        assert!(!broken.is_any() && !broken.allows(Origin::of("https://a.com").as_ref()) && !broken.allows(None));
        let any = AllowedOrigins::from_stored(&["https://a.com".to_owned(), "*".to_owned()]);
        assert!(any.is_any() && any.allows(None));
    }
}
