//! A public DSN in the hands of an attacker: the limits that bound the harm.

use std::io::Write as _;
use std::time::Duration;

use axum::Router;
use flate2::Compression;
use flate2::write::GzEncoder;
use harness::{Database, TestStack};
use sentry_envelope::Decoding;
use serde_json::json;
use shared::applications::Directory;
use shared::counters::Counters;
use shared::dsn::{KeyVersion, PublicKey};
use shared::model::{ApplicationChanges, Limits, Severity, SeverityBound};
use shared::publish::{BusConfig, Publisher};
use shared::security::Watch;
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio::task::JoinSet;

use super::{Sdk, envelope, event};

const BROTLI_BOMB: &[u8] = include_bytes!("../../../functions/sentry-envelope/fixtures/bomb.br");

fn capped(severity: Severity) -> ApplicationChanges {
    ApplicationChanges { max_severity: Some(SeverityBound::AtMost(severity)), ..ApplicationChanges::default() }
}

async fn severity_of(database: &Database, message: &str) -> String {
    let sql = "SELECT coalesce(max(severity::text), 'none') FROM incidents WHERE error_message LIKE $1";
    database.rows(sql, &[&format!("%{message}%")]).await[0].get(0)
}

#[tokio::test]
async fn a_level_below_error_never_pages_whatever_the_message_says() {
    let sdk = Sdk::start().await;
    for (level, expected) in [
        ("debug", "LOW"),
        ("trace", "LOW"),
        ("info", "LOW"),
        ("log", "LOW"),
        ("warning", "MEDIUM"),
        ("WARNING", "MEDIUM"),
        ("error", "CRITICAL"),
        ("made up", "CRITICAL"),
    ] {
        for (route, place) in [("store/", "message"), ("envelope/", "exception")] {
            let message = format!("security breach of {} by {place}", level.replace(' ', "-"));
            let mut event = event(&message);
            event["level"] = json!(level);
            event["environment"] = json!("production");
            if place == "exception" {
                event["message"] = json!(null);
                event["exception"] = json!({"values": [{"type": "Error", "value": message}]});
            }
            let body = if route == "store/" { event.to_string() } else { envelope(&[("event", &event.to_string())]) };
            assert_eq!(sdk.stack.send(sdk.request(route).body(body)).await.status, 200);
            assert_eq!(severity_of(&sdk.stack.database, &message).await, expected, "{level} {place}");
        }
    }
}

#[tokio::test]
async fn an_operator_s_rule_may_raise_a_warning_up_to_the_cap() {
    let database = Database::migrated().await;
    database
        .execute(
            "INSERT INTO system_config (key, value)
            VALUES ('classification_rules', '[{\"pattern\": \"^disk full\", \"severity\": \"CRITICAL\"}]')
            ON CONFLICT (key) DO UPDATE SET value = EXCLUDED.value",
        )
        .await;
    let stack = TestStack::builder().start(database).await;
    for (name, changes, expected) in
        [("shop", ApplicationChanges::default(), "CRITICAL"), ("page", capped(Severity::High), "HIGH")]
    {
        let project = stack.application(name, None, changes).await;
        let key = PublicKey::of(&TestStack::dsn_secret(), project, KeyVersion::FIRST);
        let event = json!({"message": format!("disk full of {name}"), "level": "info"}).to_string();
        let request = stack.request("POST", &format!("/api/{project}/store/?sentry_key={key}")).body(event);
        assert_eq!(stack.send(request).await.status, 200);
        assert_eq!(severity_of(&stack.database, &format!("disk full of {name}")).await, expected);
    }
}

#[tokio::test]
async fn a_severity_cap_applies_at_once_to_repetitions_and_after_a_deferral() {
    let folder = TempDir::new().unwrap();
    let builder = TestStack::builder().journal(&folder.path().join("journal"));
    let stack = builder.start(Database::migrated().await).await;
    let project = stack.application("page", None, capped(Severity::High)).await;
    let key = PublicKey::of(&TestStack::dsn_secret(), project, KeyVersion::FIRST);
    let send = async |message: &str, level: &str| {
        let body = json!({"message": message, "level": level}).to_string();
        stack.send(stack.request("POST", &format!("/api/{project}/store/?sentry_key={key}")).body(body)).await.status
    };
    // Its row can't be read yet: neither its name nor its cap is known.
    stack.database.execute("BEGIN; LOCK TABLE applications IN ACCESS EXCLUSIVE MODE").await;
    assert_eq!(send("cannot connect to database", "fatal").await, 200);
    stack.database.execute("COMMIT").await;
    stack.database.wait_until("SELECT count(*) = 1 FROM incidents").await;
    for level in ["info", "fatal", "error", "fatal"] {
        assert_eq!(send("security breach", level).await, 200);
    }
    stack.database.execute("BEGIN; LOCK TABLE inbound_deliveries").await;
    assert_eq!(send("data loss", "fatal").await, 200);
    stack.database.execute("COMMIT").await;
    stack.database.wait_until("SELECT count(*) = 3 FROM incidents").await;
    for message in ["cannot connect to database", "security breach", "data loss"] {
        assert_eq!(severity_of(&stack.database, message).await, "HIGH", "{message}");
    }
    assert_eq!(stack.database.count("event_outbox WHERE detail ->> 'severity' = 'CRITICAL'").await, 0);
}

