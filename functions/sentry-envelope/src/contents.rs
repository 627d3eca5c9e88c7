//! What a body holds for us: reports and check-ins. Everything else is counted. Pure.
//!
//! Invariant: what is whole is kept, whatever is wrong beside it.

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
    /// The envelope can't be read on.
    #[error(transparent)]
    Envelope(EnvelopeError),
    /// An event is no JSON object.
    #[error("the event in item {number} is not a JSON object")]
    NotJson {
        /// Which item.
        number: usize,
    },
    /// A check-in lacks what makes it one.
    #[error("the check-in in item {number} needs a `monitor_slug` and a `status`")]
    NotACheckIn {
        /// Which item.
        number: usize,
    },
    /// An event is larger than it may be.
    #[error("the {kind} in item {number} is too large (an event may have {EVENT_BYTES} bytes)")]
    TooLarge {
        /// Which item.
        number: usize,
        /// What it is.
        kind: &'static str,
    },
}

/// What a body holds.
#[derive(Debug, Default)]
pub struct Contents {
    /// Its errors.
    pub reports: Vec<Report>,
    /// Signs of life.
    pub check_ins: Vec<CheckIn>,
    /// How many items of each kind were only counted.
    pub counted: BTreeMap<&'static str, u32>,
    /// The id that the sender knows it by, or the one that the first event got.
    pub event_id: Option<Uuid>,
    /// What was wrong with it first.
    pub problem: Option<Problem>,
    /// Whether it was made to grow when it is decompressed.
    pub is_bomb: bool,
}

impl Contents {
    /// Reads an envelope to its end, or to where it can't be read on.
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

    /// Why the sender is told that something was not taken; none where all that matters was. A damaged envelope with
    /// something whole in it is taken: nobody would send the rest again.
    #[must_use]
    pub fn refused_for(&self) -> Option<&Problem> {
        let something_whole = !(self.reports.is_empty() && self.check_ins.is_empty());
        self.problem.as_ref().filter(|problem| match problem {
            Problem::Envelope(error) => error.is_a_limit() || !something_whole,
            _ => true,
        })
    }

    /// Takes an item.
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

    /// Counts the problem, and keeps it if it is the first.
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
    fn an_event_is_known_by_its_id_within_its_project_however_that_is_written() {
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
        assert_eq!(keys(&first), keys(&again), "but the same ones when they come again");
        assert_ne!(keys(&first)[0], keys(&first)[1]);
    }

    #[test]
    fn what_an_event_says_it_is_decides_what_becomes_of_it() {
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
    fn the_sender_is_told_of_what_was_lost_and_of_nothing_else() {
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
    fn all_that_the_fuzzer_starts_from_is_read() {
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
