//! From the journal into the database: segment by segment, in the order in which they were written. The events on the way
//! are handed to the bus.

use std::collections::HashMap;
use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use chrono::{TimeDelta, Utc};
use serde_json::json;
use shared::defer::Deferred;
use shared::defer::settle::{Settled, settle};
use shared::intake::Intake;
use shared::store::chain;
use tokio::sync::watch;

use super::record::QueuedEvent;
use super::segments::Chunk;
use super::{Journal, Kept};

/// While the database is away it is tried this often.
const RETRY: Duration = Duration::from_secs(2);
/// Somebody waits for the journal to be empty.
const DRAIN_RETRY: Duration = Duration::from_millis(200);
/// A replay begins no statement after this time; the next one goes on from there.
const PATIENCE: Duration = Duration::from_secs(30);
/// What a stop waits for the last replay. What is not stored then waits for the next start.
const LAST_REPLAY: Duration = Duration::from_millis(500);

/// What a replay did.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Replayed {
    /// Records that are stored.
    pub stored: usize,
    /// Records that were set aside.
    pub refused: usize,
    /// Whether nothing waits any more.
    pub is_done: bool,
}

/// Where the replay stands.
#[derive(Debug, Default)]
pub(super) struct Progress {
    /// How far the segments are stored that are not stored completely.
    at: HashMap<u64, u64>,
    /// Since the journal was empty.
    stored: usize,
    refused: usize,
}

impl Journal {
    /// Replays what waits, and whatever comes, until the stack stops.
    pub(crate) async fn keep_replaying(&self, intake: &Intake, mut stopped: watch::Receiver<bool>) {
        tokio::select! {
            () = self.replay_again_and_again(intake) => {}
            // An error means that the stack is gone, which is a stop too.
            _ = stopped.wait_for(|stopped| *stopped) => {}
        }
        if self.is_waiting() {
            let last = self.replay(intake, Instant::now() + LAST_REPLAY);
            if tokio::time::timeout(LAST_REPLAY, last).await.is_err() || self.is_waiting() {
                tracing::warn!("deferred records wait in the journal for the next start");
            }
        }
    }

    async fn replay_again_and_again(&self, intake: &Intake) {
        loop {
            let replayed = self.replay(intake, Instant::now() + PATIENCE).await;
            if replayed.is_done {
                self.state.arrived.notified().await;
            }
            // What was deferred just now met a database that is away.
            tokio::time::sleep(RETRY).await;
        }
    }

    /// Stores what waits now. Begins nothing after this instant, and ends early when the database is away. Whatever is
    /// replayed twice (after a crash) counts once.
    pub async fn replay(&self, intake: &Intake, until: Instant) -> Replayed {
        let mut progress = self.progress.lock().await;
        let mut replayed = Replayed::default();
        if self.is_waiting() {
            // What a run before has left first; only then is the open segment cut off, so that an outage makes few files.
            let all_left = self.replay_sealed(intake, until, &mut progress, &mut replayed).await;
            if all_left {
                self.seal().await;
                self.replay_sealed(intake, until, &mut progress, &mut replayed).await;
            }
            if self.state.is_over_now() {
                let Progress { stored, refused, .. } = std::mem::take(&mut *progress);
                tracing::info!(
                    stored,
                    refused,
                    "nothing deferred waits any more: {stored} stored, {refused} set aside"
                );
            }
        }
        replayed.is_done = !self.is_waiting();
        replayed
    }

    /// Replays until nothing waits any more, for at most this long; whether nothing does.
    pub async fn drain(&self, intake: &Intake, patience: Duration) -> bool {
        let until = Instant::now() + patience;
        loop {
            if self.replay(intake, until).await.is_done {
                return true;
            }
            if Instant::now() + DRAIN_RETRY >= until {
                return false;
            }
            tokio::time::sleep(DRAIN_RETRY).await;
        }
    }

    /// Whether the database took all that it was given.
    async fn replay_sealed(
        &self,
        intake: &Intake,
        until: Instant,
        progress: &mut Progress,
        replayed: &mut Replayed,
    ) -> bool {
        let numbers: Vec<u64> = self.state.files().sealed.iter().copied().collect();
        for number in numbers {
            match self.replay_segment(number, intake, until, progress, replayed).await {
                Ok(true) => {}
                Ok(false) => return false,
                // A file that can't be read must not hold up the others.
                Err(error) => {
                    tracing::error!(number, %error, "segment {number} of the journal can't be replayed: {error}");
                }
            }
        }
        true
    }

