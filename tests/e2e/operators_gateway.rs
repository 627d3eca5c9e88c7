//! The Lambda binaries of the operators' webhooks behind API Gateway: base64 bodies, and refusal without a secret.

use chrono::Utc;
use harness::Database;
use harness::lambda::Lambda;
use secrecy::SecretString;
use serde_json::{Value, json};
use url::form_urlencoded;

use crate::operators::{incident, with_incident};

const SECRET: &str = "secret-of-the-tests";

/// A request as API Gateway sends it; the status of the answer.
async fn request(lambda: &Lambda, path: &str, headers: Value, body: &str, is_base64: bool) -> u64 {
    let fixture = include_str!("../../functions/report-error/fixtures/api-gateway-v2.json");
    let mut event: Value = serde_json::from_str(fixture).unwrap();
    event["routeKey"] = json!(format!("POST {path}"));
    event["rawPath"] = json!(path);
    event["requestContext"]["http"]["path"] = json!(path);
    event["headers"] = headers;
    event["body"] = json!(body);
    event["isBase64Encoded"] = json!(is_base64);
    lambda.invoke(event).await.unwrap()["statusCode"].as_u64().unwrap()
}

fn base64(text: &str) -> String {
    use base64::Engine as _;
    base64::engine::general_purpose::STANDARD.encode(text)
}

#[tokio::test]
async fn a_click_is_accepted_in_base64_and_refused_without_a_secret() {
    let (database, _) = with_incident().await;
    let mut click: Value =
        serde_json::from_str(include_str!("../../functions/slack-actions/fixtures/block-actions.json")).unwrap();
    click["actions"][0]["value"] = "INC-HEALTH-1".into();
    let form = form_urlencoded::Serializer::new(String::new()).append_pair("payload", &click.to_string()).finish();
    let at = Utc::now().timestamp().to_string();
    let signature = slack_actions::signature::sign(&SecretString::from(SECRET), &at, form.as_bytes());
    let headers = json!({
        "content-type": "application/x-www-form-urlencoded", "x-slack-request-timestamp": at, "x-slack-signature": signature
    });
    let closed = Lambda::start("slack-actions", &[("DATABASE_URL", &database.url())]).await;
    assert_eq!(request(&closed, "/webhooks/slack", headers.clone(), &base64(&form), true).await, 401);
    let environment = [("DATABASE_URL", &*database.url()), ("SLACK_SIGNING_SECRET", SECRET)];
    let lambda = Lambda::start("slack-actions", &environment).await;
    assert_eq!(request(&lambda, "/webhooks/slack", headers.clone(), &base64(&form), true).await, 200);
    assert_eq!(incident(&database).await, ("acknowledged".to_owned(), Some("slack:ann".to_owned())));
    assert_eq!(request(&lambda, "/webhooks/slack", headers.clone(), &form, false).await, 200, "the same click");
    assert_eq!(request(&lambda, "/webhooks/slack", headers, &form.replace("ann", "bob"), false).await, 401);
    assert_eq!(database.count("event_outbox").await, 1);
    let (code, _) = lambda.terminate().await;
    assert_eq!(code, Some(0));
    let noted = "security_events WHERE event_type = 'bad_signature' AND source_ip = '203.0.113.0/24'";
    assert_eq!(database.count(noted).await, 1);
}

#[tokio::test]
async fn pagerduty_s_webhook_is_accepted_in_base64_and_refused_without_a_secret() {
    let database = Database::migrated().await;
    let body = include_str!("../../functions/pagerduty-events/fixtures/priority-updated.json");
    let signature = pagerduty_events::signature::sign(&SecretString::from(SECRET), body.as_bytes());
    let headers = json!({"content-type": "application/json", "x-pagerduty-signature": signature});
    let closed = Lambda::start("pagerduty-events", &[("DATABASE_URL", &database.url())]).await;
    assert_eq!(request(&closed, "/webhooks/pagerduty", headers.clone(), body, false).await, 401);
    let environment = [("DATABASE_URL", &*database.url()), ("PAGERDUTY_WEBHOOK_SECRET", SECRET)];
    let lambda = Lambda::start("pagerduty-events", &environment).await;
    for (body, is_base64) in [(body.to_owned(), false), (base64(body), true)] {
        assert_eq!(request(&lambda, "/webhooks/pagerduty", headers.clone(), &body, is_base64).await, 200);
    }
    assert_eq!(request(&lambda, "/webhooks/pagerduty", headers, &base64("{}"), true).await, 401);
}

#[tokio::test]
async fn without_a_token_the_admin_lambda_refuses_every_request() {
    let (database, _) = with_incident().await;
    let path = "/api/incidents/INC-HEALTH-1/acknowledge";
    let headers = |token: &str| json!({"authorization": format!("Bearer {token}"), "content-type": "application/json"});
    let closed = Lambda::start("admin", &[("DATABASE_URL", &database.url())]).await;
    assert_eq!(request(&closed, path, headers("anything"), "{}", false).await, 401);
    let lambda = Lambda::start("admin", &[("DATABASE_URL", &*database.url()), ("ADMIN_TOKEN", SECRET)]).await;
    assert_eq!(request(&lambda, path, headers("wrong"), "{}", false).await, 401);
    assert_eq!(incident(&database).await.0, "detected");
    assert_eq!(request(&lambda, path, headers(SECRET), r#"{"by": "ann"}"#, false).await, 200);
    assert_eq!(incident(&database).await, ("acknowledged".to_owned(), Some("ann".to_owned())));
    let (code, _) = lambda.terminate().await;
    assert_eq!(code, Some(0));
    assert_eq!(database.networks_refused("WHERE event_type = 'wrong_key'").await, 1);
}
