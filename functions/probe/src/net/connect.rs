//! Connects to a host, if the guard permits it. Its addresses are tried one after the other: the next one when the one
//! before has failed, or in parallel when it is slow (happy eyeballs).

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::sleep;

use super::{Blocked, DnsError, Guard, Names, Phase, phases::Trace};

/// The next address is tried in parallel after this time without an answer.
const HEAD_START: Duration = Duration::from_millis(250);

/// The most addresses that are tried.
const MAX_TRIES: usize = 6;

/// The most parallel attempts: with 250 concurrent checks, the sockets stay below a Lambda's 1,024 files.
const AT_ONCE: usize = 3;

/// A host: a name or an address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Host {
    /// To be resolved.
    Name(String),
    /// Checked by the guard as it is.
    Address(IpAddr),
}

impl Host {
    /// Parses a name or an address, also one in brackets.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        url::Host::parse(text).ok().map(Self::from)
    }
}

impl From<url::Host<String>> for Host {
    fn from(host: url::Host<String>) -> Self {
        match host {
            url::Host::Domain(name) => Self::Name(name),
            url::Host::Ipv4(address) => Self::Address(address.into()),
            url::Host::Ipv6(address) => Self::Address(address.into()),
        }
    }
}

/// Why there is no connection.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// The name has no address.
    #[error("the name can't be resolved")]
    Dns(#[from] DnsError),
    /// The guard permits none of its addresses.
    #[error("blocked")]
    Blocked(#[from] Blocked),
    /// None of its addresses answered: the first one's error.
    #[error("it can't be reached")]
    Io(#[from] io::Error),
}

/// Makes connections. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Connector {
    guard: Guard,
    names: Names,
}

impl Connector {
    /// Built of a guard and a resolver.
    #[must_use]
    pub fn new(guard: Guard, names: Names) -> Self {
        Self { guard, names }
    }

    /// The guard of the addresses.
    #[must_use]
    pub fn guard(&self) -> &Guard {
        &self.guard
    }

    /// The resolver.
    #[must_use]
    pub fn names(&self) -> &Names {
        &self.names
    }

    /// Connects, and records the phases and the address that answered.
    ///
    /// # Errors
    /// When the name has no address, no permitted one, or none that answers.
    pub async fn connect(&self, host: &Host, port: u16, trace: &mut Trace) -> Result<TcpStream, ConnectError> {
        let addresses = match host {
            Host::Address(address) => vec![*address],
            Host::Name(name) => {
                trace.start(Phase::Dns);
                self.names.addresses(name).await?
            }
        };
        let sockets = self.permitted(&addresses, port)?;
        trace.start(Phase::Connect);
        if let (Some(hop), [only]) = (trace.last(), sockets.as_slice()) {
            hop.address = Some(only.ip());
        }
        let stream = race(sockets, connect_to).await?;
        trace.stop();
        if let (Some(hop), Ok(peer)) = (trace.last(), stream.peer_addr()) {
            hop.address = Some(peer.ip());
        }
        Ok(stream)
    }

    /// The addresses that the guard permits.
    fn permitted(&self, addresses: &[IpAddr], port: u16) -> Result<Vec<SocketAddr>, Blocked> {
        let mut blocked = None;
        let mut sockets = Vec::with_capacity(addresses.len());
        for address in addresses {
            let socket = SocketAddr::new(*address, port);
            match self.guard.permits_socket(socket) {
                Ok(()) => sockets.push(socket),
                Err(error) => blocked = blocked.or(Some(error)),
            }
        }
        sockets.truncate(MAX_TRIES);
        match blocked {
            Some(error) if sockets.is_empty() => Err(error),
            _ => Ok(sockets),
        }
    }
}

/// The first connection that succeeds; else the first address's error.
async fn race<S, F>(sockets: Vec<SocketAddr>, connect: impl Fn(SocketAddr) -> F) -> io::Result<S>
where
    S: Send + 'static,
    F: Future<Output = io::Result<S>> + Send + 'static,
{
    if let [only] = sockets.as_slice() {
        return connect(*only).await;
    }
    let mut waiting = sockets.into_iter().enumerate();
    let mut running = JoinSet::new();
    let mut error: Option<(usize, io::Error)> = None;
    loop {
        if running.len() < AT_ONCE
            && let Some((index, socket)) = waiting.next()
        {
            let attempt = connect(socket);
            running.spawn(async move { (index, attempt.await) });
        }
        let more = waiting.len() > 0 && running.len() < AT_ONCE;
        tokio::select! {
            ended = running.join_next() => match ended {
                Some(Ok((_, Ok(stream)))) => return Ok(stream),
                Some(Ok((index, Err(failed)))) => {
                    if error.as_ref().is_none_or(|(first, _)| index < *first) {
                        error = Some((index, failed));
                    }
                }
                Some(Err(_)) => {}
                None => {
                    return Err(error.map_or_else(|| io::ErrorKind::AddrNotAvailable.into(), |(_, error)| error));
                }
            },
            () = sleep(HEAD_START), if more => {}
        }
    }
}

async fn connect_to(socket: SocketAddr) -> io::Result<TcpStream> {
    let stream = TcpStream::connect(socket).await?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    /// How an address behaves.
    #[derive(Clone, Copy)]
    enum Port {
        Answers,
        Refuses,
        Hangs,
    }

    /// Counts an attempt in progress.
    struct Trying(Arc<AtomicUsize>);

    impl Drop for Trying {
        fn drop(&mut self) {
            self.0.fetch_sub(1, Ordering::SeqCst);
        }
    }

    /// Which address answered within a deadline; and how many were tried in parallel.
    async fn race_of(ports: &[Port]) -> (Option<io::Result<u16>>, usize) {
        let now = Arc::new(AtomicUsize::new(0));
        let most = AtomicUsize::new(0);
        let sockets = (0..ports.len()).map(|port| SocketAddr::from(([127, 0, 0, 1], u16::try_from(port).unwrap())));
        let racing = race(sockets.collect(), |socket| {
            most.fetch_max(now.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
            let (trying, behaviour) = (Trying(Arc::clone(&now)), ports[usize::from(socket.port())]);
            async move {
                let _trying = trying;
                match behaviour {
                    Port::Answers => Ok(socket.port()),
                    Port::Refuses => Err(io::ErrorKind::ConnectionRefused.into()),
                    Port::Hangs => std::future::pending().await,
                }
            }
        });
        let ended = tokio::time::timeout(HEAD_START * 5, racing).await.ok();
        (ended, most.load(Ordering::SeqCst))
    }

    #[tokio::test]
    async fn the_next_address_is_tried_when_one_fails_or_is_slow_and_few_at_once() {
        use Port::{Answers, Hangs, Refuses};
        for (ports, answered, at_once) in [
            (&[Answers][..], Some(0), 1),
            (&[Refuses, Answers], Some(1), 1),
            (&[Refuses, Refuses, Refuses, Refuses, Refuses, Answers], Some(5), 1),
            (&[Hangs, Answers, Answers], Some(1), 2),
            (&[Hangs, Hangs, Refuses, Answers], Some(3), 3),
            (&[Hangs, Hangs, Hangs, Answers], None, 3),
        ] {
            let (ended, most) = race_of(ports).await;
            assert_eq!((ended.map(Result::unwrap), most), (answered, at_once));
        }
        let (ended, _) = race_of(&[Refuses, Refuses]).await;
        assert_eq!(ended.unwrap().unwrap_err().kind(), io::ErrorKind::ConnectionRefused);
    }
}
