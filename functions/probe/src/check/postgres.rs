//! `postgres`: whether it lets us in, and how it fares.

use shared::model::FailureReason;

use super::Failure;
use super::attempt::{Context, Problem, Progress};

/// One attempt.
pub(super) async fn attempt(_context: Context<'_>, _progress: &mut Progress) -> Result<(), Problem> {
    Err(Failure::new(FailureReason::Misconfigured, "not yet").into())
}
