//! Lambda takes 4 KB of environment, names and values together: each function with everything configured, and with values
//! as long as the vendors make them.

use serde_json::{Map, Value};

use crate::code;
use crate::template::Template;

/// Lambda's limit, in bytes.
/// Source: <https://docs.aws.amazon.com/lambda/latest/dg/gettingstarted-limits.html>.
const LIMIT: usize = 4096;

/// What is left for an operator's own lines: further receivers and `PROBE_SECRET_…`.
const RESERVE: usize = 512;

/// A certificate of an RSA key of 4,096 bits, as PEM text (Supabase's has 2,048 bits).
const CERTIFICATE: usize = 2048;

/// The longest realistic value of a variable, in bytes.
fn length(name: &str) -> usize {
    match name {
        "DATABASE_URL" => 160,
        "DATABASE_CA" | "SMTP_CA" => CERTIFICATE,
        // Patterns of a team that takes it seriously.
        "REDACT_PATTERNS" => 512,
        "RUST_LOG" => 64,
        "SENTRY_DSN" | "DISCORD_WEBHOOK_URL" => 128,
        "SLACK_WEBHOOK_URL" | "SLACK_BOT_TOKEN" | "SENDGRID_API_KEY" => 96,
        "SMTP_URL" | "NOTIFY_WEBHOOK_URL" => 192,
        "NOTIFY_WEBHOOK_SECRET" | "SENDGRID_WEBHOOK_PUBLIC_KEY" => 128,
        "EMAIL_TO" | "SMS_TO" => 256,
        "PROBE_ALLOW_CIDRS" => 128,
        "WATCHKEEPER_URL" | "BACKEND_API_URL" | "ADMIN_CONSOLE_URL" => 96,
        // Another place than the vendor's own.
        name if name.ends_with("_URL") => 64,
        name if name.ends_with("_PARAMETER") => 64,
        // What `openssl rand -hex 32` prints, tokens of vendors, names; numbers and switches are shorter.
        _ => 64,
    }
}

fn size(variables: &Map<String, Value>) -> usize {
    variables.keys().map(|name| name.len() + length(name)).sum()
}

#[test]
fn every_function_s_environment_fits_with_everything_configured() {
    let template = Template::read();
    for folder in code::functions() {
        let size = size(&template.variables(&folder));
        assert!(
            size + RESERVE <= LIMIT,
            "{folder}: {size} bytes, of which Lambda takes {LIMIT}, and {RESERVE} are kept free"
        );
    }
}

#[test]
fn two_certificates_would_not_fit_into_the_environment_of_notify() {
    // Why it gets their names only.
    let mut variables = Template::read().variables("notify");
    for certificate in notify::parameters::CERTIFICATES {
        assert!(variables.remove(certificate.parameter).is_some());
        variables.insert(certificate.variable.to_owned(), Value::Null);
    }
    assert!(size(&variables) > LIMIT);
}
