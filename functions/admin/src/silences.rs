//! `/api/silences`: suppress notifications for matching problems until a time. An author and a comment are required.

use std::time::Duration;

use axum::Json;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, Request, State};
use axum::http::StatusCode;
use chrono::{DateTime, SubsecRound as _, TimeDelta, Utc};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use shared::http::ApiError;
use shared::model::text::{first_chars, one_line};
use shared::model::{Matchers, Silence, uuid_at};
use shared::redact::Redactor;
use shared::store::reactions::person;
use shared::store::silences;
use uuid::Uuid;

use crate::App;
use crate::access::read;
use crate::reactions::ReactionBody;

/// A silence always ends: a forgotten one must not suppress notifications for ever.
const LONGEST: TimeDelta = TimeDelta::days(30);
/// The latest start of a silence.
const AHEAD: TimeDelta = TimeDelta::days(365);
const COMMENT_CHARS: usize = 500;

/// The body of a request.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct SilenceRequest {
    matchers: Value,
    /// Confirms that all problems are meant.
    all: bool,
    starts_at: Option<DateTime<Utc>>,
    ends_at: Option<DateTime<Utc>>,
    duration: Option<String>,
    author: Option<String>,
    comment: Option<String>,
}

/// The list.
#[derive(Debug, Serialize)]
pub(crate) struct SilenceList {
    silences: Vec<Silence>,
}

/// 201 with the silence.
pub(crate) async fn create(State(app): State<App>, request: Request) -> Result<(StatusCode, Json<Silence>), ApiError> {
    // Truncated to the precision of the database, so that the answer equals what is read later.
    let now = Utc::now().trunc_subsecs(6);
    let wanted: SilenceRequest = app.take(request, now).await?;
    let silence = &wanted.into_silence(now)?;
    app.store.run(|client| async move { silences::insert(&client, silence).await }).await?;
    let (id, author) = (silence.id, &silence.author);
    tracing::info!(silence.id = %id, author, ends_at = %silence.ends_at, "silence {id} by {author}");
    Ok((StatusCode::CREATED, Json(silence.clone())))
}

/// 200 with current and future silences.
pub(crate) async fn list(State(app): State<App>, request: Request) -> Result<Json<SilenceList>, ApiError> {
    let now = Utc::now();
    app.admit(&request.into_parts().0, now).await?;
    let silences = app.store.run(|client| async move { silences::list(&client, now).await }).await?;
    Ok(Json(SilenceList { silences }))
}

/// Ends a silence; 200 with the silence.
pub(crate) async fn end(
    State(app): State<App>,
    id: Result<Path<String>, PathRejection>,
    request: Request,
) -> Result<Json<Silence>, ApiError> {
    let now = Utc::now();
    let body: ReactionBody = app.take(request, now).await?;
    let missing = || ApiError::not_found("no such silence");
    let id = id.ok().and_then(|Path(id)| Uuid::try_parse(&id).ok()).ok_or_else(missing)?;
    let by = &body.by();
    let ended = app.store.run(|client| async move { silences::end(&client, id, by, now).await }).await?;
    let silence = ended.ok_or_else(missing)?;
    tracing::info!(silence.id = %id, by, "silence {id} was ended by {by}");
    Ok(Json(silence))
}

impl SilenceRequest {
    fn into_silence(self, now: DateTime<Utc>) -> Result<Silence, ApiError> {
        let matchers = self.matchers()?;
        let author = self
            .author
            .as_deref()
            .and_then(person)
            .ok_or_else(|| ApiError::invalid("`author` is missing: who requests the silence"))?;
        let comment = self.comment()?;
        let (starts_at, ends_at) = self.times(now)?;
        Ok(Silence { id: uuid_at(now), matchers, starts_at, ends_at, author, comment, created_at: now })
    }

    fn matchers(&self) -> Result<Matchers, ApiError> {
        let matchers = match &self.matchers {
            Value::Null => Matchers::default(),
            given => read::<Matchers>(given.clone())
                .map_err(|error| ApiError::invalid(format!("`matchers`: {}", error.message())))?,
        };
        matchers.validate().map_err(|why| ApiError::invalid(format!("`matchers`: {why}")))?;
        if !matchers.hours.is_empty() {
            // Notifications are caught up when a silence ends; the end of an hour would not trigger that.
            return Err(ApiError::invalid("`matchers`: a silence has no `hours`, but a start and an end"));
        }
        match (matchers.is_any(), self.all) {
            (true, false) => {
                Err(ApiError::invalid("`matchers` match all problems: confirm with \"all\": true, or name some"))
            }
            (false, true) => Err(ApiError::invalid("`all` and `matchers`: only one of them")),
            _ => Ok(matchers),
        }
    }

