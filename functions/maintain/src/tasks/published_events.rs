//! Published events. An unpublished event stays, however old.

use shared::store::retention;

use super::Task;
use crate::keep::{self, Keep};

pub(super) const TASK: Task =
    Task { name: "published_events", keep: Keep::As(&keep::PUBLISHED_EVENTS), rows: retention::PUBLISHED_EVENTS };
