//! Name resolution against a name server that the test scripts, and the `dns` kind.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use hickory_proto::op::{Message, MessageType, ResponseCode};
use hickory_proto::rr::rdata::{A, AAAA, CNAME, MX, TXT};
use hickory_proto::rr::{Name, RData, Record, RecordType};
use probe::check::Outcome;
use shared::model::{DnsRecord, FailureReason, Kind, ServiceSpec};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, UdpSocket};
use tokio::task::JoinHandle;

use crate::server::Server;
use crate::{checker, checker_asking, failed, healthy, http, impatient, once, spec, with_conditions};

/// The response code and records of an answer.
type Answer = (ResponseCode, Vec<RData>);

/// A code that no server sends: the query gets no answer.
const LOST: ResponseCode = ResponseCode::Unknown(0xfff);

/// A name server on a free port; stops when dropped.
struct NameServer {
    address: SocketAddr,
    tasks: [JoinHandle<()>; 2],
}

impl NameServer {
    async fn start(answer: impl Fn(&str, RecordType) -> Answer + Send + Sync + 'static) -> Self {
        Self::start_with(answer, false).await
    }

    /// With `truncated`, the whole answer is available over TCP only.
    async fn start_with(answer: impl Fn(&str, RecordType) -> Answer + Send + Sync + 'static, truncated: bool) -> Self {
        let answer = Arc::new(answer);
        let tcp = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = tcp.local_addr().unwrap();
        let udp = UdpSocket::bind(address).await.unwrap();
        let over_udp = Arc::clone(&answer);
        let udp = tokio::spawn(async move {
            let mut buffer = [0; 4_096];
            while let Ok((length, from)) = udp.recv_from(&mut buffer).await {
                let mut message = respond(&buffer[..length], &*over_udp);
                if message.metadata.response_code == LOST {
                    continue;
                }
                if truncated {
                    message = message.truncate();
                    message.metadata.truncation = true;
                }
                udp.send_to(&message.to_vec().unwrap(), from).await.unwrap();
            }
        });
        let tcp = tokio::spawn(async move {
            while let Ok((mut stream, _)) = tcp.accept().await {
                let mut question = vec![0; usize::from(stream.read_u16().await.unwrap())];
                stream.read_exact(&mut question).await.unwrap();
                let bytes = respond(&question, &*answer).to_vec().unwrap();
                stream.write_u16(u16::try_from(bytes.len()).unwrap()).await.unwrap();
                stream.write_all(&bytes).await.unwrap();
            }
        });
        Self { address, tasks: [udp, tcp] }
    }
}

impl Drop for NameServer {
    fn drop(&mut self) {
        self.tasks.iter().for_each(JoinHandle::abort);
    }
}

fn respond(question: &[u8], answer: &dyn Fn(&str, RecordType) -> Answer) -> Message {
    let question = Message::from_vec(question).unwrap();
    let query = question.queries[0].clone();
    let (code, data) = answer(&query.name().to_ascii(), query.query_type());
    let mut message = Message::response(question.metadata.id, question.metadata.op_code);
    message.metadata.message_type = MessageType::Response;
    message.metadata.response_code = code;
    for data in data {
        message.add_answer(Record::from_rdata(query.name().clone(), 60, data));
    }
    message.add_query(query);
    message
}

fn a(address: [u8; 4]) -> RData {
    RData::A(A(Ipv4Addr::from(address)))
}

fn name(text: &str) -> Name {
    Name::from_ascii(text).unwrap()
}

/// Whether the name server answered conclusively that there is no record.
fn name_server_answered(outcome: &Outcome) -> bool {
    outcome.failure.as_ref().unwrap().name_server_answered
}

const NOTHING: Answer = (ResponseCode::NoError, Vec::new());

#[tokio::test]
async fn a_name_is_resolved_and_timed() {
    let server = Server::with_body("", b"ok").await;
    let names = NameServer::start(|_, kind| match kind {
        RecordType::A => (ResponseCode::NoError, vec![a([127, 0, 0, 1])]),
        _ => NOTHING,
    })
    .await;
    let url = format!("http://shop.example:{}/", server.address().port());
    let outcome = once(&checker_asking(names.address), http(&url)).await;
    healthy(&outcome);
    assert!(outcome.hops[0].phases.dns.is_some());
    assert!(server.requests()[0].contains(&format!("host: shop.example:{}", server.address().port())));
}

#[tokio::test]
async fn an_unknown_name_is_a_dns_failure() {
    let names = NameServer::start(|_, _| (ResponseCode::NXDomain, Vec::new())).await;
    let outcome = once(&checker_asking(names.address), http("http://gone.example/")).await;
    assert_eq!(failed(&outcome), (FailureReason::Dns, "the name can't be resolved: no such name (NXDOMAIN)"));
    assert!(name_server_answered(&outcome));
}

