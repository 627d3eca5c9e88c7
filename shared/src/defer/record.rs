//! What can be deferred, in the one shape that the bus keeps: `{"report": {…}}`, `{"step": {…}}`,
//! `{"check_in": {…}}`, `{"beat": {…}}`. Every text in it is redacted already.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use crate::model::{CheckIn, Report};
use crate::store::lifecycle::{Change, Step};
use crate::store::probing::Beat;

/// Something authentic that waits for the database. Storing it twice counts once.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Deferred {
    /// An error; its delivery key recognises it.
    Report(Box<Report>),
    /// A step in the life of incidents; so does its own.
    Step(Box<DeferredStep>),
    /// A job's sign of life from one of Sentry's SDKs; of two the later one holds.
    CheckIn(Box<CheckIn>),
    /// A job's sign of life; likewise.
    Beat(DeferredBeat),
}

/// A step, and the reports that belong to it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct DeferredStep {
    /// What it does to its incidents.
    pub change: Change,
    /// The step.
    pub step: Step,
    /// A report that has to be stored before: the step is about its incident. It may have been deferred by itself too.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<Box<Report>>,
    /// What is reported where no incident is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub otherwise: Option<Box<Report>>,
}

/// A heartbeat. The token itself is never kept.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeferredBeat {
    /// The hash of the token that the job has shown: the database could not be asked whether it is known.
    pub token_hash: String,
    /// What the job said, and when.
    pub beat: Beat,
}

impl Deferred {
    /// One word for it.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Report(_) => "report",
            Self::Step(_) => "step",
            Self::CheckIn(_) => "check-in",
            Self::Beat(_) => "heartbeat",
        }
    }

    /// When it came.
    #[must_use]
    pub fn received_at(&self) -> DateTime<Utc> {
        match self {
            Self::Report(report) => report.received_at,
            Self::Step(step) => step.step.received_at,
            Self::CheckIn(check_in) => check_in.received_at,
            Self::Beat(beat) => beat.beat.at,
        }
    }
}

impl From<Report> for Deferred {
    fn from(report: Report) -> Self {
        Self::Report(Box::new(report))
    }
}
