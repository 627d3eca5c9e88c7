//! Finds the incidents and alerts that were sent to a vendor under a `dedup_key`.

use chrono::{DateTime, Utc};
use tokio_postgres::types::Type;

use super::row::column;
use super::{Client, StoreError};
use crate::model::Subject;

/// The page size.
const PAGE: usize = 100;

/// All open incidents and alerts that were notified under one of these keys and had begun at this instant. Empty if the
/// keys are not ours or everything is resolved.
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
            SELECT notification.group_key FROM public.notifications AS notification
            WHERE notification.dedup_key = ANY($1)
        )
            AND member.told IN ('firing', 'acknowledged')
            -- A later outbreak under the same key is not meant.
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
