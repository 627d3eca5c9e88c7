//! Messages to send.

use chrono::{DateTime, Utc};
use notify::channel::Delivery;
use notify::notification::{Notification, NotificationKind, Problem, ProblemState};
use shared::model::{Category, Receiver, Severity};
use uuid::Uuid;

pub(crate) fn at(text: &str) -> DateTime<Utc> {
    text.parse().unwrap()
}

/// A problem of which everything is known.
pub(crate) fn problem() -> Problem {
    Problem {
        state: ProblemState::Firing,
        title: "TypeError: x is undefined".to_owned(),
        severity: Severity::Critical,
        category: Category::Backend,
        application: "shop".to_owned(),
        environment: "production".to_owned(),
        service: Some("payments-api".to_owned()),
        message: Some("TypeError: x is undefined at checkout (cart.js:12)".to_owned()),
        since: at("2026-11-24T01:50:00Z"),
        resolved_at: None,
        occurrences: 12,
        users: 3,
        handled_by: None,
        tried: vec!["restarted the pods".to_owned(), "asked the service again".to_owned()],
        incident_id: Some("INC-20261124-0001".to_owned()),
        alert_id: None,
        url: Some("https://watch.example.com/api/incidents/INC-20261124-0001".to_owned()),
    }
}

/// The same problem, over.
pub(crate) fn resolved_problem() -> Problem {
    Problem {
        state: ProblemState::Resolved,
        resolved_at: Some(at("2026-11-24T02:02:00Z")),
        handled_by: Some("Ada".to_owned()),
        ..problem()
    }
}

pub(crate) fn notification(kind: NotificationKind) -> Notification {
    let problem = match kind {
        NotificationKind::Resolved => resolved_problem(),
        NotificationKind::Acknowledged => {
            Problem { state: ProblemState::Acknowledged, handled_by: Some("Ada".to_owned()), ..problem() }
        }
        _ => problem(),
    };
    Notification {
        kind,
        at: at("2026-11-24T02:03:04Z"),
        problems: vec![problem],
        more: 0,
        group: None,
        is_part: false,
        remark: None,
    }
}

pub(crate) fn delivery(receiver: &str, kind: NotificationKind) -> Delivery {
    Delivery {
        id: Uuid::from_u128(0x0190_0000_0000_7000_8000_0000_0000_0001),
        receiver: Receiver::parse(receiver).unwrap(),
        dedup_key: "watchkeeper/INC-20261124-0001".to_owned(),
        notification: notification(kind),
        earlier: None,
    }
}
