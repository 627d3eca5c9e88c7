//! Services to probe that use little CPU: a few ports of ours, on a thread of their own. Some answer at once, some never.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use shared::model::ServiceSpec;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;

/// Each port accepts a limited number of pending connections; a round of thousands needs several.
const ANSWERING: usize = 8;
const HANGING: usize = 2;

/// Every tenth service hangs.
pub(crate) const ONE_OF: usize = 10;

/// The time-out of an attempt, by default.
pub(crate) const TIMEOUT: Duration = ServiceSpec::DEFAULT_TIMEOUT;

const ANSWER: &[u8] =
    b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 15\r\nConnection: close\r\n\r\n\
    {\"status\":\"ok\"}";

/// The ports; they close when this is dropped.
pub(crate) struct Targets {
    answering: Vec<SocketAddr>,
    hanging: Vec<SocketAddr>,
    _open: oneshot::Sender<()>,
}

/// Whether some of the services hang.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mix {
    /// All answer.
    Healthy,
    /// Every tenth hangs.
    SomeHang,
}

impl Targets {
    /// Opens the ports.
    pub(crate) async fn start() -> anyhow::Result<Self> {
        let (opened, addresses) = oneshot::channel();
        let (open, closed) = oneshot::channel();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        std::thread::Builder::new().name("targets".to_owned()).spawn(move || {
            runtime.block_on(async move {
                // Fails only when the benchmark has ended.
                let _ = opened.send(open_ports().await);
                let _ = closed.await;
            });
        })?;
        let (answering, hanging) = addresses.await.context("the targets failed to start")??;
        Ok(Self { answering, hanging, _open: open })
    }

    /// So many services of one environment.
    pub(crate) fn specs(&self, environment: &str, count: usize, mix: Mix) -> Vec<ServiceSpec> {
        let spec = |number: usize| {
            let ports = if hangs(number, mix) { &self.hanging } else { &self.answering };
            let url = format!("http://{}/api/health/{number:05}", ports[number / ONE_OF % ports.len()]);
            ServiceSpec { application: "bench".to_owned(), ..ServiceSpec::http(&name(number), environment, &url) }
        };
        (0..count).map(spec).collect()
    }

    /// How long a client takes that checks these services one after the other: a sample of those that answer is checked, and
    /// each that hangs takes its time-out.
    pub(crate) async fn one_after_the_other(&self, count: usize, sample: usize) -> anyhow::Result<Duration> {
        let hanging = (0..count).filter(|number| hangs(*number, Mix::SomeHang)).count();
        let started = Instant::now();
        for number in 0..sample {
            ask(self.answering[number % self.answering.len()]).await?;
        }
        let each = started.elapsed() / u32::try_from(sample)?;
        Ok(each * u32::try_from(count - hanging)? + TIMEOUT * u32::try_from(hanging)?)
    }
}

fn name(number: usize) -> String {
    format!("checkout-service-{number:05}")
}

fn hangs(number: usize, mix: Mix) -> bool {
    mix == Mix::SomeHang && number.is_multiple_of(ONE_OF)
}

/// The addresses of those that answer, and of those that do not.
async fn open_ports() -> anyhow::Result<(Vec<SocketAddr>, Vec<SocketAddr>)> {
    let (mut answering, mut hanging) = (Vec::new(), Vec::new());
    for port in 0..ANSWERING + HANGING {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let answers = port < ANSWERING;
        let addresses = if answers { &mut answering } else { &mut hanging };
        addresses.push(listener.local_addr()?);
        tokio::spawn(serve(listener, answers));
    }
    Ok((answering, hanging))
}

async fn serve(listener: TcpListener, answers: bool) {
    loop {
        let Ok((stream, _)) = listener.accept().await else {
            // No file descriptor is free: retry a little later.
            tokio::time::sleep(Duration::from_millis(5)).await;
            continue;
        };
        // An error means that the client closed the connection.
        tokio::spawn(async move { drop(talk(stream, answers).await) });
    }
}

async fn talk(mut stream: TcpStream, answers: bool) -> std::io::Result<()> {
    let mut request = Vec::with_capacity(512);
    while !answers || !request.ends_with(b"\r\n\r\n") {
        if stream.read_buf(&mut request).await? == 0 {
            return Ok(());
        }
    }
    stream.write_all(ANSWER).await?;
    stream.shutdown().await
}

/// One request as the simplest of clients sends it.
async fn ask(address: SocketAddr) -> anyhow::Result<()> {
    let mut stream = TcpStream::connect(address).await?;
    let request = format!("GET /api/health HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await?;
    ensure!(answer == ANSWER, "a target answered {}", String::from_utf8_lossy(&answer));
    Ok(())
}
