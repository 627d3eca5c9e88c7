//! `POST /api/incidents/{id}/acknowledge`, `/resolve`, and the same for alerts: `{"by": "ann", "comment": "…"}`, both
//! optional. Answers with the updated row.

use axum::Json;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, Request, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Response};
use chrono::Utc;
use serde::Deserialize;
use shared::http::ApiError;
use shared::model::{DeliveryKey, Subject};
use shared::store::lifecycle::Agent;
use shared::store::reactions::{self, Action, Reacted, Reaction, person};
use shared::store::{alerts, incidents};

use crate::App;

/// The operator's name, if none is given.
const DEFAULT_OPERATOR: &str = "api";

/// The body of a request.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct ReactionBody {
    by: Option<String>,
    comment: Option<String>,
}

impl ReactionBody {
    /// The operator's name, in a form that can be stored.
    pub(crate) fn by(&self) -> String {
        self.by.as_deref().and_then(person).unwrap_or_else(|| DEFAULT_OPERATOR.to_owned())
    }
}

type Id = Result<Path<String>, PathRejection>;
type Answer = Result<Response, ApiError>;

pub(crate) async fn acknowledge_incident(State(app): State<App>, id: Id, request: Request) -> Answer {
    app.react(Kind::Incident, id, Action::Acknowledge, request).await
}

pub(crate) async fn resolve_incident(State(app): State<App>, id: Id, request: Request) -> Answer {
    app.react(Kind::Incident, id, Action::Resolve, request).await
}

pub(crate) async fn acknowledge_alert(State(app): State<App>, id: Id, request: Request) -> Answer {
    app.react(Kind::Alert, id, Action::Acknowledge, request).await
}

pub(crate) async fn resolve_alert(State(app): State<App>, id: Id, request: Request) -> Answer {
    app.react(Kind::Alert, id, Action::Resolve, request).await
}

/// The kind of subject in a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Incident,
    Alert,
}

impl Kind {
    /// The subject of this id; none if the id is invalid.
    fn subject(self, id: Id) -> Option<Subject> {
        let Path(id) = id.ok()?;
        match self {
            Self::Incident => Subject::parse(&format!("incident:{id}")),
            Self::Alert => Subject::parse(&format!("alert:{id}")),
        }
    }

    fn missing(self) -> ApiError {
        ApiError::not_found(match self {
            Self::Incident => "no such incident",
            Self::Alert => "no such alert",
        })
    }

    fn already_resolved(self) -> ApiError {
        let message = match self {
            Self::Incident => "the incident is resolved: it can't be acknowledged any more",
            Self::Alert => "the alert is resolved: it can't be acknowledged any more",
        };
        ApiError::new(StatusCode::CONFLICT, "conflict", message)
    }
}

impl App {
    async fn react(&self, kind: Kind, id: Id, action: Action, request: Request) -> Answer {
        let now = Utc::now();
        let body: ReactionBody = self.take(request, now).await?;
        let subject = &kind.subject(id).ok_or_else(|| kind.missing())?;
        let reaction = &Reaction {
            delivery_key: DeliveryKey::unique("admin", now),
            action,
            by: body.by(),
            comment: body.comment,
            agent: Agent::new("admin", "operator"),
            at: now,
            done_at: None,
        };
        let reacted =
            self.store.run(|client| async move { reactions::react(&client, subject, reaction).await }).await?;
        match reacted {
            Reacted::Unknown => return Err(kind.missing()),
            Reacted::Over => return Err(kind.already_resolved()),
            Reacted::Done(event) => {
                tracing::info!(%subject, by = reaction.by, ?action, changed = event.is_some(), "{subject}: {action:?}");
                self.publisher.publish(event.as_slice()).await;
            }
        }
        self.show(subject).await?.ok_or_else(|| kind.missing())
    }

    /// Answers with the current row.
    async fn show(&self, subject: &Subject) -> Result<Option<Response>, ApiError> {
        Ok(match subject {
            Subject::Incident(id) => {
                let found = self.store.run(|client| async move { incidents::find_summary(&client, id).await }).await?;
                found.map(|incident| Json(incident).into_response())
            }
            Subject::Alert(id) => {
                let found = self.store.run(|client| async move { alerts::find(&client, *id).await }).await?;
                found.map(|alert| Json(alert).into_response())
            }
        })
    }
}
