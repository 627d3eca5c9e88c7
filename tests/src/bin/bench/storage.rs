//! The storage of checks: bytes of each table with its indexes, and the total of some weeks.

use std::fmt::Write as _;

use crate::figures::verdict;
use crate::server::Server;

/// The limit of Supabase's free plan, in megabytes (10^6 bytes).
const AIM_MB: f64 = 500.0;

/// The services of the computed total, each checked once a minute.
const SERVICES: f64 = 50.0;
const CHECKS_PER_DAY: f64 = SERVICES * 24.0 * 60.0;

/// How many days checks and roll-ups are kept: by default, with checks for a week, and as docs/services.md advises.
const KEPT: [(f64, f64); 3] = [(30.0, 400.0), (7.0, 400.0), (7.0, 100.0)];

/// The tables, and what one of their rows is about.
const TABLES: [(&str, &str); 4] = [
    ("service_health_checks", "check"),
    ("monitoring_checks", "check"),
    ("service_hourly", "service and hour"),
    ("service_daily", "service and day"),
];

/// What a row takes, in bytes.
#[derive(Clone, Copy, Default)]
struct Row {
    /// In the table itself, with its share of the free space there.
    table: f64,
    indexes: f64,
}

/// The rows of [`TABLES`], and the bytes of the rest of the database.
pub(crate) struct Storage {
    rows: [Row; 4],
    rest: f64,
}

impl Row {
    fn bytes(self) -> f64 {
        self.table + self.indexes
    }
}

impl Storage {
    /// Measures a database whose tables were empty before the checks.
    pub(crate) async fn measure(server: &Server) -> anyhow::Result<Self> {
        let mut rows = [Row::default(); 4];
        let mut all = 0.0;
        for ((table, _), row) in TABLES.iter().zip(&mut rows) {
            let sql = format!(
                "SELECT pg_relation_size('public.{table}')::float8, pg_indexes_size('public.{table}')::float8,
                    greatest(count(*), 1)::float8
                FROM public.{table}"
            );
            let found = server.client.query_one(&sql, &[]).await?;
            let (table, indexes, count): (f64, f64, f64) = (found.try_get(0)?, found.try_get(1)?, found.try_get(2)?);
            *row = Row { table: table / count, indexes: indexes / count };
            all += table + indexes;
        }
        let row = server.client.query_one("SELECT pg_database_size(current_database())::float8", &[]).await?;
        Ok(Self { rows, rest: row.try_get::<_, f64>(0)? - all })
    }

    /// The permanent storage of a check, in bytes.
    fn of_a_check(&self) -> f64 {
        self.rows[0].bytes() + self.rows[1].bytes()
    }

    fn rollups_mb(&self, days: f64) -> f64 {
        days * SERVICES * (24.0 * self.rows[2].bytes() + self.rows[3].bytes()) / 1e6
    }

    /// The total in megabytes, when checks and roll-ups are kept for so many days.
    fn total_mb(&self, (checks, rollups): (f64, f64)) -> f64 {
        (self.of_a_check() * CHECKS_PER_DAY * checks + self.rest) / 1e6 + self.rollups_mb(rollups)
    }

    /// The part of the section about storage.
    pub(crate) fn section(&self) -> anyhow::Result<String> {
        let mut text = "| Table | Of each | Row, bytes | Its indexes, bytes |\n|---|---|--:|--:|\n".to_owned();
        for ((table, each), row) in TABLES.iter().zip(self.rows) {
            writeln!(text, "| `{table}` | {each} | {:.0} | {:.0} |", row.table, row.indexes)?;
        }
        writeln!(
            text,
            "\nA check takes {:.0} bytes. {SERVICES} services once a minute: roll-ups of 100 days {:.0} MB, and all else that a \
             database with them holds {:.0} MB.\n",
            self.of_a_check(),
            self.rollups_mb(100.0),
            self.rest / 1e6
        )?;
        for kept in KEPT {
            let total = self.total_mb(kept);
            writeln!(
                text,
                "- Checks kept for {} days, roll-ups for {}: {total:.0} MB in all, aim {AIM_MB} MB: {}.",
                kept.0,
                kept.1,
                verdict(total < AIM_MB)
            )?;
        }
        Ok(text)
    }
}
