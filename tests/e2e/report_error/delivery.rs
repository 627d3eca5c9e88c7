//! Idempotent deliveries: redelivered, after a lost answer, and concurrent ones.

use harness::proxy::Proxy;
use harness::{Database, TestStack};
use serde_json::{Value, json};

#[tokio::test]
async fn an_error_costs_one_round_trip_and_one_commit() {
    let database = Database::migrated().await;
    let proxy = Proxy::start(&database).await;
    let stack = TestStack::builder().without_sweeps().database_url(proxy.url(&database)).start(database).await;
    // The first request connects; later ones have the usual cost.
    stack.report_ok(json!({"error": {"message": "first"}})).await;
    for (message, created) in [("new one", true), ("new one", false), ("another", true)] {
        let before = proxy.round_trips();
        let answer = stack.report_ok(json!({"error": {"message": message}})).await;
        assert_eq!(answer.body["created"], created);
        assert_eq!(proxy.round_trips() - before, 1, "{message}");
    }
    assert_eq!(proxy.transaction_blocks(), 0, "a single statement needs no transaction block");
    assert_eq!(proxy.named_statements(), 0, "a transaction pooler has no named statements");
}

#[tokio::test]
async fn a_report_whose_answer_was_lost_is_retried_and_counts_once() {
    let database = Database::migrated().await;
    let proxy = Proxy::start(&database).await;
    let stack = TestStack::builder().without_sweeps().database_url(proxy.url(&database)).start(database).await;
    stack.report_ok(json!({"error": {"message": "warm up"}})).await;
    proxy.lose_next_answer();
    let answer = stack.report_ok(json!({"error": {"message": "only once"}})).await;
    assert_eq!(proxy.answers_lost(), 1);
    assert_eq!(answer.body["created"], true, "the retry gets the first answer");
    let occurrences: i64 = stack.database.value("SELECT occurrences FROM incidents WHERE title = 'only once'").await;
    assert_eq!(occurrences, 1);
    assert_eq!(stack.database.count("inbound_deliveries").await, 2);
}

#[tokio::test]
async fn a_request_with_the_same_idempotency_key_gets_the_same_answer_and_counts_once() {
    let stack = TestStack::start().await;
    let send = || {
        stack.send(
            stack
                .request("POST", "/api/autonomous/error")
                .header("idempotency-key", "deploy-17")
                .json(&json!({"error": {"message": "boom"}, "severity": "high"})),
        )
    };
    let (first, second) = (send().await, send().await);
    assert_eq!((first.status, second.status), (200, 200));
    assert_eq!(first.body, second.body);
    let occurrences: i64 = stack.database.value("SELECT occurrences FROM incidents").await;
    assert_eq!(occurrences, 1);
}

#[tokio::test]
async fn an_idempotency_key_that_another_error_used_is_refused() {
    let stack = TestStack::start().await;
    let send = |message: &str| {
        stack.send(
            stack
                .request("POST", "/api/autonomous/error")
                .header("idempotency-key", "k")
                .json(&json!({"error": {"message": message}})),
        )
    };
    assert_eq!(send("one").await.status, 200);
    let refused = send("two").await;
    assert_eq!((refused.status, &refused.body["error"]["code"]), (422, &json!("idempotency_key_reused")));
}

#[tokio::test]
async fn concurrent_deliveries_with_one_key_count_once_and_get_the_same_answer() {
    let stack = TestStack::start().await;
    let request = || {
        stack
            .request("POST", "/api/autonomous/error")
            .header("idempotency-key", "same")
            .json(&json!({"error": {"message": "boom"}}))
            .send()
    };
    let sent: Vec<_> = (0..60).map(|_| tokio::spawn(request())).collect();
    let mut answers = std::collections::BTreeSet::new();
    for one in sent {
        let answer = one.await.unwrap().unwrap();
        assert_eq!(answer.status(), 200);
        answers.insert(answer.text().await.unwrap());
    }
    assert_eq!(answers.len(), 1, "{answers:?}");
    let occurrences: i64 = stack.database.value("SELECT occurrences FROM incidents").await;
    assert_eq!(occurrences, 1);
}

#[tokio::test]
async fn a_redelivery_after_its_retention_counts_as_new() {
    let stack = TestStack::start().await;
    let send = || {
        let request = stack.request("POST", "/api/autonomous/error").header("idempotency-key", "old");
        stack.send(request.json(&json!({"error": {"message": "boom"}})))
    };
    send().await;
    // Its incident was deleted, so the first answer is gone.
    stack.database.execute("UPDATE inbound_deliveries SET incident = gen_random_uuid()").await;
    for _ in 0..2 {
        assert_eq!(send().await.status, 200);
        let occurrences: i64 = stack.database.value("SELECT occurrences FROM incidents").await;
        assert_eq!(occurrences, 2);
    }
}

#[tokio::test]
async fn many_concurrent_errors_of_few_kinds_are_counted_exactly() {
    let stack = TestStack::start().await;
    let sent: Vec<_> = (0..200_u32)
        .map(|number| {
            let body = json!({"error": {"message": format!("kind {}", ["a", "b", "c", "d"][number as usize % 4])}});
            tokio::spawn(stack.request("POST", "/api/autonomous/error").json(&body).send())
        })
        .collect();
    for one in sent {
        assert_eq!(one.await.unwrap().unwrap().status(), 200);
    }
    let list = stack.get("/api/incidents").await.body;
    let counted: Vec<&Value> = list["incidents"].as_array().unwrap().iter().map(|it| &it["occurrences"]).collect();
    assert_eq!(counted, [50, 50, 50, 50]);
}
