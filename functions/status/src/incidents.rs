//! `GET /api/incidents` (filters, keyset pages) and `GET /api/incidents/{id}`.

use axum::Json;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, RawQuery, State};
use axum::http::request::Parts;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chrono::{DateTime, Datelike as _};
use serde::Serialize;
use shared::http::ApiError;
use shared::model::{Category, Incident, IncidentId, IncidentStatus, IncidentSummary, Severity};
use shared::store::incidents::{self, Filter, Position};
use url::form_urlencoded;
use uuid::Uuid;

use crate::App;

const DEFAULT_LIMIT: u16 = 50;
const MAX_LIMIT: u16 = 200;

/// One page of the list. What may be long (message, stack, context) stands only in the single incident: a Lambda's
/// answer ends at 6 MB.
#[derive(Debug, Serialize)]
pub struct Page {
    /// The incidents, newest first.
    pub incidents: Vec<IncidentSummary>,
    /// Where the next page begins (`?cursor=`); none on the last one.
    pub next_cursor: Option<String>,
}

/// What a caller asked for.
#[derive(Debug, PartialEq, Eq)]
struct Query {
    filter: Filter,
    after: Option<Position>,
    limit: u16,
}

/// 200 with a [`Page`].
///
/// # Errors
/// 400 naming the parameter that can't be understood; 401 without the read token.
pub async fn list(State(app): State<App>, parts: Parts, RawQuery(query): RawQuery) -> Result<Json<Page>, ApiError> {
    app.gate.check(&parts)?;
    let query = &Query::parse(query.as_deref().unwrap_or_default())?;
    // One more than asked for tells whether there is a next page.
    let mut incidents = app
        .store
        .run(|client| async move { incidents::list(&client, &query.filter, query.after, query.limit + 1).await })
        .await?;
    let more = incidents.len() > usize::from(query.limit);
    incidents.truncate(usize::from(query.limit));
    let next_cursor = incidents.last().filter(|_| more).map(cursor_after);
    Ok(Json(Page { incidents, next_cursor }))
}

/// 200 with an [`Incident`].
///
/// # Errors
/// 404 when there is none of this id; 401 without the read token.
pub async fn show(
    State(app): State<App>,
    parts: Parts,
    id: Result<Path<String>, PathRejection>,
) -> Result<Json<Incident>, ApiError> {
    app.gate.check(&parts)?;
    let missing = || ApiError::not_found("no such incident");
    // What is no text, or holds a NUL, names no incident.
    let Some(Path(id)) = id.ok().filter(|Path(id)| !id.contains('\0')) else {
        return Err(missing());
    };
    let id = &IncidentId::from_stored(id);
    let incident = app.store.run(|client| async move { incidents::find(&client, id).await }).await?;
    incident.map(Json).ok_or_else(missing)
}

impl Query {
    fn parse(query: &str) -> Result<Self, ApiError> {
        let mut parsed = Self { filter: Filter::default(), after: None, limit: DEFAULT_LIMIT };
        for (name, value) in form_urlencoded::parse(query.as_bytes()) {
            let wrong = |expected: &str| ApiError::invalid(format!("`{name}` must be {expected}"));
            let text = || {
                if value.contains('\0') { Err(wrong("text without NUL")) } else { Ok(Some(value.clone().into_owned())) }
            };
            match name.as_ref() {
                "status" => {
                    parsed.filter.status =
                        Some(IncidentStatus::parse(&value).ok_or_else(|| wrong("detected, acknowledged or resolved"))?);
                }
                "severity" => {
                    parsed.filter.severity =
                        Some(Severity::parse(&value).ok_or_else(|| wrong("CRITICAL, HIGH, MEDIUM or LOW"))?);
                }
                "category" => {
                    let known = Category::parse(&value)
                        .ok_or_else(|| wrong("backend, frontend, database, security, infrastructure or unknown"))?;
                    parsed.filter.category = Some(known.as_str().to_owned());
                }
                "application" => parsed.filter.application = text()?,
                "environment" => parsed.filter.environment = text()?,
                "cursor" => {
                    parsed.after = Some(position(&value).ok_or_else(|| wrong("a next_cursor of this list"))?);
                }
                "limit" => {
                    parsed.limit = value
                        .parse()
                        .ok()
                        .filter(|limit| (1..=MAX_LIMIT).contains(limit))
                        .ok_or_else(|| wrong("a number from 1 to 200"))?;
                }
                _ => return Err(ApiError::invalid(format!("`{name}` is no parameter of this list"))),
            }
        }
        Ok(parsed)
    }
}

fn cursor_after(incident: &IncidentSummary) -> String {
    URL_SAFE_NO_PAD.encode(format!("{}/{}", incident.detected_at.timestamp_micros(), incident.id))
}

fn position(cursor: &str) -> Option<Position> {
    let text = String::from_utf8(URL_SAFE_NO_PAD.decode(cursor).ok()?).ok()?;
    let (micros, id) = text.split_once('/')?;
    let detected_at = DateTime::from_timestamp_micros(micros.parse().ok()?)?;
    Some(Position {
        // No incident lies beyond these years, and Postgres knows none.
        detected_at: Some(detected_at).filter(|instant| (1..=9999).contains(&instant.year()))?,
        id: Uuid::try_parse(id).ok()?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn filters_are_read() {
        let query = Query::parse("status=detected&severity=high&application=my%20shop&limit=5").unwrap();
        assert_eq!(query.filter.status, Some(IncidentStatus::Detected));
        assert_eq!(query.filter.severity, Some(Severity::High));
        assert_eq!(query.filter.application.as_deref(), Some("my shop"));
        assert_eq!(query.limit, 5);
    }

    #[test]
    fn each_wrong_parameter_is_named() {
        for query in [
            "status=open",
            "severity=bad",
            "category=x",
            "limit=0",
            "limit=201",
            "limit=x",
            "cursor=zzz",
            "page=2",
            "application=%00",
        ] {
            let name = query.split('=').next().unwrap();
            let message = format!("{:?}", Query::parse(query).unwrap_err());
            assert!(message.contains(&format!("`{name}`")), "{query} → {message}");
        }
    }
}