    fn comment(&self) -> Result<String, ApiError> {
        let comment = one_line(self.comment.as_deref().unwrap_or_default());
        let comment = Redactor::default().text(comment.trim()).into_owned();
        if comment.is_empty() {
            return Err(ApiError::invalid("`comment` is missing: the reason for the silence"));
        }
        Ok(first_chars(&comment, COMMENT_CHARS).to_owned())
    }

    /// Start and end.
    fn times(&self, now: DateTime<Utc>) -> Result<(DateTime<Utc>, DateTime<Utc>), ApiError> {
        let starts_at = self.starts_at.unwrap_or(now);
        let too_long = || ApiError::invalid("a silence lasts for at most 30 days");
        let ends_at = match (self.ends_at, &self.duration) {
            (Some(ends_at), None) => ends_at,
            (None, Some(text)) => {
                let duration: Duration = humantime::parse_duration(text)
                    .map_err(|error| ApiError::invalid(format!("`duration` must be a time such as \"2h\": {error}")))?;
                TimeDelta::from_std(duration)
                    .ok()
                    .filter(|duration| *duration <= LONGEST)
                    .and_then(|duration| starts_at.checked_add_signed(duration))
                    .ok_or_else(too_long)?
            }
            _ => return Err(ApiError::invalid("either `ends_at` or `duration`")),
        };
        if starts_at > now + AHEAD || starts_at < now - LONGEST {
            return Err(ApiError::invalid("`starts_at` must lie within a month before now and a year after"));
        }
        if ends_at <= starts_at || ends_at <= now {
            return Err(ApiError::invalid("a silence must end after it begins, and not before now"));
        }
        if ends_at - starts_at > LONGEST {
            return Err(too_long());
        }
        Ok((starts_at, ends_at))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const NOW: &str = "2026-11-24T12:00:00Z";

    fn silence(body: Value) -> Result<Silence, String> {
        let now = NOW.parse().unwrap();
        let wanted: SilenceRequest = read(body).map_err(|error| error.message().to_owned())?;
        wanted.into_silence(now).map_err(|error| error.message().to_owned())
    }

    fn body(more: Value) -> Value {
        let mut body = json!({"matchers": {"application": ["shop"]}, "author": "ann", "comment": "deploying"});
        body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        body
    }

    #[test]
    fn a_silence_lasts_from_now_or_from_its_start() {
        let now: DateTime<Utc> = NOW.parse().unwrap();
        let short = silence(body(json!({"duration": "2h"}))).unwrap();
        assert_eq!((short.starts_at, short.ends_at), (now, now + TimeDelta::hours(2)));
        assert_eq!((short.author.as_str(), short.comment.as_str()), ("ann", "deploying"));
        let planned = silence(body(json!({"starts_at": "2026-12-01T00:00:00Z", "duration": "30days"}))).unwrap();
        assert_eq!(planned.ends_at.to_string(), "2026-12-31 00:00:00 UTC");
        let all = json!({"all": true, "matchers": {}, "ends_at": "2026-11-24T13:00:00+01:00"});
        assert!(silence(body(all.clone())).is_err(), "that is now");
        let all = json!({"all": true, "matchers": {}, "ends_at": "2026-11-24T14:00:00+01:00"});
        assert!(silence(body(all)).unwrap().matchers.is_any());
    }

    #[test]
    fn each_invalid_field_is_named() {
        for (more, named) in [
            (json!({}), "either `ends_at` or `duration`"),
            (json!({"duration": "2h", "ends_at": NOW}), "either `ends_at` or `duration`"),
            (json!({"duration": "soon"}), "`duration`"),
            (json!({"duration": "31days"}), "at most 30 days"),
            (json!({"duration": "0s"}), "end after it begins"),
            (json!({"ends_at": "2027-01-24T12:00:00Z"}), "at most 30 days"),
            (json!({"ends_at": "2026-11-24T11:00:00Z"}), "end after it begins"),
            (json!({"starts_at": "2028-11-24T11:00:00Z", "duration": "1h"}), "`starts_at`"),
            (json!({"starts_at": "+262142-01-01T00:00:00Z", "duration": "30days"}), "`starts_at`"),
            (json!({"ends_at": "tomorrow"}), "can't be used"),
            (json!({"duration": "2h", "author": " "}), "`author`"),
            (json!({"duration": "2h", "comment": "\n"}), "`comment`"),
            (json!({"duration": "2h", "matchers": {}}), "\"all\": true"),
            (json!({"duration": "2h", "matchers": null}), "\"all\": true"),
            (json!({"duration": "2h", "all": true}), "only one of them"),
            (json!({"duration": "2h", "matchers": {"severity": ["fatal"]}}), "`matchers`"),
            (json!({"duration": "2h", "matchers": {"sevrity": ["LOW"]}}), "sevrity"),
            (json!({"duration": "2h", "matchers": {"service": [""]}}), "service"),
            (json!({"duration": "2h", "until": "x"}), "until"),
        ] {
            let refused = silence(body(more.clone())).unwrap_err();
            assert!(refused.contains(named), "{more}: {refused}");
        }
    }
}
