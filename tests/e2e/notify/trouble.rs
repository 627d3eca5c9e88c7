//! Isolation of failures and bursts: one does not block the rest.

use std::time::Duration;

use chrono::{TimeDelta, Utc};
use serde_json::json;
use shared::store::status;

use super::inbox::{Inbox, Reply};
use super::who::sms;
use super::{Notifier, batch, failures, named, of_incident, webhook};

#[tokio::test]
async fn a_failure_at_one_receiver_does_not_stop_the_others() {
    let inbox = Inbox::open().await;
    let variables: Vec<_> = webhook(&inbox).into_iter().chain(named(&inbox, "BAD")).collect();
    let notifier = Notifier::with(&variables).await;
    notifier.route(json!({"routes": [{"name": "all", "channels": ["webhook", "webhook:BAD"]}]})).await;
    let receivers = "INSERT INTO notification_receivers (channel, recipient, paused_until)
        VALUES ('webhook', 'default', now() + interval '1 hour'), ('webhook', 'BAD', now() + interval '1 hour')";
    notifier.database.execute(receivers).await;
    for nth in 0..20 {
        notifier.open(&format!("INC-{nth}"), "LOW").await;
    }
    let broken = "UPDATE notification_receivers SET paused_until = NULL;
        CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'broken'; END $$;
        CREATE TRIGGER refuse BEFORE UPDATE ON notifications FOR EACH ROW WHEN (NEW.recipient = 'BAD') EXECUTE FUNCTION refuse()";
    notifier.database.execute(broken).await;
    assert!(notify::sweep(&notifier.app, Utc::now()).await.is_err());
    assert_eq!(notifier.database.count("notifications WHERE recipient = 'default' AND status = 'sent'").await, 20);
    assert_eq!(inbox.got().len(), 20);
}

/// From now on storing a notification to this receiver fails.
async fn refuse(notifier: &Notifier, recipient: &str) {
    let refuse = format!(
        "CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'broken'; END $$;
        CREATE TRIGGER refuse BEFORE INSERT ON notifications FOR EACH ROW WHEN (NEW.recipient = '{recipient}')
            EXECUTE FUNCTION refuse()"
    );
    notifier.database.execute(&refuse).await;
}

async fn of_two_routes(inbox: &Inbox) -> Notifier {
    let variables: Vec<_> = webhook(inbox).into_iter().chain(named(inbox, "B")).collect();
    let notifier = Notifier::with(&variables).await;
    notifier
        .route(json!({"routes": [
            {"name": "one", "channels": ["webhook"], "continue": true}, {"name": "two", "channels": ["webhook:B"]}
        ]}))
        .await;
    refuse(&notifier, "B").await;
    notifier.incident("INC-1", "HIGH").await;
    notifier
}

#[tokio::test]
async fn a_failure_between_two_groups_loses_neither() {
    let inbox = Inbox::open().await;
    let notifier = of_two_routes(&inbox).await;
    let opened = [of_incident("IncidentOpened", "INC-1")];
    assert_eq!(failures(&notify::handle(&notifier.app, batch(&opened)).await), ["0"]);
    notifier.database.execute("DROP TRIGGER refuse ON notifications").await;
    notifier.receive(&opened).await;
    notifier.receive(&opened).await;
    let mut paths: Vec<_> = inbox.got().into_iter().map(|got| got.path).collect();
    paths.sort();
    assert_eq!(paths, ["/", "/B"]);
}

#[tokio::test]
async fn a_sweep_notifies_the_group_that_its_event_did_not_reach() {
    let inbox = Inbox::open().await;
    let notifier = of_two_routes(&inbox).await;
    notify::handle(&notifier.app, batch(&[of_incident("IncidentOpened", "INC-1")])).await;
    notifier.database.execute("DROP TRIGGER refuse ON notifications").await;
    notifier.sweep(Utc::now() + TimeDelta::minutes(1)).await;
    let mut paths: Vec<_> = inbox.got().into_iter().map(|got| got.path).collect();
    paths.sort();
    assert_eq!(paths, ["/", "/B"]);
}

