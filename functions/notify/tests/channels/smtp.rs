//! E-mail over SMTP, to a real server.

use notify::channel::email::SmtpServer;
use notify::channel::{Channels, ChannelsConfig, EmailConfig, EmailWay};
use notify::notification::NotificationKind;
use rcgen::{CertifiedKey, generate_simple_self_signed};
use secrecy::SecretString;
use serde_json::{Value, json};
use std::time::Duration;
use tokio::net::TcpListener;

use crate::mail_server::{MailServer, header};
use crate::messages::delivery;
use crate::vendor::{outcome, send};

fn server(url: &str) -> SmtpServer {
    SmtpServer::parse(&SecretString::from(url)).unwrap()
}

fn config(server: SmtpServer) -> ChannelsConfig {
    let to = vec!["ops@shop.example".to_owned(), "night@shop.example".to_owned()];
    let email = EmailConfig { from: "watch@example.com".to_owned(), to, way: EmailWay::Smtp(server) };
    ChannelsConfig { email: Some(email), ..ChannelsConfig::default() }
}

fn plain(port: u16) -> ChannelsConfig {
    config(server(&format!("smtp://127.0.0.1:{port}")))
}

#[tokio::test]
async fn an_e_mail_arrives_as_a_mail_program_reads_it() {
    let mut mail = MailServer::start(&json!({})).await;
    let sent = send(&plain(mail.port()), &delivery("email:ada@shop.example", NotificationKind::Firing)).await.unwrap();
    let (subject, id) = (
        "[CRITICAL] TypeError: x is undefined — shop (production)",
        "<01900000-0000-7000-8000-000000000001@watchkeeper.example.com>",
    );
    assert_eq!((sent.status, sent.remote), (Some(250), Some(json!({"subject": subject, "message_id": id}))));
    let taken = mail.taken().await;
    assert_eq!((&taken["from"], &taken["to"]), (&json!("watch@example.com"), &json!(["ada@shop.example"])));
    assert_eq!(header(&taken, "subject"), subject);
    assert_eq!(header(&taken, "message-id"), id);
    assert_eq!(header(&taken, "from"), "Watchkeeper <watch@example.com>");
    assert_eq!(header(&taken, "to"), "ada@shop.example");
    assert_eq!(header(&taken, "auto-submitted"), "auto-generated");
    assert_eq!(header(&taken, "references"), header(&taken, "in-reply-to"));
    assert!(header(&taken, "date").ends_with("+0000"), "{}", header(&taken, "date"));
    assert_eq!(taken["type"], "multipart/alternative");
    let part = |name: &str| taken["parts"][name].as_str().unwrap().to_owned();
    assert!(part("text/plain").contains("Where: shop (production), service payments-api\r\n"), "{taken}");
    assert!(part("text/html").contains("<td>shop (production), service payments-api</td>"), "{taken}");
    assert!(part("text/html").contains("<a href=\"https://watch.example.com/api/incidents/INC-20261124-0001\">"));
}

#[tokio::test]
async fn a_subject_shows_an_error_s_text_as_it_is() {
    let mut mail = MailServer::start(&json!({})).await;
    for application in ["shop", "shöp =?utf-8?b?aGk=?="] {
        let mut delivery = delivery("email:ada@shop.example", NotificationKind::Firing);
        delivery.notification.problems[0].title = "=?utf-8?q?all_is_well?= =?x?q?y?=".to_owned();
        delivery.notification.problems[0].application = application.to_owned();
        send(&plain(mail.port()), &delivery).await.unwrap();
        let application = application.replace("=?", "= ?");
        let wanted = format!("[CRITICAL] = ?utf-8?q?all_is_well?= = ?x?q?y?= — {application} (production)");
        assert_eq!(header(&mail.taken().await, "subject"), wanted);
    }
}

#[tokio::test]
async fn without_a_name_all_configured_addresses_are_notified() {
    let mut mail = MailServer::start(&json!({})).await;
    send(&plain(mail.port()), &delivery("email", NotificationKind::Resolved)).await.unwrap();
    let taken = mail.taken().await;
    assert_eq!(taken["to"], json!(["ops@shop.example", "night@shop.example"]));
    assert_eq!(header(&taken, "to"), "ops@shop.example, night@shop.example");
    assert_eq!(header(&taken, "subject"), "Resolved: TypeError: x is undefined — shop (production)");
}

