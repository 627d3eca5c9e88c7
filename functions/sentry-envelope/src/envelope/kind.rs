//! The kinds of items.

/// The largest event.
pub const EVENT_BYTES: usize = 1024 * 1024;

/// The largest check-in; usually it has a few hundred bytes.
const CHECK_IN_BYTES: usize = 16 * 1024;

/// Known item types that are only counted.
const COUNTED: [&str; 23] = [
    "attachment",
    "client_report",
    "feedback",
    "form_data",
    "log",
    "metric_buckets",
    "nel",
    "otel_log",
    "otel_span",
    "profile",
    "profile_chunk",
    "raw_security",
    "replay_event",
    "replay_recording",
    "replay_video",
    "security",
    "session",
    "sessions",
    "span",
    "statsd",
    "trace_metric",
    "transaction",
    "user_report",
];

/// The kind of an item.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ItemKind {
    /// An error or a message: becomes a report.
    Event,
    /// A job's check-in: is stored.
    CheckIn,
    /// Only counted, under this name. Other types count as `unknown`: names from external clients are not bounded.
    Counted(&'static str),
}

impl ItemKind {
    /// The kind of this `type`.
    #[must_use]
    pub fn of(name: &str) -> Self {
        match name {
            "event" => Self::Event,
            "check_in" => Self::CheckIn,
            _ => Self::Counted(COUNTED.into_iter().find(|known| *known == name).unwrap_or("unknown")),
        }
    }

    /// Its name.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Event => "event",
            Self::CheckIn => "check_in",
            Self::Counted(name) => name,
        }
    }

    /// The largest payload of this kind that is kept; none = payloads are skipped.
    #[must_use]
    pub fn kept_bytes(self) -> Option<usize> {
        match self {
            Self::Event => Some(EVENT_BYTES),
            Self::CheckIn => Some(CHECK_IN_BYTES),
            Self::Counted(_) => None,
        }
    }
}
