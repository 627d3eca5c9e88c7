//! The HTTP client of the API of a running Watchkeeper.
//!
//! Invariants: no token is sent over a network unencrypted; no redirect is followed, so no other server receives it.

use std::time::Duration;

use anyhow::{Context as _, bail};
use reqwest::header::LOCATION;
use reqwest::{Client, RequestBuilder, Response, redirect};
use secrecy::{ExposeSecret as _, SecretString};
use serde_json::Value;
use shared::tls::{self, Trust};

use crate::output::Misuse;
use crate::selection::ServerUrl;

/// A running Watchkeeper.
pub struct Remote {
    client: Client,
    url: ServerUrl,
    token: Option<SecretString>,
    hint: Option<String>,
}

impl Remote {
    const TIMEOUT: Duration = Duration::from_secs(15);

    /// A client of the Watchkeeper at this address, with its token. Sends nothing yet.
    ///
    /// # Errors
    /// [`Misuse`] when the token would be sent over a network unencrypted; when no HTTP client can be set up.
    pub fn new(url: ServerUrl, token: Option<SecretString>) -> anyhow::Result<Self> {
        if token.is_some() && !url.takes_tokens() {
            return Err(Misuse(format!(
                "{url} is not encrypted, and a token would be sent unencrypted: use https://, or unset the token"
            ))
            .into());
        }
        let client = Client::builder()
            .tls_backend_preconfigured(tls::client_config(&Trust::PublicRoots)?)
            .timeout(Self::TIMEOUT)
            .redirect(redirect::Policy::none())
            .no_proxy()
            .build()
            .context("set up the HTTP client")?;
        Ok(Self { client, url, token, hint: None })
    }

    /// With a hint for errors when it can't be reached.
    #[must_use]
    pub fn with_hint(self, hint: Option<String>) -> Self {
        Self { hint, ..self }
    }

    /// Its address.
    #[must_use]
    pub fn url(&self) -> &ServerUrl {
        &self.url
    }

    /// Its token.
    #[cfg(test)]
    pub(crate) fn token(&self) -> Option<&SecretString> {
        self.token.as_ref()
    }

    /// The JSON at a path, with these query parameters.
    ///
    /// # Errors
    /// When it can't be reached or refuses.
    pub async fn get(&self, path: &str, query: &[(&str, &str)]) -> anyhow::Result<Value> {
        let mut url = self.url.route(path);
        if !query.is_empty() {
            url.query_pairs_mut().extend_pairs(query);
        }
        self.send(self.client.get(url)).await
    }

    /// The answer to a JSON body.
    ///
    /// # Errors
    /// When it can't be reached or refuses.
    pub async fn post(&self, path: &str, body: &Value) -> anyhow::Result<Value> {
        self.send(self.client.post(self.url.route(path)).json(body)).await
    }

    /// The answer to a deletion, with a JSON body.
    ///
    /// # Errors
    /// When it can't be reached or refuses.
    pub async fn delete(&self, path: &str, body: &Value) -> anyhow::Result<Value> {
        self.send(self.client.delete(self.url.route(path)).json(body)).await
    }

    /// The answer to these bytes, sent as JSON with these headers and without the token.
    ///
    /// # Errors
    /// When it can't be reached or refuses.
    pub async fn post_bytes(&self, path: &str, body: String, headers: &[(&str, &str)]) -> anyhow::Result<Value> {
        let request = self.client.post(self.url.route(path)).header("content-type", "application/json");
        let request = headers.iter().fold(request, |request, (name, value)| request.header(*name, *value));
        self.answer(request.body(body)).await
    }

    async fn send(&self, request: RequestBuilder) -> anyhow::Result<Value> {
        let request = match &self.token {
            Some(token) => request.bearer_auth(token.expose_secret()),
            None => request,
        };
        self.answer(request).await
    }

    async fn answer(&self, request: RequestBuilder) -> anyhow::Result<Value> {
        let hint = self.hint.as_deref().map(|hint| format!(" ({hint})")).unwrap_or_default();
        let response =
            request.send().await.with_context(|| format!("can't reach Watchkeeper at {}{hint}", self.url))?;
        let status = response.status();
        if status.is_redirection() {
            bail!(
                "{} answered {status}: it redirects to {}; set WATCHKEEPER_URL to where it listens",
                self.url,
                location(&response)
            );
        }
        let body: Option<Value> = response.json().await.ok();
        match body {
            Some(body) if status.is_success() => Ok(body),
            None if status.is_success() => bail!("the server at {} is no Watchkeeper{hint}", self.url),
            body => {
                let message = body.as_ref().and_then(|body| body["error"]["message"].as_str());
                bail!("{} answered {status}: {}", self.url, message.unwrap_or("no reason given"));
            }
        }
    }
}

fn location(response: &Response) -> &str {
    response.headers().get(LOCATION).and_then(|to| to.to_str().ok()).unwrap_or("nowhere")
}
