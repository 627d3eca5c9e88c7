//! What a body contains: reports and check-ins. All other items are counted. Pure.
//!
//! Invariant: intact items are kept even if other items are damaged.

use std::collections::BTreeMap;
use std::io::BufRead;

use chrono::{DateTime, Utc};
use shared::model::{CheckIn, Report};
use uuid::Uuid;

use crate::check_in;
use crate::envelope::{EVENT_BYTES, Envelope, EnvelopeError, Item, ItemKind, Payload};
use crate::event::{self, Meaning};

/// What is wrong with a body, or with an item. Items are counted from 1.
#[derive(Debug, thiserror::Error)]
pub enum Problem {
    /// The rest of the envelope can't be parsed.
    #[error(transparent)]
    Envelope(EnvelopeError),
    /// An event is not a JSON object.
    #[error("the event in item {number} is not a JSON object")]
    NotJson {
        /// Which item.
        number: usize,
    },
    /// A check-in lacks a required field.
    #[error("the check-in in item {number} needs a `monitor_slug` and a `status`")]
    NotACheckIn {
        /// Which item.
        number: usize,
    },
    /// An event is too large.
    #[error("the {kind} in item {number} is too large (an event may have {EVENT_BYTES} bytes)")]
    TooLarge {
        /// Which item.
        number: usize,
        /// What it is.
        kind: &'static str,
    },
}

/// The contents of a body.
#[derive(Debug, Default)]
pub struct Contents {
    /// Its events that are errors.
    pub reports: Vec<Report>,
    /// Its check-ins.
    pub check_ins: Vec<CheckIn>,
    /// How many items of each kind were counted but not stored.
    pub counted: BTreeMap<&'static str, u32>,
    /// The id for the answer: the sender's, or the first event's.
    pub event_id: Option<Uuid>,
    /// The first problem.
    pub problem: Option<Problem>,
    /// Whether it is a decompression bomb.
    pub is_bomb: bool,
}

impl Contents {
    /// Parses an envelope to its end, or to the first error after which parsing can't continue.
    pub fn of_envelope<R: BufRead>(envelope: Envelope<R>, project: i64, now: DateTime<Utc>) -> Self {
        let header_id = envelope.header().event_id;
        let mut contents = Self { event_id: header_id, ..Self::default() };
        for item in envelope {
            match item {
                Ok(item) => contents.take(item, header_id, project, now),
                Err(error) => contents.note(Problem::Envelope(error)),
            }
        }
        contents
    }

    /// The problem to refuse the request for; none where nothing important was lost. A damaged envelope with an intact
    /// item is accepted: no SDK would retry the rest.
    #[must_use]
    pub fn refused_for(&self) -> Option<&Problem> {
        let has_intact_item = !(self.reports.is_empty() && self.check_ins.is_empty());
        self.problem.as_ref().filter(|problem| match problem {
            Problem::Envelope(error) => error.is_a_limit() || !has_intact_item,
            _ => true,
        })
    }

    /// Adds an item.
    pub fn take(&mut self, item: Item, header_id: Option<Uuid>, project: i64, now: DateTime<Utc>) {
        let Item { number, kind, payload } = item;
        match (kind, payload) {
            (ItemKind::Event, Payload::Kept(payload)) => match event::read(&payload, number, header_id, project, now) {
                Some((id, meaning)) => {
                    self.event_id.get_or_insert(id);
                    match meaning {
                        Meaning::Report(report) => self.reports.push(*report),
                        Meaning::Counted(name) => self.count(name),
                    }
                }
                None => self.note(Problem::NotJson { number }),
            },
            (ItemKind::CheckIn, Payload::Kept(payload)) => match check_in::read(&payload, project, now) {
                Some(check_in) => self.check_ins.push(check_in),
                None => self.note(Problem::NotACheckIn { number }),
            },
            (kind, Payload::TooLarge) => self.note(Problem::TooLarge { number, kind: kind.name() }),
            (kind, _) => self.count(kind.name()),
        }
    }

    fn count(&mut self, name: &'static str) {
        *self.counted.entry(name).or_default() += 1;
    }

    /// Counts the problem, and keeps the first one.
    fn note(&mut self, problem: Problem) {
        let is_size = match &problem {
            Problem::Envelope(error) => error.is_a_limit(),
            Problem::TooLarge { .. } => true,
            Problem::NotJson { .. } | Problem::NotACheckIn { .. } => false,
        };
        self.count(if is_size { "too_large" } else { "malformed" });
        self.is_bomb |= matches!(&problem, Problem::Envelope(error) if error.is_bomb());
        self.problem.get_or_insert(problem);
    }
}

