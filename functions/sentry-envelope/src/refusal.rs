//! Why a request is refused, in the form that Sentry's SDKs expect: a `detail`, and headers.
//!
//! The only mapping to statuses in this function. The body also has the form of all our routes (`error`).

use std::time::Duration;

use axum::Json;
use axum::http::header::RETRY_AFTER;
use axum::http::{HeaderName, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use serde_json::json;
use shared::applications::{AdmissionRefusal, Quota};
use shared::http::ApiError;
use shared::intake::IntakeError;
use shared::security::SecurityKind;
use shared::store::StoreError;

use crate::contents::Problem;
use crate::encoding::{TooMuch, Unsupported};
use crate::envelope::EnvelopeError;

const SENTRY_ERROR: HeaderName = HeaderName::from_static("x-sentry-error");
const SENTRY_RATE_LIMITS: HeaderName = HeaderName::from_static("x-sentry-rate-limits");

/// A refused request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// 403: the key is not valid for this project.
    Forbidden(&'static str, SecurityKind),
    /// 429: the application's quota is used up.
    OverQuota(Quota, Duration),
    /// 413: a decompression bomb.
    Bomb,
    /// 429: the sender has sent bombs; a retry is accepted after this time, an uncompressed body at once.
    TooManyBombs(Duration),
    /// Anything else.
    Other(ApiError),
}

impl Refusal {
    /// 400: it can't be parsed.
    pub(crate) fn malformed(what: impl Into<String>) -> Self {
        Self::Other(ApiError::new(StatusCode::BAD_REQUEST, "malformed_envelope", what))
    }

    /// 413: it is too large.
    pub(crate) fn too_large(what: impl Into<String>) -> Self {
        Self::Other(ApiError::new(StatusCode::PAYLOAD_TOO_LARGE, "body_too_large", what))
    }

    /// The error text for the client.
    pub(crate) fn detail(&self) -> String {
        self.parts().2
    }

    /// The security event to record, if it may be an attack.
    pub(crate) fn security_kind(&self) -> Option<SecurityKind> {
        match self {
            Self::Forbidden(_, kind) => Some(*kind),
            Self::Bomb => Some(SecurityKind::DecompressionBomb),
            Self::Other(error) if error.status() == StatusCode::PAYLOAD_TOO_LARGE => Some(SecurityKind::OversizedBody),
            Self::OverQuota(..) | Self::TooManyBombs(_) | Self::Other(_) => None,
        }
    }

    fn parts(&self) -> (StatusCode, &str, String) {
        match self {
            Self::Forbidden(why, _) => (StatusCode::FORBIDDEN, "forbidden", (*why).to_owned()),
            Self::OverQuota(quota, _) => {
                let why = format!("this application's {quota} quota of events is used up");
                (StatusCode::TOO_MANY_REQUESTS, "over_quota", why)
            }
            Self::Bomb => (StatusCode::PAYLOAD_TOO_LARGE, "body_too_large", TooMuch::Ratio.to_string()),
            Self::TooManyBombs(_) => {
                let why = "bodies from this address grew too much when they were decompressed";
                (StatusCode::TOO_MANY_REQUESTS, "too_many_requests", why.to_owned())
            }
            Self::Other(error) => (error.status(), error.code(), error.message().to_owned()),
        }
    }
}

impl From<AdmissionRefusal> for Refusal {
    fn from(why: AdmissionRefusal) -> Self {
        match why {
            AdmissionRefusal::OverQuota { scope, retry_after } => Self::OverQuota(scope, retry_after),
            AdmissionRefusal::Unknown => Self::Forbidden("there is no such project", SecurityKind::RevokedKey),
            AdmissionRefusal::Revoked => Self::Forbidden("this key was revoked", SecurityKind::RevokedKey),
        }
    }
}

impl From<ApiError> for Refusal {
    fn from(error: ApiError) -> Self {
        Self::Other(error)
    }
}

impl From<IntakeError> for Refusal {
    fn from(error: IntakeError) -> Self {
        Self::Other(error.into())
    }
}

impl From<StoreError> for Refusal {
    fn from(error: StoreError) -> Self {
        Self::Other(error.into())
    }
}

impl From<Unsupported> for Refusal {
    fn from(error: Unsupported) -> Self {
        Self::Other(ApiError::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "unsupported_media_type", error.to_string()))
    }
}

