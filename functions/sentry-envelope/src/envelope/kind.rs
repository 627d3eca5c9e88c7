//! What an item is.

/// An event may have this many bytes.
pub const EVENT_BYTES: usize = 1024 * 1024;

/// A check-in may have this many bytes; it needs a few hundred.
const CHECK_IN_BYTES: usize = 16 * 1024;

/// The types that SDKs send beside events and check-ins, and that are counted only.
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

/// What an item is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ItemKind {
    /// An error or a message: becomes a report.
    Event,
    /// A sign of life of a job: is kept.
    CheckIn,
    /// Something that is counted under this name. What we don't know is `unknown`: the names of strangers are not
    /// bounded.
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

    /// How large a payload of this kind may be; none when nobody wants it.
    #[must_use]
    pub fn kept_bytes(self) -> Option<usize> {
        match self {
            Self::Event => Some(EVENT_BYTES),
            Self::CheckIn => Some(CHECK_IN_BYTES),
            Self::Counted(_) => None,
        }
    }
}
