//! Who hears of a playbook that has run: the ladder from silent to everybody. Pure.

use shared::events::HealOutcome;

/// From this attempt on people hear of it.
pub const HEARD_FROM: u32 = 3;

/// What is told of a playbook's run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Heard {
    /// Nothing.
    Nothing,
    /// A line in our own log.
    Logged,
    /// The chat hears of it, and whoever is on call where it did not help.
    Told {
        /// Whether that is a reason to wake somebody.
        on_call: bool,
    },
    /// Nothing helped: everybody on the ladder is told at once.
    Escalated,
}

/// What is told of this run.
#[must_use]
pub fn heard(attempt: u32, outcome: HealOutcome) -> Heard {
    match (attempt, outcome) {
        (_, HealOutcome::GaveUp) => Heard::Escalated,
        (0 | 1, _) => Heard::Nothing,
        (2, _) => Heard::Logged,
        (HEARD_FROM.., outcome) => Heard::Told { on_call: outcome == HealOutcome::Failed },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_attempt_is_heard_by_more_people() {
        use HealOutcome::{Failed, GaveUp, Succeeded};
        for (attempt, outcome, told) in [
            (1, Failed, Heard::Nothing),
            (1, Succeeded, Heard::Nothing),
            (2, Failed, Heard::Logged),
            (2, Succeeded, Heard::Logged),
            (3, Failed, Heard::Told { on_call: true }),
            (3, Succeeded, Heard::Told { on_call: false }),
            (7, Failed, Heard::Told { on_call: true }),
            (1, GaveUp, Heard::Escalated),
            (5, GaveUp, Heard::Escalated),
        ] {
            assert_eq!(heard(attempt, outcome), told, "{attempt} {outcome:?}");
        }
    }
}
