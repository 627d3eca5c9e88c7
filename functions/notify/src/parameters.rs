//! Certificates by name: those that SSM's Parameter Store keeps, read once when the process starts.
//!
//! With all channels configured, Lambda's 4 KB of environment have no room for two certificates. Where no parameter is
//! named, nothing is asked and no client is built.
//!
//! Source: <https://docs.aws.amazon.com/systems-manager/latest/APIReference/API_GetParameters.html>.

use std::collections::HashMap;
use std::time::Duration;

use anyhow::{Context as _, bail, ensure};
use aws_credential_types::Credentials;
use aws_sigv4::http_request::{SignableBody, SignableRequest, SigningSettings, sign};
use aws_sigv4::sign::v4;
use chrono::{DateTime, Utc};
use secrecy::{ExposeSecret as _, SecretString};
use serde_json::{Value, json};
use shared::config::Environment;
use shared::tls::{self, Trust};

/// A certificate that may be named instead of given.
#[derive(Debug, Clone, Copy)]
pub struct Certificate {
    /// The variable that holds it, as PEM text.
    pub variable: &'static str,
    /// The variable that holds the name of its parameter.
    pub parameter: &'static str,
}

/// All of them.
pub const CERTIFICATES: [Certificate; 2] = [
    Certificate { variable: "DATABASE_CA", parameter: "DATABASE_CA_PARAMETER" },
    Certificate { variable: "SMTP_CA", parameter: "SMTP_CA_PARAMETER" },
];

/// One request, connecting included. Lambda gives a start 10 s.
const PATIENCE: Duration = Duration::from_secs(2);
/// The pause before each further request, after one that may succeed later.
const PAUSES: [Duration; 2] = [Duration::from_millis(100), Duration::from_millis(400)];
/// An answer holds two parameters of at most 8 kB each.
const ANSWER_BYTES: usize = 64 * 1024;

/// The environment with the certificates that it names. One that it holds already is not asked for.
///
/// # Errors
/// When a parameter is not there or can't be read: the message names it, and what to do.
pub async fn with_certificates<'a>(
    environment: Environment<'a>,
    now: DateTime<Utc>,
) -> anyhow::Result<Environment<'a>> {
    let mut wanted = Vec::new();
    for Certificate { variable, parameter } in CERTIFICATES {
        if let (None, Some(name)) = (environment.optional(variable), environment.optional(parameter)) {
            wanted.push((variable, parameter, name.trim().to_owned()));
        }
    }
    if wanted.is_empty() {
        return Ok(environment);
    }
    let names: Vec<&str> = wanted.iter().map(|(_, _, name)| name.as_str()).collect();
    let found = Ssm::new(&environment)?.parameters(&names, now).await?;
    let mut values = HashMap::new();
    for (variable, parameter, name) in &wanted {
        // Both may be the same.
        let value = found.get(name).cloned().with_context(|| {
            format!(
                "{parameter}: SSM has no parameter {name}: put the certificate there (aws ssm put-parameter --name {name} \
                 --type String --value file://…), or leave {parameter} empty where public authorities sign"
            )
        })?;
        values.insert(*variable, value);
    }
    Ok(Environment::from_lookup(move |name| values.get(name).cloned().or_else(|| environment.optional(name))))
}

/// SSM, as this process's environment says where it is and who we are.
struct Ssm {
    client: reqwest::Client,
    url: String,
    region: String,
    credentials: Credentials,
}

/// Why a request returned nothing.
enum Failure {
    /// The next may.
    Passing(anyhow::Error),
    /// No other will.
    Lasting(anyhow::Error),
}

impl Ssm {
    fn new(environment: &Environment<'_>) -> anyhow::Result<Self> {
        let region = environment.optional("AWS_REGION");
        let key = environment.optional("AWS_ACCESS_KEY_ID");
        let secret = environment.secret("AWS_SECRET_ACCESS_KEY");
        let (Some(region), Some(key), Some(secret)) = (region, key, secret) else {
            bail!(
                "a certificate is named by its parameter, which needs AWS_REGION, AWS_ACCESS_KEY_ID and \
                 AWS_SECRET_ACCESS_KEY (Lambda sets them); elsewhere set DATABASE_CA or SMTP_CA itself"
            );
        };
        let token = environment.secret("AWS_SESSION_TOKEN");
        let exposed = |secret: &SecretString| secret.expose_secret().to_owned();
        let credentials = Credentials::new(key, exposed(&secret), token.as_ref().map(exposed), None, "environment");
        let suffix = if region.starts_with("cn-") { "amazonaws.com.cn" } else { "amazonaws.com" };
        let url = environment.optional("AWS_ENDPOINT_URL").unwrap_or_else(|| format!("https://ssm.{region}.{suffix}"));
        let client = reqwest::Client::builder()
            .tls_backend_preconfigured(tls::client_config(&Trust::PublicRoots)?)
            .timeout(PATIENCE)
            .redirect(reqwest::redirect::Policy::none())
            .no_proxy()
            .build()
            .context("set up the HTTP client")?;
        Ok(Self { client, url: format!("{}/", url.trim_end_matches('/')), region, credentials })
    }

