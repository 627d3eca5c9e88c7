//! Whatever an error says, no message may call people, carry external markup or headers, or be refused for its
//! length: tried with random texts made of what is known to hurt.

use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use serde_json::{Value, json};
use shared::model::{Category, Receiver, Severity};
use uuid::Uuid;

use super::email::EmailContent;
use super::text::units;
use super::{Delivery, discord, email, pagerduty, slack, sms};
use crate::notification::{Notification, NotificationKind, Problem, ProblemState};

const HOSTILE: [&str; 24] = [
    "@everyone",
    "@here",
    "<!channel>",
    "<!subteam^S1>",
    "<@U123>",
    "<#C1>",
    "<https://evil.example|safe>",
    "[x](http://evil.example)",
    "\r\nBcc: eve@evil.example\r\n\r\nbody",
    "\nBcc: eve@evil.example",
    "\0",
    "\u{202e}gpj.exe\u{2066}",
    "\u{2028}\u{85}\u{b}",
    "</pre><script>alert(1)</script>",
    "\" onmouseover=\"alert(1)",
    "*bold* _it_ ~no~ `code` ```block```",
    "&lt;!channel&gt;",
    "||spoiler|| > quote # title - list",
    ":bomb: :point_up:",
    "=?utf-8?q?evil?=",
    "😀👩\u{200d}🚀",
    "e\u{301}\u{301}\u{301}",
    "%0d%0aBcc:",
    "{{constructor}} ${jndi:ldap://x}",
];

fn text() -> impl Strategy<Value = String> {
    let fragment = prop_oneof![
        4 => proptest::sample::select(&HOSTILE[..]).prop_map(str::to_owned),
        2 => ".{0,40}",
        1 => (proptest::sample::select(&HOSTILE[..]), 1_usize..3_000).prop_map(|(text, times)| text.repeat(times)),
    ];
    vec(fragment, 0..6).prop_map(|fragments| fragments.concat())
}

fn problem() -> impl Strategy<Value = Problem> {
    let states = [ProblemState::Firing, ProblemState::Acknowledged, ProblemState::Resolved];
    let texts = (text(), text(), text(), option::of(text()), option::of(text()), option::of(text()), vec(text(), 0..4));
    let known = (
        proptest::sample::select(states.to_vec()),
        proptest::sample::select(&Severity::ALL[..]),
        proptest::sample::select(&Category::ALL[..]),
        (any::<i64>(), any::<i64>(), any::<u32>(), option::of(any::<u32>())),
        (option::of(text()), option::of(any::<u128>()), option::of(text())),
    );
    (texts, known).prop_map(|(texts, known)| {
        let (title, application, environment, service, message, handled_by, tried) = texts;
        let (state, severity, category, (occurrences, users, since, end), (incident_id, alert, url)) = known;
        let at = |seconds: u32| chrono::DateTime::from_timestamp(i64::from(seconds), 0).unwrap();
        Problem {
            state,
            title,
            severity,
            category,
            application,
            environment,
            service,
            message,
            since: at(since),
            resolved_at: end.map(at),
            occurrences,
            users,
            handled_by,
            tried,
            incident_id,
            alert_id: alert.map(Uuid::from_u128),
            url: url.map(|path| format!("https://watch.example.com/api/{path}")),
        }
    })
}

fn delivery() -> impl Strategy<Value = Delivery> {
    let kind = proptest::sample::select(&NotificationKind::ALL[..]);
    let problems = prop_oneof![3 => vec(problem(), 1), 1 => vec(problem(), 0..=Notification::PROBLEMS)];
    let rest = (0_usize..3, option::of(text()), option::of(text()), text());
    (kind, problems, rest).prop_map(|(kind, problems, (more, group, remark, dedup_key))| Delivery {
        id: Uuid::from_u128(1),
        receiver: Receiver::parse("slack").unwrap(),
        dedup_key,
        notification: Notification {
            kind,
            at: chrono::DateTime::UNIX_EPOCH,
            problems,
            more,
            group,
            is_part: false,
            remark,
        },
        earlier: None,
    })
}

/// All strings of a JSON value.
fn strings<'a>(value: &'a Value, found: &mut Vec<&'a str>) {
    match value {
        Value::String(text) => found.push(text),
        Value::Array(items) => items.iter().for_each(|item| strings(item, found)),
        Value::Object(object) => object.values().for_each(|item| strings(item, found)),
        _ => {}
    }
}

fn assert_plain(value: &Value, may_have_lines: bool) {
    let mut found = Vec::new();
    strings(value, &mut found);
    for text in found {
        assert_shown_as_it_is(text, may_have_lines);
    }
}

/// Nothing that is not seen, nor changes how the rest is.
fn assert_shown_as_it_is(text: &str, may_have_lines: bool) {
    let is_line = |letter: char| may_have_lines && letter == '\n';
    assert!(!text.chars().any(|it| it.is_control() && !is_line(it)), "{text:?}");
    assert!(!text.contains(['\u{202e}', '\u{2066}', '\u{2028}', '\u{200f}']), "{text:?}");
}

