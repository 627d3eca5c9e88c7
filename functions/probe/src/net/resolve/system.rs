//! Parses `/etc/resolv.conf` and `/etc/hosts`. Pure.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};

/// The C library's limits.
const MAX_SERVERS: usize = 3;
const MAX_SEARCH: usize = 6;

/// The search list, and how many dots make a name absolute.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Search {
    domains: Vec<String>,
    ndots: usize,
}

impl Default for Search {
    fn default() -> Self {
        Self { domains: Vec::new(), ndots: 1 }
    }
}

impl Search {
    /// The names to try, in order: a name with enough dots first as it is.
    pub(super) fn candidates(&self, name: &str) -> Vec<String> {
        if name.ends_with('.') {
            return vec![name.to_owned()];
        }
        let longer = self.domains.iter().map(|domain| format!("{name}.{domain}"));
        let as_is = std::iter::once(name.to_owned());
        if name.matches('.').count() >= self.ndots {
            as_is.chain(longer).collect()
        } else {
            longer.chain(as_is).collect()
        }
    }
}

/// The name servers and the search list.
pub(super) fn parse_resolv_conf(text: &str) -> (Vec<SocketAddr>, Search) {
    let mut servers = Vec::new();
    let mut search = Search::default();
    for line in text.lines() {
        let mut words = line.split(['#', ';']).next().unwrap_or_default().split_whitespace();
        match words.next() {
            Some("nameserver") => {
                servers
                    .extend(words.next().and_then(|word| word.parse().ok()).map(|ip: IpAddr| SocketAddr::new(ip, 53)));
            }
            Some("search" | "domain") => {
                search.domains = words.map(|word| word.trim_end_matches('.').to_owned()).take(MAX_SEARCH).collect();
                search.domains.retain(|domain| !domain.is_empty());
            }
            Some("options") => {
                let ndots = words.filter_map(|word| word.strip_prefix("ndots:")?.parse::<usize>().ok()).next_back();
                search.ndots = ndots.unwrap_or(search.ndots).min(15);
            }
            _ => {}
        }
    }
    servers.truncate(MAX_SERVERS);
    (servers, search)
}

/// The addresses of each name, in lower case.
pub(super) fn parse_hosts(text: &str) -> HashMap<String, Vec<IpAddr>> {
    let mut hosts: HashMap<String, Vec<IpAddr>> = HashMap::new();
    for line in text.lines() {
        let mut words = line.split('#').next().unwrap_or_default().split_whitespace();
        let Some(Ok(address)) = words.next().map(str::parse) else { continue };
        for name in words {
            hosts.entry(name.trim_end_matches('.').to_ascii_lowercase()).or_default().push(address);
        }
    }
    hosts
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn resolv_conf_is_parsed() {
        let (servers, search) = parse_resolv_conf(
            "# by hand\nnameserver 10.0.0.2\nnameserver fd00::2 ; comment\nnameserver nonsense\nsearch a.example b.example.\noptions edns0 ndots:2\n",
        );
        assert_eq!(servers, ["10.0.0.2:53".parse().unwrap(), "[fd00::2]:53".parse().unwrap()]);
        assert_eq!(search.candidates("api.shop"), ["api.shop.a.example", "api.shop.b.example", "api.shop"]);
        assert_eq!(search.candidates("x.api.shop"), ["x.api.shop", "x.api.shop.a.example", "x.api.shop.b.example"]);
        assert_eq!(search.candidates("api."), ["api."]);
        assert_eq!(parse_resolv_conf("").0, []);
    }

    #[test]
    fn a_host_may_have_several_names_and_addresses() {
        let hosts = parse_hosts("127.0.0.1 localhost\n10.0.0.7 Shop shop.example # ours\n::1 shop\nnonsense x\n");
        assert_eq!(hosts["shop"], ["10.0.0.7".parse::<IpAddr>().unwrap(), "::1".parse().unwrap()]);
        assert_eq!(hosts["shop.example"].len(), 1);
        assert!(!hosts.contains_key("x"));
    }
}
