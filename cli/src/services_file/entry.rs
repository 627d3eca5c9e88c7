//! Parses one `[[services]]` entry into its services.

use std::collections::BTreeMap;

use probe::conditions::Conditions;
use shared::model::{AlertPolicy, CheckSettings, DnsRecord, Kind, ServiceSpec};
use toml::Spanned;

use super::fields::{Fields, Value, boolean, list, text, texts, whole, wrong};
use super::keys::EntryKind;
use super::limits::limits;
use super::maintenance::windows;
use super::problems::{Read, Wrong, suggestion};
use super::statuses::statuses;
use super::supabase::{self, Project};
use super::times::{milliseconds, seconds, time};
use super::validation::validate;
use super::{addresses, secrets};

/// The kind of the entry; none if it is unknown.
pub(super) fn kind(fields: &mut Fields<'_, '_>) -> Option<EntryKind> {
    if fields.find("kind").is_none() {
        return Some(EntryKind::Of(Kind::Http));
    }
    fields.read("kind", |value| {
        let name = text(value)?;
        EntryKind::parse(&name).map_or_else(
            || {
                let known: Vec<&str> = EntryKind::names().collect();
                let hint = suggestion(&name, EntryKind::names());
                wrong(value, format!("must be one of {}{hint}", known.join(", ")))
            },
            Ok,
        )
    })
}

/// The services of an entry; problems are recorded.
pub(super) fn services(fields: &mut Fields<'_, '_>, kind: EntryKind, environment: &str) -> Vec<ServiceSpec> {
    let name = fields.read("name", text);
    if name.is_none() && !fields.has("name") {
        fields.problems.note(fields.start, "name is missing");
    }
    // A placeholder will do after a problem: the file is refused anyway.
    let mut base = ServiceSpec::http(name.as_deref().unwrap_or("unnamed"), environment, "");
    if let Some(application) = fields.read("application", text) {
        base.application = application;
    }
    base.enabled = fields.read("enabled", boolean).unwrap_or(true);
    base.interval = fields.read("interval", time);
    base.policy = policy(fields);
    if !fields.has("parents") {
        // Default parents do not include the service itself.
        base.policy.parents.retain(|parent| *parent != base.name);
    }
    if kind.knows("timeout") {
        base.timeout = fields.read("timeout", time).unwrap_or(ServiceSpec::DEFAULT_TIMEOUT);
        base.check.degraded_above_ms = fields.read("degraded_above", milliseconds);
    }
    if let EntryKind::Of(kind) = kind
        && kind != Kind::Heartbeat
    {
        let read = fields.read("conditions", |value| list(value, |value| condition(value, kind)));
        base.check.conditions = read.unwrap_or_default();
    }
    if kind.knows("certificate_warning_days")
        && let Some(days) = fields.read("certificate_warning_days", whole)
    {
        base.check.certificate_warning_days = days;
    }
    let services = match kind {
        EntryKind::Supabase => project(fields, &base),
        EntryKind::Of(kind) => {
            base.kind = kind;
            of_kind(fields, kind, base)
        }
    };
    services.into_iter().map(|spec| validate(fields, spec)).collect()
}

fn policy(fields: &mut Fields<'_, '_>) -> AlertPolicy {
    let default = AlertPolicy::default();
    AlertPolicy {
        failure_threshold: fields.read("failure_threshold", whole).unwrap_or(default.failure_threshold),
        recovery_threshold: fields.read("recovery_threshold", whole).unwrap_or(default.recovery_threshold),
        parents: fields.read("parents", texts).unwrap_or_default(),
        tags: fields.read("tags", texts).unwrap_or_default(),
        maintenance: fields.read("maintenance", windows).unwrap_or_default(),
        quorum: fields.read("quorum", whole),
        page_after_seconds: fields.read("page_after", seconds),
    }
}

fn of_kind(fields: &mut Fields<'_, '_>, kind: Kind, mut base: ServiceSpec) -> Vec<ServiceSpec> {
    match kind {
        Kind::Http => {
            http(fields, &mut base.check);
            return addressed(fields, base);
        }
        Kind::Dns => {
            if let Some(record) = fields.read("record", record) {
                base.check.dns_record = record;
            }
            base.check.dns_server = fields.read("server", text);
        }
        Kind::Postgres => {
            if let Some(limits) = fields.read("limits", limits) {
                base.check.postgres = limits;
            }
        }
        Kind::Heartbeat => {
            base.check.grace_seconds = fields.read("grace", seconds).unwrap_or_default();
            base.check.token_version = fields.read("token_version", version).unwrap_or(1);
            return vec![base];
        }
        Kind::Tcp | Kind::Tls => {}
    }
    base.target = required(fields, "target").unwrap_or_default();
    vec![base]
}

