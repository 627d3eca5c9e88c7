//! Services as code: the TOML file of `watchkeeper apply`. A wrong file is refused whole, with line and reason.

use std::collections::HashMap;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, anyhow};
use serde::Deserialize;
use shared::model::{DEFAULT_ENVIRONMENT, ServiceSpec};
use toml::Spanned;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    services: Vec<Spanned<Entry>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    name: String,
    #[serde(default = "default_environment")]
    environment: String,
    /// Default: the name.
    application: Option<String>,
    url: String,
    #[serde(default = "default_expected_status")]
    expected_status: u16,
    timeout: Option<Time>,
    interval: Option<Time>,
    #[serde(default = "enabled")]
    enabled: bool,
}

/// `"5s"`, `"1m 30s"`, or a number of seconds.
#[derive(Deserialize)]
#[serde(untagged, expecting = "a time must be text such as \"5s\", or a whole number of seconds")]
enum Time {
    Seconds(u32),
    Text(String),
}

impl Time {
    fn read(self) -> Result<Duration, humantime::DurationError> {
        match self {
            Self::Seconds(seconds) => Ok(Duration::from_secs(seconds.into())),
            Self::Text(text) => humantime::parse_duration(&text),
        }
    }
}

fn default_environment() -> String {
    DEFAULT_ENVIRONMENT.to_owned()
}

fn default_expected_status() -> u16 {
    ServiceSpec::DEFAULT_EXPECTED_STATUS
}

fn enabled() -> bool {
    true
}

/// Reads the file.
///
/// # Errors
/// With file, line and reason: not TOML, an unknown or missing key, a value out of its range, a service named twice.
pub fn read(path: &Path) -> anyhow::Result<Vec<ServiceSpec>> {
    let text = std::fs::read_to_string(path).with_context(|| format!("read {}", path.display()))?;
    parse(&text).with_context(|| format!("{} is refused, nothing was changed", path.display()))
}

fn parse(text: &str) -> anyhow::Result<Vec<ServiceSpec>> {
    let file: File = toml::from_str(text)?;
    let mut seen = HashMap::new();
    let mut services = Vec::with_capacity(file.services.len());
    for entry in file.services {
        let line = line_of(text, entry.span().start);
        let service = spec(entry.into_inner()).map_err(|error| anyhow!("line {line}: {error:#}"))?;
        let key = (service.name.clone(), service.environment.clone());
        if let Some(first) = seen.insert(key, line) {
            return Err(anyhow!(
                "line {line}: service \"{}\" of environment \"{}\" stands in line {first} already",
                service.name,
                service.environment
            ));
        }
        services.push(service);
    }
    Ok(services)
}

fn spec(entry: Entry) -> anyhow::Result<ServiceSpec> {
    let spec = ServiceSpec {
        application: entry.application.unwrap_or_else(|| entry.name.clone()),
        name: entry.name,
        environment: entry.environment,
        url: entry.url,
        expected_status: entry.expected_status,
        timeout: entry.timeout.map(Time::read).transpose().context("timeout")?.unwrap_or(ServiceSpec::DEFAULT_TIMEOUT),
        interval: entry.interval.map(Time::read).transpose().context("interval")?,
        enabled: entry.enabled,
    };
    Ok(spec.validated()?)
}

fn line_of(text: &str, offset: usize) -> usize {
    text.get(..offset).map_or(1, |before| before.matches('\n').count() + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_becomes_services_with_defaults() {
        let services = parse(
            "[[services]]\nname = \"api\"\nurl = \"https://api.example.com/health\"\n\n\
             [[services]]\nname = \"jobs\"\nenvironment = \"test\"\napplication = \"shop\"\n\
             url = \"http://localhost:9000/\"\nexpected_status = 204\ntimeout = \"1500ms\"\ninterval = 300\n",
        )
        .unwrap();
        assert_eq!((services[0].environment.as_str(), services[0].application.as_str()), ("production", "api"));
        assert_eq!((services[0].timeout, services[0].interval), (Duration::from_secs(5), None));
        assert_eq!(services[1].timeout, Duration::from_millis(1500));
        assert_eq!(services[1].interval, Some(Duration::from_secs(300)));
    }

    #[test]
    fn a_wrong_file_is_refused_with_line_and_reason() {
        for (text, told) in [
            ("[[services]]\nname = \"a\"\n", "url"),
            ("[[services]]\nname = \"a\"\nurl = \"http://x\"\ntimeuot = 3\n", "timeuot"),
            ("\n[[services]]\nname = \"a\"\nurl = \"x\"\n", "line 2: url"),
            ("[[services]]\nname = \"a\"\nurl = \"http://x\"\ntimeout = \"soon\"\n", "line 1: timeout"),
            ("[[services]]\nname=\"a\"\nurl=\"http://x\"\n[[services]]\nname=\"a\"\nurl=\"http://y\"\n", "line 4"),
            ("services = 3", "services"),
            ("[[services", "line 1"),
        ] {
            let error = format!("{:#}", parse(text).unwrap_err());
            assert!(error.contains(told), "{text} → {error}");
        }
    }
}
