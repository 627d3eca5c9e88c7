//! `dns`: whether a name has the expected records.

use std::net::SocketAddr;

use hickory_proto::op::ResponseCode;
use hickory_proto::rr::{Name, RData, RecordType};
use shared::model::{DnsRecord, FailureReason};
use tokio::time::Instant;

use super::Failure;
use super::attempt::{Context, Problem, Progress};
use crate::conditions::Answer;
use crate::net::resolve::code_name;
use crate::net::{DnsError, Names, Phase};

pub(super) async fn attempt(context: Context<'_>, progress: &mut Progress) -> Result<(), Problem> {
    let spec = &context.claimed.service.spec;
    let (kind, label) = kind_of(spec.check.dns_record);
    let names = names_for(&context)?;
    progress.trace.hop(spec.target.clone());
    progress.trace.start(Phase::Dns);
    let records = names.records(&spec.target, kind).await.map_err(Failure::from)?;
    progress.trace.stop();
    progress.answered = Some(Instant::now());
    // A condition on the code replaces the default checks.
    if !context.conditions.use_dns_code() {
        if records.code == ResponseCode::NXDomain {
            return Err(Failure::from(DnsError::NoSuchName).into());
        }
        if records.data.is_empty() {
            return Err(Failure::not_there(format!("the name has no {label} record")).into());
        }
    }
    let mut shown: Vec<String> = records.data.iter().map(text_of).collect();
    shown.sort_unstable();
    let answer = Answer {
        connected: true,
        response_time: context.started.elapsed(),
        dns_code: Some(code_name(records.code)),
        records: &shown,
        ..Answer::default()
    };
    context.hold(&answer)
}

/// The system's resolvers, or the service's own, if the guard permits it.
fn names_for(context: &Context<'_>) -> Result<Names, Failure> {
    let Some(server) = &context.claimed.service.spec.check.dns_server else {
        return Ok(context.tools.connector.names().clone());
    };
    let server: SocketAddr = server
        .parse()
        .map_err(|_| Failure::new(FailureReason::Misconfigured, "dns_server is not of the form address:port"))?;
    context.tools.connector.guard().permits_socket(server)?;
    Ok(Names::at(vec![server]))
}

fn kind_of(record: DnsRecord) -> (RecordType, &'static str) {
    match record {
        DnsRecord::A => (RecordType::A, "A"),
        DnsRecord::Aaaa => (RecordType::AAAA, "AAAA"),
        DnsRecord::Cname => (RecordType::CNAME, "CNAME"),
        DnsRecord::Mx => (RecordType::MX, "MX"),
        DnsRecord::Ns => (RecordType::NS, "NS"),
        DnsRecord::Txt => (RecordType::TXT, "TXT"),
    }
}

/// In the usual notation: names without the dot at the end, `10 mail.example` for a mail server.
fn text_of(data: &RData) -> String {
    let name = |name: &Name| name.to_ascii().trim_end_matches('.').to_ascii_lowercase();
    match data {
        RData::CNAME(alias) => name(alias),
        RData::NS(server) => name(server),
        RData::MX(mail) => format!("{} {}", mail.preference, name(&mail.exchange)),
        RData::TXT(text) => text.txt_data.iter().map(|part| String::from_utf8_lossy(part)).collect(),
        other => other.to_string(),
    }
}