fn http(fields: &mut Fields<'_, '_>, check: &mut CheckSettings) {
    if let Some(method) = fields.read("method", text) {
        check.method = method.to_ascii_uppercase();
    }
    check.headers = fields.read("headers", headers).unwrap_or_default();
    check.body = fields.read("body", |value| {
        let body = text(value)?;
        secrets::in_body(&body).or_else(|why| wrong(value, why)).map(|()| body)
    });
    if fields.has("expected_status") && fields.has("expected_statuses") {
        fields.problems.note(fields.place("expected_statuses"), "expected_status is set already: use one of them");
    }
    // The entry's own setting wins over the other one of the defaults.
    let key = if fields.has("expected_status") || fields.find("expected_statuses").is_none() {
        "expected_status"
    } else {
        "expected_statuses"
    };
    if let Some(statuses) = fields.read(key, statuses) {
        check.expected_statuses = statuses;
    }
    if let Some(redirects) = fields.read("max_redirects", whole) {
        check.max_redirects = redirects;
    }
}

/// The service of its address, or one service per address.
fn addressed(fields: &mut Fields<'_, '_>, base: ServiceSpec) -> Vec<ServiceSpec> {
    let present: Vec<&str> = ["url", "target", "urls"].into_iter().filter(|key| fields.has(key)).collect();
    match present.as_slice() {
        [] => fields.problems.note(fields.start, "url is missing"),
        ["urls"] => {
            let addresses = fields.read("urls", |value| match list(value, address)? {
                addresses if addresses.is_empty() => wrong(value, "must be at least one address"),
                addresses => Ok(addresses),
            });
            let addresses = addresses.unwrap_or_default();
            let names = addresses::names(&base.name, &addresses);
            let each = |(name, target)| ServiceSpec { name, target, group: Some(base.name.clone()), ..base.clone() };
            return names.into_iter().zip(addresses).map(each).collect();
        }
        [key] => {
            if let Some(target) = fields.read(key, address) {
                return vec![ServiceSpec { target, ..base }];
            }
        }
        [_, .., last] => fields.problems.note(fields.place(last), "url, urls and target: only one of them"),
    }
    Vec::new()
}

fn project(fields: &mut Fields<'_, '_>, base: &ServiceSpec) -> Vec<ServiceSpec> {
    let variable = |value: &Value<'_>| {
        let name = text(value)?;
        // The variable's name is validated with the services that use it.
        if name.starts_with("${") {
            Ok(name)
        } else {
            wrong(value, "must be ${VARIABLE}: a secret is not written here")
        }
    };
    for key in ["project", "anon_key"] {
        if !fields.has(key) {
            fields.problems.note(fields.start, format_args!("{key} is missing"));
        }
    }
    let url = fields.read("project", |value| {
        supabase::address(&text(value)?).map_or_else(
            || wrong(value, "must be the project's reference (twenty letters), or its address without a path"),
            Ok,
        )
    });
    let key = fields.read("anon_key", variable);
    let functions = fields.read("functions", |value| list(value, function)).unwrap_or_default();
    let database = fields.read("database", variable);
    let limits = fields.read("limits", limits).unwrap_or_default();
    match (url, key) {
        (Some(url), Some(key)) => supabase::expand(base, &Project { url, key, functions, database, limits }),
        _ => Vec::new(),
    }
}

fn required(fields: &mut Fields<'_, '_>, key: &str) -> Option<String> {
    if !fields.has(key) {
        fields.problems.note(fields.start, format_args!("{key} is missing"));
    }
    fields.read(key, text)
}

fn address(value: &Value<'_>) -> Read<String> {
    let address = text(value)?;
    secrets::in_address(&address).or_else(|why| wrong(value, why)).map(|()| address)
}

fn function(value: &Value<'_>) -> Read<String> {
    let name = text(value)?;
    let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_');
    if !name.is_empty() && name.bytes().all(plain) { Ok(name) } else { wrong(value, "is no function's name") }
}

/// A condition that is valid for services of this kind.
fn condition(value: &Value<'_>, kind: Kind) -> Read<String> {
    let condition = text(value)?;
    let parsed = Conditions::parse(std::slice::from_ref(&condition)).and_then(|conditions| conditions.check_kind(kind));
    parsed.or_else(|error| wrong(value, error.to_string())).map(|()| condition)
}

fn version(value: &Value<'_>) -> Read<u32> {
    whole(value)
        .ok()
        .filter(|version| *version >= 1)
        .map_or_else(|| wrong(value, "must be a whole number from 1: another one makes another token"), Ok)
}

fn record(value: &Value<'_>) -> Read<DnsRecord> {
    let name = text(value)?.to_ascii_uppercase();
    serde_json::from_value(name.into()).or_else(|_| wrong(value, "must be one of A, AAAA, CNAME, MX, NS, TXT"))
}

fn headers(value: &Value<'_>) -> Read<BTreeMap<String, String>> {
    let Some(table) = value.get_ref().as_table() else {
        return wrong(value, "must be a table such as { accept = \"application/json\" }");
    };
    let (mut headers, mut all) = (BTreeMap::new(), Vec::new());
    for (name, value) in table.iter() {
        let name: &Spanned<_> = name;
        let name = name.get_ref().to_string();
        match text(value) {
            Ok(text) => {
                if let Err(why) = secrets::in_header(&name, &text) {
                    all.push(Wrong { at: value.span().start, why });
                }
                headers.insert(name, text);
            }
            Err(wrong) => all.extend(wrong),
        }
    }
    if all.is_empty() { Ok(headers) } else { Err(all) }
}
