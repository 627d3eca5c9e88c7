//! Encryption and trust, against PostgreSQL servers with and without TLS.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use harness::Database;
use secrecy::SecretString;
use shared::config::DatabaseConfig;
use shared::store::{ConnectError, ConnectionSettings, PoolSize, Store, StoreError, chain};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

use crate::certificates::Authority;
use crate::server::Server;

/// Every `sslmode` that means an encrypted and verified connection here.
const VERIFIED: [&str; 7] = [
    "",
    "?sslmode=",
    "?sslmode=allow",
    "?sslmode=prefer",
    "?sslmode=require",
    "?sslmode=verify-ca",
    "?sslmode=verify-full",
];

/// The first message of a client, in plain text: whether the server supports TLS.
const SSL_REQUEST: [u8; 8] = [0, 0, 0, 8, 0x04, 0xd2, 0x16, 0x2f];

fn config(url: &str, ca: Option<&str>) -> DatabaseConfig {
    DatabaseConfig { ca: ca.map(str::to_owned), ..DatabaseConfig::at(SecretString::from(url)) }
}

/// Whether the server reports that the session of a pool is encrypted.
async fn is_encrypted(url: &str, ca: Option<&str>) -> Result<bool, StoreError> {
    let store = Store::new(&config(url, ca), "test", PoolSize::LAMBDA).unwrap();
    let sql = "SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()";
    store.run(|client| async move { Ok(client.query_typed_one(sql, &[]).await?.try_get(0)?) }).await
}

/// The error of both the pool and a single connection, which must come before any time-out.
async fn refusal(url: &str, ca: Option<&str>) -> String {
    let begun = Instant::now();
    let error = is_encrypted(url, ca).await.unwrap_err();
    assert!(matches!(error, StoreError::Unavailable(_)), "{url}: {error:?}");
    let settings = ConnectionSettings::parse(&config(url, ca), "test").unwrap();
    let single = settings.connect().await.err().unwrap();
    assert!(matches!(single, StoreError::Unavailable(_)), "{url}: {single:?}");
    assert!(begun.elapsed() < Duration::from_secs(4), "{url}: {:?}", begun.elapsed());
    assert_eq!(chain(&error), chain(&single), "{url}");
    assert!(!chain(&error).contains("s3cret"), "{}", chain(&error));
    chain(&error)
}

/// The error of a connection string that neither the pool nor a single connection accepts.
fn unusable(url: &str, ca: Option<&str>) -> ConnectError {
    let error = Store::new(&config(url, ca), "test", PoolSize::LAMBDA).err().unwrap();
    assert_eq!(ConnectionSettings::parse(&config(url, ca), "test").err().as_ref(), Some(&error), "{url}");
    error
}

#[tokio::test]
async fn a_ca_as_text_or_as_a_file_is_trusted_under_every_sslmode() {
    let authority = Authority::new();
    let server = Server::start(&authority.identity("DNS:localhost")).await;
    let (text, file) = (authority.pem(), authority.file());
    for ca in [text.as_str(), &text.replace('\n', "\\n"), &text.replace('\n', "\r\n"), file.to_str().unwrap()] {
        for options in VERIFIED {
            let url = server.url("localhost", options);
            let encrypted = is_encrypted(&url, Some(ca)).await;
            assert!(encrypted.as_ref().is_ok_and(|encrypted| *encrypted), "{options} {ca}: {encrypted:?}");
            let settings = ConnectionSettings::parse(&config(&url, Some(ca)), "test").unwrap();
            assert_eq!(settings.warnings, Vec::<String>::new());
        }
        let url = server.url("localhost", "");
        ConnectionSettings::parse(&config(&url, Some(ca)), "test").unwrap().connect().await.unwrap();
    }
}

