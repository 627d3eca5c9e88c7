//! The connection limit: a bounded number of places, and which connections wait for their clients.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};

/// The places of a server.
#[derive(Debug)]
pub(super) struct Places {
    free: Arc<Semaphore>,
    waiting: Mutex<Waiting>,
    /// Notified when a first connection begins to wait.
    begun: Notify,
}

/// The waiting connections, the longest waiting first.
#[derive(Debug, Default)]
struct Waiting {
    by_turn: BTreeMap<u64, (Instant, Arc<Notify>)>,
    next_turn: u64,
    /// Connections that were asked to close, and are not closed yet.
    closing: usize,
}

impl Waiting {
    /// Asks the connection that has waited longest to close; false where none waits.
    fn close_oldest(&mut self) -> bool {
        let Some((_, (_, close))) = self.by_turn.pop_first() else { return false };
        self.closing += 1;
        close.notify_one();
        true
    }
}

impl Places {
    /// A limit of `count` places.
    pub(super) fn new(count: usize) -> Self {
        Self { free: Arc::new(Semaphore::new(count)), waiting: Mutex::default(), begun: Notify::new() }
    }

    /// Takes a place. If none is free, the connection that has waited longest is closed; if none waits, this waits.
    pub(super) async fn take(self: &Arc<Self>) -> Place {
        loop {
            let begun = self.begun.notified();
            if self.free.available_permits() == 0 {
                self.make_room();
            }
            tokio::select! {
                permit = Arc::clone(&self.free).acquire_owned() => {
                    let place = Place {
                        places: Arc::clone(self),
                        turn: Mutex::default(),
                        close: Arc::default(),
                        // An error would mean that the semaphore is closed; it never is.
                        _permit: permit.ok(),
                    };
                    place.wait(Instant::now());
                    return place;
                }
                () = begun => {}
            }
        }
    }

    /// Closes the connection that has waited longest, unless another one is closing.
    pub(super) fn make_room(&self) {
        let mut waiting = self.waiting();
        if waiting.closing == 0 {
            waiting.close_oldest();
        }
    }

    /// Closes all connections that have waited for this long.
    pub(super) fn close_waiting_for(&self, limit: Duration, now: Instant) {
        let mut waiting = self.waiting();
        let is_overdue = |since: &Instant| now.saturating_duration_since(*since) >= limit;
        while waiting.by_turn.first_key_value().is_some_and(|(_, (since, _))| is_overdue(since)) {
            waiting.close_oldest();
        }
    }

    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The place of one connection, until it is dropped.
#[derive(Debug)]
pub(super) struct Place {
    places: Arc<Places>,
    /// Its turn while it waits; kept when it was asked to close.
    turn: Mutex<Option<u64>>,
    close: Arc<Notify>,
    _permit: Option<OwnedSemaphorePermit>,
}

impl Place {
    /// Notified when the connection must close.
    pub(super) fn closed(&self) -> Arc<Notify> {
        Arc::clone(&self.close)
    }

    /// The connection begins to wait for its client.
    pub(super) fn wait(&self, now: Instant) {
        let mut turn = self.turn();
        let mut waiting = self.places.waiting();
        if turn.is_some_and(|turn| waiting.by_turn.remove(&turn).is_none()) {
            return;
        }
        if waiting.by_turn.is_empty() {
            self.places.begun.notify_one();
        }
        let next = waiting.next_turn;
        waiting.next_turn += 1;
        waiting.by_turn.insert(next, (now, Arc::clone(&self.close)));
        *turn = Some(next);
    }

    /// The connection begins to process a request.
    pub(super) fn work(&self) {
        let mut turn = self.turn();
        if turn.is_some_and(|turn| self.places.waiting().by_turn.remove(&turn).is_some()) {
            *turn = None;
        }
    }

    fn turn(&self) -> MutexGuard<'_, Option<u64>> {
        self.turn.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.work();
        if self.turn().is_some() {
            self.places.waiting().closing -= 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn take(places: &Arc<Places>) -> Place {
        tokio::time::timeout(Duration::from_secs(20), places.take()).await.expect("there should be a place")
    }

    async fn is_closed(place: &Place) -> bool {
        tokio::time::timeout(Duration::ZERO, place.closed().notified()).await.is_ok()
    }

    #[tokio::test]
    async fn the_longest_waiting_connection_is_closed() {
        let places = Arc::new(Places::new(2));
        let (first, second) = (take(&places).await, take(&places).await);
        first.work();
        first.wait(Instant::now());
        let third = {
            let mut third = std::pin::pin!(places.take());
            assert!(tokio::time::timeout(Duration::from_millis(1), third.as_mut()).await.is_err());
            assert!(is_closed(&second).await && !is_closed(&first).await);
            drop(second);
            third.await
        };
        assert!(!is_closed(&first).await && !is_closed(&third).await, "one was enough");
    }

    #[tokio::test]
    async fn a_connection_is_closed_only_when_it_waits() {
        let places = Arc::new(Places::new(1));
        let only = take(&places).await;
        only.work();
        let mut next = std::pin::pin!(places.take());
        assert!(tokio::time::timeout(Duration::from_millis(1), next.as_mut()).await.is_err());
        assert!(!is_closed(&only).await);
        only.wait(Instant::now());
        assert!(tokio::time::timeout(Duration::from_millis(1), next.as_mut()).await.is_err());
        assert!(is_closed(&only).await);
        // Without effect: it was asked to close already.
        only.work();
        only.wait(Instant::now());
        drop(only);
        next.await;
        assert_eq!(places.waiting().closing, 0);
        assert!(places.waiting().by_turn.is_empty(), "its place was given back");
    }

    #[tokio::test]
    async fn a_connection_that_waits_too_long_is_closed() {
        let places = Arc::new(Places::new(3));
        let (old, new, busy) = (take(&places).await, take(&places).await, take(&places).await);
        let now = Instant::now();
        new.wait(now + Duration::from_secs(10));
        busy.work();
        places.close_waiting_for(Duration::from_secs(30), now + Duration::from_secs(31));
        assert!(is_closed(&old).await && !is_closed(&new).await && !is_closed(&busy).await);
    }
}