#[tokio::test]
async fn missing_addresses_server_errors_and_silence_have_their_own_errors() {
    for (code, error, answered) in [
        (ResponseCode::NoError, "the name can't be resolved: the name has no address", true),
        (ResponseCode::ServFail, "the name can't be resolved: the name server answers SERVFAIL", false),
        (ResponseCode::Refused, "the name can't be resolved: the name server answers REFUSED", false),
    ] {
        let names = NameServer::start(move |_, _| (code, Vec::new())).await;
        let outcome = once(&checker_asking(names.address), http("http://shop.example/")).await;
        assert_eq!(failed(&outcome), (FailureReason::Dns, error));
        assert_eq!(name_server_answered(&outcome), answered, "{error}");
    }
    let silent = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let outcome = once(&checker_asking(silent.local_addr().unwrap()), impatient(http("http://shop.example/"))).await;
    assert_eq!(failed(&outcome), (FailureReason::Timeout, "no answer within 500ms"));
    assert!(outcome.hops[0].phases.dns.is_some());
}

#[tokio::test]
async fn one_address_record_suffices_whatever_the_other_query_returns() {
    let server = Server::with_body("", b"ok").await;
    let url = format!("http://shop.example:{}/", server.address().port());
    for code in [ResponseCode::ServFail, ResponseCode::Refused, ResponseCode::NXDomain, ResponseCode::NoError, LOST] {
        let names = NameServer::start(move |_, kind| match kind {
            RecordType::A => (ResponseCode::NoError, vec![a([127, 0, 0, 1])]),
            _ => (code, Vec::new()),
        })
        .await;
        healthy(&once(&checker_asking(names.address), http(&url)).await);
    }
}

#[tokio::test]
async fn a_name_has_no_address_only_when_both_answers_say_so() {
    let server = Server::with_body("", b"ok").await;
    let url = format!("http://shop.example:{}/", server.address().port());
    for code in [ResponseCode::ServFail, LOST] {
        // Returns the address for the second query only.
        let asked = AtomicUsize::new(0);
        let names = NameServer::start(move |_, kind| match kind {
            RecordType::A if asked.fetch_add(1, Ordering::SeqCst) == 0 => (code, Vec::new()),
            RecordType::A => (ResponseCode::NoError, vec![a([127, 0, 0, 1])]),
            _ => NOTHING,
        })
        .await;
        healthy(&once(&checker_asking(names.address), http(&url)).await);
    }
    // Never returns an address.
    let names = NameServer::start(|_, kind| match kind {
        RecordType::A => (ResponseCode::ServFail, Vec::new()),
        _ => NOTHING,
    })
    .await;
    let error = "the name can't be resolved: the name server answers SERVFAIL";
    assert_eq!(failed(&once(&checker_asking(names.address), http(&url)).await), (FailureReason::Dns, error));
}

#[tokio::test]
async fn a_second_answer_with_a_private_address_is_refused() {
    let server = Server::answering("HTTP/1.1 500 No\r\ncontent-length: 0\r\n\r\n").await;
    let asked = AtomicUsize::new(0);
    let names = NameServer::start(move |_, kind| match kind {
        RecordType::A if asked.fetch_add(1, Ordering::SeqCst) == 0 => (ResponseCode::NoError, vec![a([127, 0, 0, 1])]),
        RecordType::A => (ResponseCode::NoError, vec![a([10, 0, 0, 1])]),
        _ => NOTHING,
    })
    .await;
    let url = format!("http://rebind.example:{}/", server.address().port());
    // The first attempt reaches the server and fails; the second one resolves to a private address.
    let outcome = checker_asking(names.address).check(&crate::claimed(http(&url)), chrono::Utc::now()).await;
    let (reason, text) = failed(&outcome);
    assert_eq!(reason, FailureReason::Blocked);
    assert!(text.contains("10.0.0.1 is private"), "{text}");
    assert_eq!(server.requests().len(), 1);
}

#[tokio::test]
async fn of_several_addresses_only_allowed_ones_are_connected_to() {
    let server = Server::with_body("", b"ok").await;
    let names = NameServer::start(|_, kind| match kind {
        RecordType::A => (ResponseCode::NoError, vec![a([169, 254, 169, 254]), a([10, 0, 0, 1]), a([127, 0, 0, 1])]),
        RecordType::AAAA => (ResponseCode::NoError, vec![RData::AAAA(AAAA("fd00:ec2::254".parse().unwrap()))]),
        _ => NOTHING,
    })
    .await;
    let url = format!("http://shop.example:{}/", server.address().port());
    let outcome = once(&checker_asking(names.address), http(&url)).await;
    healthy(&outcome);
    assert_eq!(outcome.hops[0].address, Some(IpAddr::from([127, 0, 0, 1])));
}

