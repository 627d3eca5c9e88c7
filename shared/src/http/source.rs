//! Where a request comes from, as far as that can be known.

use std::net::{IpAddr, SocketAddr};

use axum::extract::ConnectInfo;
use axum::http::{Extensions, HeaderMap};
use lambda_http::request::RequestContext;

/// Where a request comes from. Locally that is the other end of the connection; on Lambda, what API Gateway or the
/// function's URL saw and wrote beside the request. Where there is neither, it is the last hop of `X-Forwarded-For`.
/// Headers come last because callers make them up: a gateway appends to what it was sent, a function's URL does not even
/// that.
#[must_use]
pub fn source_ip(headers: &HeaderMap, extensions: &Extensions) -> Option<IpAddr> {
    let address = match (extensions.get(), extensions.get()) {
        (Some(ConnectInfo::<SocketAddr>(peer)), _) => peer.ip(),
        (None, Some(RequestContext::ApiGatewayV2(context))) => context.http.source_ip.as_deref()?.parse().ok()?,
        _ => {
            let hops = headers.get_all("x-forwarded-for").iter().next_back()?.to_str().ok()?;
            hops.rsplit(',').next()?.trim().parse().ok()?
        }
    };
    Some(address.to_canonical())
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;
    use lambda_http::aws_lambda_events::apigw::ApiGatewayV2httpRequestContext;

    use super::*;

    fn forwarded(hops: &str) -> HeaderMap {
        let name = axum::http::HeaderName::from_static("x-forwarded-for");
        HeaderMap::from_iter([(name, HeaderValue::from_str(hops).unwrap())])
    }

    #[test]
    fn a_caller_can_not_choose_the_address_that_it_seems_to_come_from() {
        let nowhere = Extensions::new();
        for (value, address) in [
            ("203.0.113.7", Some("203.0.113.7")),
            ("198.51.100.1, 10.0.0.1,203.0.113.7", Some("203.0.113.7")),
            ("2001:db8::1", Some("2001:db8::1")),
            ("::ffff:203.0.113.7", Some("203.0.113.7")),
            ("203.0.113.7, unknown", None),
            ("", None),
        ] {
            let found = source_ip(&forwarded(value), &nowhere);
            assert_eq!(found, address.map(|text| text.parse().unwrap()), "{value}");
        }
        let mut twice = forwarded("198.51.100.1");
        twice.append("x-forwarded-for", HeaderValue::from_static("203.0.113.7"));
        assert_eq!(source_ip(&twice, &nowhere), Some(IpAddr::from([203, 0, 113, 7])));
        let mut invoked = Extensions::new();
        let mut context = ApiGatewayV2httpRequestContext::default();
        context.http.source_ip = Some("203.0.113.9".to_owned());
        invoked.insert(RequestContext::ApiGatewayV2(context));
        assert_eq!(source_ip(&twice, &invoked), Some(IpAddr::from([203, 0, 113, 9])));
        let mut connected = Extensions::new();
        connected.insert(ConnectInfo(SocketAddr::from(([127, 0, 0, 1], 50_000))));
        assert_eq!(source_ip(&twice, &connected), Some(IpAddr::from([127, 0, 0, 1])));
        assert_eq!(source_ip(&HeaderMap::new(), &nowhere), None);
    }
}
