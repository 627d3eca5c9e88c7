//! Bursts: each notification is sent or named in a digest, and none twice.

#![expect(clippy::print_stderr, reason = "what was measured")]

use std::collections::BTreeSet;
use std::time::Instant;

use chrono::{TimeDelta, Utc};

use super::inbox::Inbox;
use super::{Notifier, batch, failures, of_incident, webhook};

async fn storm(notifier: &Notifier, count: usize) -> Vec<serde_json::Value> {
    notifier
        .database
        .execute(&format!(
            "INSERT INTO incidents (incident_id, title, severity, category, application, error_message)
            SELECT 'INC-' || n, 'It broke: ' || n, CASE WHEN n % 100 = 7 THEN 'CRITICAL' ELSE 'LOW' END, 'backend', 'shop', 'boom'
            FROM generate_series(1, {count}) AS n"
        ))
        .await;
    (1..=count).map(|nth| of_incident("IncidentOpened", &format!("INC-{nth}"))).collect()
}

#[tokio::test]
async fn notifications_beyond_the_rate_limit_become_one_digest() {
    let (inbox, chat) = (Inbox::open().await, Inbox::open().await);
    let mut variables = webhook(&inbox).to_vec();
    variables.push(("SLACK_WEBHOOK_URL", chat.url("/slack")));
    let notifier = Notifier::with(&variables).await;
    let events = storm(&notifier, 100).await;
    let began = Utc::now();
    notifier.receive(&events).await;
    assert_eq!(inbox.got().len(), 100, "a machine reads everything");
    assert!((20..=22).contains(&chat.got().len()), "{}", chat.got().len());
    chat.forget();
    notifier.sweep(began + TimeDelta::seconds(1)).await;
    notifier.sweep(Utc::now() + TimeDelta::seconds(33)).await;
    let slack = "notifications WHERE channel = 'slack'";
    assert_eq!(notifier.database.count(&format!("{slack} AND kind = 'digest' AND status = 'sent'")).await, 1);
    assert_eq!(notifier.database.count(&format!("{slack} AND status NOT IN ('sent', 'digested')")).await, 0);
    let sent = notifier.database.count(&format!("{slack} AND status = 'sent' AND kind = 'firing'")).await;
    let gathered = notifier
        .database
        .count(&format!(
            "{slack} AND status = 'digested' AND digest_id = (SELECT id FROM notifications WHERE kind = 'digest')"
        ))
        .await;
    assert_eq!(sent + gathered, 100);
    // Each was sent or gathered, so each has an end.
    notifier.resolve("INC-99").await;
    assert!(notifier.messages().await.iter().filter(|it| it.contains("resolved slack")).count() == 1);
}

#[tokio::test]
async fn ten_thousand_events_at_once_are_sent_or_gathered_and_none_twice() {
    const COUNT: usize = 10_000;
    let (inbox, chat) = (Inbox::open().await, Inbox::open().await);
    let mut variables = webhook(&inbox).to_vec();
    variables.push(("SLACK_WEBHOOK_URL", chat.url("/slack")));
    let notifier = Notifier::with(&variables).await;
    let events = storm(&notifier, COUNT).await;
    let began = Instant::now();
    let batches: Vec<_> = events.chunks(100).map(<[_]>::to_vec).collect();
    for two in batches.chunks(2) {
        let (one, other) = tokio::join!(
            notify::handle(&notifier.app, batch(&two[0])),
            notify::handle(&notifier.app, batch(two.get(1).map_or(&[], Vec::as_slice)))
        );
        assert!(failures(&one).is_empty() && failures(&other).is_empty());
    }
    let decided = began.elapsed();
    for minute in 0..3 {
        notifier.sweep(Utc::now() + TimeDelta::minutes(minute)).await;
    }
    let ids: BTreeSet<_> = inbox.got().into_iter().map(|got| got.id).collect();
    let open = notifier.database.count("notifications WHERE status NOT IN ('sent', 'digested')").await;
    eprintln!(
        "{COUNT} events: {decided:.1?} for all of them, {:.1?} with what waited; chat: {} messages",
        began.elapsed(),
        chat.got().len()
    );
    assert_eq!((inbox.got().len(), ids.len(), open), (COUNT, COUNT, 0));
    let chat_rows = notifier.database.count("notifications WHERE channel = 'slack' AND kind = 'firing'").await;
    assert_eq!(chat_rows, i64::try_from(COUNT).unwrap());
}