#[tokio::test]
async fn a_truncated_answer_is_queried_again_over_tcp() {
    let many = |_: &str, kind: RecordType| match kind {
        RecordType::A => (ResponseCode::NoError, (1..=100).map(|last| a([127, 0, 0, last])).collect()),
        _ => NOTHING,
    };
    let names = NameServer::start_with(many, true).await;
    let outcome =
        once(&checker_asking(names.address), with_conditions(dns("many.example"), &["len([ANSWER]) == 100"])).await;
    healthy(&outcome);
}

fn dns(target: &str) -> ServiceSpec {
    spec(Kind::Dns, target)
}

#[tokio::test]
async fn records_of_each_kind_are_compared_in_the_operators_notation() {
    let names = NameServer::start(|_, kind| {
        let data = match kind {
            RecordType::A => vec![a([192, 0, 2, 1]), a([192, 0, 2, 2])],
            RecordType::AAAA => vec![RData::AAAA(AAAA("2001:db8::1".parse().unwrap()))],
            RecordType::CNAME => vec![RData::CNAME(CNAME(name("Other.Example.")))],
            RecordType::MX => vec![RData::MX(MX::new(10, name("mail.example.")))],
            RecordType::TXT => vec![RData::TXT(TXT::new(vec!["v=spf1".into(), " -all".into()]))],
            _ => Vec::new(),
        };
        (ResponseCode::NoError, data)
    })
    .await;
    let checker = checker_asking(names.address);
    for (record, condition) in [
        (DnsRecord::A, "[ANSWER] == 192.0.2.2"),
        (DnsRecord::Aaaa, "[ANSWER] == 2001:db8::1"),
        (DnsRecord::Cname, "[ANSWER] == other.example"),
        (DnsRecord::Mx, "[ANSWER] == any(10 mail.example, 20 mail.example)"),
        (DnsRecord::Txt, "[ANSWER] == pat(v=spf1 *)"),
    ] {
        let mut spec = with_conditions(dns("shop.example"), &[condition, "[DNS_RCODE] == NOERROR"]);
        spec.check.dns_record = record;
        healthy(&once(&checker, spec).await);
    }
    let mut spec = dns("shop.example");
    spec.check.dns_record = DnsRecord::Ns;
    let outcome = once(&checker, spec).await;
    assert_eq!(failed(&outcome), (FailureReason::Dns, "the name has no NS record"));
    assert!(name_server_answered(&outcome));
    let outcome = once(&checker, with_conditions(dns("shop.example"), &["[ANSWER] == 192.0.2.9"])).await;
    let error = "[ANSWER] == 192.0.2.9, but it is 192.0.2.1, 192.0.2.2";
    assert_eq!(failed(&outcome), (FailureReason::Condition, error));
}

#[tokio::test]
async fn a_record_with_a_nul_is_reported_with_a_replacement_character() {
    let names =
        NameServer::start(|_, _| (ResponseCode::NoError, vec![RData::TXT(TXT::new(vec!["a\0b".into()]))])).await;
    let mut spec = with_conditions(dns("shop.example"), &["[ANSWER] == ab"]);
    spec.check.dns_record = DnsRecord::Txt;
    let outcome = once(&checker_asking(names.address), spec).await;
    assert_eq!(failed(&outcome), (FailureReason::Condition, "[ANSWER] == ab, but it is a\u{FFFD}b"));
}

#[tokio::test]
async fn a_condition_may_expect_nxdomain() {
    let names = NameServer::start(|_, _| (ResponseCode::NXDomain, Vec::new())).await;
    let checker = checker_asking(names.address);
    let outcome = once(&checker, dns("gone.example")).await;
    assert_eq!(failed(&outcome).0, FailureReason::Dns);
    healthy(&once(&checker, with_conditions(dns("gone.example"), &["[DNS_RCODE] == NXDOMAIN"])).await);
}

#[tokio::test]
async fn a_service_may_name_a_name_server_unless_its_address_is_blocked() {
    let names = NameServer::start(|_, _| (ResponseCode::NoError, vec![a([192, 0, 2, 1])])).await;
    let mut spec = dns("shop.example");
    spec.check.dns_server = Some(names.address.to_string());
    healthy(&once(&checker(), spec.clone()).await);
    spec.check.dns_server = Some("169.254.169.254:53".into());
    assert_eq!(failed(&once(&checker(), spec).await).0, FailureReason::Blocked);
}