#[tokio::test]
async fn an_intermediate_authority_several_cas_and_an_ip_address_are_accepted() {
    let authority = Authority::with_an_intermediate();
    let server = Server::start(&authority.identity("DNS:localhost,IP:127.0.0.1")).await;
    let both = Authority::new().pem() + &authority.pem();
    for host in ["localhost", "127.0.0.1"] {
        for ca in [&authority.pem(), &both] {
            assert!(is_encrypted(&server.url(host, "?sslmode=verify-full"), Some(ca)).await.unwrap(), "{host}");
        }
    }
}

#[tokio::test]
async fn another_ca_another_host_and_the_public_roots_refuse_the_server_under_every_sslmode() {
    let authority = Authority::new();
    let (right, wrong, impostor) = (authority.pem(), Authority::named("Another Root").pem(), Authority::new().pem());
    let server = Server::start(&authority.identity("DNS:localhost")).await;
    for options in VERIFIED {
        for (host, ca, reason) in [
            ("localhost", Some(wrong.as_str()), "UnknownIssuer"),
            ("localhost", Some(&impostor), "BadSignature"),
            ("localhost", None, "UnknownIssuer"),
            ("127.0.0.1", Some(&right), "not valid for name"),
        ] {
            let refusal = refusal(&server.url(host, options), ca).await;
            assert!(refusal.contains(reason), "{host}{options}: {refusal}");
        }
    }
}

#[tokio::test]
async fn only_disable_is_unencrypted_and_only_no_verify_is_unverified_with_a_warning() {
    let server = Server::start(&Authority::new().identity("DNS:elsewhere.example")).await;
    for host in ["localhost", "127.0.0.1"] {
        let trusting = server.url(host, "?sslmode=no-verify");
        assert!(is_encrypted(&trusting, None).await.unwrap());
        let warnings = ConnectionSettings::parse(&config(&trusting, None), "test").unwrap().warnings;
        assert_eq!(warnings.len(), 1);
        assert!(warnings[0].contains("no-verify"), "{warnings:?}");
        let disabled = server.url(host, "?sslmode=disable");
        assert!(!is_encrypted(&disabled, None).await.unwrap());
        assert!(ConnectionSettings::parse(&config(&disabled, None), "test").unwrap().warnings.is_empty());
    }
    let far = "postgresql://u:s3cret@db.example.com/postgres?sslmode=disable";
    assert_eq!(unusable(far, None), ConnectError::UnencryptedNetwork("db.example.com".into()));
}

#[tokio::test]
async fn unknown_options_are_ignored_with_a_warning_each_and_known_ones_take_effect() {
    let authority = Authority::new();
    let server = Server::start(&authority.identity("DNS:localhost")).await;
    let options = "?schema=x&connection_limit=1&sslmode=require&application_name=mine&sslrootcert=ca.crt";
    let url = server.url("localhost", options);
    let settings = ConnectionSettings::parse(&config(&url, Some(&authority.pem())), "test").unwrap();
    for (warning, option) in settings.warnings.iter().zip(["schema", "connection_limit", "sslrootcert"]) {
        assert!(warning.contains(&format!("\"{option}\" is ignored")), "{warning}");
    }
    assert_eq!(settings.warnings.len(), 3, "{:?}", settings.warnings);
    let client = settings.connect().await.unwrap();
    let sql = "SELECT current_setting('application_name'), ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()";
    let row = client.query_typed_one(sql, &[]).await.unwrap();
    assert_eq!((row.get::<_, &str>(0), row.get::<_, bool>(1)), ("mine", true));
    let declared = format!("{url}&pgbouncer=true");
    assert!(is_encrypted(&declared, Some(&authority.pem())).await.unwrap());
    assert_eq!(ConnectionSettings::parse(&config(&declared, None), "test").unwrap().warnings.len(), 4);
}

#[tokio::test]
async fn a_server_without_tls_is_refused_under_every_sslmode_but_disable() {
    let database = Database::empty().await;
    let plain = database.url().split_once('?').unwrap().0.to_owned();
    for options in VERIFIED.into_iter().chain(["?sslmode=no-verify"]) {
        let refusal = refusal(&format!("{plain}{options}"), None).await;
        assert!(refusal.contains("server does not support TLS"), "{options}: {refusal}");
    }
    assert!(!is_encrypted(&format!("{plain}?sslmode=disable"), None).await.unwrap());
}

