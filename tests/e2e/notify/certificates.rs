//! Certificates that `notify` reads by the name of their parameter.

use chrono::Utc;
use harness::Database;
use harness::lambda::Lambda;
use harness::moto::Moto;
use notify::parameters::with_certificates;
use serde_json::json;
use shared::config::Environment;

const CERTIFICATE: &str = "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n";

/// What Lambda sets, for this SSM.
fn aws(moto: &Moto) -> Vec<(&'static str, String)> {
    vec![
        ("AWS_REGION", Moto::REGION.to_owned()),
        ("AWS_ENDPOINT_URL", moto.url().to_owned()),
        ("AWS_ACCESS_KEY_ID", "test".to_owned()),
        ("AWS_SECRET_ACCESS_KEY", "test".to_owned()),
        ("AWS_SESSION_TOKEN", "test".to_owned()),
    ]
}

fn environment(mut entries: Vec<(&'static str, String)>, more: &[(&'static str, &str)]) -> Environment<'static> {
    entries.extend(more.iter().map(|(name, value)| (*name, (*value).to_owned())));
    Environment::from_lookup(move |name| entries.iter().find(|(key, _)| *key == name).map(|(_, value)| value.clone()))
}

#[tokio::test]
async fn a_certificate_is_read_by_its_parameter_s_name() {
    let moto = Moto::start().await;
    moto.parameter("/watchkeeper/database-ca", CERTIFICATE).await;
    let name = "/watchkeeper/database-ca";
    for (names, smtp) in [
        (&[("DATABASE_CA_PARAMETER", name), ("SMTP_URL", "x")][..], None),
        (&[("DATABASE_CA_PARAMETER", name), ("SMTP_CA_PARAMETER", name)], Some(CERTIFICATE)),
    ] {
        let environment = with_certificates(environment(aws(&moto), names), Utc::now()).await.unwrap();
        assert_eq!(environment.optional("DATABASE_CA").as_deref(), Some(CERTIFICATE));
        assert_eq!(environment.optional("SMTP_CA").as_deref(), smtp);
        assert_eq!(environment.optional("AWS_REGION").as_deref(), Some(Moto::REGION));
    }
}

#[tokio::test]
async fn a_parameter_that_is_not_there_is_named_with_what_to_do() {
    let moto = Moto::start().await;
    // moto loads SSM with the first request, which takes longer than a function waits.
    moto.parameter("/another", CERTIFICATE).await;
    let named = environment(aws(&moto), &[("SMTP_CA_PARAMETER", "/nowhere")]);
    let error = format!("{:#}", with_certificates(named, Utc::now()).await.err().unwrap());
    assert!(error.starts_with("SMTP_CA_PARAMETER: SSM has no parameter /nowhere: put"), "{error}");
}

#[tokio::test]
async fn without_an_answer_the_error_names_the_parameter_and_no_secret() {
    let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", silent.local_addr().unwrap());
    drop(silent);
    let entries = vec![
        ("AWS_REGION", "eu-west-1".to_owned()),
        ("AWS_ENDPOINT_URL", url),
        ("AWS_ACCESS_KEY_ID", "AKIAEXAMPLE".to_owned()),
        ("AWS_SECRET_ACCESS_KEY", "s3cret".to_owned()),
    ];
    let named = environment(entries, &[("DATABASE_CA_PARAMETER", "/ca")]);
    let error = format!("{:#}", with_certificates(named, Utc::now()).await.err().unwrap());
    assert!(error.starts_with("read the parameters /ca: "), "{error}");
    assert!(!error.contains("s3cret") && !error.contains("AKIA"), "{error}");
}

#[tokio::test]
async fn the_function_starts_with_a_certificate_that_is_named() {
    let moto = Moto::start().await;
    let database = Database::migrated().await;
    moto.parameter("/ca", CERTIFICATE).await;
    let mut entries = aws(&moto);
    entries.extend([("DATABASE_URL", database.url()), ("DATABASE_CA_PARAMETER", "/ca".to_owned())]);
    let entries: Vec<(&str, &str)> = entries.iter().map(|(name, value)| (*name, value.as_str())).collect();
    let lambda = Lambda::start("notify", &entries).await;
    assert_eq!(lambda.invoke(json!({"detail-type": "Scheduled Event"})).await, Ok(json!({})));
}