#[tokio::test]
async fn new_errors_beyond_the_hourly_limit_are_counted_on_one_overflow_incident() {
    let sdk =
        Sdk::limited(ApplicationChanges { new_incidents_per_hour: Some(2), ..ApplicationChanges::default() }).await;
    let mut sent = JoinSet::new();
    for word in ["apples", "pears", "plums", "figs", "dates", "limes", "kiwis", "grapes"] {
        let mut event = event(&format!("no {word}"));
        (event["fingerprint"], event["environment"]) = (json!([word]), json!(word));
        sent.spawn(sdk.request("store/").body(event.to_string()).send());
    }
    for answer in sent.join_all().await {
        assert_eq!(answer.unwrap().status(), 200);
    }
    assert_eq!(sdk.incidents().await, 3);
    let database = sdk.stack.stop().await;
    database
        .store()
        .run(|client| async move { shared::store::incidents::fold_occurrences(&client).await })
        .await
        .unwrap();
    assert_eq!(database.count("incidents WHERE fingerprint LIKE 'overflow:%' AND occurrences = 6").await, 1);
}

/// The function and `/health`, both on this test's single thread.
struct Served {
    url: String,
    decoding: Decoding,
    project: i64,
    key: PublicKey,
    stack: TestStack,
}

impl Served {
    async fn start(limits: Limits) -> Self {
        let stack = TestStack::start().await;
        let project = stack.application("page", None, limits).await;
        let (store, decoding) = (stack.database.store(), Decoding::default());
        let publisher = Publisher::new(store.clone(), BusConfig::default());
        let app = sentry_envelope::App {
            intake: shared::intake::Intake::new(store.clone(), publisher, Default::default()),
            directory: Directory::new(store.clone()).with_timeout(Duration::from_secs(20)),
            counters: Counters::new(store.clone()),
            watch: Watch::new(store.clone()),
            store: store.clone(),
            dsn_secret: Some(TestStack::dsn_secret()),
            decoding: decoding.clone(),
        };
        let status = status::App::new(store.clone(), shared::security::Watch::new(store), None);
        let router: Router = sentry_envelope::router(app).merge(status::router(status));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let service = router.into_make_service_with_connect_info::<std::net::SocketAddr>();
        tokio::spawn(async move { axum::serve(listener, service).await });
        let key = PublicKey::of(&TestStack::dsn_secret(), project, KeyVersion::FIRST);
        Self { url, decoding, project, key, stack }
    }

    fn post(&self, encoding: &str, body: impl Into<reqwest::Body>) -> reqwest::RequestBuilder {
        let url = format!("{}/api/{}/envelope/?sentry_key={}", self.url, self.project, self.key);
        self.stack.http().post(url).header("content-encoding", encoding).body(body)
    }

    async fn send(&self, encoding: &str, body: impl Into<reqwest::Body>) -> u16 {
        self.post(encoding, body).send().await.unwrap().status().as_u16()
    }

    async fn health(&self) -> u16 {
        self.stack.http().get(format!("{}/health", self.url)).send().await.unwrap().status().as_u16()
    }
}

fn gzip(text: &str) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(text.as_bytes()).unwrap();
    encoder.finish().unwrap()
}

#[tokio::test]
async fn a_full_decoder_delays_no_other_request() {
    let served = Served::start(Limits::default()).await;
    // As if a large body were being decoded.
    let turn = served.decoding.turn().await.unwrap();
    let mut bombs = JoinSet::new();
    for _ in 0..64 {
        let bomb = served.post("br", BROTLI_BOMB).send();
        bombs.spawn(async move { bomb.await.unwrap().status().as_u16() });
    }
    assert_eq!(served.health().await, 200);
    let plain = envelope(&[("event", &event("small and plain").to_string())]);
    assert_eq!(served.send("identity", plain).await, 200);
    drop(turn);
    let mut answers = bombs.join_all().await;
    answers.sort_unstable();
    answers.dedup();
    // The first three are decoded; then their sender is refused. On a slow machine, some time out instead.
    assert!(answers.iter().all(|status| [413, 429, 503].contains(status)), "{answers:?}");
}

#[tokio::test]
async fn a_sender_of_bombs_is_refused_before_decompression_and_may_send_plain_text() {
    let served = Served::start(Limits::default()).await;
    let body = envelope(&[("event", &event("honest").to_string())]);
    for _ in 0..2 {
        assert_eq!(served.send("br", BROTLI_BOMB).await, 413);
        assert_eq!(served.send("gzip", gzip(&body)).await, 200);
    }
    assert_eq!(served.send("br", BROTLI_BOMB).await, 413, "the third");
    let answer = served.post("gzip", gzip(&body)).send().await.unwrap();
    assert_eq!(answer.status().as_u16(), 429);
    let seconds: u64 = answer.headers()["retry-after"].to_str().unwrap().parse().unwrap();
    assert!((1..=60).contains(&seconds), "{seconds}");
    assert_eq!(served.send("identity", body).await, 200);
    assert_eq!(served.health().await, 200);
}

#[tokio::test]
async fn a_bomb_counts_against_the_burst_quota() {
    let served = Served::start(Limits { burst: Some(2), ..Limits::default() }).await;
    let body = envelope(&[("event", &event("honest").to_string())]);
    assert_eq!(served.send("identity", body.clone()).await, 200);
    assert_eq!(served.send("br", BROTLI_BOMB).await, 413);
    assert_eq!(served.send("identity", body).await, 429);
}

#[tokio::test]
async fn large_plain_bodies_and_compressed_ones_are_accepted() {
    let served = Served::start(Limits::default()).await;
    let mut large = event("large");
    large["extra"] = json!({"dump": "0123456789abcdef".repeat(20_000)});
    let body = envelope(&[("event", &large.to_string())]);
    assert!(body.len() > 300_000);
    assert_eq!(served.send("identity", body.clone()).await, 200);
    assert_eq!(served.send("gzip", gzip(&body)).await, 200);
}