impl From<&EnvelopeError> for Refusal {
    fn from(error: &EnvelopeError) -> Self {
        match error {
            _ if error.is_bomb() => Self::Bomb,
            _ if error.is_a_limit() => Self::too_large(error.to_string()),
            _ => Self::malformed(error.to_string()),
        }
    }
}

impl From<&Problem> for Refusal {
    fn from(problem: &Problem) -> Self {
        match problem {
            Problem::Envelope(error) => error.into(),
            Problem::TooLarge { .. } => Self::too_large(problem.to_string()),
            Problem::NotJson { .. } | Problem::NotACheckIn { .. } => Self::malformed(problem.to_string()),
        }
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let (status, code, detail) = self.parts();
        let body = json!({ "detail": &detail, "error": { "code": code, "message": &detail } });
        let mut response = match &self {
            // It has headers of its own, such as Retry-After.
            Self::Other(error) => {
                let mut response = error.clone().into_response();
                *response.body_mut() = Json(body).into_response().into_body();
                response
            }
            _ => (status, Json(body)).into_response(),
        };
        let headers = response.headers_mut();
        if let Ok(detail) = HeaderValue::from_str(&detail) {
            headers.insert(SENTRY_ERROR, detail);
        }
        if let Self::TooManyBombs(retry_after) = self {
            headers.insert(RETRY_AFTER, HeaderValue::from(seconds(retry_after)));
        }
        if let Self::OverQuota(quota, retry_after) = self {
            let seconds = seconds(retry_after);
            // <https://develop.sentry.dev/sdk/expected-features/rate-limiting/>: errors are these two categories; an
            // SDK continues to send everything else.
            let limits = format!("{seconds}:error;default:project:quota_{quota}");
            for (name, value) in [(RETRY_AFTER, seconds.to_string()), (SENTRY_RATE_LIMITS, limits)] {
                if let Ok(value) = HeaderValue::from_str(&value) {
                    headers.insert(name, value);
                }
            }
        }
        response
    }
}

/// How long an SDK pauses: at least a second (0 would mean no limit), at most an hour, since an operator may raise the
/// monthly quota and the SDK would not notice.
fn seconds(retry_after: Duration) -> u64 {
    let whole = retry_after.as_secs() + u64::from(retry_after.subsec_nanos() > 0);
    whole.clamp(1, 60 * 60)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_sdk_pauses_for_errors_only_and_for_a_bounded_time() {
        let month = Duration::from_secs(27 * 24 * 60 * 60);
        for (quota, left, header) in [
            (Quota::Burst, Duration::ZERO, "1:error;default:project:quota_burst"),
            (Quota::Hour, Duration::from_millis(61_001), "62:error;default:project:quota_hour"),
            (Quota::Month, month, "3600:error;default:project:quota_month"),
        ] {
            let response = Refusal::OverQuota(quota, left).into_response();
            assert_eq!(response.status(), StatusCode::TOO_MANY_REQUESTS);
            assert_eq!(response.headers()[SENTRY_RATE_LIMITS], header);
            assert_eq!(response.headers()[RETRY_AFTER], header.split(':').next().unwrap());
        }
    }

    #[test]
    fn an_internal_error_keeps_its_headers() {
        let response = Refusal::from(ApiError::unavailable()).into_response();
        assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE);
        assert!(response.headers().contains_key(RETRY_AFTER) && response.headers().contains_key(SENTRY_ERROR));
    }
}
