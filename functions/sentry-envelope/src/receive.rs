//! Handles a request, from its headers to its answer.

use std::net::IpAddr;
use std::sync::{Arc, Once};

use axum::Json;
use axum::body::Body;
use axum::extract::{Path, Request, State};
use axum::http::HeaderValue;
use axum::http::header::VARY;
use axum::http::request::Parts;
use axum::response::{IntoResponse as _, Response};
use bytes::Bytes;
use chrono::{DateTime, Utc};
use serde_json::json;
use shared::applications::{Admission, Application};
use shared::defer::{Allowance, Deferred, Kept};
use shared::dsn::KeyVersion;
use shared::http::{read_body_within, source_ip};
use shared::model::text::first_chars;
use shared::model::{CheckIn, Report};
use shared::store::{StoreError, check_ins};
use uuid::Uuid;

use crate::app::App;
use crate::check_in::redacted;
use crate::contents::Contents;
use crate::cors::Readers;
use crate::decoding::Sender;
use crate::encoding::Encoding;
use crate::envelope::{Envelope, Item, ItemKind};
use crate::refusal::Refusal;
use crate::{credentials, store_body};

/// The largest body as sent: a Lambda's request ends at 6 MB, base64 included.
const BODY_BYTES: usize = 4 * 1024 * 1024;

/// Rate limit of deferred check-ins per minute. They have no quota, and DSNs are public: no client may fill the queue
/// of deferred errors.
static CHECK_IN_ALLOWANCE: Allowance = Allowance::new(600);

/// The counters' name.
const COUNTED_AS: &str = "sentry-envelope";

/// `POST /api/{project}/envelope/`.
pub(crate) async fn envelope(State(app): State<App>, Path(project): Path<String>, request: Request) -> Response {
    answer(&app, &project, request, Route { find_key: key_of_envelope, read: read_envelope }).await
}

/// `POST /api/{project}/store/`.
pub(crate) async fn store(State(app): State<App>, Path(project): Path<String>, request: Request) -> Response {
    answer(&app, &project, request, Route { find_key: key_of_store, read: read_store }).await
}

/// A body before decompression.
#[derive(Clone)]
struct RawBody {
    project: i64,
    encoding: Encoding,
    body: Bytes,
    now: DateTime<Utc>,
}

impl RawBody {
    /// An uncompressed body of up to this many bytes is parsed at once: that is cheaper than a blocking thread.
    const SMALL_BYTES: usize = 64 * 1024;
    /// How much of a body is searched for a key: bounds what a client without a key costs.
    const KEY_BYTES: usize = 64 * 1024;

    fn is_read_at_once(&self) -> bool {
        // A body of `/store/` that is not JSON may be compressed.
        self.encoding == Encoding::Identity
            && self.body.len() <= Self::SMALL_BYTES
            && self.body.trim_ascii_start().starts_with(b"{")
    }

    /// The beginning, to find a key in.
    fn beginning(&self) -> Self {
        Self { body: self.body.slice(..self.body.len().min(Self::KEY_BYTES)), ..self.clone() }
    }
}

/// A parsed body.
struct ParsedBody {
    result: Result<Contents, Refusal>,
    is_bomb: bool,
}

impl From<Refusal> for ParsedBody {
    fn from(refusal: Refusal) -> Self {
        Self { is_bomb: refusal == Refusal::Bomb, result: Err(refusal) }
    }
}

/// How a route parses its bodies.
#[derive(Clone, Copy)]
struct Route {
    /// Finds the key inside a body, if headers and query have none.
    find_key: fn(&App, &RawBody) -> Result<KeyVersion, Refusal>,
    read: fn(&RawBody) -> ParsedBody,
}

async fn answer(app: &App, project: &str, request: Request, route: Route) -> Response {
    let now = Utc::now();
    let (parts, body) = request.into_parts();
    let mut readers = Readers::Any;
    let mut response = match take(app, project, &parts, body, route, now, &mut readers).await {
        Ok(id) => Json(json!({ "id": id.simple().to_string() })).into_response(),
        Err(refusal) => {
            if let Some(kind) = refusal.security_kind() {
                let description = format!("sentry-envelope: {}", refusal.detail());
                app.watch.refused_request(kind, description, &parts, now).await;
            }
            let project = first_chars(project, 20);
            tracing::info!(project, "refused an SDK's request: {}", refusal.detail());
            if readers == Readers::Any {
                readers = Readers::of_refusal(&refusal);
            }
            refusal.into_response()
        }
    };
    if readers != Readers::Any {
        response.headers_mut().append(VARY, HeaderValue::from_static("Origin"));
    }
    response.extensions_mut().insert(readers);
    response
}

async fn take(
    app: &App,
    project: &str,
    parts: &Parts,
    body: Body,
    route: Route,
    now: DateTime<Utc>,
    readers: &mut Readers,
) -> Result<Uuid, Refusal> {
    let is_number = project.bytes().all(|byte| byte.is_ascii_digit());
    let number = project.parse().ok().filter(|_| is_number);
    let project = number.ok_or_else(|| Refusal::malformed("the project in the path must be a number"))?;
    let key = credentials::presented(&parts.headers, parts.uri.query());
    let version = key.map(|key| app.verify(Some(&key), project)).transpose()?;
    if let Some(version) = version {
        *readers = app.readers(project, version, &parts.headers, now).await?;
    }
    let encoding = Encoding::of(&parts.headers)?;
    let body = read_body_within(body, BODY_BYTES).await?;
    let sent = RawBody { project, encoding, body, now };
    let address = source_ip(&parts.headers, &parts.extensions);
    let version = match version {
        Some(version) => version,
        None => {
            let version = find_key(app, &sent, address, route).await?;
            *readers = app.readers(project, version, &parts.headers, now).await?;
            version
        }
    };
    let parsed = if sent.is_read_at_once() {
        (route.read)(&sent)
    } else {
        let (sender, bytes) = (Sender::new(Some(project), address), sent.body.len());
        app.decoding.run(sender, bytes, now, |parsed: &ParsedBody| parsed.is_bomb, move || (route.read)(&sent)).await?
    };
    if parsed.is_bomb {
        app.directory.charge_bomb(project, now);
    }
    keep(app, project, version, parsed.result?, now).await
}

