//! Parser of Sentry's envelope format. Pure: bytes in, items out; independent of HTTP.
//!
//! ```text
//! {"event_id":"…","dsn":"…"}        the envelope's header: one line of JSON
//! {"type":"event","length":41}      an item's header: one line of JSON
//! …41 bytes…                        its payload, and a newline
//! {"type":"session"}                without `length`, the payload
//! …                                 ends with its line
//! ```
//!
//! Parses a stream: payloads that are only counted ([`ItemKind::kept_bytes`]) are skipped without buffering, and a
//! claimed length allocates nothing. Lenient where that is safe: empty lines between items, CRLF, a missing last
//! newline, a byte order mark.
//!
//! Source of the format: <https://develop.sentry.dev/sdk/data-model/envelopes/>.

mod kind;
mod source;
#[cfg(test)]
mod tests;

use std::io::{self, BufRead};

use serde_json::{Map, Value};
use shared::http::read_json;
use uuid::Uuid;

use crate::encoding::TooMuch;
pub use kind::{EVENT_BYTES, ItemKind};
use source::{End, Source};

/// The most items of an envelope. SDKs send a handful.
pub const ITEMS: usize = 100;

/// The longest line of a header.
pub const HEADER_BYTES: usize = 64 * 1024;

/// Why the rest of an envelope can't be parsed. Items are counted from 1.
#[derive(Debug, thiserror::Error)]
pub enum EnvelopeError {
    /// There are no bytes.
    #[error("the envelope is empty")]
    Empty,
    /// The first line is not a JSON object.
    #[error("the envelope's header is not a JSON object")]
    Header,
    /// An item's header is not a JSON object.
    #[error("the header of item {0} is not a JSON object")]
    ItemHeader(usize),
    /// A header's line is too long.
    #[error("a header has more than {HEADER_BYTES} bytes")]
    HeaderTooLong,
    /// An item's `length` is not a number of bytes.
    #[error("`length` of item {0} is not a number of bytes")]
    Length(usize),
    /// The envelope ends within an item's payload.
    #[error("the payload of item {0} is cut off")]
    CutOff(usize),
    /// No newline follows after an item's `length`.
    #[error("the payload of item {0} does not end where its `length` says")]
    Unterminated(usize),
    /// More than [`ITEMS`].
    #[error("the envelope has more than {ITEMS} items")]
    TooManyItems,
    /// The decompressed envelope is too large.
    #[error(transparent)]
    TooMuch(TooMuch),
    /// The compressed data is invalid or truncated.
    #[error("the body can't be decompressed")]
    Compression(#[source] io::Error),
}

impl EnvelopeError {
    /// Whether it is a decompression bomb.
    #[must_use]
    pub fn is_bomb(&self) -> bool {
        matches!(self, Self::TooMuch(TooMuch::Ratio))
    }

    /// Whether a limit is exceeded.
    #[must_use]
    pub fn is_a_limit(&self) -> bool {
        matches!(self, Self::HeaderTooLong | Self::TooManyItems | Self::TooMuch(_))
    }
}

impl From<io::Error> for EnvelopeError {
    fn from(error: io::Error) -> Self {
        TooMuch::in_error(&error).map_or_else(|| Self::Compression(error), Self::TooMuch)
    }
}

/// The envelope's header.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Header {
    /// The id of the event in it.
    pub event_id: Option<Uuid>,
    /// The DSN: tunnels send it here instead of in an HTTP header.
    pub dsn: Option<String>,
}

/// One item.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Item {
    /// Its number, from 1.
    pub number: usize,
    /// The kind.
    pub kind: ItemKind,
    /// The content.
    pub payload: Payload,
}

/// An item's content.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Payload {
    /// The whole payload.
    Kept(Vec<u8>),
    /// Payloads of this kind are not kept.
    Skipped,
    /// The payload is larger than items of this kind may be.
    TooLarge,
}

