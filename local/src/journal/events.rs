//! What the bus keeps here: events, until their consumers have them.

use shared::store::chain;
use tokio::sync::mpsc;

use super::record::{self, QueuedEvent};
use super::writer::{Command, Holds};
use super::{Journal, JournalError, replay};

/// An event that is safe.
#[derive(Debug)]
pub(crate) struct Kept {
    /// Where it stands.
    pub(crate) segment: u64,
    /// The event, and its queue.
    pub(crate) queued: QueuedEvent,
}

impl Journal {
    /// Returns when the events are safe: from now on they are delivered, be it after a restart. Not to be given up
    /// half-way: what was written then would wait for the next start.
    pub(crate) async fn keep(&self, events: Vec<QueuedEvent>) -> Result<Vec<Kept>, JournalError> {
        if events.is_empty() {
            return Ok(Vec::new());
        }
        let mut lines = Vec::new();
        for queued in &events {
            lines.extend(
                record::line_of_event(queued)
                    .map_err(|error| JournalError::Write(std::sync::Arc::new(error.into())))?,
            );
        }
        let segment = self.write(lines, Holds::Events(events.len())).await?;
        Ok(events.into_iter().map(|queued| Kept { segment, queued }).collect())
    }

    /// So many events of this segment are delivered.
    pub(crate) async fn delivered(&self, segment: u64, events: usize) {
        if self.state.delivered(segment, events) {
            // The writer has ended: what is left is delivered again after the next start, which is harmless.
            let _ = self.commands.send(Command::Tidy(segment)).await;
        }
    }

    /// An event is kept for people that can't be delivered.
    pub(crate) async fn refuse(&self, kept: &Kept, reason: &str) {
        let QueuedEvent { queue, event } = &kept.queued;
        let line = serde_json::json!({ "at": chrono::Utc::now(), "reason": reason, "queue": queue, "event": event });
        let (folder, line) = (self.folder.clone(), line.to_string());
        match replay::blocking(move || folder.set_aside(&[line])).await {
            Ok(bytes) => {
                self.state.files().bytes += bytes;
                self.delivered(kept.segment, 1).await;
            }
            // It stays where it is, and comes again after the next start.
            Err(error) => tracing::error!(error = %chain(&error), "an event can't be set aside: {error}"),
        }
    }

    /// Where the events come out that a run before has left; they are found by the replay.
    pub(crate) fn left(&self) -> mpsc::UnboundedReceiver<Kept> {
        let (sender, left) = mpsc::unbounded_channel();
        // A second bus would find nothing.
        let _ = self.left.set(sender);
        left
    }
}
