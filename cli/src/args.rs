//! The arguments of the command line. Wrong use ends with exit code 2 (clap's own).

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};
use shared::model::{
    AlertStatus, AllowedOrigin, ApplicationChanges, ApplicationName, Category, IncidentId, IncidentStatus, NameError,
    Severity, SeverityBound, Subject,
};
use uuid::Uuid;

/// The monitoring agent: errors in, health checks each minute, classified incidents in Postgres.
#[derive(Debug, Parser)]
// The last one of a repeated option wins: scripts and make pass defaults first.
#[command(name = "watchkeeper", version, arg_required_else_help = true, args_override_self = true)]
pub struct Arguments {
    /// The command.
    #[command(subcommand)]
    pub command: Command,
    /// The options of every command.
    #[command(flatten)]
    pub global: Global,
}

/// The options of every command.
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
    /// Migrate the database's schema (`DIRECT_URL`, else `DATABASE_URL`, else the running stack's)
    Migrate,
    /// Apply the services, routes and escalations of a TOML file; shows what changes
    Apply(Apply),
    /// Check every service now
    Check,
    /// Show service states, open incidents and failing receivers
    Status,
    /// Add, list and remove applications that report with a DSN
    #[command(subcommand)]
    Apps(Apps),
    /// List incidents: open ones first, the newest change first
    Incidents(Incidents),
    /// Show one incident in full: fields, samples, timeline
    Incident(ShowIncident),
    /// List alerts: those that are not resolved first, newest first
    Alerts(Alerts),
    /// Acknowledge an incident or an alert: it is not escalated any further
    Ack(React),
    /// Resolve an incident or an alert by hand
    Resolve(React),
    /// Suppress notifications about some problems for some time
    #[command(subcommand)]
    Silence(Silence),
    /// List notifications, newest first
    Notifications(Notifications),
    /// Report a test error
    SendTestError(SendTestError),
}

/// `start`
#[derive(Debug, Args)]
pub struct Start {
    /// The port to listen on, on 127.0.0.1 (0 = any free one) [default: PORT, else 8080]
    #[arg(long)]
    pub port: Option<u16>,
    /// Run a demo: report errors, check a demo service, print the incidents, and exit
    #[arg(long)]
    pub demo: bool,
}

/// `apply`
#[derive(Debug, Args)]
pub struct Apply {
    /// The `[[services]]`, `[[routes]]` and `[[escalations]]`
    #[arg(value_name = "FILE.toml")]
    pub file: PathBuf,
    /// Show what would change, and change nothing
    #[arg(long)]
    pub dry_run: bool,
    /// Remove services and routes that came from the file of this name and are no longer in it; asks first
    #[arg(long)]
    pub prune: bool,
    /// Do not ask before something is removed, or before another file of the same name is replaced
    #[arg(long)]
    pub yes: bool,
}

/// `apps`
#[derive(Debug, Subcommand)]
pub enum Apps {
    /// Add an application and print its DSN; if it exists, change the given settings and print the DSN
    Add(AddApp),
    /// List the applications with their DSNs and this month's events
    List,
    /// Give an application a new DSN; the old ones are refused within seconds
    RotateKey(NamedApp),
    /// Remove an application: its reports are refused, its incidents stay
    Remove(NamedApp),
}

/// `apps add`
#[derive(Debug, Args)]
pub struct AddApp {
    /// The application's name, or the number of an existing one
    #[arg(value_name = "NAME|NUMBER", value_parser = NameOrNumber::parse)]
    pub name: NameOrNumber,
    /// The environment of reports that name none [default: that of the only application of this name, if any]
    #[arg(long, value_parser = ApplicationName::parse)]
    pub environment: Option<ApplicationName>,
    /// Accept at most this many events in five minutes [default: 5000]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(i64).range(0..))]
    pub burst: Option<i64>,
    /// Accept at most this many events in an hour [default: 20000]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(i64).range(0..))]
    pub per_hour: Option<i64>,
    /// Accept at most this many events in a month [default: no limit]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(i64).range(0..))]
    pub per_month: Option<i64>,
    /// Its DSN is public, in a web page: the defaults are --max-severity HIGH --new-per-hour 20
    #[arg(long)]
    pub browser: bool,
    /// The highest severity of its incidents; `none` removes the limit
    #[arg(long, value_name = "LEVEL", value_parser = SeverityBound::parse)]
    pub max_severity: Option<SeverityBound>,
    /// Pages that may use its DSN, such as shop.example.com or *.example.com; repeatable; `*` for all
    #[arg(long, value_name = "ORIGIN", value_parser = AllowedOrigin::parse)]
    pub origin: Vec<AllowedOrigin>,
    /// Open at most this many incidents in an hour; one more incident counts the rest [default: 100]
    #[arg(long, value_name = "N",
        value_parser = clap::value_parser!(i32).range(0..=i64::from(ApplicationChanges::MOST_NEW_INCIDENTS)))]
    pub new_per_hour: Option<i32>,
}

/// An application's name or number. No name is a number.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NameOrNumber {
    /// A name.
    Name(ApplicationName),
    /// A number.
    Number(i64),
}

impl NameOrNumber {
    fn parse(text: &str) -> Result<Self, NameError> {
        match text.trim().parse() {
            Ok(number) => Ok(Self::Number(number)),
            Err(_) => ApplicationName::parse(text).map(Self::Name),
        }
    }
}

