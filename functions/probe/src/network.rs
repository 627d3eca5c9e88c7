//! The incident about our own network: a suspect run opens it, the next normal run resolves it.

use anyhow::Context as _;
use chrono::Utc;
use shared::model::{DEFAULT_ENVIRONMENT, IncidentId};
use shared::store::network::{self, NetworkIncident};

use crate::App;
use crate::suspicion::NetworkVerdict;

/// Opens the incident after a suspect run; resolves it if it is open and the run shows that the network works.
pub(crate) async fn note(app: &App, verdict: NetworkVerdict, recovered: bool) -> anyhow::Result<()> {
    let (region, now) = (app.region.as_str(), Utc::now());
    let event = if verdict == NetworkVerdict::Suspect {
        let message = format!(
            "Most services that have nothing to do with each other failed at once, seen from {region}: the probe's own \
             network is suspect, and the failures are not counted"
        );
        tracing::error!(region, "{message}");
        let incident = &NetworkIncident { incident_id: IncidentId::for_failed_check(now), message };
        app.store
            .run(|client| async move { network::open(&client, region, DEFAULT_ENVIRONMENT, incident, now).await })
            .await
            .context("record the suspect run")?
    } else if recovered {
        app.store
            .run(|client| async move { network::close(&client, region, now).await })
            .await
            .context("record that the network recovered")?
    } else {
        None
    };
    app.publisher.publish(event.as_slice()).await;
    Ok(())
}
