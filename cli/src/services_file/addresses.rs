//! Several addresses of one entry: a service each, in one group.

use std::collections::BTreeSet;

use reqwest::Url;

/// As many characters as a service's name may have.
const NAME: usize = 100;

/// A name for each address: `NAME (host/path)`, or `NAME 1`, `NAME 2` … where those are not different, or too long.
pub(super) fn names(name: &str, addresses: &[String]) -> Vec<String> {
    let spoken: Vec<String> = addresses.iter().map(|address| format!("{name} ({})", short(address))).collect();
    let different: BTreeSet<&String> = spoken.iter().collect();
    if different.len() == spoken.len() && spoken.iter().all(|it| it.chars().count() <= NAME) {
        return spoken;
    }
    (1..=addresses.len()).map(|number| format!("{name} {number}")).collect()
}

/// Host and path of an address; of what is none, the text.
fn short(address: &str) -> String {
    let Ok(url) = Url::parse(address) else { return address.to_owned() };
    let port = url.port().map(|port| format!(":{port}")).unwrap_or_default();
    format!("{}{port}{}", url.host_str().unwrap_or_default(), url.path().trim_end_matches('/'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_told_apart_by_host_and_path_or_else_by_number() {
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
