//! The failed route of a server's event.

use serde_json::Value;

use super::fields::{before_query, first_bytes, part, text};

/// Platforms of servers. The URL in a browser's event is the open page, not a failed endpoint.
const SERVERS: [&str; 12] =
    ["python", "node", "ruby", "php", "java", "go", "csharp", "elixir", "perl", "rust", "haskell", "kotlin"];

/// Operating systems of devices, whose SDKs name the platform `java` or `csharp` too.
const DEVICES: [&str; 5] = ["Android", "iOS", "iPadOS", "tvOS", "watchOS"];

/// Bytes kept.
const LENGTH: usize = 2_000;

/// The route's path, such as `/orders/{id}`, as the framework names it, else as requested.
pub(super) fn endpoint(event: &Value) -> Option<String> {
    if !text(event, "platform").is_some_and(|platform| SERVERS.contains(&platform)) || is_device(event) {
        return None;
    }
    let requested = text(part(event, "request"), "url");
    let named = text(event, "transaction").and_then(|transaction| match transaction.split_once(' ') {
        Some((method, path)) if is_method(method) => Some(path.trim()),
        // Without a method it may be a file, unless the event has a URL too.
        _ => Some(transaction).filter(|_| requested.is_some()),
    });
    let route = named.filter(|path| path.starts_with('/')).or_else(|| requested.and_then(path));
    let route = before_query(first_bytes(route?, LENGTH));
    (!route.is_empty()).then(|| route.to_owned())
}

fn is_device(event: &Value) -> bool {
    let system = event.get("contexts").and_then(|contexts| text(contexts.get("os")?, "name"));
    system.is_some_and(|name| DEVICES.contains(&name))
}

fn is_method(word: &str) -> bool {
    (3..=7).contains(&word.len()) && word.bytes().all(|byte| byte.is_ascii_uppercase())
}

/// The path of a URL, or a bare path.
fn path(address: &str) -> Option<&str> {
    match address.split_once("://") {
        Some((_, rest)) => {
            let rest = before_query(rest);
            Some(rest.find('/').map_or("/", |slash| &rest[slash..]))
        }
        None => address.starts_with('/').then_some(address),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_servers_route_is_its_endpoint_and_a_browsers_page_is_not() {
        let url = "https://shop.example.com/orders/17?token=SECRET#x";
        for (event, expected) in [
            (json!({"platform": "python", "transaction": "GET /x"}), Some("/x")),
            (json!({"platform": "node", "transaction": "POST /orders/:id?x=1"}), Some("/orders/:id")),
            (json!({"platform": "node", "transaction": "/orders/[id]", "request": {"url": url}}), Some("/orders/[id]")),
            (json!({"platform": "php", "request": {"url": url}}), Some("/orders/17")),
            (
                json!({"platform": "ruby", "transaction": "OrdersController#show", "request": {"url": url}}),
                Some("/orders/17"),
            ),
            (json!({"platform": "go", "request": {"url": "/orders?x=1"}}), Some("/orders")),
            (json!({"platform": "go", "sentry.interfaces.Http": {"url": "https://shop.example.com"}}), Some("/")),
            (json!({"platform": "python", "transaction": "/srv/job.py"}), None),
            (json!({"platform": "python", "transaction": "shop.tasks.send_mail"}), None),
            (json!({"platform": "python", "transaction": "GET it done"}), None),
            (json!({"platform": "javascript", "transaction": "GET /x", "request": {"url": url}}), None),
            (json!({"platform": "java", "request": {"url": url}, "contexts": {"os": {"name": "Android"}}}), None),
            (
                json!({"platform": "java", "request": {"url": url}, "contexts": {"os": {"name": "Linux"}}}),
                Some("/orders/17"),
            ),
            (json!({"request": {"url": url}}), None),
            (json!({"platform": "go", "request": {"url": "nonsense"}}), None),
            (json!({"platform": "go", "request": {"url": 7}, "transaction": {}, "contexts": []}), None),
        ] {
            assert_eq!(endpoint(&event).as_deref(), expected, "{event}");
        }
    }
}
