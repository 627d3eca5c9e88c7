//! `POST /webhooks/email-events`: `SendGrid`'s delivery events of our e-mails, signed with a key of the test's own.

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair, KeyPair as _};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use chrono::{DateTime, TimeDelta, Utc};
use harness::lambda::Lambda;
use harness::{Answer, Database, TestStack};
use local::stack::VendorsConfig;
use serde_json::{Value, json};
use shared::model::Receiver;
use shared::store::notifications::outcomes::{Attempt, mark_sent};
use uuid::Uuid;

/// The DER prefix of every P-256 public key.
const P256: &str = "3059301306072a8648ce3d020106082a8648ce3d030107034200";

/// A `SendGrid` with a key of the test's own.
struct SendGrid(EcdsaKeyPair);

impl SendGrid {
    fn new() -> Self {
        Self(EcdsaKeyPair::generate(&ECDSA_P256_SHA256_ASN1_SIGNING).unwrap())
    }

    fn public_key(&self) -> String {
        let prefix = (0..P256.len()).step_by(2).map(|at| u8::from_str_radix(&P256[at..at + 2], 16).unwrap());
        let key: Vec<u8> = prefix.chain(self.0.public_key().as_ref().iter().copied()).collect();
        BASE64.encode(key)
    }

    async fn stack(&self, database: Database) -> TestStack {
        let vendors = VendorsConfig { sendgrid: Some(self.public_key()), ..VendorsConfig::default() };
        TestStack::builder().vendors(vendors).start(database).await
    }

    fn sign(&self, body: &str, at: DateTime<Utc>) -> (String, String) {
        let timestamp = at.timestamp().to_string();
        let signature = self.0.sign(&SystemRandom::new(), format!("{timestamp}{body}").as_bytes()).unwrap();
        (BASE64.encode(signature.as_ref()), timestamp)
    }

    async fn post_at(&self, stack: &TestStack, body: &str, at: DateTime<Utc>) -> Answer {
        let (signature, timestamp) = self.sign(body, at);
        let request = stack
            .request("POST", "/webhooks/email-events")
            .header("x-twilio-email-event-webhook-signature", signature)
            .header("x-twilio-email-event-webhook-timestamp", timestamp)
            .body(body.to_owned());
        stack.send(request).await
    }

    /// Posts these events; returns how many were recorded.
    async fn post(&self, stack: &TestStack, events: &[Value]) -> i64 {
        let answer = self.post_at(stack, &json!(events).to_string(), Utc::now()).await;
        assert_eq!(answer.status, 200, "{answer:?}");
        answer.body["recorded"].as_i64().unwrap()
    }
}

/// A notification that was sent, without its row in `email_tracking`.
async fn message(database: &Database, channel: &str, status: &str) -> Uuid {
    let id = Uuid::new_v4();
    let sql = format!(
        "INSERT INTO notifications (id, event_id, channel, recipient, kind, group_key, dedup_key, content, status,
            next_attempt_at, created_at, sent_at)
        VALUES ('{id}', gen_random_uuid(), '{channel}', 'ada@shop.example', 'firing', 'g', 'd', '{{}}', '{status}', now(),
            now(), now())"
    );
    database.execute(&sql).await;
    id
}

/// An e-mail that was sent, with its row in `email_tracking`.
async fn sent_email(database: &Database) -> Uuid {
    let id = message(database, "email", "sent").await;
    let sql = format!(
        "INSERT INTO email_tracking (email_id, recipient, subject, sent_at, status)
        VALUES ('{id}', 'ada@shop.example', 'it broke', '2026-11-24T01:00:00Z', 'sent')"
    );
    database.execute(&sql).await;
    id
}

fn event(message: Uuid, name: &str, id: &str, second: i64) -> Value {
    json!({
        "email": "ada@shop.example",
        "event": name,
        "timestamp": 1_795_482_000 + second,
        "sg_event_id": id,
        "sg_message_id": "14c5d75ce93.dfd.64b469.filter0001.16648.5515E0B88.0",
        "smtp-id": "<14c5d75ce93.dfd.64b469@ismtpd-555>",
        "notification_id": message,
    })
}

/// Status, seconds of delivery, first opening and first click, and the number of clicks.
async fn tracked(database: &Database, message: Uuid) -> (String, [Option<i64>; 3], i32) {
    let rows = database
        .rows(
            "SELECT status::text, delivered_at, opened_at, first_clicked_at, click_count FROM email_tracking
            WHERE email_id = $1::uuid::text",
            &[&message],
        )
        .await;
    assert_eq!(rows.len(), 1);
    let second =
        |at: usize| rows[0].get::<_, Option<DateTime<Utc>>>(at).map(|instant| instant.timestamp() - 1_795_482_000);
    (rows[0].get(0), [second(1), second(2), second(3)], rows[0].get(4))
}

