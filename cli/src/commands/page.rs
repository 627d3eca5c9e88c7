//! One page of a list of the API, for `incidents` and `alerts`.

use serde_json::Value;

use crate::output::say;
use crate::remote::Remote;

/// The first page at this path: at most `limit` rows that match the filters.
///
/// # Errors
/// When the server can't be reached or refuses.
pub(super) async fn get(
    server: &Remote,
    path: &str,
    limit: u16,
    filters: &[(&str, &Option<String>)],
) -> anyhow::Result<Value> {
    let limit = limit.to_string();
    let mut query = vec![("limit", limit.as_str())];
    query.extend(filters.iter().filter_map(|(name, value)| Some((*name, value.as_deref()?))));
    server.get(path, &query).await
}

/// Prints a note if there is another page.
pub(super) fn say_whether_more(page: &Value) {
    if page["next_cursor"].is_string() {
        say("There are more: raise --limit, or filter.");
    }
}
