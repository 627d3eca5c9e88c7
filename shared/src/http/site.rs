//! Detects cross-site requests. A browser sends requests for any page that it shows, with remembered credentials and
//! from inside private networks; it names the page's site in `Origin` and `Sec-Fetch-Site`.

use std::net::{IpAddr, SocketAddr};

use axum::extract::ConnectInfo;
use axum::http::header::{HOST, ORIGIN};
use axum::http::request::Parts;
use axum::http::uri::Authority;
use axum::http::{HeaderMap, Version};

/// Headers that proxies add, besides every name that contains one of [`PROXY_WORDS`].
const PROXY_HEADERS: [&str; 4] = ["via", "cdn-loop", "x-original-host", "x-envoy-external-address"];

/// Parts of header names in which proxies name the client: `Forwarded`, `X-Forwarded-For`, `X-Real-IP`,
/// `CF-Connecting-IP`, `True-Client-IP`, `X-Azure-ClientIP` and others.
const PROXY_WORDS: [&str; 5] = ["forwarded", "real-ip", "client-ip", "clientip", "connecting-ip"];

/// The host and port of a request.
#[derive(Debug, Clone, PartialEq, Eq)]
struct HostPort {
    /// In lower case; an IPv6 address in its brackets.
    host: String,
    /// None = the scheme's default.
    port: Option<u16>,
}

impl HostPort {
    /// Parses `host` or `host:port`; anything else, such as a user name, is refused.
    fn parse(text: &str) -> Option<Self> {
        let authority: Authority = text.parse().ok()?;
        let host = authority.host();
        let rest = text.strip_prefix(host).filter(|_| !host.is_empty())?;
        let port = match rest.strip_prefix(':') {
            Some(digits) if digits.bytes().all(|byte| byte.is_ascii_digit()) => Some(digits.parse().ok()?),
            None if rest.is_empty() => None,
            _ => return None,
        };
        Some(Self { host: host.to_ascii_lowercase(), port })
    }

    /// The destination of a request: of its target and its `Host`, if they agree.
    fn of_request(parts: &Parts) -> Option<Self> {
        let target = parts.uri.authority().map(Authority::as_str);
        let hosts = parts.headers.get_all(HOST).iter().map(|host| host.to_str().unwrap_or_default());
        let mut named = target.into_iter().chain(hosts).map(Self::parse);
        let first = named.next()??;
        named.all(|other| other.as_ref() == Some(&first)).then_some(first)
    }

    fn is_this_machine(&self) -> bool {
        let address = self.host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(&self.host);
        self.host == "localhost" || address.parse::<IpAddr>().is_ok_and(|address| address.to_canonical().is_loopback())
    }

    /// Whether a page of this origin (`scheme://host:port`) is served from here. If the scheme is unknown, TLS may end
    /// in front of this server, and either scheme is accepted.
    fn is_origin(&self, origin: &str, scheme: Option<&str>) -> bool {
        let Some((page_scheme, page)) = origin.split_once("://") else { return false };
        let default_port = match page_scheme.to_ascii_lowercase().as_str() {
            "http" => 80,
            "https" => 443,
            _ => return false,
        };
        scheme.is_none_or(|scheme| scheme.eq_ignore_ascii_case(page_scheme))
            && Self::parse(page).is_some_and(|page| {
                page.host == self.host && page.port.unwrap_or(default_port) == self.port.unwrap_or(default_port)
            })
    }
}

/// Whether the request is same-origin.
fn is_own_page(parts: &Parts, origin: &str) -> bool {
    let Some(host_port) = HostPort::of_request(parts) else { return false };
    // Local servers do not use TLS.
    let scheme = parts.uri.scheme_str().or_else(|| host_port.is_this_machine().then_some("http"));
    host_port.is_origin(origin, scheme)
}

/// Whether a browser sent this for a page of another site, or of another port of this machine. Clients other than
/// browsers send neither header.
#[must_use]
pub fn is_foreign(parts: &Parts) -> bool {
    let mut origins = parts.headers.get_all(ORIGIN).iter();
    let is_foreign_origin = match (origins.next(), origins.next()) {
        (None, _) => false,
        (Some(origin), None) => !is_own_page(parts, origin.to_str().unwrap_or_default()),
        (Some(_), Some(_)) => true,
    };
    let own = |value: &[u8]| value == b"same-origin" || value == b"none";
    is_foreign_origin || !parts.headers.get_all("sec-fetch-site").iter().all(|value| own(value.as_bytes()))
}