#[tokio::test]
async fn the_events_of_an_e_mail_are_recorded_once_each_in_any_order() {
    let (sendgrid, database) = (SendGrid::new(), Database::migrated().await);
    let stack = sendgrid.stack(database).await;
    let id = sent_email(&stack.database).await;
    let life = [
        event(id, "processed", "a", 1),
        event(id, "deferred", "b", 2),
        event(id, "delivered", "c", 3),
        event(id, "open", "d", 4),
        event(id, "open", "e", 5),
        event(id, "click", "f", 6),
        event(id, "click", "g", 7),
    ];
    let whole = ("clicked".to_owned(), [Some(3), Some(4), Some(6)], 2);
    assert_eq!(sendgrid.post(&stack, &life).await, 7);
    assert_eq!(tracked(&stack.database, id).await, whole);
    // Redelivered, with some events twice in one body.
    assert_eq!(sendgrid.post(&stack, &[&life[..], &life[4..]].concat()).await, 0);
    assert_eq!(tracked(&stack.database, id).await, whole);

    // One by one, in reverse order.
    let other = sent_email(&stack.database).await;
    for event in life.iter().rev() {
        let mut event = event.clone();
        event["notification_id"] = json!(other);
        assert_eq!(sendgrid.post(&stack, &[event]).await, 1);
    }
    assert_eq!(tracked(&stack.database, other).await, whole);
    assert_eq!(stack.database.count("email_tracking WHERE subject = 'it broke' AND sent_at IS NOT NULL").await, 2);
}

#[tokio::test]
async fn an_event_that_arrives_before_the_e_mail_is_marked_as_sent_is_kept() {
    let (sendgrid, database) = (SendGrid::new(), Database::migrated().await);
    let stack = sendgrid.stack(database).await;
    let id = message(&stack.database, "email", "sending").await;
    assert_eq!(sendgrid.post(&stack, &[event(id, "delivered", "a", 1)]).await, 1);
    assert_eq!(tracked(&stack.database, id).await, ("delivered".to_owned(), [Some(1), None, None], 0));
    let unsent = "email_tracking WHERE sent_at IS NULL AND recipient = 'ada@shop.example'";
    assert_eq!(stack.database.count(unsent).await, 1);
    // Then it is marked as sent, and marked again after a retry.
    record_sent(&stack.database, id).await;
    assert_eq!(tracked(&stack.database, id).await, ("delivered".to_owned(), [Some(1), None, None], 0));
    assert_eq!(stack.database.count("email_tracking WHERE sent_at IS NOT NULL AND subject = 'it broke'").await, 1);
    stack.database.execute("UPDATE notifications SET status = 'sending'").await;
    record_sent(&stack.database, id).await;
    assert_eq!(tracked(&stack.database, id).await.0, "sent");
}

/// Marks the e-mail as sent.
async fn record_sent(database: &Database, id: Uuid) {
    let receiver = &Receiver::parse("email:ada@shop.example").unwrap();
    let attempt = &Attempt { id, receiver, claimed_by: id, at: Utc::now() };
    let remote = &json!({"subject": "it broke", "message_id": "<1@example.com>"});
    let store = database.store();
    store.run(|client| async move { mark_sent(&client, attempt, Some(202), Some(remote)).await }).await.unwrap();
}

#[tokio::test]
async fn a_bounced_or_dropped_e_mail_marks_its_notification_as_failed() {
    let (sendgrid, database) = (SendGrid::new(), Database::migrated().await);
    let stack = sendgrid.stack(database).await;
    for (name, status) in [("bounce", "bounced"), ("dropped", "dropped")] {
        let id = sent_email(&stack.database).await;
        let mut failure = event(id, name, &format!("{name}-1"), 9);
        failure["reason"] = json!("550 no such user\0 here");
        let events = [failure, event(id, "processed", &format!("{name}-2"), 1)];
        assert_eq!(sendgrid.post(&stack, &events).await, 2);
        assert_eq!(tracked(&stack.database, id).await.0, status);
        let failed = format!(
            "notifications WHERE id = '{id}' AND status = 'failed' AND last_error = '{status}: 550 no such user\u{FFFD} here'"
        );
        assert_eq!(stack.database.count(&failed).await, 1);
    }
    let bounced = "email_tracking WHERE metadata ->> 'reason' LIKE '550 no such user%'";
    assert_eq!(stack.database.count(bounced).await, 2);
    // A pending retry is not failed by a late event about the previous attempt.
    let waiting = message(&stack.database, "email", "pending").await;
    assert_eq!(sendgrid.post(&stack, &[event(waiting, "bounce", "late", 9)]).await, 1);
    assert_eq!(stack.database.count("notifications WHERE status = 'pending'").await, 1);
}

