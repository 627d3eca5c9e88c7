//! Events of healing.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use super::IncidentSubject;

/// A playbook ended, and its effect was measured.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct HealFinished {
    /// The incident that was to be healed.
    #[serde(flatten)]
    pub incident: IncidentSubject,
    /// The playbook's name.
    pub playbook: String,
    /// Which attempt on this incident it was, from 1.
    pub attempt: u32,
    /// The measured effect.
    pub outcome: HealOutcome,
    /// One line.
    pub message: String,
    /// When it ended.
    pub finished_at: DateTime<Utc>,
}

/// The effect of a playbook.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum HealOutcome {
    /// A measurement shows that it helped.
    Succeeded,
    /// It did not help; there may be another attempt.
    Failed,
    /// It did not help, and there will be no other attempt.
    GaveUp,
}
