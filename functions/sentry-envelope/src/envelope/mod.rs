//! Sentry's envelope format, pure: bytes in, items out. Knows no HTTP.
//!
//! ```text
//! {"event_id":"…","dsn":"…"}        the envelope's header: one line of JSON
//! {"type":"event","length":41}      an item's header: one line of JSON
//! …41 bytes…                        its payload, and a newline
//! {"type":"session"}                without `length`, the payload
//! …                                 ends with its line
//! ```
//!
//! The source is read as a stream: payloads that nobody wants ([`ItemKind::kept_bytes`]) are passed over without being
//! kept, and lengths that an item claims are never believed before the bytes are there. Lenient where that is safe:
//! empty lines between items, CRLF, a missing last newline, a byte order mark.
//!
//! User: [`crate::contents`]. Source of the format: <https://develop.sentry.dev/sdk/data-model/envelopes/>.

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

/// An envelope may have this many items. SDKs send a handful.
pub const ITEMS: usize = 100;

/// A header's line may have this many bytes.
pub const HEADER_BYTES: usize = 64 * 1024;

/// Why an envelope can't be read on. Items are counted from 1.
#[derive(Debug, thiserror::Error)]
pub enum EnvelopeError {
    /// There is nothing.
    #[error("the envelope is empty")]
    Empty,
    /// Its first line is no JSON object.
    #[error("the envelope's header is not a JSON object")]
    Header,
    /// The header of an item is no JSON object.
    #[error("the header of item {0} is not a JSON object")]
    ItemHeader(usize),
    /// A line that should be a header goes on and on.
    #[error("a header has more than {HEADER_BYTES} bytes")]
    HeaderTooLong,
    /// The `length` of an item is no number of bytes.
    #[error("`length` of item {0} is not a number of bytes")]
    Length(usize),
    /// The envelope ends within the payload of an item.
    #[error("the payload of item {0} is cut off")]
    CutOff(usize),
    /// There is no newline where the `length` of an item ends.
    #[error("the payload of item {0} does not end where its `length` says")]
    Unterminated(usize),
    /// More than [`ITEMS`].
    #[error("the envelope has more than {ITEMS} items")]
    TooManyItems,
    /// It is larger than it may be when decompressed.
    #[error(transparent)]
    TooMuch(TooMuch),
    /// Its compression is broken, or ends too early.
    #[error("the body can't be decompressed")]
    Compression(#[source] io::Error),
}

impl EnvelopeError {
    /// Whether its sender has made it to grow when it is decompressed.
    #[must_use]
    pub fn is_bomb(&self) -> bool {
        matches!(self, Self::TooMuch(TooMuch::Ratio))
    }

    /// Whether it has more of something than it may have.
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

/// What the envelope says of itself.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Header {
    /// The id of the event in it.
    pub event_id: Option<Uuid>,
    /// The DSN it is for: tunnels send it here instead of in HTTP's headers.
    pub dsn: Option<String>,
}

/// One item.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Item {
    /// Its place, from 1.
    pub number: usize,
    /// What it is.
    pub kind: ItemKind,
    /// What it holds.
    pub payload: Payload,
}

/// What an item holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Payload {
    /// All of it.
    Kept(Vec<u8>),
    /// Nobody wants it.
    Skipped,
    /// It has more bytes than an item of its kind may have.
    TooLarge,
}

/// An envelope that is being read: an iterator over its items. After an error there are no more.
pub struct Envelope<R> {
    source: Source<R>,
    header: Header,
    items: usize,
    ended: bool,
}

impl<R: BufRead> Envelope<R> {
    /// Reads the envelope's header.
    ///
    /// # Errors
    /// When there is none.
    pub fn open(source: R) -> Result<Self, EnvelopeError> {
        let mut source = Source::new(source);
        let line = header_line(&mut source)?.ok_or(EnvelopeError::Empty)?;
        let header = object(&line).ok_or(EnvelopeError::Header)?;
        let text = |name: &str| header.get(name).and_then(Value::as_str);
        let header = Header { event_id: text("event_id").and_then(event_id), dsn: text("dsn").map(str::to_owned) };
        Ok(Self { source, header, items: 0, ended: false })
    }

    /// What the envelope says of itself.
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

/// All of a source that is no envelope but one payload of at most this many bytes.
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
    source.pass_over_blanks()?;
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
