//! Configuration of the intake, from the environment.

use std::time::Duration;

use crate::config::Environment;
use crate::redact::Redactor;

/// Configuration of the intake.
#[derive(Debug, Clone)]
pub struct IntakeConfig {
    /// What is redacted: the built-in kinds, and `REDACT_PATTERNS`, one regular expression a line.
    pub redactor: Redactor,
    /// `STORE_BUDGET_MS`: the timeout of the database before a report is deferred.
    pub store_budget: Duration,
}

impl Default for IntakeConfig {
    fn default() -> Self {
        Self { redactor: Redactor::default(), store_budget: Self::STORE_BUDGET }
    }
}

impl IntakeConfig {
    /// Sentry's timeout for a whole request is one second.
    const STORE_BUDGET: Duration = Duration::from_millis(300);

    /// Reads `REDACT_PATTERNS` and `STORE_BUDGET_MS`.
    pub fn read(environment: &mut Environment<'_>) -> Self {
        Self {
            redactor: Redactor::read(environment),
            store_budget: environment.milliseconds("STORE_BUDGET_MS", Self::STORE_BUDGET),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(name: &str, value: &str) -> Result<IntakeConfig, String> {
        let lookup = |asked: &str| (asked == name).then(|| value.to_owned());
        Environment::from_lookup(lookup).read(IntakeConfig::read).map_err(|error| error.to_string())
    }

    #[test]
    fn patterns_are_lines_and_a_bad_one_is_named() {
        let config = read("REDACT_PATTERNS", "ACME-\\d+\n\n  \nX[a-z]+X").unwrap_or_default();
        assert_eq!(config.redactor.text("for ACME-17 and XyzX"), "for [redacted] and [redacted]");
        let error = read("REDACT_PATTERNS", "fine\n(").err().unwrap_or_default();
        assert!(error.contains("REDACT_PATTERNS") && error.contains('('), "{error}");
    }

    #[test]
    fn a_budget_is_a_sensible_number_of_milliseconds() {
        assert_eq!(read("STORE_BUDGET_MS", "150").unwrap_or_default().store_budget, Duration::from_millis(150));
        for wrong in ["0", "-1", "soon", "60000"] {
            assert!(read("STORE_BUDGET_MS", wrong).is_err(), "{wrong}");
        }
    }
}
