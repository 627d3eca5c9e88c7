//! Runs decompression and parsing: small uncompressed bodies at once, all others on a blocking thread, one at a time,
//! so that decompression bombs cost one core and don't block other requests.
//!
//! - The queue is bounded in bytes, and waiting has a timeout; beyond either, the answer asks for a retry.
//! - A body whose key is inside has its own queue until the key is verified: unauthenticated clients can't delay
//!   applications.
//! - Rate limit: a sender of several bombs within a minute is refused for a minute, before anything is decompressed. A
//!   sender is a key and an address, since many clients may share an address.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use axum::http::StatusCode;
use chrono::{DateTime, TimeDelta, Utc};
use shared::http::ApiError;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::refusal::Refusal;

/// A sender: an application's key and its network.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Sender {
    /// None = its key is in the body and not verified yet.
    project: Option<i64>,
    network: Option<IpAddr>,
}

impl Sender {
    /// A sender. An IPv6 address counts as its /64, which one customer has.
    pub(crate) fn new(project: Option<i64>, address: Option<IpAddr>) -> Self {
        let network = address.map(|address| match address {
            IpAddr::V4(_) => address,
            IpAddr::V6(address) => Ipv6Addr::from_bits(address.to_bits() & (u128::MAX << 64)).into(),
        });
        Self { project, network }
    }
}

/// The queue of the decoder. Cheap to clone; clones share it.
#[derive(Clone)]
pub struct Decoding {
    /// For senders whose key is verified.
    known: Lane,
    /// For senders whose key is inside the body.
    unknown: Lane,
    bombs: Arc<Mutex<Bombs>>,
    timeout: Duration,
}

/// A queue that runs one task at a time, bounded in bytes.
#[derive(Clone)]
struct Lane {
    turn: Arc<Semaphore>,
    room: Arc<Semaphore>,
}

impl Lane {
    fn of_units(units: usize) -> Self {
        Self { turn: Arc::new(Semaphore::new(1)), room: Arc::new(Semaphore::new(units)) }
    }
}

impl Default for Decoding {
    fn default() -> Self {
        Self {
            known: Lane::of_units(Self::ROOM),
            unknown: Lane::of_units(Self::ROOM / 4),
            bombs: Arc::default(),
            timeout: Self::TIMEOUT,
        }
    }
}

impl Decoding {
    /// The longest wait for the decoder; then the answer asks for a retry.
    const TIMEOUT: Duration = Duration::from_secs(2);
    /// Queued bodies may take this many units …
    const ROOM: usize = 512;
    /// … of so many bytes, at least one each: 32 MiB.
    const UNIT_BYTES: usize = 64 * 1024;

    /// Locks the decoder; none after the timeout.
    pub async fn turn(&self) -> Option<OwnedSemaphorePermit> {
        self.turn_of(&self.known).await
    }

    async fn turn_of(&self, lane: &Lane) -> Option<OwnedSemaphorePermit> {
        let turn = Arc::clone(&lane.turn).acquire_owned();
        tokio::time::timeout(self.timeout, turn).await.ok()?.ok()
    }

    /// Queues work on a body of so many bytes and runs it on a blocking thread. `is_bomb` says whether the body was a
    /// bomb.
    ///
    /// # Errors
    /// 429 when the sender has sent bombs; 503 when the queue is full, or after the timeout.
    pub(crate) async fn run<T: Send + 'static>(
        &self,
        sender: Sender,
        bytes: usize,
        now: DateTime<Utc>,
        is_bomb: fn(&T) -> bool,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, Refusal> {
        self.check(sender, now)?;
        let units = u32::try_from(bytes.div_ceil(Self::UNIT_BYTES).max(1)).unwrap_or(u32::MAX);
        let lane = if sender.project.is_some() { &self.known } else { &self.unknown };
        let room = Arc::clone(&lane.room).try_acquire_many_owned(units).map_err(|_| busy())?;
        let turn = self.turn_of(lane).await.ok_or_else(busy)?;
        // The tasks before it may have been bombs of the same sender.
        self.check(sender, now)?;
        let bombs = Arc::clone(&self.bombs);
        // A client that disconnects does not stop the work, so the task owns the permits.
        let task = tokio::task::spawn_blocking(move || {
            let done = work();
            if is_bomb(&done) {
                lock(&bombs).note(sender, now);
            }
            drop((turn, room));
            done
        });
        task.await.map_err(|error| {
            tracing::error!(%error, "the decoding task panicked");
            ApiError::unavailable().into()
        })
    }

