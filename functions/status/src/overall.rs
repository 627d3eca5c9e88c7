//! The overall status and score, of services and open incidents. Pure.

use std::collections::BTreeMap;

use serde::Serialize;
use shared::model::{ServiceState, Severity};

/// Open incidents by severity: not resolved, acknowledged or not.
pub type OpenIncidents = BTreeMap<Severity, i64>;

/// The status of an environment or of everything, from best to worst.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum OverallStatus {
    /// Nothing was checked, and no serious incident is open.
    Unknown,
    /// All services that were checked are healthy, and no CRITICAL or HIGH incident is open.
    Healthy,
    /// A service is degraded, or a HIGH incident is open.
    Degraded,
    /// No service is down, but a CRITICAL incident is open.
    Unhealthy,
    /// A service is down.
    Down,
}

impl OverallStatus {
    /// Every status.
    pub const ALL: [Self; 5] = [Self::Unknown, Self::Healthy, Self::Degraded, Self::Unhealthy, Self::Down];

    /// The worst of the services and of the open incidents.
    #[must_use]
    pub fn of(services: &[ServiceState], open: &OpenIncidents) -> Self {
        let services = services.iter().map(|state| match state {
            ServiceState::Unknown => Self::Unknown,
            ServiceState::Healthy => Self::Healthy,
            ServiceState::Degraded => Self::Degraded,
            ServiceState::Down => Self::Down,
        });
        let incidents = worst_open(open).map_or(Self::Unknown, |severity| match severity {
            Severity::Critical => Self::Unhealthy,
            Severity::High => Self::Degraded,
            Severity::Medium | Severity::Low => Self::Unknown,
        });
        services.chain([incidents]).max().unwrap_or(Self::Unknown)
    }

    /// The spelling in answers and metrics.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Unknown => "unknown",
            Self::Healthy => "healthy",
            Self::Degraded => "degraded",
            Self::Unhealthy => "unhealthy",
            Self::Down => "down",
        }
    }
}

/// The highest score while a CRITICAL incident is open, and while a HIGH one is.
const CRITICAL_SCORE: f64 = 89.0;
const HIGH_SCORE: f64 = 95.0;

/// 0 to 100: the share of the checked services that are healthy, a degraded one counting half; at most 89 while a CRITICAL
/// incident is open, and at most 95 while a HIGH one is. None while nothing has been checked and neither is open.
#[must_use]
pub fn score(services: &[ServiceState], open: &OpenIncidents) -> Option<f64> {
    let limit = match worst_open(open) {
        Some(Severity::Critical) => Some(CRITICAL_SCORE),
        Some(Severity::High) => Some(HIGH_SCORE),
        _ => None,
    };
    match (score_of_services(services), limit) {
        (Some(score), Some(limit)) => Some(score.min(limit)),
        (score, limit) => score.or(limit),
    }
}

fn worst_open(open: &OpenIncidents) -> Option<Severity> {
    open.iter().filter(|(_, count)| **count > 0).map(|(severity, _)| *severity).max()
}

fn score_of_services(services: &[ServiceState]) -> Option<f64> {
    let points: Vec<f64> = services
        .iter()
        .filter_map(|state| match state {
            ServiceState::Healthy => Some(100.0),
            ServiceState::Degraded => Some(50.0),
            ServiceState::Down => Some(0.0),
            ServiceState::Unknown => None,
        })
        .collect();
    let count = u32::try_from(points.len()).ok().filter(|count| *count > 0)?;
    Some((points.iter().sum::<f64>() / f64::from(count) * 10.0).round() / 10.0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use ServiceState::{Degraded, Down, Healthy, Unknown};
    use Severity::{Critical, High, Low, Medium};

    fn open(severities: &[Severity]) -> OpenIncidents {
        severities.iter().map(|severity| (*severity, 1)).collect()
    }

    #[test]
    fn the_status_is_the_worst_of_services_and_open_incidents() {
        for (services, severities, expected) in [
            (&[][..], &[][..], OverallStatus::Unknown),
            (&[], &[Low, Medium], OverallStatus::Unknown),
            (&[], &[High], OverallStatus::Degraded),
            (&[], &[Critical], OverallStatus::Unhealthy),
            (&[Unknown], &[], OverallStatus::Unknown),
            (&[Unknown, Healthy], &[Low, Medium], OverallStatus::Healthy),
            (&[Healthy], &[High, Low], OverallStatus::Degraded),
            (&[Healthy], &[Low, Critical, High], OverallStatus::Unhealthy),
            (&[Healthy, Degraded], &[], OverallStatus::Degraded),
            (&[Healthy, Degraded], &[Critical], OverallStatus::Unhealthy),
            (&[Healthy, Degraded, Down, Unknown], &[Critical], OverallStatus::Down),
        ] {
            assert_eq!(OverallStatus::of(services, &open(severities)), expected, "{services:?} {severities:?}");
        }
        assert_eq!(OverallStatus::of(&[Healthy], &OpenIncidents::from([(Critical, 0)])), OverallStatus::Healthy);
    }

    #[test]
    fn the_score_counts_checked_services_and_is_limited_by_open_incidents() {
        for (services, severities, expected) in [
            (&[][..], &[][..], None),
            (&[Unknown], &[Medium], None),
            (&[Healthy, Unknown], &[Medium], Some(100.0)),
            (&[Healthy, Degraded, Down], &[], Some(50.0)),
            (&[Healthy, Healthy, Down], &[Critical], Some(66.7)),
            (&[Healthy], &[High], Some(95.0)),
            (&[Healthy], &[High, Critical], Some(89.0)),
            (&[], &[Critical], Some(89.0)),
            (&[Unknown], &[High], Some(95.0)),
        ] {
            assert_eq!(score(services, &open(severities)), expected, "{services:?} {severities:?}");
        }
    }

    #[test]
    fn a_status_is_spelt_the_same_everywhere() {
        for status in OverallStatus::ALL {
            assert_eq!(serde_json::to_value(status).unwrap(), status.as_str());
        }
    }
}
