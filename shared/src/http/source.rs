//! The source address of a request.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use axum::extract::ConnectInfo;
use axum::http::{Extensions, HeaderMap};
use ipnet::IpNet;
use lambda_http::request::RequestContext;

use crate::config::Environment;

/// Proxies whose `X-Forwarded-For` is trusted: `TRUSTED_PROXIES`. Any caller can send the header, so that it is ignored
/// from all others. A server adds this to the extensions of its requests.
#[derive(Debug, Clone, Default)]
pub struct TrustedProxies(Arc<[IpNet]>);

impl TrustedProxies {
    const VARIABLE: &str = "TRUSTED_PROXIES";

    /// Reads `TRUSTED_PROXIES`: addresses and ranges, separated by commas or spaces.
    pub fn read(environment: &mut Environment<'_>) -> Self {
        let text = environment.optional(Self::VARIABLE).unwrap_or_default();
        let mut ranges = Vec::new();
        for word in text.split([',', ' ', '\t', '\n']).filter(|word| !word.is_empty()) {
            match word.parse::<IpNet>().or_else(|_| word.parse::<IpAddr>().map(IpNet::from)) {
                Ok(range) if range.prefix_len() > 0 => ranges.push(range),
                Ok(_) => environment.problem(
                    Self::VARIABLE,
                    format!("{word} contains every address, so any client could forge its source address"),
                ),
                Err(_) => environment.problem(
                    Self::VARIABLE,
                    format!("{word:?} is neither an address nor a range such as 10.0.0.0/8 or fd00::/8"),
                ),
            }
        }
        Self(ranges.into())
    }

    fn contains(&self, address: IpAddr) -> bool {
        self.0.iter().any(|range| range.contains(&address))
    }

    /// The address of the nearest hop that is no trusted proxy; entries before it are untrusted.
    fn origin(&self, peer: IpAddr, headers: &HeaderMap) -> IpAddr {
        let mut nearest = peer;
        let values = headers.get_all("x-forwarded-for").iter().rev();
        // A proxy writes only text.
        let mut hops = values.flat_map(|value| value.to_str().unwrap_or("?").rsplit(','));
        while self.contains(nearest) {
            let Some(hop) = hops.next().and_then(|hop| address(hop.trim())) else { break };
            nearest = hop;
        }
        nearest
    }
}

/// Parses an address as proxies write it: some add the port.
fn address(text: &str) -> Option<IpAddr> {
    let bare = text.strip_prefix('[').and_then(|text| text.strip_suffix(']')).unwrap_or(text);
    let address = bare.parse().or_else(|_| text.parse::<SocketAddr>().map(|address| address.ip())).ok()?;
    Some(IpAddr::to_canonical(&address))
}

/// The source address of a request: on Lambda as recorded by API Gateway or the function URL; else the peer of the
/// connection, or, if that is one of the [`TrustedProxies`], the client that it forwards for. None if neither is known:
/// headers alone prove nothing.
#[must_use]
pub fn source_ip(headers: &HeaderMap, extensions: &Extensions) -> Option<IpAddr> {
    if let Some(ConnectInfo::<SocketAddr>(peer)) = extensions.get() {
        let peer = peer.ip().to_canonical();
        let proxies = extensions.get::<TrustedProxies>();
        return Some(proxies.map_or(peer, |proxies| proxies.origin(peer, headers)));
    }
    match extensions.get() {
        Some(RequestContext::ApiGatewayV2(context)) => address(context.http.source_ip.as_deref()?),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;
    use lambda_http::aws_lambda_events::apigw::ApiGatewayV2httpRequestContext;

    use super::*;

    fn forwarded(values: &[&str]) -> HeaderMap {
        let name = axum::http::HeaderName::from_static("x-forwarded-for");
        values.iter().map(|value| (name.clone(), HeaderValue::from_bytes(value.as_bytes()).unwrap())).collect()
    }

    fn proxies(text: &str) -> TrustedProxies {
        Environment::from_lookup(|_| Some(text.to_owned())).read(TrustedProxies::read).unwrap()
    }

    /// The source of a request from this peer, with these proxies trusted.
    fn source(peer: &str, trusted: &str, values: &[&str]) -> String {
        let mut extensions = Extensions::new();
        extensions.insert(ConnectInfo(SocketAddr::new(peer.parse().unwrap(), 50_000)));
        extensions.insert(proxies(trusted));
        source_ip(&forwarded(values), &extensions).unwrap().to_string()
    }

    #[test]
    fn a_caller_can_not_forge_its_source_address() {
        let claimed = forwarded(&["198.51.100.1, 203.0.113.7"]);
        assert_eq!(source_ip(&claimed, &Extensions::new()), None, "headers alone prove nothing");
        let mut invoked = Extensions::new();
        let mut context = ApiGatewayV2httpRequestContext::default();
        context.http.source_ip = Some("203.0.113.9".to_owned());
        invoked.insert(RequestContext::ApiGatewayV2(context));
        invoked.insert(proxies("203.0.113.9"));
        assert_eq!(source_ip(&claimed, &invoked), Some(IpAddr::from([203, 0, 113, 9])), "the gateway recorded it");
        assert_eq!(source("127.0.0.1", "", &["203.0.113.7"]), "127.0.0.1", "no proxy is trusted");
        assert_eq!(source("192.0.2.1", "127.0.0.1", &["203.0.113.7"]), "192.0.2.1", "it is no trusted proxy");
        assert_eq!(source("::ffff:192.0.2.1", "", &[]), "192.0.2.1");
    }

    #[test]
    fn a_trusted_proxy_names_its_client() {
        let trusted = "127.0.0.1, 10.0.0.0/8 fd00::/8";
        for (values, expected) in [
            (&["203.0.113.7"][..], "203.0.113.7"),
            (&["198.51.100.1, 203.0.113.7"], "203.0.113.7"),
            (&["198.51.100.1, 203.0.113.7, 10.1.2.3"], "203.0.113.7"),
            (&["198.51.100.1", "203.0.113.7,10.1.2.3"], "203.0.113.7"),
            (&["203.0.113.7:4711"], "203.0.113.7"),
            (&["[2001:db8::1]:4711"], "2001:db8::1"),
            (&["[2001:db8::1]"], "2001:db8::1"),
            (&["2001:db8::1, fd00::1"], "2001:db8::1"),
            (&["::ffff:203.0.113.7"], "203.0.113.7"),
            (&["203.0.113.7, ::ffff:10.1.2.3"], "203.0.113.7"),
            (&["10.9.9.9, 10.1.2.3"], "10.9.9.9"),
            (&["203.0.113.7, unknown, 10.1.2.3"], "10.1.2.3"),
            (&["203.0.113.7, "], "127.0.0.1"),
            (&["203.0.113.7", "\u{fc}"], "127.0.0.1"),
            (&[], "127.0.0.1"),
        ] {
            assert_eq!(source("127.0.0.1", trusted, values), expected, "{values:?}");
        }
    }

    #[test]
    fn invalid_ranges_are_named() {
        for (text, named) in
            [("10.0.0.0/33", "10.0.0.0/33"), ("proxy.local", "proxy.local"), ("0.0.0.0/0", "every address")]
        {
            let read = Environment::from_lookup(|_| Some(format!("127.0.0.1 {text}"))).read(TrustedProxies::read);
            let message = read.unwrap_err().to_string();
            assert!(message.contains("TRUSTED_PROXIES") && message.contains(named), "{message}");
        }
    }
}
