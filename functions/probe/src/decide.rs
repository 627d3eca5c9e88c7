//! What a service is after a check. Pure.

use shared::model::{Service, ServiceState};

/// A service that was down is healthy again after this many good checks in a row.
pub const RECOVERY_THRESHOLD: u32 = 2;

/// What a service is after a check.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Decision {
    /// Its state now.
    pub state: ServiceState,
    /// Failed checks in a row.
    pub consecutive_failures: u32,
    /// Passed checks in a row.
    pub consecutive_successes: u32,
}

/// One confirmed failure means down; two passes in a row end an outage; anything else needs only one.
#[must_use]
pub fn decide(service: &Service, passed: bool) -> Decision {
    if !passed {
        return Decision {
            state: ServiceState::Down,
            consecutive_failures: service.standing.consecutive_failures.saturating_add(1),
            consecutive_successes: 0,
        };
    }
    let consecutive_successes = service.standing.consecutive_successes.saturating_add(1);
    let still_down = service.standing.state == ServiceState::Down && consecutive_successes < RECOVERY_THRESHOLD;
    Decision {
        state: if still_down { ServiceState::Down } else { ServiceState::Healthy },
        consecutive_failures: 0,
        consecutive_successes,
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use proptest::prelude::*;
    use shared::model::{ServiceSpec, Standing};
    use uuid::Uuid;

    use super::*;

    pub(crate) fn service(state: ServiceState) -> Service {
        Service {
            id: Uuid::from_u128(1),
            spec: ServiceSpec {
                application: "shop".into(),
                ..ServiceSpec::http("backend", "production", "http://localhost/health")
            },
            standing: Standing { state, ..Standing::NEW },
        }
    }

    /// The states that a history of checks goes through.
    fn states(history: &[bool]) -> Vec<ServiceState> {
        let mut service = service(ServiceState::Unknown);
        history
            .iter()
            .map(|passed| {
                let decision = decide(&service, *passed);
                service.standing.state = decision.state;
                service.standing.consecutive_failures = decision.consecutive_failures;
                service.standing.consecutive_successes = decision.consecutive_successes;
                decision.state
            })
            .collect()
    }

    #[test]
    fn histories() {
        use ServiceState::{Down, Healthy};
        for (history, expected) in [
            (&[true][..], &[Healthy][..]),
            (&[false], &[Down]),
            (&[true, false, true], &[Healthy, Down, Down]),
            (&[false, true, true], &[Down, Down, Healthy]),
            (&[false, true, false, true, true], &[Down, Down, Down, Down, Healthy]),
        ] {
            assert_eq!(states(history), expected, "{history:?}");
        }
    }

    proptest! {
        #[test]
        fn an_outage_ends_only_after_two_passes_in_a_row(history in prop::collection::vec(any::<bool>(), 1..60)) {
            let states = states(&history);
            for at in 0..history.len() {
                prop_assert_eq!(!history[at], states[at] == ServiceState::Down && !history[at]);
                let was_down = at > 0 && states[at - 1] == ServiceState::Down;
                if was_down && states[at] == ServiceState::Healthy {
                    prop_assert!(history[at] && history[at - 1]);
                }
            }
        }
    }
}