    fn check(&self, sender: Sender, now: DateTime<Utc>) -> Result<(), Refusal> {
        lock(&self.bombs).refused_for(sender, now).map_or(Ok(()), |time| Err(Refusal::TooManyBombs(time)))
    }
}

fn busy() -> Refusal {
    tracing::warn!("a body was refused: the decompression queue is full");
    ApiError::new(StatusCode::SERVICE_UNAVAILABLE, "busy", "too many bodies wait to be decompressed; try again").into()
}

fn lock(bombs: &Mutex<Bombs>) -> MutexGuard<'_, Bombs> {
    bombs.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Senders of bombs within the last minute.
#[derive(Default)]
struct Bombs {
    senders: HashMap<Sender, BombCount>,
}

#[derive(Clone, Copy)]
struct BombCount {
    count: u32,
    last_at: DateTime<Utc>,
}

impl Bombs {
    /// A single bomb may be an accident: a program that repeats a line a hundred thousand times.
    const LIMIT: u32 = 3;
    /// Bombs further apart are not counted together; a refusal lasts this long after the last one.
    const MEMORY: TimeDelta = TimeDelta::minutes(1);
    /// The most senders that are stored.
    const MAX_SENDERS: usize = 1_000;

    fn note(&mut self, sender: Sender, now: DateTime<Utc>) {
        if sender.network.is_none() {
            return;
        }
        if self.senders.len() >= Self::MAX_SENDERS && !self.senders.contains_key(&sender) {
            self.senders.retain(|_, sent| now - sent.last_at < Self::MEMORY);
            let oldest = self.senders.iter().min_by_key(|(_, sent)| sent.last_at).map(|(sender, _)| *sender);
            if let Some(oldest) = oldest.filter(|_| self.senders.len() >= Self::MAX_SENDERS) {
                self.senders.remove(&oldest);
            }
        }
        let sent = self.senders.entry(sender).or_insert(BombCount { count: 0, last_at: now });
        if now - sent.last_at >= Self::MEMORY {
            sent.count = 0;
        }
        *sent = BombCount { count: sent.count.saturating_add(1), last_at: now.max(sent.last_at) };
    }

