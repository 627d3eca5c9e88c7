//! The documentation's examples, edge cases, and properties over arbitrary bytes.

use std::io::BufReader;

use proptest::prelude::*;

use super::*;

type Read = (Header, Vec<Item>, Option<EnvelopeError>);

/// All items that can be parsed, and the error at the end.
fn read(bytes: &[u8]) -> Result<Read, EnvelopeError> {
    read_from(bytes)
}

fn read_from(source: impl BufRead) -> Result<Read, EnvelopeError> {
    let mut envelope = Envelope::open(source)?;
    let header = envelope.header().clone();
    let (mut items, mut error) = (Vec::new(), None);
    for item in &mut envelope {
        match item {
            Ok(item) => items.push(item),
            Err(found) => error = Some(found),
        }
    }
    assert!(envelope.next().is_none(), "after the end there is nothing");
    Ok((header, items, error))
}

fn kinds(bytes: &[u8]) -> Vec<&'static str> {
    let (_, items, error) = read(bytes).unwrap();
    assert!(error.is_none(), "{error:?}");
    items.iter().map(|item| item.kind.name()).collect()
}

fn event(payload: &str) -> Payload {
    Payload::Kept(payload.as_bytes().to_vec())
}

#[test]
fn the_examples_of_sentrys_documentation_are_read() {
    let id = "9ec79c33ec9942ab8353589fcb2e04dc";
    let two = [
        br#"{"event_id":"9ec79c33ec9942ab8353589fcb2e04dc","dsn":"https://e12d836b15bb49d7bbf99e64295d995b:@sentry.io/42"}"#,
        &b"\n{\"type\":\"attachment\",\"length\":10,\"content_type\":\"text/plain\",\"filename\":\"hello.txt\"}\n"[..],
        b"\xef\xbb\xbfHello\r\n\n",
        b"{\"type\":\"event\",\"length\":41,\"content_type\":\"application/json\",\"filename\":\"application.log\"}\n",
        br#"{"message":"hello world","level":"error"}"#,
    ]
    .concat();
    for ending in ["", "\n", "\r\n", "\n\n\n"] {
        let (header, items, error) = read(&[&two, ending.as_bytes()].concat()).unwrap();
        assert!(error.is_none(), "{error:?}");
        assert_eq!(header.event_id.unwrap().simple().to_string(), id);
        assert!(header.dsn.unwrap().ends_with("@sentry.io/42"));
        assert_eq!(items.iter().map(|item| item.kind.name()).collect::<Vec<_>>(), ["attachment", "event"]);
        assert_eq!(items[1].payload, event(r#"{"message":"hello world","level":"error"}"#));
    }
    let empty_attachments = [
        "{\"event_id\":\"9ec79c33ec9942ab8353589fcb2e04dc\"}\n{\"type\":\"attachment\",\"length\":0}\n\n{\"type\":\"attachment\",\"length\":0}\n\n",
        "{}\n{\"type\":\"attachment\",\"length\":0}\n\n{\"type\":\"attachment\",\"length\":0}\n",
        "{}\n{\"type\":\"attachment\",\"length\":0}\n\n{\"type\":\"attachment\",\"length\":0}",
    ];
    for text in empty_attachments {
        assert_eq!(kinds(text.as_bytes()), ["attachment", "attachment"], "{text}");
    }
    let implicit =
        "{}\n{\"type\":\"attachment\"}\nhelloworld\n{\"type\":\"session\"}\n{\"started\": \"2020-02-07T14:16:00Z\"}";
    assert_eq!(kinds(implicit.as_bytes()), ["attachment", "session"]);
}

#[test]
fn harmless_deviations_are_accepted() {
    for text in [
        "{}\r\n{\"type\":\"event\"}\r\n{\"a\":1}\r\n",
        "\u{FEFF}{}\n{\"type\":\"event\",\"length\":7}\n{\"a\":1}",
        "\n\n{}\n\n  \n{\"type\":\"event\",\"length\":7}\r\n{\"a\":1}\r\n\n\t\n",
        "{}\n{\"type\":\"event\",\"length\":null}\n{\"a\":1}\n",
    ] {
        let (_, items, error) = read(text.as_bytes()).unwrap();
        assert!(error.is_none(), "{text:?}: {error:?}");
        let Payload::Kept(payload) = &items[0].payload else { panic!("{text:?}: {items:?}") };
        assert_eq!(payload.trim_ascii(), br#"{"a":1}"#, "{text:?}");
    }
    for none in ["{}", "{}\n", "{\"event_id\":7,\"dsn\":[]}\n\n"] {
        assert_eq!(read(none.as_bytes()).unwrap().1, [], "{none}");
    }
    assert_eq!(read(b"{\"event_id\":7}").unwrap().0, Header::default());
}

#[test]
fn an_error_is_named_and_earlier_items_are_kept() {
    let good = "{}\n{\"type\":\"event\"}\n{}\n";
    let long_header = format!("{{\"type\":\"event\",\"x\":\"{}\"}}\n{{}}", "x".repeat(HEADER_BYTES));
    let many = "{\"type\":\"session\"}\n{}\n".repeat(ITEMS);
    for (rest, wanted) in [
        ("{\"type\":\"event\",", "the header of item 2"),
        ("[]\n{}", "the header of item 2"),
        ("{\"type\":\"event\",\"length\":\"7\"}\n{}", "`length` of item 2"),
        ("{\"type\":\"event\",\"length\":-1}\n{}", "`length` of item 2"),
        ("{\"type\":\"event\",\"length\":1.5}\n{}", "`length` of item 2"),
        ("{\"type\":\"event\",\"length\":3}\n{}", "item 2 is cut off"),
        ("{\"type\":\"attachment\",\"length\":18446744073709551615}\n{}", "item 2 is cut off"),
        ("{\"type\":\"event\",\"length\":1}\n{}", "item 2 does not end"),
        (&long_header, "a header has more than"),
        (&many, "more than 100 items"),
    ] {
        let (_, items, error) = read(format!("{good}{rest}").as_bytes()).unwrap();
        let error = error.unwrap_or_else(|| panic!("{rest:.80} should be wrong")).to_string();
        assert!(error.contains(wanted), "{rest:.80} → {error}");
        assert_eq!((items[0].kind, &items[0].payload), (ItemKind::Event, &event("{}")), "{rest:.80}");
    }
    for (bytes, wanted) in [
        (&b""[..], "is empty"),
        (b"\n \r\n\t", "is empty"),
        (b"{", "the envelope's header"),
        (b"\"event\"\n", "the envelope's header"),
        (b"{\"a\":\"\xff\xfe\"}\n{\"type\":\"event\"}\n{}", "the envelope's header"),
        (&[b'['; 2 * HEADER_BYTES], "a header has more than"),
    ] {
        assert!(read(bytes).unwrap_err().to_string().contains(wanted), "{bytes:.80?}");
    }
}

#[test]
fn other_types_are_unknown() {
    for header in [r#"{"type":"x_new_type"}"#, r#"{"type":7}"#, "{}", r#"{"type":""}"#, r#"{"type":"EVENT"}"#] {
        assert_eq!(kinds(format!("{{}}\n{header}\npayload\n").as_bytes()), ["unknown"], "{header}");
    }
}

#[test]
fn an_event_may_have_one_mebibyte_and_a_larger_one_does_not_affect_others() {
    let text = |length: usize| format!("\"{}\"", "m".repeat(length - 2));
    for (with_length, bytes) in
        [(true, EVENT_BYTES), (false, EVENT_BYTES), (true, EVENT_BYTES + 1), (false, EVENT_BYTES + 1)]
    {
        let length = if with_length { format!(",\"length\":{bytes}") } else { String::new() };
        let large = format!("{{\"type\":\"event\"{length}}}\n{}\n", text(bytes));
        let attachment = format!("{{\"type\":\"attachment\",\"length\":2000000}}\n{}\n", "\n".repeat(2_000_000));
        let whole = format!("{{}}\n{attachment}{large}{{\"type\":\"event\"}}\n{{}}");
        let (_, items, error) = read(whole.as_bytes()).unwrap();
        assert!(error.is_none(), "{error:?}");
        assert_eq!(items[0].payload, Payload::Skipped);
        assert_eq!(items[1].payload == Payload::TooLarge, bytes > EVENT_BYTES, "{bytes}");
        assert_eq!(items[2].payload, event("{}"));
    }
}

/// An item of any kind, as an SDK may write it: header, payload, and whether the header has the length.
fn item() -> impl Strategy<Value = (&'static str, Vec<u8>, bool)> {
    let kind = prop::sample::select(vec!["event", "session", "attachment", "check_in", "something_new"]);
    (kind, prop::collection::vec(any::<u8>(), 0..200), any::<bool>()).prop_map(|(kind, mut payload, with_length)| {
        if !with_length {
            payload.retain(|byte| *byte != b'\n');
        }
        (kind, payload, with_length)
    })
}

proptest! {
    #[test]
    fn arbitrary_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..2_000)) {
        let _ = read(&bytes);
        let _ = read(&[b"{}\n{\"type\":\"event\",\"length\":40}\n", &bytes[..]].concat());
        let _ = read(&[b"{}\n", &bytes[..]].concat());
    }

    #[test]
    fn valid_items_are_read_back_however_the_bytes_arrive(
        items in prop::collection::vec(item(), 0..20),
        capacity in 1_usize..64,
        last_newline in any::<bool>(),
    ) {
        let mut bytes = b"{}\n".to_vec();
        for (kind, payload, with_length) in &items {
            let length = if *with_length { format!(",\"length\":{}", payload.len()) } else { String::new() };
            bytes.extend_from_slice(format!("{{\"type\":\"{kind}\"{length}}}\n").as_bytes());
            bytes.extend_from_slice(payload);
            bytes.push(b'\n');
        }
        if !last_newline && !items.last().is_some_and(|(_, payload, with_length)| !with_length && payload.is_empty()) {
            bytes.pop();
        }
        let (_, found, error) = read_from(BufReader::with_capacity(capacity, &bytes[..])).unwrap();
        prop_assert!(error.is_none(), "{:?}", error);
        prop_assert_eq!(found.len(), items.len());
        for (found, (kind, payload, _)) in found.iter().zip(&items) {
            prop_assert_eq!(found.kind, ItemKind::of(kind));
            match &found.payload {
                Payload::Kept(kept) => prop_assert_eq!(kept, payload),
                Payload::Skipped => prop_assert!(found.kind.kept_bytes().is_none()),
                Payload::TooLarge => prop_assert!(false, "nothing is too large here"),
            }
        }
    }
}
