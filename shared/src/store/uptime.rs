//! The uptime of services over the last day, from their hourly roll-ups.

use std::collections::HashMap;

use chrono::{DateTime, Utc};
use tokio_postgres::types::Type;
use uuid::Uuid;

use super::row::column;
use super::{Client, StoreError};
use crate::model::latency;

/// The results of one service's checks, without maintenance.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Uptime {
    /// Healthy checks.
    pub healthy: i64,
    /// Degraded checks.
    pub degraded: i64,
    /// Failed checks.
    pub down: i64,
    /// Answers by latency, in the buckets of `latency_counts`.
    pub latency_counts: Vec<i64>,
}

impl Uptime {
    /// The share of the checks that did not fail, in percent; none without checks.
    #[must_use]
    #[expect(clippy::cast_precision_loss, reason = "a day has some thousand checks")]
    pub fn percent(&self) -> Option<f64> {
        let good = self.healthy + self.degraded;
        let all = good + self.down;
        (all > 0).then(|| good as f64 * 100.0 / all as f64)
    }
}

/// The last 24 hours of the first 1,000 enabled services (by environment and name), by id; services without checks are
/// left out.
///
/// # Errors
/// Any store error.
pub async fn last_day(client: &Client, now: DateTime<Utc>) -> Result<HashMap<Uuid, Uptime>, StoreError> {
    let buckets = i32::try_from(latency::BUCKETS).unwrap_or_default();
    let parameters = [(&now as _, Type::TIMESTAMPTZ), (&buckets as _, Type::INT4)];
    let rows = client.query_typed(include_str!("sql/last_day.sql"), &parameters).await?;
    rows.iter()
        .map(|row| {
            let uptime = Uptime {
                healthy: column(row, "healthy")?,
                degraded: column(row, "degraded")?,
                down: column(row, "down")?,
                latency_counts: column(row, "latency_counts")?,
            };
            Ok((column(row, "service_id")?, uptime))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn uptime_is_the_share_of_checks_that_did_not_fail() {
        let of = |healthy, degraded, down| Uptime { healthy, degraded, down, latency_counts: Vec::new() }.percent();
        assert_eq!(of(0, 0, 0), None);
        assert_eq!(of(98, 1, 1), Some(99.0));
        assert_eq!(of(0, 0, 3), Some(0.0));
    }
}
