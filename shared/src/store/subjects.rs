//! What somebody else's system calls the problems that it was told of: from our `dedup_key` back to the problems.
//!
//! Users: `pagerduty-events`.

use chrono::{DateTime, Utc};
use tokio_postgres::types::Type;

use super::row::column;
use super::{Client, StoreError};
use crate::model::Subject;

/// As many are listed at a time.
const PAGE: usize = 100;

/// All the problems that people were told of under one of these keys and that were there at this instant. None: it is
/// somebody else's, or over.
///
/// # Errors
/// Any store error.
pub async fn list_of_dedup_keys(
    client: &Client,
    dedup_keys: &[String],
    at: Option<DateTime<Utc>>,
) -> Result<Vec<Subject>, StoreError> {
    let sql = "
        SELECT DISTINCT member.subject
        FROM public.notification_members AS member
        WHERE member.group_key IN (
            SELECT told.group_key FROM public.notifications AS told WHERE told.dedup_key = ANY($1)
        )
            AND member.told IN ('firing', 'acknowledged')
            -- What has begun since then is another thing, under the same key.
            AND ($4::timestamptz IS NULL OR member.fired_at <= $4)
            AND member.subject > $2
        ORDER BY member.subject
        LIMIT $3";
    let (mut subjects, mut last) = (Vec::new(), String::new());
    let limit = i64::try_from(PAGE).unwrap_or(i64::MAX);
    loop {
        let parameters = [
            (&dedup_keys as _, Type::TEXT_ARRAY),
            (&last as _, Type::TEXT),
            (&limit as _, Type::INT8),
            (&at as _, Type::TIMESTAMPTZ),
        ];
        let rows = client.query_typed(sql, &parameters).await?;
        let names: Vec<String> = rows.iter().map(|row| column(row, "subject")).collect::<Result<_, _>>()?;
        subjects.extend(names.iter().filter_map(|name| Subject::parse(name)));
        match names.into_iter().nth(PAGE - 1) {
            Some(name) => last = name,
            None => return Ok(subjects),
        }
    }
}
