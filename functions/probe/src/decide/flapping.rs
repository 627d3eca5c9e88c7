//! Flap detection: whether a service changes so often that one or two passed runs are no recovery.
//!
//! Flapping starts with [`CHANGES`] changes between failed and passed among the last verdicts, and ends after [`CALM`]
//! runs in a row with the same result. Then the older verdicts are forgotten: no change counts twice.

use shared::model::{RecentVerdicts, Standing, Verdict};

/// As many changes among the last verdicts start it.
const CHANGES: u32 = 4;

/// As many runs in a row without a change end it.
pub(super) const CALM: u8 = 10;

/// Adds a verdict to a standing whose counters include it already. Changes while alerts are suppressed (maintenance
/// window, failed parent) do not count as flapping; runs without a change always count.
pub(super) fn note(standing: &mut Standing, verdict: Verdict, suppressed: bool) {
    let failed = verdict == Verdict::Failed;
    if !suppressed {
        standing.recent = with(standing.recent, failed);
        standing.flapping |= changes(standing.recent) >= CHANGES;
    }
    let in_a_row = if failed { standing.consecutive_failures } else { standing.consecutive_successes };
    if standing.flapping && in_a_row >= CALM.into() {
        standing.flapping = false;
        standing.recent = RecentVerdicts { failed: if failed { mask(CALM) } else { 0 }, known: CALM };
    }
}

fn with(recent: RecentVerdicts, failed: bool) -> RecentVerdicts {
    RecentVerdicts {
        failed: ((recent.failed << 1) | u32::from(failed)) & mask(RecentVerdicts::KEPT),
        known: recent.known.saturating_add(1).min(RecentVerdicts::KEPT),
    }
}

/// The number of changes between neighbours.
fn changes(recent: RecentVerdicts) -> u32 {
    let differs = recent.failed ^ (recent.failed >> 1);
    (differs & mask(recent.known.saturating_sub(1))).count_ones()
}

/// A mask of the lowest `bits` bits.
fn mask(bits: u8) -> u32 {
    1_u32.checked_shl(bits.into()).map_or(u32::MAX, |bit| bit - 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Oldest first, `F` failed.
    fn recent(history: &str) -> RecentVerdicts {
        history.chars().fold(RecentVerdicts::default(), |recent, verdict| with(recent, verdict == 'F'))
    }

    #[test]
    fn changes_are_counted_among_the_last_twenty() {
        for (history, expected) in [
            ("", 0),
            ("F", 0),
            ("H", 0),
            ("HF", 1),
            ("FHF", 2),
            ("HFFFH", 2),
            ("HFHFH", 4),
            ("HFHFHHHHHHHHHHHHHHHH", 4),
            // The first change is no longer among the last twenty.
            ("HFHFHHHHHHHHHHHHHHHHH", 3),
            ("FHFHFHFHFHFHFHFHFHFHFHFHFHFH", 19),
        ] {
            assert_eq!(changes(recent(history)), expected, "{history}");
        }
    }

    #[test]
    fn twenty_verdicts_are_kept() {
        let full = recent(&"F".repeat(40));
        assert_eq!((full.failed, full.known), (0xF_FFFF, 20));
        assert_eq!(recent("FH"), RecentVerdicts { failed: 0b10, known: 2 });
    }
}
