//! The vocabulary: the nouns that every part of Watchkeeper speaks of, with their spelling in SQL and JSON.
//!
//! Used by every function. Imports nothing of ours. An enum's `as_str` is its one spelling: in a column, in an
//! answer, in an event.

mod alert;
mod application;
mod category;
mod check;
mod check_in;
mod incident;
mod report;
mod service;
mod severity;
pub mod text;

pub use alert::{Alert, AlertStatus, AlertType};
pub use application::{Application, ApplicationName, Limits, NameError, Quota};
pub use category::Category;
pub use check::{CheckId, FailureReason, Slot};
pub use check_in::{CheckIn, CheckInStatus};
pub use incident::{Incident, IncidentId, IncidentStatus, IncidentSummary};
pub(crate) use report::uuid_at;
pub use report::{Counting, DeliveryKey, Report, UpstreamGroup, UserKey};
pub use service::{
    DEFAULT_ENVIRONMENT, Service, ServiceSpec, ServiceSpecError, ServiceState, severity_of_failed_check,
};
pub use severity::Severity;
