//! `watchkeeper ack ID` and `watchkeeper resolve ID`: an incident or an alert is taken, or ended, by a person.

use std::process::ExitCode;

use serde_json::{Value, json};
use shared::model::Subject;
use shared::model::text::one_line;

use crate::args::{Global, React};
use crate::config::Config;
use crate::output::say;
use crate::selection::{Purpose, Target};

/// What is done.
#[derive(Debug, Clone, Copy)]
pub(super) enum Deed {
    Acknowledge,
    Resolve,
}

impl Deed {
    /// The end of the route.
    fn route(self) -> &'static str {
        match self {
            Self::Acknowledge => "acknowledge",
            Self::Resolve => "resolve",
        }
    }
}

pub(super) async fn run(deed: Deed, react: &React, global: &Global, config: &Config) -> anyhow::Result<ExitCode> {
    let server = Target::of(config, &global.data_dir)?.server(Purpose::Change)?;
    let place = match &react.subject {
        Subject::Incident(id) => format!("incidents/{id}"),
        Subject::Alert(id) => format!("alerts/{id}"),
    };
    let body = json!({ "by": config.person(react.by.as_deref()), "comment": react.comment });
    let row = server.post(&format!("/api/{place}/{}", deed.route()), &body).await?;
    if global.json {
        say(&row);
    } else {
        say(one_line(&told(&row)));
    }
    Ok(ExitCode::SUCCESS)
}

/// How it stands now, and by whom: who was faster is told too.
fn told(row: &Value) -> String {
    let text = |name: &str| row[name].as_str();
    let status = text("status").unwrap_or("-");
    match (text("title"), text("handled_by")) {
        (Some(title), Some(by)) => format!("{} is {status} by {by}: {title}", text("incident_id").unwrap_or("-")),
        (Some(title), None) => format!("{} is {status}: {title}", text("incident_id").unwrap_or("-")),
        (None, _) => {
            let service = format!("{} ({})", text("service_name").unwrap_or("-"), text("environment").unwrap_or("-"));
            format!("the alert about {service} is {status}: {}", text("message").unwrap_or("-"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_stands_now_is_told_of_incidents_and_alerts() {
        let incident = json!({"incident_id": "INC-1", "title": "boom", "status": "acknowledged", "handled_by": "ann"});
        assert_eq!(told(&incident), "INC-1 is acknowledged by ann: boom");
        let alert = json!({
            "id": "0", "incident_id": null, "service_name": "mail", "environment": "test", "status": "resolved",
            "message": "it is slow"
        });
        assert_eq!(told(&alert), "the alert about mail (test) is resolved: it is slow");
    }
}
