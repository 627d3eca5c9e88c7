//! What the command line understands. Wrong use ends with exit code 2 (clap's own).

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};
use shared::model::{ApplicationName, IncidentStatus, Severity};

/// The monitoring agent: errors in, health checks each minute, classified incidents in Postgres.
#[derive(Debug, Parser)]
#[command(name = "watchkeeper", version, arg_required_else_help = true)]
pub struct Arguments {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
    /// What every command takes.
    #[command(flatten)]
    pub global: Global,
}

/// What every command takes.
#[derive(Debug, Clone, Args)]
pub struct Global {
    /// Where the local stack keeps its data
    #[arg(long, global = true, default_value = ".local", value_name = "DIR")]
    pub data_dir: PathBuf,
    /// Print JSON instead of text
    #[arg(long, global = true)]
    pub json: bool,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run everything here: database, HTTP endpoints, the minute's checks
    Start(Start),
    /// Bring the database's schema up to date (`DIRECT_URL`, else `DATABASE_URL`, else the running stack's)
    Migrate,
    /// Make the services what a TOML file says; shows what changes
    Apply(Apply),
    /// Check every service now
    Check,
    /// Show how everything stands
    Status,
    /// Make, list and remove applications that report with a DSN
    #[command(subcommand)]
    Apps(Apps),
    /// List incidents, newest first
    Incidents(Incidents),
    /// Report an error, to see what becomes of it
    SendTestError(SendTestError),
}

/// `start`
#[derive(Debug, Args)]
pub struct Start {
    /// The port to listen on, on 127.0.0.1 (0 = any free one) [default: PORT, else 8080]
    #[arg(long)]
    pub port: Option<u16>,
    /// Walk through the main job on a demo service, print what became of it, and end
    #[arg(long)]
    pub demo: bool,
}

/// `apply`
#[derive(Debug, Args)]
pub struct Apply {
    /// The services, as `[[services]]` tables
    #[arg(value_name = "FILE.toml")]
    pub file: PathBuf,
    /// Show what would change, and change nothing
    #[arg(long)]
    pub dry_run: bool,
    /// Remove the services that came from a file and stand in this one no more
    #[arg(long)]
    pub prune: bool,
}

/// `apps`
#[derive(Debug, Subcommand)]
pub enum Apps {
    /// Make an application and print its DSN; of one that is there, print it again
    Add(AddApp),
    /// Show every application with its DSN and what it has sent this month
    List,
    /// Give an application a new DSN; the old ones are refused within seconds
    RotateKey(NamedApp),
    /// Refuse whatever an application sends; what it has sent stays
    Remove(NamedApp),
}

/// `apps add`
#[derive(Debug, Args)]
pub struct AddApp {
    /// What its incidents are filed under
    #[arg(value_name = "NAME", value_parser = ApplicationName::parse)]
    pub name: ApplicationName,
    /// The environment of what it reports without naming one
    #[arg(long, value_parser = ApplicationName::parse)]
    pub environment: Option<ApplicationName>,
    /// Take at most this many events in five minutes [default: 5000]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(i64).range(0..))]
    pub burst: Option<i64>,
    /// Take at most this many events in an hour [default: 20000]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(i64).range(0..))]
    pub per_hour: Option<i64>,
    /// Take at most this many events in a month [default: as many as there are]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(i64).range(0..))]
    pub per_month: Option<i64>,
}

/// `apps rotate-key`, `apps remove`
#[derive(Debug, Args)]
pub struct NamedApp {
    /// Its name, or its number
    #[arg(value_name = "NAME|NUMBER")]
    pub name: String,
    /// Its environment, where several have the name
    #[arg(long)]
    pub environment: Option<String>,
}

/// `incidents`
#[derive(Debug, Args)]
pub struct Incidents {
    /// Only those that are detected, acknowledged or resolved
    #[arg(long, value_parser = status)]
    pub status: Option<String>,
    /// Only those that are CRITICAL, HIGH, MEDIUM or LOW
    #[arg(long, value_parser = severity)]
    pub severity: Option<String>,
    /// Only those of this application
    #[arg(long)]
    pub application: Option<String>,
    /// Only those of this environment
    #[arg(long)]
    pub environment: Option<String>,
    /// At most this many
    #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u16).range(1..=200))]
    pub limit: u16,
}

/// `send-test-error`
#[derive(Debug, Args)]
pub struct SendTestError {
    /// The error's message
    #[arg(long, default_value = "Test error sent by watchkeeper")]
    pub message: String,
    /// CRITICAL, HIGH, MEDIUM or LOW; the rules decide otherwise
    #[arg(long)]
    pub severity: Option<String>,
}

fn status(word: &str) -> Result<String, String> {
    IncidentStatus::parse(&word.to_ascii_lowercase())
        .map(|status| status.as_str().to_owned())
        .ok_or_else(|| "must be detected, acknowledged or resolved".to_owned())
}

fn severity(word: &str) -> Result<String, String> {
    Severity::parse(word)
        .map(|severity| severity.as_str().to_owned())
        .ok_or_else(|| "must be CRITICAL, HIGH, MEDIUM or LOW".to_owned())
}
