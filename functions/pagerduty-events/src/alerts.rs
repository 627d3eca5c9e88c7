//! Lists the alerts of a PagerDuty incident, each with the key that it was opened under. A webhook contains only the
//! incident: its `incident_key` is null if events opened it, and an incident may have several alerts (grouped or
//! merged).
//!
//! Source: <https://developer.pagerduty.com/api-reference/4bc42e7ac0c59-list-alerts-for-an-incident>.

use std::time::Duration;

use anyhow::Context as _;
use reqwest::StatusCode;
use reqwest::header::{ACCEPT, AUTHORIZATION};
use reqwest::redirect::Policy;
use secrecy::{ExposeSecret as _, SecretString};
use serde_json::Value;
use shared::address::Address;
use shared::tls::{self, Trust};

/// PagerDuty waits for five seconds; the database needs some of them.
const TIMEOUT: Duration = Duration::from_millis(2_500);
/// The page size of the list.
const PAGE: usize = 100;
/// The most pages: PagerDuty allows 1,000 alerts per incident.
const PAGES: usize = 10;
/// The largest answer: a page of alerts with our own details.
const ANSWER_BYTES: usize = 16 * 1024 * 1024;
/// The longest key that PagerDuty accepts.
const KEY_CHARS: usize = 255;

/// Lists alerts through PagerDuty's REST API. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Alerts {
    client: reqwest::Client,
    api: Address,
    token: SecretString,
    pub(crate) timeout: Duration,
}

/// Why the alerts can't be listed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum AlertsError {
    /// Temporary: a retry may succeed.
    #[error("PagerDuty does not list the alerts now: {0}")]
    Later(String),
    /// Permanent.
    #[error("PagerDuty does not list the alerts: it answered {0} (is PAGERDUTY_API_TOKEN right?)")]
    Refused(StatusCode),
}

impl Alerts {
    /// Lists the alerts of this account.
    ///
    /// # Errors
    /// When no HTTP client can be set up.
    pub(crate) fn new(api: Address, token: SecretString) -> anyhow::Result<Self> {
        let client = reqwest::Client::builder()
            .tls_backend_preconfigured(tls::client_config(&Trust::PublicRoots)?)
            .user_agent(concat!("watchkeeper/", env!("CARGO_PKG_VERSION")))
            .redirect(Policy::none())
            .no_proxy()
            .build()
            .context("set up the HTTP client")?;
        Ok(Self { client, api, token, timeout: TIMEOUT })
    }

    /// The keys of this incident's alerts, without duplicates.
    pub(crate) async fn keys(&self, incident: &str) -> Result<Vec<String>, AlertsError> {
        let late = |_| AlertsError::Later("it did not answer in time".to_owned());
        tokio::time::timeout(self.timeout, self.list(incident)).await.map_err(late)?
    }

    async fn list(&self, incident: &str) -> Result<Vec<String>, AlertsError> {
        let mut keys = Vec::new();
        for page in 0..PAGES {
            let answer = self.page(incident, page * PAGE).await?;
            let alerts = answer["alerts"].as_array().map(Vec::as_slice).unwrap_or_default();
            for key in alerts.iter().filter_map(|alert| alert["alert_key"].as_str()).filter(|key| is_key(key)) {
                if !keys.iter().any(|known| known == key) {
                    keys.push(key.to_owned());
                }
            }
            if answer["more"] != true {
                break;
            }
        }
        Ok(keys)
    }

    async fn page(&self, incident: &str, offset: usize) -> Result<Value, AlertsError> {
        let address = self.api.under(&format!("/incidents/{incident}/alerts?limit={PAGE}&offset={offset}"));
        let request = self
            .client
            .get(address.expose())
            .header(AUTHORIZATION, format!("Token token={}", self.token.expose_secret()))
            .header(ACCEPT, "application/vnd.pagerduty+json;version=2");
        // Without the error's own text: it contains the address.
        let broken = |_| AlertsError::Later("the connection broke".to_owned());
        let mut answer = request.send().await.map_err(broken)?;
        let status = answer.status();
        if status.is_server_error() || status == StatusCode::TOO_MANY_REQUESTS {
            return Err(AlertsError::Later(format!("it answered {status}")));
        }
        if status == StatusCode::NOT_FOUND {
            return Ok(Value::Null);
        }
        if !status.is_success() {
            return Err(AlertsError::Refused(status));
        }
        let mut body = Vec::new();
        while let Some(chunk) = answer.chunk().await.map_err(broken)? {
            if body.len() + chunk.len() > ANSWER_BYTES {
                return Err(AlertsError::Later("its answer is too large".to_owned()));
            }
            body.extend_from_slice(&chunk);
        }
        serde_json::from_slice(&body).map_err(|_| AlertsError::Later("its answer is not JSON".to_owned()))
    }
}

/// Whether it may be one of our keys.
pub(crate) fn is_key(key: &str) -> bool {
    !key.is_empty() && key.chars().count() <= KEY_CHARS && !key.contains('\0')
}