    async fn replay_segment(
        &self,
        number: u64,
        intake: &Intake,
        until: Instant,
        progress: &mut Progress,
        replayed: &mut Replayed,
    ) -> io::Result<bool> {
        let mut from = progress.at.get(&number).copied().unwrap_or(0);
        loop {
            let folder = self.folder.clone();
            let mut chunk = blocking(move || folder.read(number, from)).await?;
            let (next, is_last, events) = (chunk.next, chunk.is_last, std::mem::take(&mut chunk.events));
            let Some((stored, refused)) = self.replay_chunk(chunk, intake, until).await? else { return Ok(false) };
            // Nothing is awaited between these two, so that events are handed on once.
            self.hand_on(number, events);
            from = next;
            progress.at.insert(number, from);
            (progress.stored, progress.refused) = (progress.stored + stored, progress.refused + refused);
            (replayed.stored, replayed.refused) = (replayed.stored + stored, replayed.refused + refused);
            if is_last {
                break;
            }
        }
        if self.state.is_replayed(number) {
            // Both or neither, even when the stack stops now.
            let (folder, state) = (self.folder.clone(), Arc::clone(&self.state));
            blocking(move || folder.delete(number).map(|bytes| state.deleted(number, bytes))).await?;
        }
        progress.at.remove(&number);
        Ok(true)
    }

    /// Hands the events that a run before has left to the bus. Those of this run are on their way already.
    fn hand_on(&self, number: u64, events: Vec<QueuedEvent>) {
        if number >= self.first_number || events.is_empty() {
            return;
        }
        self.state.found(number, events.len());
        let Some(left) = self.left.get() else {
            let count = events.len();
            return tracing::warn!(count, "{count} events wait in the journal, and there is no bus");
        };
        for queued in events {
            // The bus has ended: they wait for the next start.
            let _ = left.send(Kept { segment: number, queued });
        }
    }

    /// How many were stored and how many set aside; none when some have to wait, and so the chunk has to come again.
    async fn replay_chunk(&self, chunk: Chunk, intake: &Intake, until: Instant) -> io::Result<Option<(usize, usize)>> {
        // The journal keeps the order: no step overtakes the report of its incident.
        let settled = settle(intake, &chunk.deferred, until, TimeDelta::zero()).await;
        let mut refused = Vec::new();
        for (deferred, settled) in chunk.deferred.iter().zip(settled) {
            match settled {
                Settled::Stored | Settled::Unknown => {}
                Settled::Later(reason) => {
                    let reason = reason.map_or_else(|| "no time left".to_owned(), |error| chain(&error));
                    tracing::debug!(reason, "deferred records wait on: {reason}");
                    return Ok(None);
                }
                Settled::Refused(error) => refused.push(refused_record(deferred, &chain(&error))),
            }
        }
        let stored = chunk.deferred.len() - refused.len();
        for (line, error) in &chunk.unreadable {
            refused.push(refused_line(line, &chain(error)));
        }
        if chunk.torn > 0 {
            tracing::warn!(bytes = chunk.torn, "the journal ended in a record that was never completed");
        }
        let count = refused.len();
        if count > 0 {
            let (folder, place) = (self.folder.clone(), self.folder.refused());
            let bytes = blocking(move || folder.set_aside(&refused)).await?;
            self.state.files().bytes += bytes;
            tracing::error!(count, "{count} deferred records can't be stored; they are in {}", place.display());
        }
        Ok(Some((stored, count)))
    }
}

/// As it is set aside: a JSON document on one line.
fn refused_record(deferred: &Deferred, reason: &str) -> String {
    // `{"report": {…}}`, or what else it is.
    let mut line = json!(deferred);
    line["at"] = json!(Utc::now());
    line["reason"] = reason.into();
    line.to_string()
}

fn refused_line(line: &[u8], reason: &str) -> String {
    json!({ "at": Utc::now(), "reason": reason, "line": String::from_utf8_lossy(line) }).to_string()
}

pub(super) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> io::Result<T> {
    tokio::task::spawn_blocking(work).await.map_err(io::Error::other)?
}
