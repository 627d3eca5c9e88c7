//! A router behind API Gateway's HTTP API (payload version 2.0) or a function URL.
//!
//! An HTTP API decodes the path of a request (`rawPath`); a function URL does not. A decoded space or `<` is not valid
//! in a URI, and `lambda_http` panics on it: any caller could crash a function.

use axum::Router;
use axum::response::Response;
use lambda_http::request::LambdaRequest;
use lambda_http::tower::util::MapRequest;
use lambda_http::{Adapter, Error, LambdaEvent, lambda_runtime};
use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};

use crate::http::with_fallbacks;

/// Characters that must be escaped in a path.
const NOT_IN_PATHS: &AsciiSet =
    &CONTROLS.add(b' ').add(b'"').add(b'#').add(b'<').add(b'>').add(b'?').add(b'\\').add(b'^').add(b'`');

type Event = LambdaEvent<LambdaRequest>;

/// Serves the router until Lambda ends the process.
///
/// # Errors
/// When the Runtime API can't be reached.
pub async fn serve(router: Router) -> Result<(), Error> {
    let adapter: Adapter<'_, Response, Router> = Adapter::from(with_fallbacks(router));
    lambda_runtime::run(MapRequest::new(adapter, with_encoded_path)).await
}

fn with_encoded_path(mut event: Event) -> Event {
    if let LambdaRequest::ApiGatewayV2(request) = &mut event.payload
        && let Some(path) = &mut request.raw_path
    {
        *path = encoded(path);
    }
    event
}

/// The path with all characters escaped that a URI does not allow; existing escapes stay.
fn encoded(path: &str) -> String {
    let mut parts = path.split('%');
    let mut encoded = utf8_percent_encode(parts.next().unwrap_or_default(), NOT_IN_PATHS).to_string();
    for part in parts {
        let is_escape = part.as_bytes().get(..2).is_some_and(|digits| digits.iter().all(u8::is_ascii_hexdigit));
        encoded.push_str(if is_escape { "%" } else { "%25" });
        encoded.extend(utf8_percent_encode(part, NOT_IN_PATHS));
    }
    encoded
}

#[cfg(test)]
mod tests {
    use axum::http::Uri;
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_a_uri_does_not_allow_is_escaped_and_the_rest_stays() {
        for (path, wanted) in [
            ("/api/7/envelope/", "/api/7/envelope/"),
            ("/api/a b/envelope/", "/api/a%20b/envelope/"),
            ("/api/a%20b", "/api/a%20b"),
            ("/api/100%", "/api/100%25"),
            ("/api/%zz%2", "/api/%25zz%252"),
            ("/a?b=c#d", "/a%3Fb=c%23d"),
            ("/<\"`^\\>\n", "/%3C%22%60%5E%5C%3E%0A"),
            ("/größe", "/gr%C3%B6%C3%9Fe"),
            ("", ""),
        ] {
            assert_eq!(encoded(path), wanted, "{path}");
        }
    }

    proptest! {
        #[test]
        fn every_path_becomes_one_that_a_uri_takes_whole(path in "/.{0,40}") {
            let encoded = encoded(&path);
            let uri: Uri = format!("https://example.com{encoded}").parse().unwrap();
            prop_assert_eq!(uri.path(), &encoded);
            prop_assert_eq!(uri.query(), None);
        }
    }
}