/// Why a request may not come from a local program; none if nothing indicates that. A proxy on this machine that adds
/// no header and rewrites `Host` can't be detected.
pub(super) fn reason_to_refuse(parts: &Parts) -> Option<&'static str> {
    let peer = parts.extensions.get().map(|ConnectInfo::<SocketAddr>(peer)| peer.ip().to_canonical());
    if !peer.is_some_and(|peer| peer.is_loopback()) {
        return Some("it does not come from this machine");
    }
    if is_forwarded(&parts.headers) {
        return Some("a proxy forwarded it");
    }
    // The default version of many proxies; and it does not require a host.
    if parts.version < Version::HTTP_11 {
        return Some("it is HTTP/1.0, as proxies send it");
    }
    if !HostPort::of_request(parts).is_some_and(|host_port| host_port.is_this_machine()) {
        return Some("it was sent to another name than localhost or 127.0.0.1");
    }
    is_foreign(parts).then_some("it comes from another site's page, or of another port")
}

fn is_forwarded(headers: &HeaderMap) -> bool {
    headers.keys().any(|name| {
        let name = name.as_str();
        PROXY_HEADERS.contains(&name) || PROXY_WORDS.iter().any(|word| name.contains(word))
    })
}

#[cfg(test)]
mod tests {
    use axum::http::Request;

    use super::*;

    /// A request of a local program with these headers.
    fn parts(target: &str, headers: &[(&str, &str)]) -> Parts {
        let mut request = Request::builder().method("POST").uri(target);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let mut parts = request.body(()).unwrap().into_parts().0;
        parts.extensions.insert(ConnectInfo(SocketAddr::from(([127, 0, 0, 1], 50_000))));
        parts
    }

    #[test]
    fn an_origin_is_this_servers_own_when_host_and_port_agree() {
        for (host, origin, own) in [
            ("watch.example", "https://watch.example", true),
            ("watch.example", "http://watch.example", true),
            ("Watch.Example", "HTTPS://watch.example", true),
            ("watch.example:80", "http://watch.example", true),
            ("watch.example:443", "https://watch.example", true),
            ("watch.example:80", "https://watch.example", false),
            ("watch.example:8443", "https://watch.example:8443", true),
            ("localhost:8080", "http://localhost:8080", true),
            ("localhost:8080", "https://localhost:8080", false),
            ("localhost:8080", "http://localhost:3000", false),
            ("localhost:8080", "http://localhost", false),
            ("localhost:8080", "http://127.0.0.1:8080", false),
            ("[::1]:8080", "http://[::1]:8080", true),
            ("[::1]:8080", "http://[::1]:3000", false),
            ("watch.example", "https://watch.example.", false),
            ("watch.example", "https://watch.example.evil.example", false),
            ("watch.example", "https://evil.example", false),
            ("watch.example", "https://watch.example@evil.example", false),
            ("watch.example", "https://evil.example@watch.example", false),
            ("watch.example", "https://watch.example/", false),
            ("watch.example", "https://watch.example:", false),
            ("watch.example", "https://watch.example:99999", false),
            ("watch.example", "https://watch.example, https://watch.example", false),
            ("watch.example", "chrome-extension://watch.example", false),
            ("watch.example", "//watch.example", false),
            ("watch.example", "watch.example", false),
            ("watch.example", "null", false),
            ("watch.example", "", false),
            ("", "https://watch.example", false),
            ("user@watch.example", "https://watch.example", false),
            ("watch.example:x", "https://watch.example", false),
        ] {
            let parts = parts("/api/silences", &[("host", host), ("origin", origin)]);
            assert_eq!(is_foreign(&parts), !own, "{origin} at {host}");
        }
    }

