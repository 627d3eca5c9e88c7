//! Malformed, hostile and unusual input: never a 500, and no error is lost that could be stored.

use std::io::Write as _;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use flate2::Compression;
use flate2::write::{GzEncoder, ZlibEncoder};
use serde_json::{Value, json};

use super::{Sdk, capture, envelope, event};

const BROTLI: &[u8] = include_bytes!("../../../functions/sentry-envelope/fixtures/py-2.envelope.br");
const ZSTD: &[u8] = include_bytes!("../../../functions/sentry-envelope/fixtures/py-2.envelope.zst");
const BROTLI_BOMB: &[u8] = include_bytes!("../../../functions/sentry-envelope/fixtures/bomb.br");
const MEBIBYTE: usize = 1024 * 1024;

pub(super) fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn zlib(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = ZlibEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

#[tokio::test]
async fn every_encoding_opens_the_same_incident() {
    let sdk = Sdk::start().await;
    let plain = capture("py-2").as_bytes();
    for (encoding, body) in [
        ("gzip", gzip(plain)),
        ("deflate", zlib(plain)),
        ("br", BROTLI.to_vec()),
        ("zstd", ZSTD.to_vec()),
        ("identity", plain.to_vec()),
    ] {
        let answer = sdk.stack.send(sdk.request("envelope/").header("content-encoding", encoding).body(body)).await;
        assert_eq!((answer.status, answer.text("id")), (200, "4785fc6015d440708a0c1093cce93cff"), "{encoding}");
    }
    let occurrences: i64 = sdk.stack.database.value("SELECT sum(occurrences)::bigint FROM incidents").await;
    assert_eq!(occurrences, 1, "all encodings contain the same event");
}

#[tokio::test]
async fn decompression_bombs_are_refused_and_recorded() {
    let sdk = Sdk::start().await;
    let zeros = vec![0; 30 * MEBIBYTE];
    let bombs =
        [("gzip", gzip(&zeros)), ("deflate", zlib(&zeros)), ("br", BROTLI_BOMB.to_vec()), ("gzip", gzip(&zeros))];
    for (number, (encoding, body)) in bombs.into_iter().enumerate() {
        let route = if number % 2 == 0 { "envelope/" } else { "store/" };
        let answer = sdk.stack.send(sdk.request(route).header("content-encoding", encoding).body(body)).await;
        // After three bombs their sender is refused.
        assert_eq!(answer.status, if number < 3 { 413 } else { 429 }, "{route} {encoding}: {answer:?}");
    }
    assert_eq!(sdk.incidents().await, 0);
    let database = sdk.stack.stop().await;
    assert_eq!(database.networks_refused("WHERE event_type = 'decompression_bomb'").await, 1);
}

#[tokio::test]
async fn a_bomb_does_not_lose_the_event_beside_it() {
    let sdk = Sdk::start().await;
    let error = event("beside a bomb").to_string();
    let bomb = gzip(envelope(&[("event", &error), ("attachment", &"\0".repeat(30 * MEBIBYTE))]).as_bytes());
    let answer = sdk.stack.send(sdk.request("envelope/").header("content-encoding", "gzip").body(bomb)).await;
    assert_eq!(answer.status, 413);
    assert_eq!(sdk.incidents().await, 1);
}

#[tokio::test]
async fn an_event_in_almost_valid_json_is_stored() {
    let sdk = Sdk::start().await;
    let long = "9".repeat(400);
    for route in ["envelope/", "store/"] {
        for odd in ["NaN", "-Infinity", "1e999", &long, "\"caf\u{fffd}\""] {
            let event = format!("{{\"message\":\"odd\",\"extra\":{{\"value\":{odd}}}}}");
            // Latin-1, as sent by a server with a wrong charset.
            let event = event.replace('\u{fffd}', "\u{1}").into_bytes();
            let event: Vec<u8> = event.into_iter().map(|byte| if byte == 1 { 0xe9 } else { byte }).collect();
            let lead = if route == "store/" { &b""[..] } else { b"{}\n{\"type\":\"event\"}\n" };
            let answer = sdk.stack.send(sdk.request(route).body([lead, &event].concat())).await;
            assert_eq!(answer.status, 200, "{route} {odd:.20}: {answer:?}");
        }
    }
    let occurrences: i64 = sdk.stack.database.value("SELECT sum(occurrences)::bigint FROM incidents").await;
    assert_eq!((sdk.incidents().await, occurrences), (1, 10));
}

#[tokio::test]
async fn a_body_is_limited_to_four_mebibytes_and_an_event_to_one() {
    let sdk = Sdk::start().await;
    let attachment = |length: usize| format!("{{}}\n{{\"type\":\"attachment\"}}\n{}", "a".repeat(length - 25));
    assert_eq!(attachment(100).len(), 100);
    assert_eq!(sdk.envelope(attachment(4 * MEBIBYTE)).await.status, 200);
    assert_eq!(sdk.envelope(attachment(4 * MEBIBYTE + 1)).await.status, 413);
    let event = |length: usize| format!("{{\"message\":\"{}\"}}", "m".repeat(length - 14));
    assert_eq!(event(100).len(), 100);
    for (length, status) in [(MEBIBYTE, 200), (MEBIBYTE + 1, 413)] {
        let small = super::event("the small one").to_string();
        let answer = sdk.envelope(envelope(&[("event", &event(length)), ("event", &small)])).await;
        assert_eq!(answer.status, status, "{length}: {:?}", answer.body);
        assert_eq!(sdk.store(event(length)).await.status, status, "{length}");
    }
    let small = sdk.stack.database.count("incidents WHERE error_message = 'the small one'").await;
    assert_eq!(small, 1, "an oversized event does not lose the others");
    let database = sdk.stack.stop().await;
    assert_eq!(database.networks_refused("WHERE event_type = 'oversized_body'").await, 1);
}

#[tokio::test]
async fn an_invalid_envelope_is_refused_with_the_reason() {
    let sdk = Sdk::start().await;
    for (body, named) in [
        (&b""[..], "empty"),
        (b"\n\n", "empty"),
        (b"{", "header"),
        (b"[]\n", "header"),
        (b"\xff\xfe{}\n", "header"),
        (b"{}\n{", "header of item 1"),
        (b"{}\n{\"type\":\"event\",\"length\":\"3\"}\n{}\n", "`length` of item 1"),
        (b"{}\n{\"type\":\"event\",\"length\":3}\n{}", "cut off"),
        (b"{}\n{\"type\":\"event\"}\n", "item 1 is not a JSON object"),
        (b"{}\n{\"type\":\"event\"}\n[1]\n", "item 1 is not a JSON object"),
        (b"{}\n{\"type\":\"event\"}\n\"\xff\"\n", "item 1 is not a JSON object"),
    ] {
        let answer = sdk.envelope(body.to_vec()).await;
        assert_eq!(answer.status, 400, "{body:?}: {answer:?}");
        assert!(answer.error().contains(named), "{body:?} → {}", answer.error());
    }
    for encoding in ["gzip", "deflate", "br", "zstd"] {
        let request =
            sdk.request("envelope/").header("content-encoding", encoding).body("{}\n{\"type\":\"event\"}\n{}");
        assert_eq!(sdk.stack.send(request).await.status, 400, "not {encoding}");
    }
    for body in ["", "null", "[]", "7", "{", "\u{0}", "e30", "eJwDAAAAAAE="] {
        assert_eq!(sdk.store(body).await.status, 400, "{body:?}");
    }
    assert_eq!(sdk.incidents().await, 0);
}

#[tokio::test]
async fn complete_items_before_the_damage_are_kept() {
    let sdk = Sdk::start().await;
    let many = envelope(&[("session", "{}"); 100]);
    for (number, (damage, status)) in [
        ("{\"type\":\"attachment\",\"length\":5000}\ncut off".to_owned(), 200),
        ("{\"type\":".to_owned(), 200),
        ("not an item\n\n".to_owned(), 200),
        ("{\"type\":\"attachment\",\"length\":3}\nlonger\n".to_owned(), 200),
        (many.trim_start_matches("{}\n").to_owned(), 413),
        (format!("{{\"type\":\"x\",\"{}", "y".repeat(70_000)), 413),
    ]
    .into_iter()
    .enumerate()
    {
        let whole = envelope(&[("event", &event(&format!("damaged {number}x")).to_string())]);
        let answer = sdk.envelope(format!("{whole}{damage}")).await;
        assert_eq!(answer.status, status, "{damage:.60}: {answer:?}");
    }
    let reports: i64 = sdk.stack.database.value("SELECT sum(occurrences)::bigint FROM incidents").await;
    assert_eq!(reports, 6);
}

#[tokio::test]
async fn a_mistyped_field_of_an_event_causes_no_500() {
    let sdk = Sdk::start().await;
    for name in ["py-2", "py-3", "node-3", "node-4", "node-5"] {
        let payload = capture(name).lines().nth(2).unwrap();
        let whole: Value = serde_json::from_str(payload).unwrap();
        let fields: Vec<String> = whole.as_object().unwrap().keys().cloned().collect();
        for field in fields {
            for wrong in
                [json!(null), json!(7), json!("text"), json!([null, 1, [[]]]), json!({"values": 7}), json!(true)]
            {
                let mut event = whole.clone();
                event["event_id"] = json!(uuid::Uuid::new_v4().simple().to_string());
                event[&field] = wrong.clone();
                let answer = sdk.store(event.to_string()).await;
                assert_eq!(answer.status, 200, "{name}: {field} = {wrong}: {answer:?}");
            }
        }
    }
}

#[tokio::test]
async fn unusual_events_are_stored_and_invalid_ones_refused() {
    let sdk = Sdk::start().await;
    let nested =
        |depth: usize| format!("{{\"message\":\"deep\",\"extra\":{}1{}}}", "[".repeat(depth), "]".repeat(depth));
    for (event, status) in [
        (nested(100), 200),
        (nested(100_000), 400),
        ("{\"message\":\"cut \\ud83d\"}".to_owned(), 200),
        ("{\"message\":\"a\\u0000b\",\"tags\":{\"k\\u0000\":\"\\u0000\"}}".to_owned(), 200),
        ("{}".to_owned(), 200),
        ("{\"message\":\"\"}".to_owned(), 200),
        ("{\"message\":1e999}".to_owned(), 200),
        ("{\"message\":nothing}".to_owned(), 400),
        (format!("{{\"message\":\"long\",\"level\":\"{}\"}}", "l".repeat(100_000)), 200),
        (format!("{{\"message\":\"{}\"}}", "\\ud800".repeat(10_000)), 200),
    ] {
        let answer = sdk.envelope(envelope(&[("event", &event)])).await;
        assert_eq!(answer.status, status, "{event:.80}: {answer:?}");
        assert_eq!(sdk.store(event).await.status, status);
    }
}

#[tokio::test]
async fn base64_of_zlib_from_the_oldest_sdks_is_accepted() {
    let sdk = Sdk::start().await;
    let packed = BASE64.encode(zlib(event("from long ago").to_string().as_bytes()));
    assert_eq!(sdk.store(packed).await.status, 200);
    assert_eq!(sdk.incidents().await, 1);
    let bomb = BASE64.encode(zlib(&vec![0; 30 * MEBIBYTE]));
    assert_eq!(sdk.store(bomb).await.status, 413);
}

#[tokio::test]
async fn hostile_headers_cause_no_500() {
    let sdk = Sdk::start().await;
    for (name, value, status) in [
        ("x-sentry-auth", vec![0xff], 403),
        ("x-sentry-auth", vec![b'='; 6_000], 403),
        ("x-sentry-auth", b"Sentry sentry_key=a=b=c,,,sentry_version=x".to_vec(), 403),
        ("authorization", vec![0xfe, 0xff], 403),
        ("content-encoding", vec![0xff], 403),
    ] {
        let request = sdk.stack.request("POST", &format!("/api/{}/envelope/", sdk.project)).header(name, value.clone());
        let answer = sdk.stack.send(request.body(envelope(&[("event", "{}")]))).await;
        assert_eq!(answer.status, if name == "content-encoding" { 415 } else { status }, "{name}: {answer:?}");
    }
}
