//! Several addresses of one entry: one service per address, in one group.

use std::collections::BTreeSet;

use reqwest::Url;

/// The most characters of a service's name.
const NAME: usize = 100;

/// A name for each address: `NAME (host/path)`, or `NAME 1`, `NAME 2` … if those are equal or too long.
pub(super) fn names(name: &str, addresses: &[String]) -> Vec<String> {
    let named: Vec<String> = addresses.iter().map(|address| format!("{name} ({})", short(address))).collect();
    let different: BTreeSet<&String> = named.iter().collect();
    if different.len() == named.len() && named.iter().all(|it| it.chars().count() <= NAME) {
        return named;
    }
    (1..=addresses.len()).map(|number| format!("{name} {number}")).collect()
}

/// Host and path of an address; the text if it is no URL.
fn short(address: &str) -> String {
    let Ok(url) = Url::parse(address) else { return address.to_owned() };
    let port = url.port().map(|port| format!(":{port}")).unwrap_or_default();
    format!("{}{port}{}", url.host_str().unwrap_or_default(), url.path().trim_end_matches('/'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_named_by_host_and_path_or_else_by_number() {
        let of = |addresses: &[&str]| {
            let addresses: Vec<String> = addresses.iter().map(|it| (*it).to_owned()).collect();
            names("shop", &addresses)
        };
        assert_eq!(
            of(&["https://a.example/", "https://a.example/cart", "http://b.example:8080/x/"]),
            ["shop (a.example)", "shop (a.example/cart)", "shop (b.example:8080/x)"]
        );
        assert_eq!(of(&["https://a.example/?p=1", "https://a.example/?p=2"]), ["shop 1", "shop 2"]);
        assert_eq!(of(&[&format!("https://a.example/{}", "x".repeat(100))]), ["shop 1"]);
    }
}
