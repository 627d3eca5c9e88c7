//! Resolves names with an own DNS client: no thread per name, within the check's deadline, and without a cache, since a
//! probe must notice a name that can't be resolved any more.
//!
//! Order: the address itself, `localhost`, `/etc/hosts`, the name servers of `/etc/resolv.conf` with its search list.
//! If that file names no server, the system's own resolver is used.

mod exchange;
mod system;

use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;

use hickory_proto::op::ResponseCode;
use hickory_proto::rr::{Name, RData, RecordType};

/// The most addresses of a name that are used.
const MAX_ADDRESSES: usize = 16;

/// Why a name can't be resolved.
#[derive(Debug, thiserror::Error)]
pub enum DnsError {
    /// Invalid syntax.
    #[error("not a domain name")]
    NotAName,
    /// NXDOMAIN.
    #[error("no such name (NXDOMAIN)")]
    NoSuchName,
    /// The name exists, but not the records.
    #[error("the name has no {0}")]
    NoRecords(&'static str),
    /// The system's resolver has no address, and does not distinguish an unknown name from a missing answer.
    #[error("no such name, or no answer")]
    NotKnown,
    /// A name server refused or failed.
    #[error("the name server answers {}", code_name(*.0))]
    Refused(ResponseCode),
    /// No name server answered.
    #[error("no name server answers")]
    NoAnswer,
    /// A socket could not be used.
    #[error("the name servers can't be queried")]
    Io(#[from] io::Error),
}

impl DnsError {
    /// Whether a name server answered that there is nothing: then the next name of the search list is tried.
    #[must_use]
    pub fn says_there_is_none(&self) -> bool {
        matches!(self, Self::NoSuchName | Self::NoRecords(_))
    }
}

/// `NOERROR`, `NXDOMAIN`, `SERVFAIL`, …, as usual tools print them.
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

/// The answer to a question.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Records {
    /// `NOERROR`, `NXDOMAIN`, …
    pub code: ResponseCode,
    /// The records of the kind, without aliases.
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
    /// The system's resolver.
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

    /// Only these name servers, without a search list.
    #[must_use]
    pub fn at(servers: Vec<SocketAddr>) -> Self {
        let source = Source::Servers { servers, search: system::Search::default(), hosts: HashMap::new() };
        Self { source: Arc::new(source) }
    }

    /// The addresses of a name, IPv4 first, since it works more often where only one of both does.
    ///
    /// # Errors
    /// When there are none, or no server answers.
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

    /// The records of exactly this name. No records, or no such name, is not an error.
    ///
    /// # Errors
    /// When no server answers.
    pub async fn records(&self, name: &str, kind: RecordType) -> Result<Records, DnsError> {
        let Source::Servers { servers, .. } = &*self.source else { return Err(DnsError::NoAnswer) };
        let mut name = Name::from_utf8(name).map_err(|_| DnsError::NotAName)?;
        name.set_fqdn(true);
        let mut answers = exchange::ask(servers, &name, &[kind]).await?;
        answers.pop().ok_or(DnsError::NoAnswer)
    }
}

/// The system's resolver reports an unknown name and a missing answer with the same error.
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