#[tokio::test]
async fn what_passes_is_tried_later_and_what_does_not_is_final() {
    for (command, reply, word, status) in [
        ("MAIL", "421 too busy", "later", 421),
        ("RCPT", "451 greylisted, come back later", "later", 451),
        ("RCPT", "550 no such user here", "refused", 550),
        ("DATA", "452 no room", "later", 452),
        ("DATA", "554 looks like spam", "refused", 554),
    ] {
        let mail = MailServer::start(&json!({"reply": {(command): reply}})).await;
        let result = send(&plain(mail.port()), &delivery("email", NotificationKind::Firing)).await;
        assert_eq!(outcome(&result), (word, Some(status), None), "{result:?}");
        let shown = result.unwrap_err().to_string();
        assert_eq!(shown, format!("the mail server answered {status}: {}", &reply[4..]));
    }
}

#[tokio::test]
async fn a_server_that_is_silent_or_unavailable_is_tried_later() {
    let mail = MailServer::start(&json!({"silent": true})).await;
    let channels = Channels::new(plain(mail.port())).unwrap();
    let result = channels.send(&delivery("email", NotificationKind::Firing), Duration::from_millis(300)).await;
    assert_eq!(outcome(&result), ("later", None, None), "{result:?}");
    assert!(result.unwrap_err().to_string().contains("did not answer in time"));
    let free = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap().port();
    let result = send(&plain(free), &delivery("email", NotificationKind::Firing)).await;
    assert_eq!(outcome(&result), ("later", None, None), "{result:?}");
    assert!(result.unwrap_err().to_string().contains("can't be reached"));
}

#[tokio::test]
async fn a_password_is_sent_to_this_machine_and_to_whom_it_belongs() {
    let mut mail = MailServer::start(&json!({"password": "right"})).await;
    let with = |password: &str| config(server(&format!("smtp://watch:{password}@127.0.0.1:{}", mail.port())));
    let refused = send(&with("wrongSECRET"), &delivery("email", NotificationKind::Firing)).await;
    assert_eq!(outcome(&refused), ("refused", Some(535), None), "{refused:?}");
    assert!(!format!("{refused:?}").contains("SECRET"), "{refused:?}");
    send(&with("right"), &delivery("email", NotificationKind::Firing)).await.unwrap();
    assert_eq!(mail.taken().await["login"], "watch");
}

/// A server with a certificate that it has signed itself, and that certificate.
async fn with_starttls(folder: &tempfile::TempDir) -> (MailServer, String) {
    let CertifiedKey { cert, signing_key } = generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let file = |name: &str, text: String| {
        let path = folder.path().join(name);
        std::fs::write(&path, text).unwrap();
        path
    };
    let (certificate, key) = (file("cert.pem", cert.pem()), file("key.pem", signing_key.serialize_pem()));
    let wishes: Value = json!({"certificate": certificate, "key": key, "password": "right"});
    (MailServer::start(&wishes).await, cert.pem())
}

#[tokio::test]
async fn a_connection_that_must_be_safe_is_or_nothing_is_sent() {
    let folder = tempfile::tempdir().unwrap();
    let (mut mail, certificate) = with_starttls(&folder).await;
    let required = server(&format!("smtp://watch:right@localhost:{}?tls=required", mail.port()));
    let result = send(&config(required.clone()), &delivery("email", NotificationKind::Firing)).await;
    assert_eq!(outcome(&result), ("later", None, None), "{result:?}");
    let trusting = required.trusting(&certificate).unwrap();
    let sent = send(&config(trusting), &delivery("email", NotificationKind::Firing)).await;
    assert_eq!(outcome(&sent), ("sent", Some(250), None), "{sent:?}");
    // So the first one it takes is this one: the other sent it nothing.
    let taken = mail.taken().await;
    assert_eq!((&taken["encrypted"], &taken["login"]), (&json!(true), &json!("watch")));

    let without = MailServer::start(&json!({})).await;
    let required = server(&format!("smtp://localhost:{}?tls=required", without.port()));
    let result = send(&config(required), &delivery("email", NotificationKind::Firing)).await;
    assert_eq!(outcome(&result).0, "later", "{result:?}");
}
