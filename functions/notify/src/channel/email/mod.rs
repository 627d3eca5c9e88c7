//! E-mail: over SMTP, or over SendGrid's HTTP API.

mod server;

pub use server::SmtpServer;
