//! The domain types that every part of Watchkeeper uses, with their spelling in SQL and JSON.
//!
//! Imports nothing of ours. An enum's `as_str` is its one spelling: in columns, answers and events.

mod alert;
mod alert_policy;
mod application;
mod category;
mod channel;
mod check;
mod check_in;
mod check_settings;
mod file_name;
mod incident;
pub mod latency;
mod maintenance;
mod matchers;
mod network;
mod origin;
mod report;
mod routing;
mod service;
mod service_spec;
mod severity;
mod silence;
mod subject;
pub mod text;
mod zone;

pub use alert::{Alert, AlertStatus, AlertType};
pub use alert_policy::{AlertPolicy, page_delay};
pub use application::{Application, ApplicationChanges, ApplicationName, Limits, NameError, Quota, SeverityBound};
pub use category::Category;
pub use channel::{Channel, ChannelTraits, HealRuns, RateLimit, Receiver, ReceiverError, Summaries};
pub use check::{CheckId, FailureReason, Slot, Verdict};
pub use check_in::{CheckIn, CheckInStatus};
pub use check_settings::{CheckSettings, DnsRecord, PostgresLimits, Statuses, variables};
pub use file_name::FileName;
pub use incident::{Incident, IncidentId, IncidentStatus, IncidentSummary};
pub use maintenance::MaintenanceWindow;
pub use matchers::{Labels, Matchers};
pub use network::Network;
pub use origin::{AllowedOrigin, AllowedOrigins, Origin, OriginError};
pub use report::{Counting, DeliveryKey, Report, UpstreamGroup, UserKey, uuid_at};
pub use routing::{EscalationPolicy, EscalationStep, GroupLabel, Route, Routing};
pub use service::{
    BreakerState, DEFAULT_ENVIRONMENT, RecentVerdicts, Service, ServiceState, Standing, severity_of_failed_check,
};
pub use service_spec::{Kind, ServiceSpec, ServiceSpecError};
pub use severity::Severity;
pub use silence::Silence;
pub use subject::Subject;
pub use zone::Zone;
