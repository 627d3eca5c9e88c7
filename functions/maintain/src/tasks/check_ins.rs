//! Jobs that send no check-ins any more.

use shared::store::retention;

use super::Task;
use crate::keep::{self, Keep};

pub(super) const TASK: Task = Task { name: "check_ins", keep: Keep::As(&keep::CHECK_INS), rows: retention::CHECK_INS };
