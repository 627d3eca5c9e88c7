//! `GET /api/incidents` (filters, keyset pages) and `GET /api/incidents/{id}`.

use axum::Json;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, RawQuery, State};
use axum::http::request::Parts;
use serde_json::Value;
use shared::http::ApiError;
use shared::model::{Category, Incident, IncidentId, IncidentStatus, Severity};
use shared::store::incidents::{self, Filter};

use crate::App;
use crate::paging::{Page, read_query};

/// 200 with `{"incidents": […], "next_cursor": …}`: open incidents first, then the newest change first. Long fields
/// (message, stack, context) are only in the single incident: a Lambda's answer ends at 6 MB.
///
/// # Errors
/// 400 naming the invalid parameter; 401 without the read token.
pub async fn list(State(app): State<App>, parts: Parts, RawQuery(query): RawQuery) -> Result<Json<Value>, ApiError> {
    app.gate.check(&parts)?;
    let (filter, page) = &parse(query.as_deref().unwrap_or_default())?;
    let listed =
        app.store.run(|client| async move { incidents::list(&client, filter, page.after, page.rows()).await }).await?;
    Ok(page.answer("incidents", listed, |it| it.position))
}

/// 200 with an [`Incident`].
///
/// # Errors
/// 404 when there is no such incident; 401 without the read token.
pub async fn show(
    State(app): State<App>,
    parts: Parts,
    id: Result<Path<String>, PathRejection>,
) -> Result<Json<Incident>, ApiError> {
    app.gate.check(&parts)?;
    let missing = || ApiError::not_found("no such incident");
    // Not UTF-8, or with a NUL: no incident has such an id.
    let Some(Path(id)) = id.ok().filter(|Path(id)| !id.contains('\0')) else {
        return Err(missing());
    };
    let id = &IncidentId::from_stored(id);
    let incident = app.store.run(|client| async move { incidents::find(&client, id).await }).await?;
    incident.map(Json).ok_or_else(missing)
}

fn parse(query: &str) -> Result<(Filter, Page), ApiError> {
    let (mut filter, mut page) = (Filter::default(), Page::default());
    read_query(query, |parameter| {
        match parameter.name {
            "status" => {
                filter.status = Some(parameter.word(IncidentStatus::parse, "detected, acknowledged or resolved")?);
            }
            "severity" => filter.severity = Some(parameter.word(Severity::parse, "CRITICAL, HIGH, MEDIUM or LOW")?),
            "category" => {
                let known = parameter
                    .word(Category::parse, "backend, frontend, database, security, infrastructure or unknown")?;
                filter.category = Some(known.as_str().to_owned());
            }
            "application" => filter.application = Some(parameter.text()?),
            "environment" => filter.environment = Some(parameter.text()?),
            _ => page.read(parameter)?,
        }
        Ok(())
    })?;
    Ok((filter, page))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn filters_are_read() {
        let (filter, page) = parse("status=detected&severity=high&application=my%20shop&limit=5").unwrap();
        assert_eq!((filter.status, filter.severity), (Some(IncidentStatus::Detected), Some(Severity::High)));
        assert_eq!((filter.application.as_deref(), page.limit), (Some("my shop"), 5));
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
            let message = format!("{:?}", parse(query).unwrap_err());
            assert!(message.contains(&format!("`{name}`")), "{query} → {message}");
        }
    }
}
