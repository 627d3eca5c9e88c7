//! A load of HTTP requests: so many clients, each with a connection of its own and one request at a time.
//!
//! Written on the bare socket: it shares the machine with what it measures, as pgbench does, so it has to use little CPU.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail, ensure};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::task::JoinSet;

use crate::figures::Figures;

/// The time-out of an answer.
const PATIENCE: Duration = Duration::from_secs(10);

/// The whole requests of one body size, one per error.
#[derive(Clone)]
pub(crate) struct Load {
    address: SocketAddr,
    requests: Arc<[Vec<u8>]>,
}

impl Load {
    /// A load of these bodies.
    pub(crate) fn new(address: SocketAddr, bodies: impl Iterator<Item = String>) -> Self {
        let request = |body: String| {
            format!(
                "POST /api/autonomous/error HTTP/1.1\r\nHost: {address}\r\nContent-Type: application/json\r\n\
                 Content-Length: {}\r\n\r\n{body}",
                body.len()
            )
            .into_bytes()
        };
        Self { address, requests: bodies.map(request).collect() }
    }

    /// Sends for this time from this many clients. Every answer must be 200.
    pub(crate) async fn run(&self, clients: usize, time: Duration) -> anyhow::Result<Figures> {
        let mut streams = Vec::with_capacity(clients);
        for _ in 0..clients {
            let stream = TcpStream::connect(self.address).await.context("connect to watchkeeper")?;
            stream.set_nodelay(true)?;
            streams.push(stream);
        }
        let started = Instant::now();
        let mut tasks = JoinSet::new();
        for (stream, seed) in streams.into_iter().zip(1..) {
            tasks.spawn(client(stream, Arc::clone(&self.requests), seed, started + time));
        }
        let mut latencies = Vec::new();
        while let Some(of_client) = tasks.join_next().await {
            latencies.extend(of_client??);
        }
        Ok(Figures::new(latencies, started.elapsed()))
    }
}

async fn client(
    mut stream: TcpStream,
    requests: Arc<[Vec<u8>]>,
    mut random: u64,
    deadline: Instant,
) -> anyhow::Result<Vec<Duration>> {
    let mut latencies = Vec::new();
    let mut answer = Vec::new();
    let mut now = Instant::now();
    while now < deadline {
        // Marsaglia's xorshift picks the error.
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        let request = &requests[usize::try_from(random % requests.len() as u64)?];
        stream.write_all(request).await?;
        tokio::time::timeout(PATIENCE, read_answer(&mut stream, &mut answer)).await.context("no answer in time")??;
        let answered = Instant::now();
        latencies.push(answered - now);
        now = answered;
    }
    Ok(latencies)
}

/// Reads one answer whole.
async fn read_answer(stream: &mut TcpStream, answer: &mut Vec<u8>) -> anyhow::Result<()> {
    answer.clear();
    let mut part = [0; 4096];
    loop {
        let read = stream.read(&mut part).await?;
        if read == 0 {
            bail!("watchkeeper closed the connection within an answer");
        }
        answer.extend_from_slice(&part[..read]);
        if let Some(length) = complete_length(answer)?
            && answer.len() >= length
        {
            ensure!(answer.starts_with(b"HTTP/1.1 200"), "an answer is {}", String::from_utf8_lossy(answer));
            return Ok(());
        }
    }
}

/// The length of the answer, as soon as its head is complete.
fn complete_length(answer: &[u8]) -> anyhow::Result<Option<usize>> {
    let Some(end) = answer.windows(4).position(|four| four == b"\r\n\r\n") else { return Ok(None) };
    let head = std::str::from_utf8(&answer[..end])?;
    let mut lengths = head.lines().filter_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("content-length").then_some(value.trim())
    });
    let length: usize = lengths.next().context("an answer without a length")?.parse()?;
    Ok(Some(end + 4 + length))
}