    #[test]
    fn the_authority_counts_and_contradictory_hosts_are_foreign() {
        let at = |target: &str, headers: &[(&str, &str)]| is_foreign(&parts(target, headers));
        let origin = ("origin", "http://watch.example");
        assert!(!at("http://watch.example/api/silences", &[origin]));
        assert!(!at("http://watch.example/api/silences", &[origin, ("host", "watch.example")]));
        assert!(at("https://watch.example/api/silences", &[origin]), "the page came over another scheme");
        assert!(at("http://evil.example/api/silences", &[origin]));
        assert!(at("http://evil.example/api/silences", &[origin, ("host", "watch.example")]));
        assert!(at("/api/silences", &[origin]), "it names no host");
        assert!(at("/api/silences", &[origin, ("host", "watch.example"), ("host", "evil.example")]));
        assert!(at("/api/silences", &[origin, origin, ("host", "watch.example")]));
        assert!(at("/api/silences", &[origin, ("origin", "http://evil.example"), ("host", "watch.example")]));
    }

    #[test]
    fn sec_fetch_site_marks_a_page_of_another_site() {
        for (values, own) in [
            (&["same-origin"][..], true),
            (&["none"], true),
            (&["cross-site"], false),
            (&["same-site"], false),
            (&["Same-Origin"], false),
            (&[""], false),
            (&["same-origin", "cross-site"], false),
            (&["none, cross-site"], false),
        ] {
            let headers: Vec<_> = values.iter().map(|value| ("sec-fetch-site", *value)).collect();
            assert_eq!(is_foreign(&parts("/api/silences", &headers)), !own, "{values:?}");
        }
    }

    #[test]
    fn only_local_requests_are_accepted_as_local() {
        let at = |target: &str, headers: &[(&str, &str)]| reason_to_refuse(&parts(target, headers));
        for host in ["localhost:8080", "LOCALHOST:8080", "localhost", "127.0.0.1:8080", "127.0.0.53", "[::1]:8080"] {
            assert_eq!(at("/", &[("host", host)]), None, "{host}");
            assert_eq!(at(&format!("http://{host}/"), &[]), None, "{host}");
        }
        for host in [
            "watch.example",
            "localhost.evil.example:8080",
            "localhost.:8080",
            "127.1:8080",
            "2130706433",
            "0.0.0.0:8080",
            "[::]:8080",
            "192.168.1.7:8080",
            "evil.example@localhost:8080",
            "localhost:",
            "",
        ] {
            assert!(at("/", &[("host", host)]).is_some(), "{host}");
        }
        let host = ("host", "localhost:8080");
        assert!(at("/", &[]).is_some(), "it names no host");
        assert!(at("http://evil.example/", &[host]).is_some());
        assert!(at("http://localhost:8080/", &[("host", "evil.example")]).is_some());
        assert!(at("/", &[host, ("host", "evil.example")]).is_some());
        assert_eq!(at("/", &[host, ("origin", "http://localhost:8080")]), None);
        assert!(at("/", &[host, ("origin", "http://localhost:3000")]).is_some());
        assert!(at("/", &[host, ("sec-fetch-site", "same-site")]).is_some());
    }

    #[test]
    fn a_forwarded_request_is_not_local() {
        let host = ("host", "localhost:8080");
        for name in [
            "Forwarded",
            "X-Forwarded-For",
            "X-Forwarded-Host",
            "X-Forwarded-Proto",
            "X-Original-Forwarded-For",
            "X-Real-IP",
            "Via",
            "CF-Connecting-IP",
            "CF-Connecting-IPv6",
            "True-Client-IP",
            "X-Client-IP",
            "X-Cluster-Client-Ip",
            "Fastly-Client-IP",
            "X-Azure-ClientIP",
            "CDN-Loop",
        ] {
            let parts = parts("/", &[host, (name, "")]);
            assert_eq!(reason_to_refuse(&parts), Some("a proxy forwarded it"), "{name}");
        }
        let mut old = parts("/", &[host]);
        old.version = Version::HTTP_10;
        assert!(reason_to_refuse(&old).is_some());
        for peer in [Some([192, 168, 1, 7]), None] {
            let mut parts = parts("/", &[host]);
            parts.extensions.clear();
            if let Some(peer) = peer {
                parts.extensions.insert(ConnectInfo(SocketAddr::from((peer, 50_000))));
            }
            assert!(reason_to_refuse(&parts).is_some(), "{peer:?}");
        }
    }
}
