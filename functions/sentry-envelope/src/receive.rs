//! A request, from its headers to its answer.

use std::sync::Arc;

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
use shared::defer::{Allowance, Deferred};
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

/// A body may have this many bytes as it is sent: a Lambda's request ends at 6 MB, base64 included.
const BODY_BYTES: usize = 4 * 1024 * 1024;

/// Check-ins that may be deferred in a minute. No quota is for them, and DSNs are public: whoever has one must not fill the
/// place where errors wait.
static WAITING: Allowance = Allowance::new(600);

/// What these counts are filed under.
const COUNTED_AS: &str = "sentry-envelope";

/// `POST /api/{project}/envelope/`.
pub(crate) async fn envelope(State(app): State<App>, Path(project): Path<String>, request: Request) -> Response {
    answer(&app, &project, request, read_envelope).await
}

/// `POST /api/{project}/store/`.
pub(crate) async fn store(State(app): State<App>, Path(project): Path<String>, request: Request) -> Response {
    answer(&app, &project, request, read_store).await
}

/// What was sent, before it is decompressed.
struct Sent {
    project: i64,
    /// The key that headers or query have presented; none where only the body may have one.
    version: Option<KeyVersion>,
    encoding: Encoding,
    body: Bytes,
    now: DateTime<Utc>,
}

impl Sent {
    /// A plain body of up to this many bytes is read where it is: that takes less than going elsewhere.
    const SMALL_BYTES: usize = 64 * 1024;

    fn is_read_at_once(&self) -> bool {
        // A body of `/store/` that is no JSON may be a compressed one.
        self.encoding == Encoding::Identity
            && self.body.len() <= Self::SMALL_BYTES
            && self.body.trim_ascii_start().starts_with(b"{")
    }
}

/// What a body was found to be.
struct Found {
    result: Result<(KeyVersion, Contents), Refusal>,
    is_bomb: bool,
}

impl From<Refusal> for Found {
    fn from(refusal: Refusal) -> Self {
        Self { is_bomb: refusal == Refusal::Bomb, result: Err(refusal) }
    }
}

type Read = fn(&App, &Sent) -> Found;

async fn answer(app: &App, project: &str, request: Request, read: Read) -> Response {
    let now = Utc::now();
    let (parts, body) = request.into_parts();
    let mut readers = Readers::Any;
    let mut response = match take(app, project, &parts, body, read, now, &mut readers).await {
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
    read: Read,
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
    let sent = Sent { project, version, encoding, body, now };
    let sender = Sender::new(version.map(|_| project), source_ip(&parts.headers, &parts.extensions));
    let found = if sent.is_read_at_once() {
        read(app, &sent)
    } else {
        let (app, bytes) = (app.clone(), sent.body.len());
        let decoding = app.decoding.clone();
        decoding.run(sender, bytes, now, |found: &Found| found.is_bomb, move || read(&app, &sent)).await?
    };
    if found.is_bomb && version.is_some() {
        app.directory.charge_bomb(project, now);
    }
    let (found_version, contents) = found.result?;
    if version.is_none() {
        *readers = app.readers(project, found_version, &parts.headers, now).await?;
    }
    keep(app, project, found_version, contents, now).await
}

fn read_envelope(app: &App, sent: &Sent) -> Found {
    let Sent { project, version, encoding, ref body, now } = *sent;
    let envelope = Envelope::open(encoding.decode(body));
    let is_bomb = matches!(&envelope, Err(error) if error.is_bomb());
    // Who has no key is told that before anything else.
    let version = match (version, &envelope) {
        (Some(version), _) => Ok(version),
        (None, Ok(envelope)) => {
            let dsn = envelope.header().dsn.as_deref();
            let key = dsn.map(|dsn| credentials::in_dsn(dsn, project).unwrap_or_default());
            app.verify(key.as_deref(), project)
        }
        (None, Err(_)) => app.verify(None, project),
    };
    let opened = version.and_then(|version| Ok((version, envelope.map_err(|error| Refusal::from(&error))?)));
    let result = opened.map(|(version, envelope)| (version, Contents::of_envelope(envelope, project, now)));
    let is_bomb = is_bomb || matches!(&result, Ok((_, contents)) if contents.is_bomb);
    Found { result, is_bomb }
}

fn read_store(app: &App, sent: &Sent) -> Found {
    let Sent { project, version, encoding, ref body, now } = *sent;
    let version = match version.map_or_else(|| app.verify(None, project), Ok) {
        Ok(version) => version,
        Err(refusal) => return refusal.into(),
    };
    match store_body::read(encoding, body) {
        Ok(payload) => {
            let mut contents = Contents::default();
            contents.take(Item { number: 1, kind: ItemKind::Event, payload }, None, project, now);
            Found { result: Ok((version, contents)), is_bomb: false }
        }
        Err(error) => Refusal::from(&error).into(),
    }
}

/// Keeps what may come in, and gives the id that the answer names.
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
    // Quotas are for errors: everything else needs a good key only.
    for (kind, times) in &contents.counted {
        for _ in 0..*times {
            app.counters.count(COUNTED_AS, kind, now).await;
        }
    }
    // What goes wrong with one thing must not cost the one beside it: it is told when all have had their turn.
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

/// The report with what its application's row says; without it, `shared::intake` will ask later.
fn attributed(mut report: Report, application: Option<Application>) -> Report {
    let Some(application) = application else { return report };
    if report.environment.trim().is_empty() {
        report.environment = application.environment.unwrap_or_default();
    }
    report.application = application.name;
    report
}

async fn keep_check_in(app: &App, check_in: &CheckIn) -> Result<(), StoreError> {
    let deferral = app.intake.deferral(app.intake.store_budget());
    let upsert = |client: Arc<_>| async move { check_ins::upsert(&client, check_in).await };
    let otherwise = || WAITING.take(check_in.received_at).then(|| Deferred::CheckIn(Box::new(check_in.clone())));
    deferral.store(&app.store, upsert, otherwise).await.map(drop)
}