#[tokio::test]
async fn to_a_server_without_tls_nothing_is_sent_but_the_tls_request() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let received = Arc::new(Mutex::new(Vec::new()));
    let writer = Arc::clone(&received);
    let server = tokio::spawn(async move {
        while let Ok((mut client, _)) = listener.accept().await {
            let mut said = vec![0; SSL_REQUEST.len()];
            client.read_exact(&mut said).await.unwrap();
            client.write_all(b"N").await.unwrap();
            client.read_to_end(&mut said).await.unwrap();
            writer.lock().unwrap().push(said);
        }
    });
    for options in VERIFIED.into_iter().chain(["?sslmode=no-verify"]) {
        refusal(&format!("postgresql://u:s3cret@{address}/app{options}"), None).await;
    }
    // The server accepts one connection after the other: this is the last one it reads.
    let mut last = tokio::net::TcpStream::connect(address).await.unwrap();
    last.write_all(&SSL_REQUEST).await.unwrap();
    last.shutdown().await.unwrap();
    last.read_to_end(&mut Vec::new()).await.unwrap();
    server.abort();
    let received = received.lock().unwrap();
    assert!(received.len() >= 2 * (VERIFIED.len() + 1), "{}", received.len());
    assert!(received.iter().all(|said| *said == SSL_REQUEST), "{received:?}");
}

#[tokio::test]
async fn a_silent_server_times_out() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("postgresql://u:s3cret@{}/app", listener.local_addr().unwrap());
    let begun = Instant::now();
    let (pooled, settings) =
        (is_encrypted(&url, None), ConnectionSettings::parse(&config(&url, None), "test").unwrap());
    let (pooled, single) = tokio::join!(pooled, settings.connect());
    assert!(matches!(pooled, Err(StoreError::Unavailable(_))), "{pooled:?}");
    assert!(matches!(single, Err(StoreError::Timeout(_))), "{:?}", single.err());
    assert!(begun.elapsed() < Duration::from_secs(8), "{:?}", begun.elapsed());
}

#[test]
fn an_unknown_sslmode_is_refused_with_the_known_ones() {
    for mode in ["bogus", "Require", "verify_full"] {
        let error = unusable(&format!("postgresql://u:s3cret@db.example.com/app?sslmode={mode}"), None);
        assert_eq!(error, ConnectError::UnknownSslMode(mode.to_owned()));
        assert!(error.to_string().contains("verify-full"), "{error}");
    }
}

#[test]
fn an_unreadable_ca_file_is_named() {
    let error = unusable("postgresql://u:s3cret@db.example.com/app", Some("/nowhere/prod-ca-2021.crt"));
    let text = error.to_string();
    assert!(text.starts_with("DATABASE_CA: /nowhere/prod-ca-2021.crt can't be read: "), "{text}");
}

#[tokio::test]
async fn the_error_of_an_invalid_ca_names_the_ca_and_not_the_connection_string() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("ca.crt");
    std::fs::write(&file, "no certificate").unwrap();
    for ca in [
        "-----BEGIN CERTIFICATE-----",
        "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
        "-----BEGIN CERTIFICATE-----\nno base64!\n-----END CERTIFICATE-----\n",
        file.to_str().unwrap(),
    ] {
        let config = config("postgresql://u:s3cret@db.example.com/app", Some(ca));
        let pooled = Store::new(&config, "test", PoolSize::LAMBDA).err().unwrap();
        let single = match ConnectionSettings::parse(&config, "test") {
            Ok(settings) => chain(&settings.connect().await.err().unwrap()),
            Err(error) => chain(&error),
        };
        for text in [chain(&pooled), single] {
            assert!(text.starts_with("DATABASE_CA"), "{text}");
        }
    }
}
