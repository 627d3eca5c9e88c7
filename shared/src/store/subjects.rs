//! What somebody else's system calls the problems that it was told of: from our `dedup_key` back to the problems.
//!
//! Users: `pagerduty-events`.

use tokio_postgres::types::Type;

use super::row::column;
use super::{Client, StoreError};
use crate::model::Subject;

/// As many are listed at a time.
const PAGE: usize = 100;

/// All the problems that were told over any channel under this key. None: it is somebody else's.
///
/// # Errors
/// Any store error.
pub async fn list_of_dedup_key(client: &Client, dedup_key: &str) -> Result<Vec<Subject>, StoreError> {
    let sql = "
        SELECT DISTINCT member.subject
        FROM public.notification_members AS member
        WHERE member.group_key IN (
            SELECT told.group_key FROM public.notifications AS told WHERE told.dedup_key = $1
        )
            AND member.subject > $2
        ORDER BY member.subject
        LIMIT $3";
    let (mut subjects, mut last) = (Vec::new(), String::new());
    let limit = i64::try_from(PAGE).unwrap_or(i64::MAX);
    loop {
        let parameters = [(&dedup_key as _, Type::TEXT), (&last as _, Type::TEXT), (&limit as _, Type::INT8)];
        let rows = client.query_typed(sql, &parameters).await?;
        let names: Vec<String> = rows.iter().map(|row| column(row, "subject")).collect::<Result<_, _>>()?;
        subjects.extend(names.iter().filter_map(|name| Subject::parse(name)));
        match names.into_iter().nth(PAGE - 1) {
            Some(name) => last = name,
            None => return Ok(subjects),
        }
    }
}
