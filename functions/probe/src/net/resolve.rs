//! Names to addresses, by asking the system's name servers ourselves: without a thread for each name, within the check's
//! own deadline, and without a cache, since a name that can't be resolved any more is what a probe should notice.
//!
//! Order: the address itself, `localhost`, `/etc/hosts`, the name servers of `/etc/resolv.conf` with its search list. Where
//! that file names no server, the system's own resolver is asked.

mod exchange;
mod system;

use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;

use hickory_proto::op::ResponseCode;
use hickory_proto::rr::{Name, RData, RecordType};

/// More addresses of a name are not looked at.
const MAX_ADDRESSES: usize = 16;

/// Why a name has no answer.
#[derive(Debug, thiserror::Error)]
pub enum DnsError {
    /// It can't be a name.
    #[error("not a domain name")]
    NotAName,
    /// The name servers know of no such name.
    #[error("no such name (NXDOMAIN)")]
    NoSuchName,
    /// The name is there, but not what was asked for.
    #[error("the name has no {0}")]
    NoRecords(&'static str),
    /// The system's own resolver has no address for it, and does not tell whether somebody else may.
    #[error("no such name, or nobody who knows")]
    NotKnown,
    /// The name servers don't want to say, or can't.
    #[error("the name server answers {}", code_name(*.0))]
    Refused(ResponseCode),
    /// No name server answered.
    #[error("no name server answers")]
    NoAnswer,
    /// A socket could not be used.
    #[error("name servers can't be asked")]
    Io(#[from] io::Error),
}

impl DnsError {
    /// Whether a name server said for sure that there is nothing: then another name of the search list may still be the one
    /// that was meant.
    #[must_use]
    pub fn says_there_is_none(&self) -> bool {
        matches!(self, Self::NoSuchName | Self::NoRecords(_))
    }
}

/// `NOERROR`, `NXDOMAIN`, `SERVFAIL`, …, as in the tools that people know.
#[must_use]
pub fn code_name(code: ResponseCode) -> &'static str {
    match code {
        ResponseCode::NoError => "NOERROR",
        ResponseCode::FormErr => "FORMERR",
        ResponseCode::ServFail => "SERVFAIL",
        ResponseCode::NXDomain => "NXDOMAIN",
        ResponseCode::NotImp => "NOTIMP",
        ResponseCode::Refused => "REFUSED",
        _ => "an error",
    }
}

/// What was answered to a question.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Records {
    /// `NOERROR`, `NXDOMAIN`, …
    pub code: ResponseCode,
    /// What was asked for, without the aliases on the way there.
    pub data: Vec<RData>,
}

/// Resolves names. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Names {
    source: Arc<Source>,
}

#[derive(Debug)]
enum Source {
    /// These name servers.
    Servers { servers: Vec<SocketAddr>, search: system::Search, hosts: HashMap<String, Vec<IpAddr>> },
    /// Whatever the system does.
    System,
}

impl Names {
    /// As the system is configured.
    #[must_use]
    pub fn of_system() -> Self {
        let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
        let (servers, search) = system::parse_resolv_conf(&read("/etc/resolv.conf"));
        let source = if servers.is_empty() {
            Source::System
        } else {
            Source::Servers { servers, search, hosts: system::parse_hosts(&read("/etc/hosts")) }
        };
        Self { source: Arc::new(source) }
    }

    /// Asks these name servers and nobody else, for names as they are.
    #[must_use]
    pub fn at(servers: Vec<SocketAddr>) -> Self {
        let source = Source::Servers { servers, search: system::Search::default(), hosts: HashMap::new() };
        Self { source: Arc::new(source) }
    }

    /// The addresses of a name, IPv4 first: where only one of the two leads anywhere, it is mostly that.
    ///
    /// # Errors
    /// When there are none, or nobody says.
    pub async fn addresses(&self, name: &str) -> Result<Vec<IpAddr>, DnsError> {
        let bare = name.trim_end_matches('.').to_ascii_lowercase();
        if bare == "localhost" || bare.ends_with(".localhost") {
            return Ok(vec![Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()]);
        }
        let mut addresses = match &*self.source {
            Source::System => tokio::net::lookup_host((name, 0)).await.map_err(no_address)?.map(|it| it.ip()).collect(),
            Source::Servers { servers, search, hosts } => match hosts.get(&bare) {
                Some(addresses) => addresses.clone(),
                None => search_for(servers, search, name).await?,
            },
        };
        addresses.sort_by_key(IpAddr::is_ipv6);
        addresses.dedup();
        addresses.truncate(MAX_ADDRESSES);
        if addresses.is_empty() { Err(DnsError::NoRecords("address")) } else { Ok(addresses) }
    }

    /// The records of exactly this name. An answer that there are none, or no such name, is no error.
    ///
    /// # Errors
    /// When nobody answers.
    pub async fn records(&self, name: &str, kind: RecordType) -> Result<Records, DnsError> {
        let Source::Servers { servers, .. } = &*self.source else { return Err(DnsError::NoAnswer) };
        let mut name = Name::from_utf8(name).map_err(|_| DnsError::NotAName)?;
        name.set_fqdn(true);
        let mut answers = exchange::ask(servers, &name, &[kind]).await?;
        answers.pop().ok_or(DnsError::NoAnswer)
    }
}

/// The system's resolver has no kind of its own for a name that it does not know, nor for servers that don't answer it.
fn no_address(error: io::Error) -> DnsError {
    if error.raw_os_error().is_some() { DnsError::Io(error) } else { DnsError::NotKnown }
}

async fn search_for(servers: &[SocketAddr], search: &system::Search, name: &str) -> Result<Vec<IpAddr>, DnsError> {
    let mut first_error = None;
    for candidate in search.candidates(name) {
        let mut candidate = Name::from_utf8(&candidate).map_err(|_| DnsError::NotAName)?;
        candidate.set_fqdn(true);
        match addresses_of(servers, &candidate).await {
            Ok(addresses) => return Ok(addresses),
            Err(error) if error.says_there_is_none() => first_error = first_error.or(Some(error)),
            Err(error) => return Err(error),
        }
    }
    Err(first_error.unwrap_or(DnsError::NotAName))
}

async fn addresses_of(servers: &[SocketAddr], name: &Name) -> Result<Vec<IpAddr>, DnsError> {
    let answers = exchange::ask(servers, name, &[RecordType::A, RecordType::AAAA]).await?;
    let addresses: Vec<IpAddr> = answers.iter().flat_map(|records| &records.data).filter_map(RData::ip_addr).collect();
    if !addresses.is_empty() {
        return Ok(addresses);
    }
    if answers.iter().any(|records| records.code == ResponseCode::NXDomain) {
        return Err(DnsError::NoSuchName);
    }
    Err(DnsError::NoRecords("address"))
}
