//! Parameters and cursors that the lists share.

use axum::Json;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chrono::{DateTime, Datelike as _};
use shared::http::ApiError;
use shared::store::paging::Position;
use url::form_urlencoded;
use uuid::Uuid;

/// The default page size.
pub(crate) const DEFAULT_LIMIT: u16 = 50;
/// The largest page size: a Lambda's answer ends at 6 MB.
const MAX_LIMIT: u16 = 200;

/// The start and size of a page.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Page {
    pub(crate) after: Option<Position>,
    pub(crate) limit: u16,
}

impl Default for Page {
    fn default() -> Self {
        Self { after: None, limit: DEFAULT_LIMIT }
    }
}

impl Page {
    /// The number of rows to read: one more than requested shows whether there is a next page.
    pub(crate) fn rows(&self) -> u16 {
        self.limit + 1
    }

    /// Parses `cursor` and `limit`.
    ///
    /// # Errors
    /// 400 for an invalid value, and for any other name.
    pub(crate) fn read(&mut self, parameter: &Parameter<'_>) -> Result<(), ApiError> {
        match parameter.name {
            "cursor" => self.after = Some(parameter.word(position, "a next_cursor of this list")?),
            "limit" => self.limit = parameter.word(limit, "a number from 1 to 200")?,
            name => return Err(ApiError::invalid(format!("`{name}` is no parameter of this list"))),
        }
        Ok(())
    }

    /// The page as an answer: `{NAME: [rows], "next_cursor": …}`.
    pub(crate) fn answer<Row: serde::Serialize>(
        &self,
        name: &'static str,
        mut rows: Vec<Row>,
        position_of: impl Fn(&Row) -> Position,
    ) -> Json<serde_json::Value> {
        let more = rows.len() > usize::from(self.limit);
        rows.truncate(usize::from(self.limit));
        let next = rows.last().filter(|_| more).map(|last| cursor(position_of(last)));
        Json(serde_json::json!({ name: rows, "next_cursor": next }))
    }
}

/// One parameter of a query.
pub(crate) struct Parameter<'a> {
    pub(crate) name: &'a str,
    value: &'a str,
}

impl Parameter<'_> {
    /// The parsed value.
    pub(crate) fn word<T>(&self, parse: impl FnOnce(&str) -> Option<T>, expected: &str) -> Result<T, ApiError> {
        parse(self.value).ok_or_else(|| ApiError::invalid(format!("`{}` must be {expected}", self.name)))
    }

    /// The value as text that Postgres accepts.
    pub(crate) fn text(&self) -> Result<String, ApiError> {
        self.word(|value| (!value.contains('\0')).then(|| value.to_owned()), "text without NUL")
    }
}

/// Passes each parameter of a query to `read`.
///
/// # Errors
/// The first error of `read`.
pub(crate) fn read_query(
    query: &str,
    mut read: impl FnMut(&Parameter<'_>) -> Result<(), ApiError>,
) -> Result<(), ApiError> {
    form_urlencoded::parse(query.as_bytes())
        .try_for_each(|(name, value)| read(&Parameter { name: name.as_ref(), value: value.as_ref() }))
}

/// An opaque cursor for a position, with Postgres's microseconds.
fn cursor(position: Position) -> String {
    let Position { open, at, id } = position;
    URL_SAFE_NO_PAD.encode(format!("{}/{}/{id}", u8::from(open), at.timestamp_micros()))
}

fn position(cursor: &str) -> Option<Position> {
    let text = String::from_utf8(URL_SAFE_NO_PAD.decode(cursor).ok()?).ok()?;
    let (open, rest) = text.split_once('/')?;
    let (micros, id) = rest.split_once('/')?;
    let open = match open {
        "0" => false,
        "1" => true,
        _ => return None,
    };
    let at = DateTime::from_timestamp_micros(micros.parse().ok()?)?;
    // No row has other years, and Postgres rejects some.
    let at = Some(at).filter(|instant| (1..=9999).contains(&instant.year()))?;
    Some(Position { open, at, id: Uuid::try_parse(id).ok()? })
}

fn limit(text: &str) -> Option<u16> {
    text.parse().ok().filter(|limit| (1..=MAX_LIMIT).contains(limit))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_is_decoded_to_its_position_and_other_texts_are_refused() {
        for open in [false, true] {
            let at = DateTime::from_timestamp_micros(1_795_000_000_123_456).unwrap();
            let there = Position { open, at, id: Uuid::from_u128(7) };
            assert_eq!(position(&cursor(there)), Some(there));
        }
        let encoded = |text: &str| URL_SAFE_NO_PAD.encode(text);
        let id = Uuid::nil();
        for wrong in [
            "",
            "zzz",
            "=",
            &encoded(""),
            &encoded("1/2"),
            &encoded(&format!("1795000000123456/{id}")),
            &encoded(&format!("2/0/{id}")),
            &encoded(&format!("1/x/{id}")),
            &encoded(&format!("1/{}/{id}", i64::MAX)),
            &encoded("1/0/none"),
        ] {
            assert_eq!(position(wrong), None, "{wrong}");
        }
    }
}
