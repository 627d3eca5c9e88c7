//! A request, from its headers to its answer.

use axum::Json;
use axum::body::Body;
use axum::extract::{Path, Request, State};
use axum::http::request::Parts;
use axum::response::{IntoResponse as _, Response};
use chrono::{DateTime, Utc};
use serde_json::json;
use shared::applications::{Admission, Application};
use shared::dsn::KeyVersion;
use shared::http::read_body_within;
use shared::model::text::first_chars;
use shared::model::{CheckIn, Report};
use shared::store::{StoreError, check_ins};
use uuid::Uuid;

use crate::app::App;
use crate::check_in::redacted;
use crate::contents::Contents;
use crate::encoding::Encoding;
use crate::envelope::{Envelope, Item, ItemKind};
use crate::refusal::Refusal;
use crate::{credentials, store_body};

/// A body may have this many bytes as it is sent: a Lambda's request ends at 6 MB, base64 included.
const BODY_BYTES: usize = 4 * 1024 * 1024;

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
struct Sent<'a> {
    project: i64,
    /// The key that headers or query have presented; none where only the body may have one.
    version: Option<KeyVersion>,
    encoding: Encoding,
    body: &'a [u8],
    now: DateTime<Utc>,
}

type Read = fn(&App, &Sent<'_>) -> Result<(KeyVersion, Contents), Refusal>;

async fn answer(app: &App, project: &str, request: Request, read: Read) -> Response {
    let now = Utc::now();
    let (parts, body) = request.into_parts();
    match take(app, project, &parts, body, read, now).await {
        Ok(id) => Json(json!({ "id": id.simple().to_string() })).into_response(),
        Err(refusal) => {
            if let Some(kind) = refusal.security_kind() {
                let description = format!("sentry-envelope: {}", refusal.detail());
                app.watch.refused_request(kind, description, &parts, now).await;
            }
            let project = first_chars(project, 20);
            tracing::info!(project, "refused an SDK's request: {}", refusal.detail());
            refusal.into_response()
        }
    }
}

async fn take(
    app: &App,
    project: &str,
    parts: &Parts,
    body: Body,
    read: Read,
    now: DateTime<Utc>,
) -> Result<Uuid, Refusal> {
    let is_number = project.bytes().all(|byte| byte.is_ascii_digit());
    let number = project.parse().ok().filter(|_| is_number);
    let project = number.ok_or_else(|| Refusal::malformed("the project in the path must be a number"))?;
    let key = credentials::presented(&parts.headers, parts.uri.query());
    let version = key.map(|key| app.verify(Some(&key), project)).transpose()?;
    let encoding = Encoding::of(&parts.headers)?;
    let body = read_body_within(body, BODY_BYTES).await?;
    let (version, contents) = read(app, &Sent { project, version, encoding, body: &body, now })?;
    keep(app, project, version, contents, now).await
}

fn read_envelope(app: &App, sent: &Sent<'_>) -> Result<(KeyVersion, Contents), Refusal> {
    let Sent { project, version, encoding, body, now } = *sent;
    let envelope = Envelope::open(encoding.decode(body));
    // Who has no key is told that before anything else.
    let version = match (version, &envelope) {
        (Some(version), _) => version,
        (None, Ok(envelope)) => {
            let dsn = envelope.header().dsn.as_deref();
            let key = dsn.map(|dsn| credentials::in_dsn(dsn, project).unwrap_or_default());
            app.verify(key.as_deref(), project)?
        }
        (None, Err(_)) => app.verify(None, project)?,
    };
    let envelope = envelope.map_err(|error| Refusal::from(&error))?;
    Ok((version, Contents::of_envelope(envelope, project, now)))
}

fn read_store(app: &App, sent: &Sent<'_>) -> Result<(KeyVersion, Contents), Refusal> {
    let Sent { project, version, encoding, body, now } = *sent;
    let version = version.map_or_else(|| app.verify(None, project), Ok)?;
    let payload = store_body::read(encoding, body).map_err(|error| Refusal::from(&error))?;
    let mut contents = Contents::default();
    contents.take(Item { number: 1, kind: ItemKind::Event, payload }, None, project, now);
    Ok((version, contents))
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
    app.directory.recognise(project, version, now).await?;
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
    // Last: no other place takes a check-in while the database is away, and no report is lost for that.
    for check_in in contents.check_ins {
        if let Err(error) = keep_check_in(app, &redacted(check_in, app.intake.redactor())).await {
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
    let budget = app.intake.store_budget();
    app.store.run_within(budget, |client| async move { check_ins::upsert(&client, check_in).await }).await?;
    Ok(())
}