#[tokio::test]
async fn events_of_other_e_mails_change_nothing() {
    let (sendgrid, database) = (SendGrid::new(), Database::migrated().await);
    let stack = sendgrid.stack(database).await;
    let slack = message(&stack.database, "slack", "sent").await;
    let events = [
        event(Uuid::new_v4(), "bounce", "a", 1),
        event(slack, "bounce", "b", 1),
        json!({"event": "delivered", "timestamp": 1, "sg_event_id": "c", "email": "x@y.z"}),
        json!({"event": "group_resubscribe", "timestamp": 1, "sg_event_id": "d", "notification_id": slack}),
        json!(7),
    ];
    assert_eq!(sendgrid.post(&stack, &events).await, 0);
    assert_eq!(sendgrid.post(&stack, &[]).await, 0);
    assert_eq!(stack.database.count("email_tracking").await, 0);
    assert_eq!(stack.database.count("inbound_deliveries").await, 0);
    assert_eq!(stack.database.count("notifications WHERE status = 'sent'").await, 1);
    for body in ["{}", "not json", "", "\"x\""] {
        assert_eq!(sendgrid.post_at(&stack, body, Utc::now()).await.status, 400, "{body}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn concurrent_deliveries_of_the_same_events_count_once() {
    let (sendgrid, database) = (SendGrid::new(), Database::migrated().await);
    let stack = sendgrid.stack(database).await;
    let ids = [sent_email(&stack.database).await, sent_email(&stack.database).await];
    let clicks: Vec<_> = (0..20).map(|number| event(ids[number % 2], "click", &number.to_string(), 5)).collect();
    let reversed: Vec<_> = clicks.iter().rev().cloned().collect();
    let (first, second, third) = tokio::join!(
        sendgrid.post(&stack, &clicks),
        sendgrid.post(&stack, &reversed),
        sendgrid.post(&stack, &clicks[5..])
    );
    assert_eq!(first + second + third, 20);
    for id in ids {
        assert_eq!(tracked(&stack.database, id).await, ("clicked".to_owned(), [None, None, Some(5)], 10));
    }
}

#[tokio::test]
async fn unsigned_forged_and_outdated_deliveries_are_refused() {
    let (sendgrid, database) = (SendGrid::new(), Database::migrated().await);
    let stack = sendgrid.stack(database).await;
    let id = sent_email(&stack.database).await;
    let body = json!([event(id, "bounce", "a", 1)]).to_string();
    assert_eq!(SendGrid::new().post_at(&stack, &body, Utc::now()).await.status, 401);
    let (signature, timestamp) = sendgrid.sign(&body, Utc::now());
    for (signature, timestamp, body) in [
        (Some(&signature), Some(&timestamp), body.replace("bounce", "dropped")),
        (Some(&signature), None, body.clone()),
        (None, Some(&timestamp), body.clone()),
        (None, None, body.clone()),
    ] {
        let mut request = stack.request("POST", "/webhooks/email-events").body(body);
        for (name, value) in [("signature", signature), ("timestamp", timestamp)] {
            if let Some(value) = value {
                request = request.header(format!("x-twilio-email-event-webhook-{name}"), value);
            }
        }
        assert_eq!(stack.send(request).await.status, 401);
    }
    for age in [TimeDelta::hours(26), TimeDelta::minutes(-10)] {
        assert_eq!(sendgrid.post_at(&stack, &body, Utc::now() - age).await.status, 401);
    }
    let large = " ".repeat(1024 * 1024 + 1);
    assert_eq!(sendgrid.post_at(&stack, &large, Utc::now()).await.status, 413);
    let database = stack.stop().await;
    assert_eq!(tracked(&database, id).await.0, "sent");
    let seen: i64 = database
        .value("SELECT sum((metadata ->> 'count')::bigint)::bigint FROM security_events WHERE event_type = 'bad_signature'")
        .await;
    assert_eq!(seen, 7);
    assert_eq!(database.networks_refused("WHERE event_type = 'oversized_body'").await, 1);
}

#[tokio::test]
async fn without_a_valid_key_the_route_is_closed() {
    let sendgrid = SendGrid::new();
    for key in [None, Some("not a key".to_owned())] {
        let vendors = VendorsConfig { sendgrid: key, ..VendorsConfig::default() };
        let stack = TestStack::builder().vendors(vendors).start(Database::migrated().await).await;
        let answer = sendgrid.post_at(&stack, "[]", Utc::now()).await;
        assert_eq!(answer.status, 401);
        assert!(answer.error().contains("SENDGRID_WEBHOOK_PUBLIC_KEY"), "{answer:?}");
    }
}

#[tokio::test]
async fn the_lambda_decodes_base64_bodies_of_the_gateway() {
    let (sendgrid, database) = (SendGrid::new(), Database::migrated().await);
    let id = sent_email(&database).await;
    let variables = [("DATABASE_URL", &*database.url()), ("SENDGRID_WEBHOOK_PUBLIC_KEY", &*sendgrid.public_key())];
    let lambda = Lambda::start("email-events", &variables).await;
    let body = json!([event(id, "delivered", "a", 3)]).to_string() + "\r\n";
    let (signature, timestamp) = sendgrid.sign(&body, Utc::now());
    let mut request: Value =
        serde_json::from_str(include_str!("../../functions/email-events/fixtures/api-gateway-v2.json")).unwrap();
    request["headers"]["x-twilio-email-event-webhook-signature"] = json!(signature);
    request["headers"]["x-twilio-email-event-webhook-timestamp"] = json!(timestamp);
    request["body"] = json!(BASE64.encode(&body));
    let answer = lambda.invoke(request).await.unwrap();
    assert_eq!(answer["statusCode"], 200, "{answer}");
    lambda.terminate().await;
    assert_eq!(tracked(&database, id).await, ("delivered".to_owned(), [Some(3), None, None], 0));
}