#[tokio::test]
async fn an_end_whose_event_was_missed_is_notified_after_some_minutes() {
    let inbox = Inbox::open().await;
    let notifier = Notifier::to(&inbox).await;
    notifier.open("INC-1", "HIGH").await;
    notifier.open("INC-2", "HIGH").await;
    let over = "status = 'resolved', resolved_at = now(), updated_at = now()";
    notifier.set("INC-1", over).await;
    notifier.sweep(Utc::now() + TimeDelta::seconds(100)).await;
    assert_eq!(inbox.kinds(), "firing firing", "its event may still come");
    notifier.database.execute("DELETE FROM incidents WHERE incident_id = 'INC-2'").await;
    notifier.sweep(Utc::now() + TimeDelta::seconds(130)).await;
    assert_eq!(inbox.kinds(), "firing firing resolved");
    assert_eq!(notifier.database.count("notification_members").await, 0, "what is gone is forgotten");
}

#[tokio::test]
async fn a_notification_that_a_defect_prevents_is_retried() {
    let inbox = Inbox::open().await;
    let notifier = Notifier::to(&inbox).await;
    notifier.open("INC-1", "HIGH").await;
    notifier.database.execute("CREATE TABLE kept AS SELECT settings FROM notification_groups").await;
    notifier.database.execute("UPDATE notification_groups SET settings = '7'").await;
    notifier.set("INC-1", "status = 'resolved', resolved_at = now()").await;
    let over = of_incident("IncidentResolved", "INC-1");
    let response = notify::handle(&notifier.app, batch(std::slice::from_ref(&over))).await;
    assert_eq!(failures(&response), ["0"]);
    notifier.database.execute("UPDATE notification_groups SET settings = (SELECT settings FROM kept)").await;
    notifier.receive(&[over]).await;
    assert_eq!(inbox.kinds(), "firing resolved");
}

#[tokio::test]
async fn a_short_outage_of_the_database_fails_no_message_of_the_queue() {
    let inbox = Inbox::open().await;
    let notifier = Notifier::to(&inbox).await;
    notifier.incident("INC-1", "HIGH").await;
    // Sequences are not rolled back with the transaction: only the first two attempts fail.
    let fail_twice = "ALTER TABLE system_config RENAME TO kept;
        CREATE SEQUENCE tries;
        CREATE FUNCTION try() RETURNS bool LANGUAGE plpgsql AS $$
            BEGIN
                IF nextval('tries') <= 2 THEN RAISE 'not yet' USING ERRCODE = '42P01'; END IF;
                RETURN true;
            END $$;
        CREATE VIEW system_config AS SELECT kept.* FROM kept WHERE try()";
    notifier.database.execute(fail_twice).await;
    let events = [of_incident("IncidentOpened", "INC-1")];
    assert_eq!(failures(&notify::handle(&notifier.app, batch(&events)).await), ["0"]);
    let response = notify::handle_patiently(&notifier.app, batch(&events), Duration::from_secs(10)).await;
    assert_eq!(failures(&response), [] as [&str; 0]);
    assert_eq!(inbox.kinds(), "firing");
}

#[tokio::test]
async fn one_sweep_notifies_all_due_groups() {
    const COUNT: usize = 250;
    let inbox = Inbox::open().await;
    let notifier = Notifier::to(&inbox).await;
    notifier.route(json!({"routes": [{"name": "all", "channels": ["webhook"], "group_wait_seconds": 30}]})).await;
    let mut events = Vec::new();
    for nth in 0..COUNT {
        let id = format!("INC-{nth}");
        notifier.incident(&id, "LOW").await;
        events.push(of_incident("IncidentOpened", &id));
    }
    notifier.receive(&events).await;
    assert_eq!(inbox.got().len(), 0);
    notifier.pass(31).await;
    notifier.sweep(Utc::now()).await;
    assert_eq!(inbox.got().len(), COUNT);
}

