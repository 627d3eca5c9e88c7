//! Sends DNS questions: over UDP, to each server in turn, with one retry; over TCP if the answer is truncated.

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use hickory_proto::op::{Edns, Message, MessageType, Query, ResponseCode};
use hickory_proto::rr::{Name, RecordType};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpStream, UdpSocket};
use tokio::time::{Instant, timeout, timeout_at};

use super::{DnsError, Records};

/// The timeouts per server, of the first try and of the retry after all servers were tried.
const TIMEOUTS: [Duration; 2] = [Duration::from_millis(1_500), Duration::from_secs(5)];

/// After the first answer, the timeout for the other questions: some servers never answer questions for IPv6.
const REST_TIMEOUT: Duration = Duration::from_millis(200);

/// The largest UDP datagram that passes without fragmentation.
const UDP_BYTES: u16 = 1_232;

/// Asks for all kinds of records of a name at once, until each has a definite answer or one has records: then missing
/// kinds are not retried. The answers are in no particular order.
pub(super) async fn ask(servers: &[SocketAddr], name: &Name, kinds: &[RecordType]) -> Result<Vec<Records>, DnsError> {
    let mut open = kinds.to_vec();
    let mut settled: Vec<Records> = Vec::new();
    let mut last = DnsError::NoAnswer;
    for per_server in TIMEOUTS {
        for server in servers {
            let mut answers = Vec::new();
            match ask_one(*server, name, &open, per_server, &mut answers).await {
                Err(error) if error.kind() != io::ErrorKind::ConnectionRefused => last = DnsError::Io(error),
                _ => {}
            }
            for (kind, records) in answers {
                if is_definite(records.code) {
                    open.retain(|open| *open != kind);
                    settled.push(records);
                } else {
                    last = DnsError::Refused(records.code);
                }
            }
            if open.is_empty() || settled.iter().any(|records| !records.data.is_empty()) {
                return Ok(settled);
            }
        }
    }
    Err(last)
}

/// Whether the code is an answer about the name, not about the server.
fn is_definite(code: ResponseCode) -> bool {
    matches!(code, ResponseCode::NoError | ResponseCode::NXDomain)
}

/// Asks one server. Answers before a failure count.
async fn ask_one(
    server: SocketAddr,
    name: &Name,
    kinds: &[RecordType],
    per_server: Duration,
    answers: &mut Vec<(RecordType, Records)>,
) -> io::Result<()> {
    let here = if server.is_ipv4() {
        SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0))
    } else {
        SocketAddr::from((Ipv6Addr::UNSPECIFIED, 0))
    };
    let socket = UdpSocket::bind(here).await?;
    // The socket drops answers of other senders.
    socket.connect(server).await?;
    let mut open: Vec<(RecordType, Message)> = kinds.iter().map(|kind| (*kind, question(name, *kind))).collect();
    for (_, question) in &open {
        socket.send(&bytes_of(question)?).await?;
    }
    let mut until = Instant::now() + per_server;
    let mut result = Ok(());
    let mut buffer = [0; UDP_BYTES as usize];
    while !open.is_empty() {
        let Ok(received) = timeout_at(until, socket.recv(&mut buffer)).await else { break };
        let received = received?;
        let Ok(mut answer) = Message::from_vec(buffer.get(..received).unwrap_or_default()) else { continue };
        let Some(at) = open.iter().position(|(_, question)| answers_to(&answer, question)) else { continue };
        let (kind, question) = open.swap_remove(at);
        if answer.metadata.truncation {
            answer = match timeout(per_server, over_tcp(server, &question)).await {
                Ok(Ok(whole)) => whole,
                Ok(Err(error)) => {
                    result = Err(error);
                    continue;
                }
                Err(_) => continue,
            };
        }
        let records = records_of(answer, kind);
        if !records.data.is_empty() {
            until = until.min(Instant::now() + REST_TIMEOUT);
        }
        answers.push((kind, records));
    }
    result
}

fn question(name: &Name, kind: RecordType) -> Message {
    let mut message = Message::query();
    message.metadata.recursion_desired = true;
    message.add_query(Query::query(name.clone(), kind));
    let mut edns = Edns::new();
    edns.set_max_payload(UDP_BYTES);
    message.set_edns(edns);
    message
}

fn bytes_of(message: &Message) -> io::Result<Vec<u8>> {
    message.to_vec().map_err(|error| io::Error::new(io::ErrorKind::InvalidInput, error))
}

fn answers_to(answer: &Message, question: &Message) -> bool {
    answer.metadata.id == question.metadata.id
        && answer.metadata.message_type == MessageType::Response
        && answer.queries == question.queries
}

/// The records of the requested kind.
fn records_of(answer: Message, kind: RecordType) -> Records {
    let code = answer.metadata.response_code;
    let data =
        answer.answers.into_iter().filter(|record| record.record_type() == kind).map(|record| record.data).collect();
    Records { code, data }
}

async fn over_tcp(server: SocketAddr, question: &Message) -> io::Result<Message> {
    let mut stream = TcpStream::connect(server).await?;
    let bytes = bytes_of(question)?;
    let length = u16::try_from(bytes.len()).map_err(|_| io::ErrorKind::InvalidInput)?;
    stream.write_all(&[&length.to_be_bytes()[..], &bytes].concat()).await?;
    let mut answer = vec![0; usize::from(stream.read_u16().await?)];
    stream.read_exact(&mut answer).await?;
    let answer = Message::from_vec(&answer).map_err(|_| io::ErrorKind::InvalidData)?;
    if answers_to(&answer, question) { Ok(answer) } else { Err(io::ErrorKind::InvalidData.into()) }
}
