//! Problems that prevent notifications, as texts. Pure.

use shared::store::status::{Notifications, Outbox};

/// The outbox is published each minute; a longer delay means that publishing fails.
const LATE_SECONDS: f64 = 180.0;

/// One line for each problem.
pub(crate) fn warnings(outbox: &Outbox, notifications: &Notifications) -> Vec<String> {
    let mut warnings = Vec::new();
    if notifications.receivers == 0 {
        warnings.push("no channel is configured: no notifications are sent".to_owned());
    }
    if outbox.lag_seconds > LATE_SECONDS {
        warnings.push("events have waited in the outbox for minutes".to_owned());
    }
    if outbox.failing > 0 {
        warnings.push(format!("{} refused by the bus", are(outbox.failing, "event")));
    }
    if !notifications.failing.is_empty() {
        let count = i64::try_from(notifications.failing.len()).unwrap_or(i64::MAX);
        warnings.push(format!("{} not reached", are(count, "receiver")));
    }
    if notifications.failed_today > 0 {
        warnings.push(format!("{} given up within a day", were(notifications.failed_today, "message")));
    }
    warnings
}

fn are(count: i64, noun: &str) -> String {
    if count == 1 { format!("1 {noun} is") } else { format!("{count} {noun}s are") }
}

fn were(count: i64, noun: &str) -> String {
    if count == 1 { format!("1 {noun} was") } else { format!("{count} {noun}s were") }
}

#[cfg(test)]
mod tests {
    use chrono::DateTime;
    use shared::store::status::FailingReceiver;

    use super::*;

    #[test]
    fn each_problem_is_one_line() {
        let mut outbox = Outbox { waiting: 5, failing: 0, lag_seconds: 2.0, last_error: Some("x".to_owned()) };
        let mut notifications =
            Notifications { receivers: 1, failing: vec![], pending: 3, sending: 1, failed: 9, failed_today: 0 };
        assert_eq!(warnings(&outbox, &notifications), [""; 0]);
        let failing = FailingReceiver { receiver: "slack".to_owned(), since: DateTime::UNIX_EPOCH, last_error: None };
        outbox.lag_seconds = 181.0;
        (outbox.failing, notifications.receivers, notifications.failing, notifications.failed_today) =
            (2, 0, vec![failing], 1);
        assert_eq!(
            warnings(&outbox, &notifications),
            [
                "no channel is configured: no notifications are sent",
                "events have waited in the outbox for minutes",
                "2 events are refused by the bus",
                "1 receiver is not reached",
                "1 message was given up within a day",
            ]
        );
    }
}
