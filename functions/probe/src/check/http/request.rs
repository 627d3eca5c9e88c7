//! The request: the service's method, headers and body, with its secrets filled in.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http_body_util::Full;
use hyper::header::{self, HeaderMap, HeaderName, HeaderValue};
use hyper::{Method, Request};
use percent_encoding::percent_decode_str;
use shared::config::Secrets;
use shared::model::{FailureReason, ServiceSpec};
use url::{Position, Url};

use super::super::Failure;
use super::super::secrets::Sent;

/// A request that is about to be sent.
#[derive(Debug, Clone)]
pub(super) struct Outgoing {
    pub(super) url: Url,
    pub(super) method: Method,
    pub(super) headers: HeaderMap,
    pub(super) body: Bytes,
    /// Whether the body holds a secret.
    pub(super) body_is_secret: bool,
}

impl Outgoing {
    /// The service's own request.
    pub(super) fn of(spec: &ServiceSpec, sent: &mut Sent, secrets: &Secrets) -> Result<Self, Failure> {
        let wrong = |what: &str| Failure::new(FailureReason::Misconfigured, what);
        let url = Url::parse(&spec.target).map_err(|_| wrong("the target is not an http or https address"))?;
        let method = Method::from_bytes(spec.check.method.as_bytes()).map_err(|_| wrong("the method is invalid"))?;
        let mut headers = HeaderMap::new();
        headers.insert(header::ACCEPT, HeaderValue::from_static("*/*"));
        headers.insert(header::ACCEPT_ENCODING, HeaderValue::from_static("identity"));
        headers
            .insert(header::USER_AGENT, HeaderValue::from_static(concat!("watchkeeper/", env!("CARGO_PKG_VERSION"))));
        if let Some(credentials) = credentials_of(&url) {
            headers.insert(header::AUTHORIZATION, credentials);
        }
        for (name, value) in &spec.check.headers {
            let wrong = || wrong(&format!("the header {name} can't be sent"));
            let name = HeaderName::from_bytes(name.as_bytes()).map_err(|_| wrong())?;
            let mut value = HeaderValue::from_str(&sent.fill(value, secrets)?).map_err(|_| wrong())?;
            value.set_sensitive(spec_holds_secret(spec, &name));
            headers.insert(name, value);
        }
        let body = spec.check.body.as_deref().unwrap_or_default();
        let body_is_secret = body.contains("${");
        let body = Bytes::from(sent.fill(body, secrets)?);
        Ok(Self { url, method, headers, body, body_is_secret })
    }

    /// As it is sent.
    pub(super) fn to_request(&self) -> Result<Request<Full<Bytes>>, Failure> {
        let wrong = |_| Failure::new(FailureReason::Misconfigured, "the address can't be requested");
        let mut request = Request::new(Full::new(self.body.clone()));
        *request.method_mut() = self.method.clone();
        *request.uri_mut() = self.url[Position::BeforePath..Position::AfterQuery].parse().map_err(wrong)?;
        let headers = request.headers_mut();
        headers.insert(header::HOST, host_of(&self.url)?);
        headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
        headers.extend(self.headers.clone());
        Ok(request)
    }
}

fn spec_holds_secret(spec: &ServiceSpec, name: &HeaderName) -> bool {
    spec.check.headers.iter().any(|(key, value)| name.as_str().eq_ignore_ascii_case(key) && value.contains("${"))
}

fn host_of(url: &Url) -> Result<HeaderValue, Failure> {
    let host = &url[Position::BeforeHost..Position::AfterPort];
    HeaderValue::from_str(host).map_err(|_| Failure::new(FailureReason::Misconfigured, "the host can't be requested"))
}

/// The address's user and password as an `Authorization` header.
fn credentials_of(url: &Url) -> Option<HeaderValue> {
    if url.username().is_empty() && url.password().is_none() {
        return None;
    }
    let decoded = |text: &str| percent_decode_str(text).collect::<Vec<u8>>();
    let mut pair = decoded(url.username());
    pair.push(b':');
    pair.extend(decoded(url.password().unwrap_or_default()));
    let mut value = HeaderValue::from_str(&format!("Basic {}", STANDARD.encode(pair))).ok()?;
    value.set_sensitive(true);
    Some(value)
}
