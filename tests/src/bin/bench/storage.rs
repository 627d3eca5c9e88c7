//! What checks cost on the disk: bytes of each table with its indexes, and what some weeks come to.

use std::fmt::Write as _;

use crate::figures::verdict;
use crate::server::Server;

/// What the free plan of Supabase gives, in megabytes (10^6 bytes).
const AIM_MB: f64 = 500.0;

/// The services that are reckoned with, each checked once a minute.
const SERVICES: f64 = 50.0;
const CHECKS_PER_DAY: f64 = SERVICES * 24.0 * 60.0;

/// How long the roll-ups are kept.
const ROLLUP_DAYS: f64 = 400.0;

/// The tables, and what a row of them stands for.
const TABLES: [(&str, &str); 4] = [
    ("service_health_checks", "check"),
    ("monitoring_checks", "check"),
    ("service_hourly", "service and hour"),
    ("service_daily", "service and day"),
];

/// Bytes per row of each of [`TABLES`], and of all else together.
pub(crate) struct Storage {
    bytes: [f64; 4],
    rest: f64,
}

impl Storage {
    /// Measures a database whose tables were empty before the checks.
    pub(crate) async fn measure(server: &Server) -> anyhow::Result<Self> {
        let mut bytes = [0.0; 4];
        let mut all = 0.0;
        for ((table, _), bytes) in TABLES.iter().zip(&mut bytes) {
            let sql = format!(
                "SELECT pg_total_relation_size('public.{table}')::float8, greatest(count(*), 1)::float8 FROM public.{table}"
            );
            let row = server.client.query_one(&sql, &[]).await?;
            let (size, rows): (f64, f64) = (row.try_get(0)?, row.try_get(1)?);
            *bytes = size / rows;
            all += size;
        }
        let row = server.client.query_one("SELECT pg_database_size(current_database())::float8", &[]).await?;
        Ok(Self { bytes, rest: row.try_get::<_, f64>(0)? - all })
    }

    /// What a check adds for good, in bytes.
    fn of_a_check(&self) -> f64 {
        self.bytes[0] + self.bytes[1]
    }

    fn rollups_mb(&self) -> f64 {
        ROLLUP_DAYS * SERVICES * (24.0 * self.bytes[2] + self.bytes[3]) / 1e6
    }

    /// All of it in megabytes, when checks are kept for so many days.
    fn total_mb(&self, days: f64) -> f64 {
        (self.of_a_check() * CHECKS_PER_DAY * days + self.rest) / 1e6 + self.rollups_mb()
    }

    /// The part of the section about it.
    pub(crate) fn section(&self) -> anyhow::Result<String> {
        let mut text = "| Table | Bytes with indexes | of each |\n|---|--:|---|\n".to_owned();
        for ((table, row), bytes) in TABLES.iter().zip(self.bytes) {
            writeln!(text, "| `{table}` | {bytes:.0} | {row} |")?;
        }
        writeln!(
            text,
            "\nA check takes {:.0} bytes. {SERVICES} services once a minute: roll-ups of {ROLLUP_DAYS} days {:.0} MB, and all \
             else that a database with them holds {:.0} MB.\n",
            self.of_a_check(),
            self.rollups_mb(),
            self.rest / 1e6
        )?;
        for days in [30.0, 7.0] {
            let total = self.total_mb(days);
            writeln!(
                text,
                "- Checks kept for {days} days: {total:.0} MB in all, aim {AIM_MB} MB: {}.",
                verdict(total < AIM_MB)
            )?;
        }
        Ok(text)
    }
}