#[cfg(test)]
mod tests {
    use shared::model::DeliveryKey;

    use super::*;
    use crate::encoding::Encoding;

    const NOW: DateTime<Utc> = DateTime::UNIX_EPOCH;

    fn read(text: &str) -> Contents {
        Contents::of_envelope(Envelope::open(text.as_bytes()).unwrap(), 7, NOW)
    }

    fn keys(contents: &Contents) -> Vec<&str> {
        contents.reports.iter().map(|report| report.delivery_key.as_str()).collect()
    }

    #[test]
    fn an_event_s_key_is_its_normalised_id_within_its_project() {
        let id = "9ec79c33ec9942ab8353589fcb2e04dc";
        let wanted = DeliveryKey::derived("sentry-sdk", format!("7:{id}").as_bytes());
        for (header, own) in [
            ("{}", id),
            ("{}", "9EC79C33EC9942AB8353589FCB2E04DC"),
            ("{}", " 9ec79c33-ec99-42ab-8353-589fcb2e04dc "),
            (r#"{"event_id":"00000000000000000000000000000001"}"#, id),
        ] {
            let contents = read(&format!("{header}\n{{\"type\":\"event\"}}\n{{\"event_id\":\"{own}\"}}\n"));
            assert_eq!(keys(&contents), [wanted.as_str()], "{header} {own}");
            assert!(!contents.reports[0].delivery_key.chosen_by_caller());
        }
    }

    #[test]
    fn events_of_one_envelope_never_share_a_key() {
        let text = "{\"event_id\":\"9ec79c33ec9942ab8353589fcb2e04dc\"}\n\
            {\"type\":\"event\"}\n{\"message\":\"a\"}\n{\"type\":\"event\"}\n{\"message\":\"a\",\"event_id\":7}\n";
        let (first, again) = (read(text), read(text));
        assert_eq!(keys(&first), keys(&again), "a retry has the same keys");
        assert_ne!(keys(&first)[0], keys(&first)[1]);
    }

    #[test]
    fn an_event_s_type_decides_whether_it_is_reported_or_counted() {
        for (payload, reports, counted) in [
            ("{\"type\":\"error\"}", 1, None),
            ("{\"type\":\"default\"}", 1, None),
            ("{\"type\":7}", 1, None),
            ("{\"type\":\"transaction\"}", 0, Some("transaction")),
            ("{\"type\":\"feedback\"}", 0, Some("feedback")),
            ("7", 0, Some("malformed")),
            ("", 0, Some("malformed")),
        ] {
            let contents = read(&format!("{{}}\n{{\"type\":\"event\"}}\n{payload}\n"));
            assert_eq!(contents.reports.len(), reports, "{payload}");
            assert_eq!(contents.counted.keys().copied().next(), counted, "{payload}");
            assert_eq!(contents.refused_for().is_some(), counted == Some("malformed"), "{payload}");
        }
    }

    #[test]
    fn a_request_is_refused_only_if_something_important_was_lost() {
        let event = "{\"type\":\"event\"}\n{}\n";
        for (text, refused) in [
            (format!("{{}}\n{event}"), false),
            (format!("{{}}\n{event}{{\"type\":\"attachment\",\"length\":9}}\n"), false),
            (format!("{{}}\n{event}{{"), false),
            ("{}\n{".to_owned(), true),
            (format!("{{}}\n{event}{{\"type\":\"event\"}}\n[]\n"), true),
            (format!("{{}}\n{event}{{\"type\":\"check_in\"}}\n{{}}\n"), true),
            (format!("{{}}\n{event}{}", "{}\n\n".repeat(100)), true),
        ] {
            let contents = read(&text);
            assert_eq!(contents.refused_for().is_some(), refused, "{text:.100}: {:?}", contents.problem);
        }
    }

    #[test]
    fn the_fuzzer_s_corpus_is_valid() {
        let corpus = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus/envelope");
        let encodings = [Encoding::Identity, Encoding::Gzip, Encoding::Deflate, Encoding::Brotli, Encoding::Zstd];
        for file in std::fs::read_dir(corpus).unwrap() {
            let bytes = std::fs::read(file.unwrap().path()).unwrap();
            let (first, body) = bytes.split_first().unwrap();
            let envelope = Envelope::open(encodings[usize::from(*first) % encodings.len()].decode(body)).unwrap();
            let contents = Contents::of_envelope(envelope, 1, NOW);
            assert!(!(contents.reports.is_empty() && contents.counted.is_empty()));
        }
    }
}
