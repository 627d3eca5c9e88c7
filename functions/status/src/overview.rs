//! `GET /status`: overall health and score, per environment and service.

use std::collections::BTreeMap;

use axum::Json;
use axum::extract::State;
use axum::http::request::Parts;
use chrono::{DateTime, Utc};
use serde::Serialize;
use shared::http::ApiError;
use shared::model::ServiceState;
use shared::store::status::{self, Notifications, Outbox};
use shared::store::{StoreError, services, settings, uptime};

use crate::App;
use crate::overall::{OpenIncidents, OverallStatus, score};
use crate::service::ServiceOverview;
use crate::warnings::warnings;

/// The state of everything.
#[derive(Debug, Serialize)]
pub struct Overview {
    /// The worst of the environments.
    pub status: OverallStatus,
    /// The overall [`score`].
    pub score: Option<f64>,
    /// Open incidents by severity.
    pub open_incidents: OpenIncidents,
    /// The same, for each environment.
    pub environments: BTreeMap<String, EnvironmentOverview>,
    /// The switch that stops all probing, if any: services that are not checked become unknown.
    pub probing_stopped_by: Option<String>,
    /// Problems of notifying, one line each.
    pub warnings: Vec<String>,
    /// Events that are not published yet.
    pub outbox: Outbox,
    /// Notifications that are not sent yet.
    pub notifications: Notifications,
    /// The time of this overview.
    pub timestamp: DateTime<Utc>,
}

/// The state of one environment.
#[derive(Debug, Serialize)]
pub struct EnvironmentOverview {
    /// As bad as the worst of its services and of its open incidents.
    pub status: OverallStatus,
    /// Its [`score`].
    pub score: Option<f64>,
    /// Open incidents by severity.
    pub open_incidents: OpenIncidents,
    /// Its services.
    pub services: Vec<ServiceOverview>,
}

/// 200 with an [`Overview`].
///
/// # Errors
/// 401 without the read token; 503 when the database can't be used.
pub async fn show(State(app): State<App>, parts: Parts) -> Result<Json<Overview>, ApiError> {
    app.gate.check(&parts)?;
    Ok(Json(read(&app, Utc::now()).await?))
}

/// Reads the current state.
pub(crate) async fn read(app: &App, now: DateTime<Utc>) -> Result<Overview, StoreError> {
    let (services, days, open, stopped_by) = app
        .store
        .run(|client| async move {
            let services = services::list(&client, now).await?;
            let days = uptime::last_day(&client, now).await?;
            let open = status::count_open_incidents(&client).await?;
            Ok((services, days, open, settings::find_stopping_switch(&client).await?))
        })
        .await?;
    let (outbox, notifications) =
        app.store
            .run(|client| async move {
                Ok((status::outbox(&client, now).await?, status::notifications(&client, now).await?))
            })
            .await?;
    let services = services.into_iter().map(|listed| {
        let day = days.get(&listed.service.id);
        (listed.service.spec.environment.clone(), ServiceOverview::of(listed, day))
    });
    let services: Vec<_> = services.collect();
    let states: Vec<ServiceState> = services.iter().map(|(_, service)| service.state).collect();
    let (open_incidents, environments) = by_environment(services, open);
    Ok(Overview {
        status: OverallStatus::of(&states, &open_incidents),
        score: score(&states, &open_incidents),
        open_incidents,
        environments,
        probing_stopped_by: stopped_by,
        warnings: warnings(&outbox, &notifications),
        outbox,
        notifications,
        timestamp: now,
    })
}

/// Groups services and open incidents by environment; also returns the sums of all.
fn by_environment(
    services: Vec<(String, ServiceOverview)>,
    open: BTreeMap<String, OpenIncidents>,
) -> (OpenIncidents, BTreeMap<String, EnvironmentOverview>) {
    let mut by_environment: BTreeMap<String, (Vec<ServiceOverview>, OpenIncidents)> = BTreeMap::new();
    for (environment, service) in services {
        by_environment.entry(environment).or_default().0.push(service);
    }
    let mut all_open = OpenIncidents::new();
    for (environment, counts) in open {
        for (severity, count) in &counts {
            *all_open.entry(*severity).or_default() += count;
        }
        by_environment.entry(environment).or_default().1 = counts;
    }
    let environments = by_environment
        .into_iter()
        .map(|(name, (services, open_incidents))| {
            let states: Vec<ServiceState> = services.iter().map(|service| service.state).collect();
            let overview = EnvironmentOverview {
                status: OverallStatus::of(&states, &open_incidents),
                score: score(&states, &open_incidents),
                open_incidents,
                services,
            };
            (name, overview)
        })
        .collect();
    (all_open, environments)
}
