//! The number of waiting events of each segment, and the bytes of the folder; shared by the writer and the bus.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

#[derive(Debug, Default)]
pub(super) struct State(Mutex<Files>);

#[derive(Debug, Default)]
struct Files {
    /// The undelivered events of each segment.
    undelivered: BTreeMap<u64, usize>,
    /// Of everything in the folder.
    bytes: u64,
}

impl State {
    /// Of a folder with so many bytes.
    pub(super) fn new(bytes: u64) -> Self {
        Self(Mutex::new(Files { bytes, ..Files::default() }))
    }

    pub(super) fn bytes(&self) -> u64 {
        self.files().bytes
    }

    /// Adds bytes.
    pub(super) fn grew(&self, bytes: u64) {
        self.files().bytes += bytes;
    }

    /// Subtracts bytes.
    pub(super) fn shrank(&self, bytes: u64) {
        let mut files = self.files();
        files.bytes = files.bytes.saturating_sub(bytes);
    }

    /// Adds waiting events of this segment.
    pub(super) fn waits(&self, number: u64, events: usize) {
        if events > 0 {
            *self.files().undelivered.entry(number).or_default() += events;
        }
    }

    /// Subtracts delivered events of this segment; whether none is left.
    pub(super) fn delivered(&self, number: u64, events: usize) -> bool {
        let mut files = self.files();
        let left = files.undelivered.get(&number).copied().unwrap_or(0).saturating_sub(events);
        if left == 0 {
            files.undelivered.remove(&number)
        } else {
            files.undelivered.insert(number, left)
        };
        left == 0
    }

    /// Whether no event of this segment waits.
    pub(super) fn is_over(&self, number: u64) -> bool {
        !self.files().undelivered.contains_key(&number)
    }

    fn files(&self) -> MutexGuard<'_, Files> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
