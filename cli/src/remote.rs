//! A running Watchkeeper, spoken to over HTTP: what `status`, `incidents`, `ack`, `resolve`, `silence` and
//! `send-test-error` use, and the demo.

use std::time::Duration;

use anyhow::{Context as _, bail};
use secrecy::{ExposeSecret as _, SecretString};
use serde_json::Value;
use shared::tls::{self, Trust};

/// A running Watchkeeper.
pub struct Remote {
    client: reqwest::Client,
    url: String,
}

impl Remote {
    const TIMEOUT: Duration = Duration::from_secs(15);

    /// The Watchkeeper at this address; nothing is sent yet.
    ///
    /// # Errors
    /// When no HTTP client can be set up.
    pub fn new(url: String) -> anyhow::Result<Self> {
        let client = reqwest::Client::builder()
            .tls_backend_preconfigured(tls::client_config(&Trust::PublicRoots)?)
            .timeout(Self::TIMEOUT)
            .no_proxy()
            .build()
            .context("set up the HTTP client")?;
        Ok(Self { client, url })
    }

    /// The JSON at a path, with these query parameters.
    ///
    /// # Errors
    /// When it can't be reached or refuses.
    pub async fn get(&self, path: &str, query: &[(&str, &str)], token: Option<&SecretString>) -> anyhow::Result<Value> {
        let mut url = reqwest::Url::parse(&format!("{}{path}", self.url))
            .with_context(|| format!("{} is not an address", self.url))?;
        if !query.is_empty() {
            url.query_pairs_mut().extend_pairs(query);
        }
        self.send(self.client.get(url), token).await
    }

    /// The answer to a JSON body.
    ///
    /// # Errors
    /// When it can't be reached or refuses.
    pub async fn post(&self, path: &str, body: &Value, token: Option<&SecretString>) -> anyhow::Result<Value> {
        self.send(self.client.post(format!("{}{path}", self.url)).json(body), token).await
    }

    /// The answer to a deletion, with a JSON body.
    ///
    /// # Errors
    /// When it can't be reached or refuses.
    pub async fn delete(&self, path: &str, body: &Value, token: Option<&SecretString>) -> anyhow::Result<Value> {
        self.send(self.client.delete(format!("{}{path}", self.url)).json(body), token).await
    }

    /// The answer to these bytes, sent as JSON with these headers.
    ///
    /// # Errors
    /// When it can't be reached or refuses.
    pub async fn post_bytes(&self, path: &str, body: String, headers: &[(&str, &str)]) -> anyhow::Result<Value> {
        let request = self.client.post(format!("{}{path}", self.url)).header("content-type", "application/json");
        let request = headers.iter().fold(request, |request, (name, value)| request.header(*name, *value));
        self.send(request.body(body), None).await
    }

    async fn send(&self, request: reqwest::RequestBuilder, token: Option<&SecretString>) -> anyhow::Result<Value> {
        let request = match token {
            Some(token) => request.bearer_auth(token.expose_secret()),
            None => request,
        };
        let response = request.send().await.with_context(|| format!("can't reach Watchkeeper at {}", self.url))?;
        let status = response.status();
        let body: Option<Value> = response.json().await.ok();
        match body {
            Some(body) if status.is_success() => Ok(body),
            None if status.is_success() => bail!("what answers at {} is no Watchkeeper", self.url),
            body => {
                let message = body.as_ref().and_then(|body| body["error"]["message"].as_str());
                bail!("{} answered {status}: {}", self.url, message.unwrap_or("no reason given"));
            }
        }
    }
}
