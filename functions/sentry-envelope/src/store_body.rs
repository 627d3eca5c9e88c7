//! The body of `/store/`: one event, as SDKs sent it before envelopes existed. The oldest SDKs sent base64 of zlib.

use std::io::BufRead;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;

use crate::encoding::Encoding;
use crate::envelope::{EVENT_BYTES, EnvelopeError, Payload, whole};

/// The event's bytes.
///
/// # Errors
/// When they can't be decompressed, or are too large.
pub fn read(encoding: Encoding, bytes: &[u8]) -> Result<Payload, EnvelopeError> {
    let payload = event(encoding.decode(bytes))?;
    let Payload::Kept(text) = &payload else { return Ok(payload) };
    if text.trim_ascii_start().starts_with(b"{") {
        return Ok(payload);
    }
    match BASE64.decode(text.trim_ascii()) {
        Ok(packed) if !packed.is_empty() => event(Encoding::Deflate.decode_of(&packed, bytes.len())),
        _ => Ok(payload),
    }
}

fn event(source: impl BufRead) -> Result<Payload, EnvelopeError> {
    whole(source, EVENT_BYTES)
}