#[tokio::test]
async fn a_digest_is_bounded_by_one_statement() {
    let chat = Inbox::open().await;
    let notifier = Notifier::with(&[("SLACK_WEBHOOK_URL", chat.url("/slack"))]).await;
    notifier.open("INC-0", "LOW").await;
    let many = "INSERT INTO notifications (id, event_id, channel, recipient, kind, group_key, dedup_key, content,
            next_attempt_at, created_at)
        SELECT gen_random_uuid(), gen_random_uuid(), channel, recipient, kind, 'group ' || n, 'key ' || n, content, now(), now()
        FROM notifications, generate_series(1, 5100) AS n;
        UPDATE notification_receivers SET tokens = 0, refilled_at = now(), held_since = now() - interval '1 minute'";
    notifier.database.execute(many).await;
    notifier.sweep(Utc::now()).await;
    assert_eq!(notifier.database.count("notifications WHERE status = 'digested'").await, 5_000);
    assert_eq!(notifier.database.count("notifications WHERE kind = 'digest' AND status = 'sent'").await, 1);
    notifier.sweep(Utc::now() + TimeDelta::minutes(2)).await;
    assert_eq!(notifier.database.count("notifications WHERE status = 'digested'").await, 5_100);
    assert_eq!(notifier.database.count("notifications WHERE status = 'pending'").await, 0);
}

#[tokio::test]
async fn concurrent_recipients_share_the_daily_limit_of_text_messages() {
    let inbox = Inbox::open().await;
    let mut variables: Vec<_> = sms(&inbox).into_iter().filter(|(name, _)| *name != "SMS_TO").collect();
    let numbers: Vec<_> = (1..=8).map(|nth| format!("+491511234567{nth}")).collect();
    variables.extend([("SMS_TO", numbers.join(",")), ("SMS_DAILY_LIMIT", "3".to_owned())]);
    let notifier = Notifier::with(&variables).await;
    notifier.open("INC-1", "CRITICAL").await;
    assert_eq!(inbox.got().len(), 3);
    assert_eq!(notifier.database.count("notifications WHERE status = 'failed'").await, 5);
}

#[tokio::test]
async fn while_a_channel_hangs_events_are_received_and_others_are_notified() {
    let (inbox, slow) = (Inbox::open().await, Inbox::open().await);
    slow.always(Some(Reply::Hang));
    let variables: Vec<_> = webhook(&inbox).into_iter().chain(named(&slow, "SLOW")).collect();
    let notifier = Notifier::with(&variables).await;
    notifier.route(json!({"routes": [{"name": "all", "channels": ["webhook:SLOW", "webhook"]}]})).await;
    let sending = || {
        let app = notifier.app.clone();
        tokio::spawn(async move { notify::send_waiting(&app, Utc::now()).await })
    };
    let mut hanging = Vec::new();
    for id in ["INC-1", "INC-2"] {
        notifier.incident(id, "HIGH").await;
        let response = notify::receive(&notifier.app, batch(&[of_incident("IncidentOpened", id)])).await;
        assert!(failures(&response).is_empty());
        hanging.push(sending());
        slow.wait_for(hanging.len()).await;
        inbox.wait_for(hanging.len()).await;
    }
    assert!(hanging.iter().all(|sending| !sending.is_finished()), "they still wait for the slow one");
    hanging.into_iter().for_each(|sending| sending.abort());
}

#[tokio::test]
async fn a_receiver_that_is_no_longer_configured_is_not_failing() {
    let notifier = Notifier::with(&[]).await;
    notifier
        .database
        .execute(
            "INSERT INTO notification_receivers (channel, recipient, seen_at, failing_since) VALUES
                ('slack', 'default', now(), now()), ('slack', '#gone', NULL, now()), ('slack', '#ops', NULL, now());
            INSERT INTO notifications (id, event_id, channel, recipient, kind, group_key, dedup_key, content,
                next_attempt_at, created_at)
            VALUES (gen_random_uuid(), gen_random_uuid(), 'slack', '#ops', 'firing', 'a', 'a', '{}', now(), now())",
        )
        .await;
    let store = notifier.database.store();
    let found = store.run(|client| async move { status::notifications(&client, Utc::now()).await }).await.unwrap();
    let mut failing: Vec<_> = found.failing.into_iter().map(|it| it.receiver).collect();
    failing.sort();
    assert_eq!(failing, ["slack", "slack:#ops"]);
}
