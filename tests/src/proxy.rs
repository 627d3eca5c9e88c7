//! A Postgres proxy that reads the protocol: it counts round trips and commits, and can lose an answer.
//!
//! It understands just enough of the protocol (version 3, no TLS) to split the stream into messages: after the start-up
//! packet each message is one type byte and a length. `Sync` and `Query` end a round trip, and each one that runs
//! outside of a transaction block is one commit.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

use crate::Database;

/// A proxy in front of a test's database; stops when dropped.
pub struct Proxy {
    address: SocketAddr,
    traffic: Arc<Traffic>,
    server: JoinHandle<()>,
}

#[derive(Default)]
struct Traffic {
    round_trips: AtomicUsize,
    named_statements: AtomicUsize,
    transaction_blocks: AtomicUsize,
    lose_next_answer: AtomicBool,
    answers_lost: AtomicUsize,
}

impl Proxy {
    /// Starts a proxy in front of the database.
    pub async fn start(database: &Database) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("there should be a free port");
        Self::start_on(listener, database)
    }

    /// Starts a proxy in front of the database, on a port that is already reserved.
    #[must_use]
    pub fn start_on(listener: TcpListener, database: &Database) -> Self {
        let upstream = upstream_of(&database.url());
        let address = listener.local_addr().expect("a bound socket has an address");
        let traffic = Arc::new(Traffic::default());
        let shared = Arc::clone(&traffic);
        let server = tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                tokio::spawn(relay(client, upstream, Arc::clone(&shared)));
            }
        });
        Self { address, traffic, server }
    }

    /// The database's connection string, through this proxy.
    #[must_use]
    pub fn url(&self, database: &Database) -> String {
        database.url().replace(&upstream_of(&database.url()).to_string(), &self.address.to_string())
    }

    /// Round trips so far: messages that made the server answer.
    #[must_use]
    pub fn round_trips(&self) -> usize {
        self.traffic.round_trips.load(Ordering::SeqCst)
    }

    /// Named statements so far: none survives a transaction pooler.
    #[must_use]
    pub fn named_statements(&self) -> usize {
        self.traffic.named_statements.load(Ordering::SeqCst)
    }

    /// Transactions so far that took more than one round trip.
    #[must_use]
    pub fn transaction_blocks(&self) -> usize {
        self.traffic.transaction_blocks.load(Ordering::SeqCst)
    }

    /// The next statement is executed, and its answer is lost: the connection breaks instead.
    pub fn lose_next_answer(&self) {
        self.traffic.lose_next_answer.store(true, Ordering::SeqCst);
    }

    /// How many answers were lost.
    #[must_use]
    pub fn answers_lost(&self) -> usize {
        self.traffic.answers_lost.load(Ordering::SeqCst)
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.server.abort();
    }
}

fn upstream_of(url: &str) -> SocketAddr {
    let after_user = url.rsplit('@').next().unwrap_or_default();
    let place = after_user.split('/').next().unwrap_or_default();
    place.parse().unwrap_or_else(|error| panic!("{place} is no address: {error}"))
}

async fn relay(client: TcpStream, upstream: SocketAddr, traffic: Arc<Traffic>) {
    let server = TcpStream::connect(upstream).await.expect("the test server should answer");
    for side in [&client, &server] {
        side.set_nodelay(true).expect("a connected socket has options");
    }
    let (from_client, to_client) = client.into_split();
    let (from_server, to_server) = server.into_split();
    let (answered, lost) = tokio::sync::oneshot::channel();
    let back = tokio::spawn(relay_back(from_server, to_client, Arc::clone(&traffic), answered));
    tokio::select! {
        // Errors on either side end the relay, as a broken connection would.
        _ = relay_forth(from_client, to_server, &traffic) => {}
        _ = lost => {}
    }
    back.abort();
}

async fn relay_forth(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, traffic: &Traffic) -> std::io::Result<()> {
    // The start-up packet has no type byte.
    let length = from.read_u32().await?;
    to.write_u32(length).await?;
    copy(&mut from, &mut to, length - 4).await?;
    loop {
        let (kind, body) = message(&mut from).await?;
        match kind {
            b'S' => {
                traffic.round_trips.fetch_add(1, Ordering::SeqCst);
            }
            b'Q' => {
                traffic.round_trips.fetch_add(1, Ordering::SeqCst);
                count_block(&body, traffic);
            }
            b'P' => {
                if body.first() != Some(&0) {
                    traffic.named_statements.fetch_add(1, Ordering::SeqCst);
                }
                count_block(&body, traffic);
            }
            _ => {}
        }
        write_message(&mut to, kind, &body).await?;
    }
}

fn count_block(body: &[u8], traffic: &Traffic) {
    let text = String::from_utf8_lossy(body).to_ascii_uppercase();
    if text.trim_start_matches('\0').starts_with("BEGIN")
        || text.trim_start_matches('\0').starts_with("START TRANSACTION")
    {
        traffic.transaction_blocks.fetch_add(1, Ordering::SeqCst);
    }
}

/// Loses an answer only after its statement was executed: at its `CommandComplete`.
async fn relay_back(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    traffic: Arc<Traffic>,
    lost: tokio::sync::oneshot::Sender<()>,
) -> std::io::Result<()> {
    let mut buffered = Vec::new();
    loop {
        let (kind, body) = message(&mut from).await?;
        let losing = traffic.lose_next_answer.load(Ordering::SeqCst);
        if losing && kind == b'Z' && !buffered.is_empty() {
            traffic.lose_next_answer.store(false, Ordering::SeqCst);
            traffic.answers_lost.fetch_add(1, Ordering::SeqCst);
            // Fails only when the relay has ended already.
            let _ = lost.send(());
            return Ok(());
        }
        // The answer of a statement is buffered until it is certain whether it is lost.
        buffered.push((kind, body));
        if !losing || kind == b'Z' {
            for (kind, body) in buffered.drain(..) {
                write_message(&mut to, kind, &body).await?;
            }
        }
    }
}

async fn message(from: &mut OwnedReadHalf) -> std::io::Result<(u8, Vec<u8>)> {
    let kind = from.read_u8().await?;
    let length = from.read_u32().await?;
    let mut body = vec![0; usize::try_from(length).unwrap_or_default().saturating_sub(4)];
    from.read_exact(&mut body).await?;
    Ok((kind, body))
}

async fn write_message(to: &mut OwnedWriteHalf, kind: u8, body: &[u8]) -> std::io::Result<()> {
    let mut bytes = Vec::with_capacity(body.len() + 5);
    bytes.push(kind);
    bytes.extend_from_slice(&u32::try_from(body.len() + 4).unwrap_or(u32::MAX).to_be_bytes());
    bytes.extend_from_slice(body);
    to.write_all(&bytes).await
}

async fn copy(from: &mut OwnedReadHalf, to: &mut OwnedWriteHalf, length: u32) -> std::io::Result<()> {
    let mut bytes = vec![0; usize::try_from(length).unwrap_or_default()];
    from.read_exact(&mut bytes).await?;
    to.write_all(&bytes).await
}
