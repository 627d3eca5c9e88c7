//! Logs: JSON lines on standard output, as CloudWatch reads them.
//!
//! Users: every Lambda's `main`. (The local stack writes the same lines to a file and pretty ones to a terminal.)

use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;

/// The default of `RUST_LOG`: our own logs from INFO, libraries from WARN.
const DEFAULT_FILTER: &str = "info,tokio_postgres=warn,hyper=warn,reqwest=warn,refinery_core=warn";

/// The filter of `RUST_LOG` (`level` or `target=level`, separated by commas); the default where it is invalid.
#[must_use]
pub fn filter(rust_log: Option<&str>) -> Targets {
    rust_log.and_then(|text| text.parse().ok()).or_else(|| DEFAULT_FILTER.parse().ok()).unwrap_or_default()
}

/// The target under which the local bus logs events: `detail_type`, and `detail` as JSON.
pub const HAPPENED: &str = "watchkeeper::happened";
/// The target under which refused requests are logged: `kind`, and `source`, an address or empty.
pub const REFUSED: &str = "watchkeeper::refused";

/// Sends this process's logs to standard output as JSON lines. A second call does nothing.
pub fn init(rust_log: Option<&str>) {
    let lines =
        tracing_subscriber::fmt::layer().json().flatten_event(true).with_current_span(true).with_span_list(false);
    // An error means that a subscriber is set already.
    let _ = tracing_subscriber::registry().with(lines).with(filter(rust_log)).try_init();
}