fn assert_slack(message: &Value) {
    let mut found = Vec::new();
    strings(message, &mut found);
    for text in found {
        for (at, _) in text.match_indices('<') {
            assert!(text[at..].starts_with("<https://watch.example.com/api/"), "{text}");
        }
        for (at, _) in text.match_indices('&') {
            let rest = &text[at..];
            assert!(["&amp;", "&lt;", "&gt;"].iter().any(|entity| rest.starts_with(entity)), "{text}");
        }
    }
    let blocks = message["blocks"].as_array().unwrap();
    assert!((1..=50).contains(&blocks.len()));
    for block in blocks {
        let length = |value: &Value| units(value["text"].as_str().unwrap());
        match block["type"].as_str().unwrap() {
            "header" => assert!((1..=150).contains(&length(&block["text"]))),
            "section" if block["fields"].is_array() => {
                let fields = block["fields"].as_array().unwrap();
                assert!(fields.len() <= 10 && fields.iter().all(|field| (1..=2_000).contains(&length(field))));
            }
            "section" => assert!((1..=3_000).contains(&length(&block["text"]))),
            "context" => {
                let elements = block["elements"].as_array().unwrap();
                assert!((1..=10).contains(&elements.len()));
                assert!(elements.iter().all(|element| (1..=3_000).contains(&length(element))));
            }
            "actions" => {}
            other => panic!("{other}"),
        }
    }
    let is_alone = |value: &&Value| value["type"] == "plain_text" && value["emoji"] != json!(false);
    assert!(blocks.iter().map(|block| &block["text"]).find(is_alone).is_none());
}

fn assert_discord(embed: &Value) {
    let length = |value: &Value| value.as_str().map_or(0, units);
    let fields = embed["fields"].as_array().cloned().unwrap_or_default();
    let mut total = length(&embed["title"]) + length(&embed["description"]) + length(&embed["footer"]["text"]);
    assert!((1..=256).contains(&length(&embed["title"])) && length(&embed["description"]) <= 4_096, "{embed}");
    for field in &fields {
        assert!((1..=256).contains(&length(&field["name"])) && (1..=1_024).contains(&length(&field["value"])));
        total += length(&field["name"]) + length(&field["value"]);
    }
    assert!(total <= 6_000 && fields.len() <= 25, "{total}");
    let values = fields.iter().map(|field| &field["value"]).chain([&embed["title"]]);
    for text in values.map(|value| value.as_str().unwrap()) {
        let mut letters = text.chars();
        while let Some(letter) = letters.next() {
            if letter == '\\' {
                letters.next();
                continue;
            }
            assert!(!"*_~`|<>@#:()[]".contains(letter), "{text}");
        }
    }
}

fn assert_email(content: &EmailContent) {
    assert_shown_as_it_is(&content.subject, false);
    assert_shown_as_it_is(&content.text, true);
    assert_shown_as_it_is(&content.html, true);
    assert!((1..=200).contains(&units(&content.subject)));
    // What is left without our own tags has none.
    const TAGS: [&str; 27] = [
        "<!doctype html>",
        "<html>",
        "</html>",
        "<head>",
        "</head>",
        "<meta charset=\"utf-8\">",
        "</body>",
        "</h2>",
        "<h3>",
        "</h3>",
        "<table cellpadding=\"4\">",
        "</table>",
        "<tr>",
        "</tr>",
        "<td>",
        "</td>",
        "<b>",
        "</b>",
        "</pre>",
        "<p>",
        "</p>",
        "</a>",
        "<small>",
        "</small>",
        "<body style=\"font-family:sans-serif;color:#1d2939\">",
        "<pre style=\"white-space:pre-wrap\">",
        "<a href=\"https://watch.example.com/api/",
    ];
    let mut rest = TAGS.iter().fold(content.html.clone(), |html, tag| html.replace(tag, ""));
    if let Some(at) = rest.find("<h2 style=\"color:#") {
        rest.replace_range(at..=at, "");
    }
    assert!(!rest.contains('<') && !rest.contains('\''), "{rest}");
}

/// The whole e-mail as it is sent: only our headers, each once.
fn assert_headers(content: &EmailContent) {
    let to = ["ada@shop.example".to_owned()];
    let whole = email::formatted(content, "watch@example.com", &to, chrono::DateTime::UNIX_EPOCH);
    let whole = String::from_utf8(whole).unwrap();
    let (headers, _) = whole.split_once("\r\n\r\n").unwrap();
    let unfolded = headers.replace("\r\n ", " ").replace("\r\n\t", " ");
    let mut names: Vec<_> = unfolded.split("\r\n").map(|line| line.split(':').next().unwrap().to_lowercase()).collect();
    names.sort();
    let expected = [
        "auto-submitted",
        "content-type",
        "date",
        "from",
        "in-reply-to",
        "message-id",
        "mime-version",
        "references",
        "subject",
        "to",
    ];
    assert_eq!(names, expected, "{headers}");
    assert!(!unfolded.replace("\r\n", "").contains(['\r', '\n']), "{headers}");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_text_of_an_error_gets_out_of_its_place(delivery in delivery()) {
        for message in slack::rendered(&delivery.notification) {
            // A field has its name on a line of its own.
            assert_plain(&message, true);
            assert_slack(&message);
        }
        let embed = discord::embed(&delivery.notification);
        assert_discord(&embed);
        let sms = sms::text(&delivery.notification);
        assert_shown_as_it_is(&sms, false);
        assert!(units(&sms) <= 320, "{sms}");
        let event = pagerduty::event(crate::pagerduty_state::Action::Trigger, &"key".into(), &delivery);
        assert_plain(&event["payload"], false);
        assert!(units(event["payload"]["summary"].as_str().unwrap()) <= 1_024);
        assert!(units(event["dedup_key"].as_str().unwrap()) <= 510 && event.to_string().len() <= 512_000);
        let content = EmailContent::of(&delivery, "watch@example.com");
        assert_email(&content);
        assert_headers(&content);
    }
}
