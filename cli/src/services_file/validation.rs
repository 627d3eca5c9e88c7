//! Reports all invalid settings of a service. `validated` returns the first error only, so each reported setting is
//! replaced by a valid one, and the service is validated again, a bounded number of times.

use shared::model::{AlertPolicy, CheckSettings, Kind, ServiceSpec};

use super::fields::Fields;

/// The most problems reported of one service.
const PROBLEMS: usize = 20;

/// Records the problems of the service, and returns it unchanged.
pub(super) fn validate(fields: &mut Fields<'_, '_>, spec: ServiceSpec) -> ServiceSpec {
    let mut fixed = spec.clone();
    for _ in 0..PROBLEMS {
        let Err(error) = fixed.clone().validated() else { break };
        let message = error.to_string();
        let word = message.split([' ', ':', '.']).next().unwrap_or_default();
        let key = key_of(fields, word);
        let place = fields.place(key);
        match message.strip_prefix("target") {
            Some(why) => fields.problems.note(place, format_args!("{key}{why}")),
            None => fields.problems.note(place, &message),
        }
        if !reset(&mut fixed, word) {
            break;
        }
    }
    spec
}

/// The setting that an error names first, as the file calls it.
fn key_of<'k>(fields: &Fields<'_, '_>, word: &'k str) -> &'k str {
    let first = |keys: &[&'static str]| keys.iter().copied().find(|key| fields.find(key).is_some());
    match word {
        "target" => first(&["url", "urls", "target", "database", "project"]).unwrap_or("target"),
        "expected_statuses" => first(&["expected_statuses", "expected_status"]).unwrap_or("expected_statuses"),
        "twice" => first(&["timeout", "interval"]).unwrap_or("timeout"),
        "dns_server" => "server",
        "postgres" => "limits",
        "headers" => first(&["headers", "anon_key"]).unwrap_or("headers"),
        word => word,
    }
}

/// Sets a valid value; false if there is no such setting.
fn reset(spec: &mut ServiceSpec, word: &str) -> bool {
    let (check, policy) = (CheckSettings::default(), AlertPolicy::default());
    match word {
        "name" => "name".clone_into(&mut spec.name),
        "application" => "application".clone_into(&mut spec.application),
        "environment" => "environment".clone_into(&mut spec.environment),
        "target" => {
            spec.target = match spec.kind {
                Kind::Http => "http://localhost/",
                Kind::Tcp | Kind::Tls => "localhost:1",
                Kind::Dns => "localhost",
                Kind::Postgres => "${DATABASE_URL}",
                Kind::Heartbeat => "",
            }
            .to_owned();
        }
        "expected_statuses" => spec.check.expected_statuses = check.expected_statuses,
        "timeout" => spec.timeout = ServiceSpec::DEFAULT_TIMEOUT,
        "interval" => spec.interval = None,
        "twice" => (spec.timeout, spec.interval) = (ServiceSpec::DEFAULT_TIMEOUT, None),
        "method" => spec.check.method = check.method,
        "conditions" => spec.check.conditions = check.conditions,
        "headers" => spec.check.headers = check.headers,
        "body" => spec.check.body = check.body,
        "max_redirects" => spec.check.max_redirects = check.max_redirects,
        "dns_server" => spec.check.dns_server = check.dns_server,
        "postgres" => spec.check.postgres = check.postgres,
        "failure_threshold" => spec.policy.failure_threshold = policy.failure_threshold,
        "recovery_threshold" => spec.policy.recovery_threshold = policy.recovery_threshold,
        "parents" => spec.policy.parents = policy.parents,
        "tags" => spec.policy.tags = policy.tags,
        "maintenance" => spec.policy.maintenance = policy.maintenance,
        "quorum" => spec.policy.quorum = policy.quorum,
        "page_after" => spec.policy.page_after_seconds = policy.page_after_seconds,
        _ => return false,
    }
    true
}
