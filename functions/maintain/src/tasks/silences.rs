//! Silences that have ended. One that still mutes a member stays.

use shared::store::retention;

use super::Task;
use crate::keep::{self, Keep};

pub(super) const TASK: Task = Task { name: "silences", keep: Keep::As(&keep::SILENCES), rows: retention::SILENCES };