/// Parses an envelope: an iterator over its items, which ends after an error.
pub struct Envelope<R> {
    source: Source<R>,
    header: Header,
    items: usize,
    ended: bool,
}

impl<R: BufRead> Envelope<R> {
    /// Parses the envelope's header.
    ///
    /// # Errors
    /// When it is missing or invalid.
    pub fn open(source: R) -> Result<Self, EnvelopeError> {
        let mut source = Source::new(source);
        let line = header_line(&mut source)?.ok_or(EnvelopeError::Empty)?;
        let header = object(&line).ok_or(EnvelopeError::Header)?;
        let text = |name: &str| header.get(name).and_then(Value::as_str);
        let header = Header { event_id: text("event_id").and_then(event_id), dsn: text("dsn").map(str::to_owned) };
        Ok(Self { source, header, items: 0, ended: false })
    }

    /// The envelope's header.
    pub fn header(&self) -> &Header {
        &self.header
    }

    fn read_item(&mut self) -> Result<Option<Item>, EnvelopeError> {
        let Some(line) = header_line(&mut self.source)? else { return Ok(None) };
        self.items += 1;
        let number = self.items;
        if number > ITEMS {
            return Err(EnvelopeError::TooManyItems);
        }
        let header = object(&line).ok_or(EnvelopeError::ItemHeader(number))?;
        let kind = ItemKind::of(header.get("type").and_then(Value::as_str).unwrap_or_default());
        let length = match header.get("length") {
            None | Some(Value::Null) => None,
            Some(length) => Some(length.as_u64().ok_or(EnvelopeError::Length(number))?),
        };
        let payload = self.read_payload(number, kind, length)?;
        Ok(Some(Item { number, kind, payload }))
    }

    fn read_payload(&mut self, number: usize, kind: ItemKind, length: Option<u64>) -> Result<Payload, EnvelopeError> {
        let keep = kind.kept_bytes();
        let end = length.map_or(End::Newline, End::After);
        let taken = self.source.take(end, keep.unwrap_or(0))?;
        if let Some(length) = length {
            if taken.length < length {
                return Err(EnvelopeError::CutOff(number));
            }
            if !self.source.end_of_line()? {
                return Err(EnvelopeError::Unterminated(number));
            }
        }
        Ok(match keep {
            None => Payload::Skipped,
            Some(_) if taken.is_whole() => Payload::Kept(taken.kept),
            Some(_) => Payload::TooLarge,
        })
    }
}

impl<R: BufRead> Iterator for Envelope<R> {
    type Item = Result<Item, EnvelopeError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.ended {
            return None;
        }
        let item = self.read_item().transpose();
        self.ended = !matches!(item, Some(Ok(_)));
        item
    }
}

/// Reads a whole source as one payload of at most `keep` bytes.
///
/// # Errors
/// When it can't be read.
pub fn whole(source: impl BufRead, keep: usize) -> Result<Payload, EnvelopeError> {
    let taken = Source::new(source).take(End::After(u64::MAX), keep)?;
    Ok(if taken.is_whole() { Payload::Kept(taken.kept) } else { Payload::TooLarge })
}

/// An event's id: 32 hexadecimal digits, with or without the dashes of a UUID.
#[must_use]
pub fn event_id(text: &str) -> Option<Uuid> {
    Uuid::try_parse(text.trim()).ok().filter(|id| !id.is_nil())
}

/// The next line that is not blank; none at the end.
fn header_line(source: &mut Source<impl BufRead>) -> Result<Option<Vec<u8>>, EnvelopeError> {
    source.skip_blanks()?;
    let line = source.take(End::Newline, HEADER_BYTES)?;
    if !line.is_whole() {
        return Err(EnvelopeError::HeaderTooLong);
    }
    Ok(Some(line.kept).filter(|line| !line.is_empty()))
}

fn object(line: &[u8]) -> Option<Map<String, Value>> {
    match read_json(line) {
        Ok(Value::Object(object)) => Some(object),
        _ => None,
    }
}
