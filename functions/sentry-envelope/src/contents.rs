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
                Some((id, Meaning::Report(report))) => {
                    self.event_id.get_or_insert(id);
                    self.reports.push(*report);
                }
                Some((_, Meaning::Counted(name))) => self.count(name),
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
        self.problem.get_or_insert(problem);
    }
}
