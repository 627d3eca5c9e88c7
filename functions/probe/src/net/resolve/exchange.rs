//! Questions to name servers: over UDP, each server in turn, twice; over TCP what does not fit.

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use hickory_proto::op::{Edns, Message, MessageType, Query, ResponseCode};
use hickory_proto::rr::{Name, RecordType};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpStream, UdpSocket};
use tokio::time::{Instant, timeout, timeout_at};

use super::{DnsError, Records};

/// A server that has not answered for this long is asked again after the others.
const PATIENCE: [Duration; 2] = [Duration::from_millis(1_500), Duration::from_secs(5)];

/// When one of several questions has been answered, the others are waited for this long: some servers never answer
/// questions for IPv6.
const REST: Duration = Duration::from_millis(200);

/// What is sure to pass undivided.
const UDP_BYTES: u16 = 1_232;

/// Asks for all kinds of records of a name at once. The answers are in no particular order; one is missing where only
/// some were answered.
pub(super) async fn ask(servers: &[SocketAddr], name: &Name, kinds: &[RecordType]) -> Result<Vec<Records>, DnsError> {
    let mut last = DnsError::NoAnswer;
    for patience in PATIENCE {
        for server in servers {
            match ask_one(*server, name, kinds, patience).await {
                Ok(answers) => match answers.iter().find(|answer| !is_definite(answer.code)) {
                    Some(refusal) => last = DnsError::Refused(refusal.code),
                    None if answers.is_empty() => {}
                    None => return Ok(answers),
                },
                Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {}
                Err(error) => last = DnsError::Io(error),
            }
        }
    }
    Err(last)
}

/// Whether the code is an answer about the name, and not about the server.
fn is_definite(code: ResponseCode) -> bool {
    matches!(code, ResponseCode::NoError | ResponseCode::NXDomain)
}

async fn ask_one(
    server: SocketAddr,
    name: &Name,
    kinds: &[RecordType],
    patience: Duration,
) -> io::Result<Vec<Records>> {
    let here = if server.is_ipv4() {
        SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0))
    } else {
        SocketAddr::from((Ipv6Addr::UNSPECIFIED, 0))
    };
    let socket = UdpSocket::bind(here).await?;
    // Answers of anybody else are not received.
    socket.connect(server).await?;
    let mut open: Vec<Message> = kinds.iter().map(|kind| question(name, *kind)).collect();
    for question in &open {
        socket.send(&bytes_of(question)?).await?;
    }
    let mut until = Instant::now() + patience;
    let mut answers = Vec::new();
    let mut buffer = [0; UDP_BYTES as usize];
    while !open.is_empty() {
        let Ok(received) = timeout_at(until, socket.recv(&mut buffer)).await else { break };
        let received = received?;
        let Ok(answer) = Message::from_vec(buffer.get(..received).unwrap_or_default()) else { continue };
        let Some(at) = open.iter().position(|question| answers_to(&answer, question)) else { continue };
        let question = open.swap_remove(at);
        let answer = if answer.metadata.truncation {
            match timeout(patience, over_tcp(server, &question)).await {
                Ok(whole) => whole?,
                Err(_) => break,
            }
        } else {
            answer
        };
        let records = records_of(answer, &question);
        if !records.data.is_empty() {
            until = until.min(Instant::now() + REST);
        }
        answers.push(records);
    }
    Ok(answers)
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

/// Those of the kind that was asked for.
fn records_of(answer: Message, question: &Message) -> Records {
    let kind = question.queries.first().map(Query::query_type);
    let code = answer.metadata.response_code;
    let data = answer
        .answers
        .into_iter()
        .filter(|record| Some(record.record_type()) == kind)
        .map(|record| record.data)
        .collect();
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
