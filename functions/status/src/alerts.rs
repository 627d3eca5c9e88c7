//! `GET /api/alerts` (filters, keyset pages).

use axum::Json;
use axum::extract::{RawQuery, State};
use axum::http::request::Parts;
use serde_json::Value;
use shared::http::ApiError;
use shared::model::AlertStatus;
use shared::store::alerts::{self, Filter};

use crate::App;
use crate::paging::{Page, read_query};

/// 200 with `{"alerts": […], "next_cursor": …}`: unresolved alerts first, then the newest first.
///
/// # Errors
/// 400 naming the invalid parameter; 401 without the read token.
pub async fn list(State(app): State<App>, parts: Parts, RawQuery(query): RawQuery) -> Result<Json<Value>, ApiError> {
    app.gate.check(&parts)?;
    let (filter, page) = &parse(query.as_deref().unwrap_or_default())?;
    let listed =
        app.store.run(|client| async move { alerts::list(&client, filter, page.after, page.rows()).await }).await?;
    Ok(page.answer("alerts", listed, alerts::position))
}

fn parse(query: &str) -> Result<(Filter, Page), ApiError> {
    let (mut filter, mut page) = (Filter::default(), Page::default());
    read_query(query, |parameter| {
        match parameter.name {
            "status" => filter.status = Some(parameter.word(AlertStatus::parse, "active, acknowledged or resolved")?),
            "service" => filter.service = Some(parameter.text()?),
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
    fn filters_are_read_and_each_wrong_parameter_is_named() {
        let (filter, page) = parse("status=active&service=my%20shop&environment=test&limit=5").unwrap();
        assert_eq!((filter.status, filter.service.as_deref()), (Some(AlertStatus::Active), Some("my shop")));
        assert_eq!((filter.environment.as_deref(), page.limit), (Some("test"), 5));
        for query in ["status=open", "service=%00", "limit=0", "cursor=zzz", "severity=HIGH"] {
            let name = query.split('=').next().unwrap();
            let message = format!("{:?}", parse(query).unwrap_err());
            assert!(message.contains(&format!("`{name}`")), "{query} → {message}");
        }
    }
}
