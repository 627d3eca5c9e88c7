//! What keeps people from being told, in words. Pure.

use shared::store::status::{Notifications, Outbox};

/// Each minute what waits is offered to the bus; after so long nobody does, or it is refused.
const LATE_SECONDS: f64 = 180.0;

/// One line for each thing that is wrong.
pub(crate) fn warnings(outbox: &Outbox, telling: &Notifications) -> Vec<String> {
    let mut warnings = Vec::new();
    if telling.receivers == 0 {
        warnings.push("no channel is configured: nobody is told".to_owned());
    }
    if outbox.lag_seconds > LATE_SECONDS {
        warnings.push("events have waited for minutes to be taken by the bus".to_owned());
    }
    if outbox.failing > 0 {
        warnings.push(format!("{} not taken by the bus", are(outbox.failing, "event")));
    }
    if !telling.failing.is_empty() {
        let count = i64::try_from(telling.failing.len()).unwrap_or(i64::MAX);
        warnings.push(format!("{} not reached", are(count, "receiver")));
    }
    if telling.failed_today > 0 {
        warnings.push(format!("{} given up within a day", were(telling.failed_today, "message")));
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
    fn each_thing_that_is_wrong_is_one_line_and_nothing_else_is() {
        let mut outbox = Outbox { waiting: 5, failing: 0, lag_seconds: 2.0, last_error: Some("x".to_owned()) };
        let mut telling =
            Notifications { receivers: 1, failing: vec![], pending: 3, sending: 1, failed: 9, failed_today: 0 };
        assert_eq!(warnings(&outbox, &telling), [""; 0]);
        let failing = FailingReceiver { receiver: "slack".to_owned(), since: DateTime::UNIX_EPOCH, last_error: None };
        outbox.lag_seconds = 181.0;
        (outbox.failing, telling.receivers, telling.failing, telling.failed_today) = (2, 0, vec![failing], 1);
        assert_eq!(
            warnings(&outbox, &telling),
            [
                "no channel is configured: nobody is told",
                "events have waited for minutes to be taken by the bus",
                "2 events are not taken by the bus",
                "1 receiver is not reached",
                "1 message was given up within a day",
            ]
        );
    }
}