async fn find_key(app: &App, sent: &RawBody, address: Option<IpAddr>, route: Route) -> Result<KeyVersion, Refusal> {
    if sent.is_read_at_once() {
        return (route.find_key)(app, sent);
    }
    let (other, beginning) = (app.clone(), sent.beginning());
    let (sender, bytes) = (Sender::new(None, address), beginning.body.len());
    app.decoding.run(sender, bytes, sent.now, |_| false, move || (route.find_key)(&other, &beginning)).await?
}

fn key_of_envelope(app: &App, sent: &RawBody) -> Result<KeyVersion, Refusal> {
    let Ok(envelope) = Envelope::open(sent.encoding.decode(&sent.body)) else {
        // A missing key is reported before any other error.
        return app.verify(None, sent.project);
    };
    let key = envelope.header().dsn.as_deref().map(|dsn| credentials::in_dsn(dsn, sent.project).unwrap_or_default());
    app.verify(key.as_deref(), sent.project)
}

fn key_of_store(app: &App, sent: &RawBody) -> Result<KeyVersion, Refusal> {
    app.verify(None, sent.project)
}

fn read_envelope(sent: &RawBody) -> ParsedBody {
    let RawBody { project, encoding, ref body, now } = *sent;
    match Envelope::open(encoding.decode(body)) {
        Ok(envelope) => {
            let contents = Contents::of_envelope(envelope, project, now);
            ParsedBody { is_bomb: contents.is_bomb, result: Ok(contents) }
        }
        Err(error) => ParsedBody { is_bomb: error.is_bomb(), result: Err(Refusal::from(&error)) },
    }
}

fn read_store(sent: &RawBody) -> ParsedBody {
    let RawBody { project, encoding, ref body, now } = *sent;
    match store_body::read(encoding, body) {
        Ok(payload) => {
            let mut contents = Contents::default();
            contents.take(Item { number: 1, kind: ItemKind::Event, payload }, None, project, now);
            ParsedBody { result: Ok(contents), is_bomb: false }
        }
        Err(error) => Refusal::from(&error).into(),
    }
}

/// Stores what the quotas admit; returns the id for the answer.
async fn keep(
    app: &App,
    project: i64,
    version: KeyVersion,
    contents: Contents,
    now: DateTime<Utc>,
) -> Result<Uuid, Refusal> {
    let mut refusal = contents.refused_for().map(Refusal::from);
    if let Some(problem) = &contents.problem {
        tracing::info!(project, "not all of an SDK's request could be read: {problem}");
    }
    // Quotas apply to errors only; everything else needs only a valid key.
    for (kind, times) in &contents.counted {
        for _ in 0..*times {
            app.counters.count(COUNTED_AS, kind, now).await;
        }
    }
    // A failure of one item must not affect the others: it is returned after all were tried.
    for report in contents.reports {
        match app.directory.admit(project, version, now).await {
            Admission::Admitted(application) => {
                if let Err(error) = app.intake.record(attributed(report, application)).await {
                    refusal = Some(error.into());
                }
            }
            Admission::Refused(why) => {
                app.counters.count(COUNTED_AS, "refused", now).await;
                refusal = Some(why.into());
            }
        }
    }
    for check_in in contents.check_ins {
        let check_in = check_ins::storable_check_in(redacted(check_in, app.intake.redactor()));
        if let Err(error) = keep_check_in(app, &check_in).await {
            refusal = Some(error.into());
        }
    }
    match refusal {
        Some(refusal) => Err(refusal),
        None => Ok(contents.event_id.unwrap_or_else(Uuid::new_v4)),
    }
}

/// Adds the application's name and environment; without the row, `shared::intake` adds them later.
fn attributed(mut report: Report, application: Option<Application>) -> Report {
    let Some(application) = application else { return report };
    if report.environment.trim().is_empty() {
        report.environment = application.environment.unwrap_or_default();
    }
    report.application = application.name;
    report
}

/// Logs dropped check-ins once per process: a page repeats them as long as it is open.
static DROPPED: Once = Once::new();

async fn keep_check_in(app: &App, check_in: &CheckIn) -> Result<(), StoreError> {
    let deferral = app.intake.deferral(app.intake.store_budget());
    let upsert = |client: Arc<_>| async move { check_ins::upsert(&client, check_in).await };
    let deferred =
        || CHECK_IN_ALLOWANCE.take(check_in.received_at).then(|| Deferred::CheckIn(Box::new(check_in.clone())));
    if deferral.store(&app.store, upsert, deferred).await? == Kept::Stored(false) {
        DROPPED.call_once(|| {
            let project = check_in.application;
            tracing::info!(project, "dropped a check-in: a later one is known, or the application's DSN is public");
        });
    }
    Ok(())
}