    fn refused_for(&self, sender: Sender, now: DateTime<Utc>) -> Option<Duration> {
        let sent = self.senders.get(&sender).filter(|sent| sent.count >= Self::LIMIT)?;
        // A clock that was set back must not extend the refusal.
        (sent.last_at + Self::MEMORY - now).min(Self::MEMORY).to_std().ok().filter(|left| !left.is_zero())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    fn at(second: i64) -> DateTime<Utc> {
        DateTime::UNIX_EPOCH + TimeDelta::seconds(second)
    }

    fn from(last: u8) -> Sender {
        Sender::new(Some(7), Some(IpAddr::from([192, 0, 2, last])))
    }

    fn run<T: Send + 'static>(
        decoding: &Decoding,
        bytes: usize,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> tokio::task::JoinHandle<Result<T, Refusal>> {
        let decoding = decoding.clone();
        tokio::spawn(async move { decoding.run(from(1), bytes, at(0), |_| false, work).await })
    }

    /// On a runtime with one thread, which would deadlock if the work ran on it.
    #[tokio::test]
    async fn work_runs_on_a_blocking_thread_one_at_a_time() {
        let decoding = Decoding { timeout: Duration::from_secs(3_600), ..Decoding::default() };
        let (begun, begins) = tokio::sync::mpsc::unbounded_channel();
        let mut begins: tokio::sync::mpsc::UnboundedReceiver<usize> = begins;
        let mut finish = Vec::new();
        let mut tasks = Vec::new();
        for number in 0..3_usize {
            let (end, ended) = mpsc::channel::<()>();
            finish.push(end);
            let begun = begun.clone();
            tasks.push(run(&decoding, 1, move || {
                begun.send(number).unwrap();
                ended.recv().unwrap();
                number
            }));
        }
        for _ in 0..3 {
            let number = begins.recv().await.unwrap();
            // Lets other tasks run.
            for _ in 0..100 {
                tokio::task::yield_now().await;
            }
            assert!(begins.try_recv().is_err() && decoding.known.turn.available_permits() == 0);
            finish[number].send(()).unwrap();
        }
        for task in tasks {
            assert!(task.await.unwrap().is_ok());
        }
        assert_eq!(decoding.known.room.available_permits(), Decoding::ROOM);
    }

    #[tokio::test]
    async fn a_timeout_or_a_full_queue_is_refused_with_a_retry() {
        let decoding = Decoding { timeout: Duration::ZERO, ..Decoding::default() };
        let turn = decoding.turn().await.unwrap();
        assert!(matches!(run(&decoding, 1, || ()).await.unwrap(), Err(Refusal::Other(_))), "the decoder is not free");
        drop(turn);
        let waiting = u32::try_from(Decoding::ROOM - 1).unwrap();
        let _waiting = Arc::clone(&decoding.known.room).try_acquire_many_owned(waiting).unwrap();
        let large = run(&decoding, Decoding::UNIT_BYTES + 1, || ()).await.unwrap();
        assert!(matches!(large, Err(Refusal::Other(_))), "there is room for one unit");
        assert!(run(&decoding, Decoding::UNIT_BYTES, || ()).await.unwrap().is_ok());
        assert_eq!(decoding.known.room.available_permits(), 1);
    }

    #[tokio::test]
    async fn an_unauthenticated_client_does_not_delay_an_application() {
        let decoding = Decoding { timeout: Duration::ZERO, ..Decoding::default() };
        let _turn = decoding.turn_of(&decoding.unknown).await.unwrap();
        let unauthenticated = Sender::new(None, from(1).network);
        assert!(decoding.run(unauthenticated, 1, at(0), |_| false, || ()).await.is_err());
        assert!(run(&decoding, 1, || ()).await.unwrap().is_ok());
    }

    #[tokio::test]
    async fn a_client_that_disconnects_does_not_release_the_decoder() {
        let decoding = Decoding { timeout: Duration::from_secs(3_600), ..Decoding::default() };
        let (end, ended) = mpsc::channel::<()>();
        let (begun, begins) = tokio::sync::oneshot::channel();
        let gone = run(&decoding, 1, move || {
            begun.send(()).unwrap();
            ended.recv().unwrap();
        });
        begins.await.unwrap();
        gone.abort();
        assert!(gone.await.unwrap_err().is_cancelled());
        assert_eq!(decoding.known.turn.available_permits(), 0);
        end.send(()).unwrap();
        assert!(decoding.turn().await.is_some());
    }

    #[tokio::test]
    async fn three_bombs_within_a_minute_refuse_their_sender_and_no_other() {
        let decoding = Decoding::default();
        let send = async |sender, second, is_bomb: bool| {
            decoding.run(sender, 1, at(second), |is_bomb| *is_bomb, move || is_bomb).await
        };
        for second in [0, 100, 101] {
            assert_eq!(send(from(1), second, true).await, Ok(true));
        }
        assert_eq!(send(from(1), 102, true).await, Ok(true), "the first was too long ago");
        assert_eq!(send(from(1), 103, false).await, Err(Refusal::TooManyBombs(Duration::from_secs(59))));
        for other in [from(2), Sender::new(Some(8), from(1).network), Sender::new(None, from(1).network)] {
            assert_eq!(send(other, 103, false).await, Ok(false));
        }
        assert_eq!(send(from(1), 162, false).await, Ok(false));
        for _ in 0..9 {
            assert_eq!(send(Sender::new(Some(7), None), 103, true).await, Ok(true), "its address is not known");
        }
    }

    #[test]
    fn an_ipv6_network_is_one_sender_and_memory_is_bounded() {
        let v6 = |text: &str| Sender::new(Some(7), Some(text.parse().unwrap()));
        assert_eq!(v6("2001:db8:1:2::1"), v6("2001:db8:1:2:ffff::9"));
        assert_ne!(v6("2001:db8:1:2::1"), v6("2001:db8:1:3::1"));
        let mut bombs = Bombs::default();
        for number in 0..3_000_u32 {
            bombs.note(Sender::new(Some(7), Some(IpAddr::V4(number.into()))), at(0));
        }
        assert!(bombs.senders.len() <= Bombs::MAX_SENDERS);
    }
}
