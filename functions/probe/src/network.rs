//! The incident about our own network: what a suspect run opens, and the next sound one closes.

use anyhow::Context as _;
use chrono::Utc;
use shared::events::Event;
use shared::model::{Category, DEFAULT_ENVIRONMENT, IncidentId, Severity};
use shared::store::network::{self, NetworkIncident};

use crate::App;
use crate::suspicion::NetworkVerdict;

/// Opens the incident, as the run says that has ended; or closes it, where it is open and the run proves the contrary.
pub(crate) async fn note(app: &App, verdict: NetworkVerdict, works: bool) -> anyhow::Result<()> {
    let (region, now) = (app.region.as_str(), Utc::now());
    if verdict == NetworkVerdict::Suspect {
        let incident_id = IncidentId::for_failed_check(now);
        let message = format!(
            "Most services that have nothing to do with each other failed at once, seen from {region}: the probe's own \
             network is suspect, and nothing is said about the services"
        );
        let opened = Event::IncidentOpened {
            incident_id: &incident_id,
            severity: Severity::High,
            category: Category::Infrastructure,
            application: network::APPLICATION,
            environment: DEFAULT_ENVIRONMENT,
            title: "The probe's own network is suspect",
            detected_at: now,
        }
        .into_outbox(now);
        tracing::error!(region, "{message}");
        let reopened = Event::IncidentReopened {
            application: network::APPLICATION,
            environment: DEFAULT_ENVIRONMENT,
            reopened_at: now,
        }
        .into_outbox(now);
        let incident = &NetworkIncident { incident_id, message, opened, reopened };
        app.store
            .run(|client| async move { network::open(&client, region, DEFAULT_ENVIRONMENT, incident, now).await })
            .await
            .context("record the suspect run")?;
        app.publisher.publish(&[incident.opened.id, incident.reopened.id]).await;
    } else if works {
        let (application, environment) = (network::APPLICATION, DEFAULT_ENVIRONMENT);
        let resolved = &Event::IncidentResolved { application, environment, resolved_at: now }.into_outbox(now);
        app.store
            .run(|client| async move { network::close(&client, region, resolved, now).await })
            .await
            .context("record that the network is well")?;
        app.publisher.publish(&[resolved.id]).await;
    }
    Ok(())
}
