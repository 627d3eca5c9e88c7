//! The options of a connection string: the driver's, ours, and unknown ones.

/// Options that the driver understands; others are ignored with a warning (`pgbouncer=true`, …).
const DRIVER_OPTIONS: [&str; 13] = [
    "user",
    "password",
    "dbname",
    "host",
    "port",
    "options",
    "application_name",
    "connect_timeout",
    "tcp_user_timeout",
    "keepalives",
    "keepalives_idle",
    "target_session_attrs",
    "channel_binding",
];

/// A parsed connection string.
pub(super) struct Options {
    pub(super) url_for_driver: String,
    pub(super) sslmode: Option<String>,
    pub(super) says_pgbouncer: bool,
    pub(super) warnings: Vec<String>,
}

impl Options {
    /// Removes the options that the driver would refuse.
    pub(super) fn split(url: &str) -> Self {
        let (base, query) = url.split_once('?').unwrap_or((url, ""));
        let mut kept = Vec::new();
        let mut options =
            Self { url_for_driver: String::new(), sslmode: None, says_pgbouncer: false, warnings: Vec::new() };
        for pair in query.split('&').filter(|pair| !pair.is_empty()) {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            match name {
                "sslmode" => options.sslmode = Some(value.to_owned()),
                name if DRIVER_OPTIONS.contains(&name) => kept.push(pair),
                name => {
                    options.says_pgbouncer |= name == "pgbouncer" && value == "true";
                    let hint = if name == "sslrootcert" { " (set DATABASE_CA instead)" } else { "" };
                    // An unusual name may be a part of a password, so it is not shown.
                    let plain = !name.is_empty() && name.bytes().all(|b| b.is_ascii_lowercase() || b == b'_');
                    let name = if plain { name } else { "?" };
                    options.warnings.push(format!("the connection string's option \"{name}\" is ignored{hint}"));
                }
            }
        }
        options.url_for_driver = if kept.is_empty() { base.to_owned() } else { format!("{base}?{}", kept.join("&")) };
        options
    }
}
