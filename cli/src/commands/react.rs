//! `watchkeeper ack ID` and `watchkeeper resolve ID`: acknowledge or resolve an incident or an alert.

use std::process::ExitCode;

use serde_json::{Value, json};
use shared::model::Subject;
use shared::model::text::one_line;

use crate::args::{Global, React};
use crate::config::Config;
use crate::output::say;
use crate::selection::{Purpose, Target};

/// What to do with it.
#[derive(Debug, Clone, Copy)]
pub(super) enum Action {
    Acknowledge,
    Resolve,
}

impl Action {
    /// The last segment of the path.
    fn route(self) -> &'static str {
        match self {
            Self::Acknowledge => "acknowledge",
            Self::Resolve => "resolve",
        }
    }
}

pub(super) async fn run(action: Action, react: &React, global: &Global, config: &Config) -> anyhow::Result<ExitCode> {
    let server = Target::of(config, &global.data_dir)?.server(Purpose::Change)?;
    let place = match &react.subject {
        Subject::Incident(id) => format!("incidents/{id}"),
        Subject::Alert(id) => format!("alerts/{id}"),
    };
    let body = json!({ "by": config.person(react.by.as_deref()), "comment": react.comment });
    let row = server.post(&format!("/api/{place}/{}", action.route()), &body).await?;
    if global.json {
        say(&row);
    } else {
        say(one_line(&summary(&row)));
    }
    Ok(ExitCode::SUCCESS)
}

/// The current status and assignee; another person may have been faster.
fn summary(row: &Value) -> String {
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
    fn the_summary_has_the_status_of_incidents_and_alerts() {
        let incident = json!({"incident_id": "INC-1", "title": "boom", "status": "acknowledged", "handled_by": "ann"});
        assert_eq!(summary(&incident), "INC-1 is acknowledged by ann: boom");
        let alert = json!({
            "id": "0", "incident_id": null, "service_name": "mail", "environment": "test", "status": "resolved",
            "message": "it is slow"
        });
        assert_eq!(summary(&alert), "the alert about mail (test) is resolved: it is slow");
    }
}