/// `apps rotate-key`, `apps remove`
#[derive(Debug, Args)]
pub struct NamedApp {
    /// Its name, or its number
    #[arg(value_name = "NAME|NUMBER")]
    pub name: String,
    /// Its environment, if several applications have this name
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

/// `incident`
#[derive(Debug, Args)]
pub struct ShowIncident {
    /// Its ID (INC-…)
    #[arg(value_name = "ID", value_parser = incident)]
    pub id: IncidentId,
}

/// `alerts`
#[derive(Debug, Args)]
pub struct Alerts {
    /// Only those that are active, acknowledged or resolved
    #[arg(long, value_parser = alert_status)]
    pub status: Option<String>,
    /// Only those of this service
    #[arg(long)]
    pub service: Option<String>,
    /// Only those of this environment
    #[arg(long)]
    pub environment: Option<String>,
    /// At most this many
    #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u16).range(1..=200))]
    pub limit: u16,
}

/// `ack`, `resolve`
#[derive(Debug, Args)]
pub struct React {
    /// An incident (INC-…), or an alert by its UUID
    #[arg(value_name = "ID", value_parser = subject)]
    pub subject: Subject,
    /// The person who does it [default: USER]
    #[arg(long, value_name = "NAME")]
    pub by: Option<String>,
    /// The reason, for the timeline
    #[arg(long, value_name = "TEXT")]
    pub comment: Option<String>,
}

/// `silence`
#[derive(Debug, Subcommand)]
pub enum Silence {
    /// Suppress notifications about these problems; problems still open at its end are notified
    Add(Box<AddSilence>),
    /// List active and future silences
    List,
    /// End a silence now
    End(EndSilence),
}

/// `silence add`
#[derive(Debug, Args)]
pub struct AddSilence {
    /// How long, such as 2h or 3days; 30 days at most
    #[arg(long = "for", value_name = "TIME", value_parser = time)]
    pub duration: String,
    /// The reason
    #[arg(long, value_name = "TEXT")]
    pub comment: String,
    /// Its author [default: USER]
    #[arg(long, value_name = "NAME")]
    pub by: Option<String>,
    /// Of this application (* matches any characters; repeatable)
    #[arg(long)]
    pub application: Vec<String>,
    /// In this environment
    #[arg(long)]
    pub environment: Vec<String>,
    /// Of this service
    #[arg(long)]
    pub service: Vec<String>,
    /// Of this severity: CRITICAL, HIGH, MEDIUM or LOW
    #[arg(long, value_parser = severity)]
    pub severity: Vec<String>,
    /// Of this category: backend, frontend, database, security, infrastructure or unknown
    #[arg(long, value_parser = category)]
    pub category: Vec<String>,
    /// Of services with this tag
    #[arg(long)]
    pub tag: Vec<String>,
    /// Of everything
    #[arg(long, conflicts_with_all = ["application", "environment", "service", "severity", "category", "tag"])]
    pub all: bool,
}

/// `silence end`
#[derive(Debug, Args)]
pub struct EndSilence {
    /// Its ID, as `silence list` shows it
    #[arg(value_name = "ID")]
    pub id: Uuid,
    /// The person who does it [default: USER]
    #[arg(long, value_name = "NAME")]
    pub by: Option<String>,
}

/// `notifications`
#[derive(Debug, Args)]
pub struct Notifications {
    /// The subcommand; without one, notifications are listed
    #[command(subcommand)]
    pub command: Option<NotificationsCommand>,
    /// Only those that could not be delivered
    #[arg(long)]
    pub failed: bool,
    /// At most this many
    #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u16).range(1..=1000))]
    pub limit: u16,
}

/// `notifications …`
#[derive(Debug, Subcommand)]
pub enum NotificationsCommand {
    /// Send a notification again
    Replay(ReplayNotification),
}

/// `notifications replay`
#[derive(Debug, Args)]
pub struct ReplayNotification {
    /// Its ID, as `notifications` shows it
    #[arg(value_name = "ID")]
    pub id: Uuid,
}

/// `send-test-error`
#[derive(Debug, Args)]
pub struct SendTestError {
    /// The error's message
    #[arg(long, default_value = "Test error sent by watchkeeper")]
    pub message: String,
    /// CRITICAL, HIGH, MEDIUM or LOW [default: classified by the rules]
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

fn category(word: &str) -> Result<String, String> {
    Category::parse(&word.to_ascii_lowercase())
        .map(|category| category.as_str().to_owned())
        .ok_or_else(|| "must be backend, frontend, database, security, infrastructure or unknown".to_owned())
}

fn alert_status(word: &str) -> Result<String, String> {
    AlertStatus::parse(&word.to_ascii_lowercase())
        .map(|status| status.as_str().to_owned())
        .ok_or_else(|| "must be active, acknowledged or resolved".to_owned())
}

/// Parses an incident ID in any case; stored IDs are upper case.
fn incident(text: &str) -> Result<IncidentId, String> {
    match subject(&text.trim().to_ascii_uppercase())? {
        Subject::Incident(id) => Ok(id),
        Subject::Alert(_) => Err("is an alert's id: `watchkeeper alerts` shows alerts".to_owned()),
    }
}

fn subject(text: &str) -> Result<Subject, String> {
    match Subject::parse(text.trim()) {
        Some(Subject::Incident(id)) if !id.as_str().starts_with("INC-") => {
            Err("must be an incident's id (INC-…) or an alert's (a UUID)".to_owned())
        }
        Some(subject) => Ok(subject),
        None => Err("must be an incident's id (INC-…) or an alert's (a UUID)".to_owned()),
    }
}

/// Validates a duration; it is sent as written.
fn time(text: &str) -> Result<String, String> {
    humantime::parse_duration(text).map(|_| text.to_owned()).map_err(|error| error.to_string())
}
