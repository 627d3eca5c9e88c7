//! Operators' settings of the intake: classification rules, and how long after its end an incident is reopened. Read
//! from `system_config`, cached for some minutes.

use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, Instant};

use crate::classify::Classifier;
use crate::store::settings::{self, IntakeSettings};
use crate::store::{Store, chain};

/// The settings in force.
#[derive(Debug, Clone)]
pub(super) struct InForce {
    pub(super) classifier: Arc<Classifier>,
    pub(super) reopen_within: Duration,
    /// None = at once.
    read_again_at: Option<Instant>,
}

/// The cached settings, refreshed when old. Cheap to clone.
#[derive(Clone)]
pub(super) struct Settings {
    store: Store,
    in_force: Arc<RwLock<InForce>>,
}

impl Settings {
    /// The maximum age: a change takes effect within this time.
    const MAX_AGE: Duration = Duration::from_secs(300);
    /// The back-off after a failed read, so that not every report waits for one.
    const RETRY: Duration = Duration::from_secs(15);
    /// The timeout of a read, so that it does not exhaust the report's own budget.
    const TIMEOUT: Duration = Duration::from_millis(200);
    /// A report within this time after the end reopens an incident (`incident_reopen_hours`).
    const REOPEN_WITHIN: Duration = Duration::from_secs(24 * 3600);

    pub(super) fn new(store: Store) -> Self {
        let built_in = InForce { classifier: Arc::default(), reopen_within: Self::REOPEN_WITHIN, read_again_at: None };
        Self { store, in_force: Arc::new(RwLock::new(built_in)) }
    }

    /// The settings in force; refreshed when they are old.
    pub(super) async fn current(&self) -> InForce {
        let in_force = self.in_force();
        if in_force.read_again_at.is_some_and(|at| at > Instant::now()) {
            return in_force;
        }
        self.refresh(Self::TIMEOUT).await;
        self.in_force()
    }

    /// Reads the settings. Invalid rules are logged by name, and the built-in ones stay in force.
    pub(super) async fn refresh(&self, timeout: Duration) {
        let found = self.store.run_within(timeout, |client| async move { settings::find_for_intake(&client).await });
        let mut next = self.in_force();
        let wait = match found.await {
            Ok(IntakeSettings { classification_rules, incident_reopen_hours }) => {
                let classifier = classification_rules.map(|rules| Classifier::with_operator_rules(&rules));
                next.classifier = Arc::new(classifier.transpose().map(Option::unwrap_or_default).unwrap_or_else(|error| {
                    tracing::error!(error = %chain(&error), "operators' classification rules refused; the built-in rules are in force");
                    Classifier::default()
                }));
                next.reopen_within = incident_reopen_hours.map_or(Self::REOPEN_WITHIN, hours);
                Self::MAX_AGE
            }
            Err(error) => {
                tracing::warn!(error = %chain(&error), "operators' settings could not be read; the last ones stay in force");
                Self::RETRY
            }
        };
        next.read_again_at = Instant::now().checked_add(wait);
        *self.in_force.write().unwrap_or_else(PoisonError::into_inner) = next;
    }

    fn in_force(&self) -> InForce {
        self.in_force.read().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// An operator's hours, clamped; the default if not finite.
fn hours(hours: f64) -> Duration {
    const YEAR: f64 = 24.0 * 366.0;
    if hours.is_finite() { Duration::from_secs_f64(hours.clamp(0.0, YEAR) * 3600.0) } else { Settings::REOPEN_WITHIN }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hours_of_any_size_are_a_time() {
        for (given, seconds) in [(24.0, 86_400), (0.5, 1_800), (0.0, 0), (-3.0, 0), (1e300, 31_622_400)] {
            assert_eq!(hours(given).as_secs(), seconds, "{given}");
        }
        assert_eq!(hours(f64::NAN), Settings::REOPEN_WITHIN);
    }
}