    /// The values of these parameters, by name; without those that are not there.
    async fn parameters(&self, names: &[&str], now: DateTime<Utc>) -> anyhow::Result<HashMap<String, String>> {
        let mut pauses = PAUSES.iter();
        loop {
            match (self.ask(names, now).await, pauses.next()) {
                (Ok(answer), _) => return Ok(answer),
                (Err(Failure::Passing(_)), Some(pause)) => tokio::time::sleep(*pause).await,
                (Err(Failure::Passing(error) | Failure::Lasting(error)), _) => {
                    return Err(error.context(format!("read the parameters {}", names.join(", "))));
                }
            }
        }
    }

    async fn ask(&self, names: &[&str], now: DateTime<Utc>) -> Result<HashMap<String, String>, Failure> {
        let mut unique = names.to_vec();
        unique.sort_unstable();
        unique.dedup();
        let body = json!({ "Names": unique, "WithDecryption": true }).to_string();
        let request = self.signed(body, now).map_err(Failure::Lasting)?;
        let response = self.client.execute(request).await.map_err(|error| Failure::Passing(error.into()))?;
        let status = response.status();
        let answer = body_of(response).await.map_err(Failure::Passing)?;
        if !status.is_success() {
            // `__type` is `AccessDeniedException`, or `com.amazonaws…#ThrottlingException`.
            let kind = answer["__type"].as_str().and_then(|kind| kind.rsplit('#').next()).unwrap_or("no reason given");
            let hint = if kind == "AccessDeniedException" { " (the role needs ssm:GetParameters on them)" } else { "" };
            let error = anyhow::anyhow!("SSM answered {status}: {kind}{hint}");
            let is_passing = status.is_server_error() || status.as_u16() == 429 || kind.starts_with("Throttl");
            return Err(if is_passing { Failure::Passing(error) } else { Failure::Lasting(error) });
        }
        let parameters = answer["Parameters"].as_array().into_iter().flatten();
        let text = |parameter: &Value, field: &str| parameter[field].as_str().map(str::to_owned);
        Ok(parameters.filter_map(|it| Some((text(it, "Name")?, text(it, "Value")?))).collect())
    }

    fn signed(&self, body: String, now: DateTime<Utc>) -> anyhow::Result<reqwest::Request> {
        let headers = [("content-type", "application/x-amz-json-1.1"), ("x-amz-target", "AmazonSSM.GetParameters")];
        let identity = self.credentials.clone().into();
        let parameters = v4::SigningParams::builder()
            .identity(&identity)
            .region(&self.region)
            .name("ssm")
            .time(now.into())
            .settings(SigningSettings::default())
            .build()?
            .into();
        let request =
            SignableRequest::new("POST", &self.url, headers.into_iter(), SignableBody::Bytes(body.as_bytes()))?;
        let (instructions, _) = sign(request, &parameters)?.into_parts();
        let mut request = self.client.post(&self.url);
        for (name, value) in headers.into_iter().chain(instructions.headers()) {
            request = request.header(name, value);
        }
        Ok(request.body(body).build()?)
    }
}

async fn body_of(mut response: reqwest::Response) -> anyhow::Result<Value> {
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await? {
        ensure!(body.len() + chunk.len() <= ANSWER_BYTES, "SSM's answer does not end");
        body.extend_from_slice(&chunk);
    }
    Ok(serde_json::from_slice(&body).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn environment(entries: &'static [(&'static str, &'static str)]) -> Environment<'static> {
        Environment::from_lookup(|name| {
            entries.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned())
        })
    }

    #[tokio::test]
    async fn nothing_is_asked_where_nothing_is_named_or_the_certificate_is_there() {
        for entries in [
            &[("DATABASE_URL", "x"), ("DATABASE_CA_PARAMETER", " ")][..],
            &[("DATABASE_URL", "x"), ("DATABASE_CA", "PEM"), ("DATABASE_CA_PARAMETER", "/ca")],
        ] {
            // Without credentials, asking would be an error.
            let environment = with_certificates(environment(entries), Utc::now()).await.unwrap();
            assert_eq!(environment.optional("DATABASE_URL").as_deref(), Some("x"));
        }
    }

    #[tokio::test]
    async fn without_credentials_the_error_says_what_is_missing() {
        let error = with_certificates(environment(&[("SMTP_CA_PARAMETER", "/ca")]), Utc::now()).await.err().unwrap();
        assert!(error.to_string().contains("AWS_ACCESS_KEY_ID"), "{error}");
    }
}
