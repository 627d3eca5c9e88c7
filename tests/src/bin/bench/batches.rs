//! What `replay` gains by storing whole batches: the same reports one by one, and a hundred at a time.

use std::time::Instant;

use anyhow::ensure;
use chrono::Utc;
use secrecy::SecretString;
use shared::config::DatabaseConfig;
use shared::intake::{Intake, IntakeConfig};
use shared::model::{DeliveryKey, Report};
use shared::publish::{BusConfig, Publisher};
use shared::store::{PoolSize, Store};

use crate::figures::verdict;
use crate::server::Server;

/// Reports of each kind.
const REPORTS: u32 = 2_000;
/// The wanted ratio of rows per second, batches to single statements.
const AIM: f64 = 4.0;

/// Rows per second.
pub(crate) struct Batches {
    single: f64,
    batched: f64,
}

impl Batches {
    /// Stores reports of 100 errors both ways, over one connection.
    pub(crate) async fn measure(server: &Server) -> anyhow::Result<Self> {
        let config = DatabaseConfig::at(SecretString::from(server.url()));
        let store = Store::new(&config, "bench", PoolSize(1))?;
        let intake = Intake::new(store.clone(), Publisher::new(store, BusConfig::default()), IntakeConfig::default());
        write(&intake, reports("warm-up", 200), 100).await?;
        let single = write(&intake, reports("single", REPORTS), 1).await?;
        let batched = write(&intake, reports("batched", REPORTS), 100).await?;
        Ok(Self { single, batched })
    }

    /// Whether the aim is met.
    pub(crate) fn verdict(&self) -> String {
        let ratio = self.batched / self.single;
        format!(
            "- `replay`, 1 kB, one connection: {:.0} rows/s in batches of 100, {:.0} one by one: {ratio:.1} times, aim {AIM}: \
             {}.\n",
            self.batched,
            self.single,
            verdict(ratio >= AIM)
        )
    }
}

fn reports(kind: &str, number: u32) -> Vec<Report> {
    let stack = "  at checkout (src/checkout.rs:42)\n".repeat(25);
    let one = |number: u32| Report {
        stack: Some(stack.clone()),
        application: "shop".to_owned(),
        error_type: Some(format!("Error{}", char::from(b'A' + u8::try_from(number % 25).unwrap_or_default()))),
        ..Report::new(DeliveryKey::unique(kind, Utc::now()), kind, "the basket is gone".to_owned(), Utc::now())
    };
    (0..number).map(one).collect()
}

/// Reports per second.
async fn write(intake: &Intake, reports: Vec<Report>, size: usize) -> anyhow::Result<f64> {
    let number = u32::try_from(reports.len())?;
    let started = Instant::now();
    for batch in reports.chunks(size) {
        for answer in intake.record_all(batch.to_vec()).await {
            ensure!(answer.is_ok(), "a report was not stored: {answer:?}");
        }
    }
    Ok(f64::from(number) / started.elapsed().as_secs_f64())
}
