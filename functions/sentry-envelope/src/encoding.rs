//! Streaming decompression with bounded memory and output.
//!
//! Invariant: for any input, a decoder allocates no more than its window (zstd 8 MiB, as RFC 9659 has it for HTTP;
//! brotli 16 MiB; deflate 32 KiB) and outputs no more than [`DECODED_BYTES`], nor more than [`RATIO`] times its input
//! where that is more than [`FREE_BYTES`].

use std::io::{self, BufRead, BufReader, Read};

use axum::http::HeaderMap;
use axum::http::header::CONTENT_ENCODING;
use brotli_decompressor::Decompressor as BrotliDecoder;
use flate2::bufread::{DeflateDecoder, MultiGzDecoder, ZlibDecoder};
use ruzstd::decoding::errors::{FrameDecoderError, ReadFrameHeaderError};
use ruzstd::decoding::{BlockDecodingStrategy, FrameDecoder};

use crate::envelope::{EVENT_BYTES, HEADER_BYTES};

/// The most bytes of a decompressed body.
pub const DECODED_BYTES: u64 = 20 * 1024 * 1024;

/// The ratio is not limited below this size: the largest event with its headers.
pub const FREE_BYTES: u64 = (EVENT_BYTES + 2 * HEADER_BYTES) as u64;

/// The highest compression ratio beyond [`FREE_BYTES`]. Measured on bulk data of SDKs (deep recursions, breadcrumbs,
/// logs, sparse dumps), gzip and brotli reach 10 to 80; on one repeated line 200 to 350. Bombs reach 1,000 (gzip) and
/// many more (brotli, zstd).
pub const RATIO: u64 = 100;

/// The largest zstd window in HTTP (RFC 9659).
const ZSTD_WINDOW_BYTES: u64 = 8 * 1024 * 1024;

/// How a body is compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Encoding {
    /// Not compressed.
    Identity,
    /// gzip.
    Gzip,
    /// deflate: zlib as the standard says, or raw as many have sent it.
    Deflate,
    /// Brotli.
    Brotli,
    /// Zstandard.
    Zstd,
}

/// An unsupported encoding, or several.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("Content-Encoding must be one of gzip, deflate, br, zstd, identity")]
pub struct Unsupported;

/// The limit that a decompressed body exceeds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TooMuch {
    /// The size.
    #[error("more than {DECODED_BYTES} bytes when decompressed")]
    Bytes,
    /// The compression ratio: a decompression bomb.
    #[error("more than {RATIO} times as many bytes when decompressed")]
    Ratio,
}

impl TooMuch {
    /// The limit for a body of so many bytes as sent, and the error beyond it.
    fn limit(sent: usize) -> (u64, Self) {
        let by_ratio = (sent as u64).saturating_mul(RATIO).max(FREE_BYTES);
        if by_ratio < DECODED_BYTES { (by_ratio, Self::Ratio) } else { (DECODED_BYTES, Self::Bytes) }
    }

    /// The limit that caused this error, if one did.
    #[must_use]
    pub fn in_error(error: &io::Error) -> Option<Self> {
        error.get_ref().and_then(|inner| inner.downcast_ref()).copied()
    }
}

impl Encoding {
    /// The encoding that the request's header names; default: identity.
    ///
    /// # Errors
    /// When it is unsupported, or more than one.
    pub fn of(headers: &HeaderMap) -> Result<Self, Unsupported> {
        let mut named = headers.get_all(CONTENT_ENCODING).iter();
        let Some(value) = named.next() else { return Ok(Self::Identity) };
        if named.next().is_some() {
            return Err(Unsupported);
        }
        match value.to_str().map_err(|_| Unsupported)?.trim().to_ascii_lowercase().as_str() {
            "" | "identity" => Ok(Self::Identity),
            "gzip" | "x-gzip" => Ok(Self::Gzip),
            "deflate" => Ok(Self::Deflate),
            "br" => Ok(Self::Brotli),
            "zstd" => Ok(Self::Zstd),
            _ => Err(Unsupported),
        }
    }

    /// Decompresses a whole body. Reading fails with [`TooMuch`] beyond the limits, and with another error where the
    /// bytes are invalid or truncated.
    #[must_use]
    pub fn decode(self, bytes: &[u8]) -> Box<dyn BufRead + '_> {
        self.decode_of(bytes, bytes.len())
    }

    /// The same, for bytes that were decoded from a body of so many bytes as sent.
    #[must_use]
    pub fn decode_of(self, bytes: &[u8], sent: usize) -> Box<dyn BufRead + '_> {
        let decoder: Box<dyn Read + '_> = match self {
            Self::Identity => return Box::new(Bounded { source: bytes, left: DECODED_BYTES, beyond: TooMuch::Bytes }),
            Self::Gzip => Box::new(MultiGzDecoder::new(bytes)),
            Self::Deflate if begins_as_zlib(bytes) => Box::new(ZlibDecoder::new(bytes)),
            Self::Deflate => Box::new(DeflateDecoder::new(bytes)),
            // The decoder would accept large windows: an empty input makes it fail like any invalid stream.
            Self::Brotli if has_large_window(bytes) => Box::new(BrotliDecoder::new(&[][..], 1)),
            Self::Brotli => Box::new(BrotliDecoder::new(bytes, 4096)),
            Self::Zstd => Box::new(ZstdDecoder::new(bytes)),
        };
        let (left, beyond) = TooMuch::limit(sent);
        Box::new(Bounded { source: BufReader::with_capacity(16 * 1024, decoder), left, beyond })
    }
}

/// Whether the bytes start with zlib's header: method 8, and a checksum over both bytes.
fn begins_as_zlib(bytes: &[u8]) -> bool {
    matches!(bytes, [method, flags, ..] if method & 0x0f == 8 && u16::from_be_bytes([*method, *flags]) % 31 == 0)
}

/// Brotli's extension for windows of up to 1 GiB; RFC 7932, which HTTP uses, has no window with these bits.
fn has_large_window(bytes: &[u8]) -> bool {
    bytes.first().is_some_and(|first| first & 0x7f == 0x11)
}

/// Passes so many bytes, then fails if there are more.
struct Bounded<R> {
    source: R,
    left: u64,
    beyond: TooMuch,
}

impl<R: BufRead> Read for Bounded<R> {
    fn read(&mut self, target: &mut [u8]) -> io::Result<usize> {
        let mut ready = self.fill_buf()?;
        let read = ready.read(target)?;
        self.consume(read);
        Ok(read)
    }
}

impl<R: BufRead> BufRead for Bounded<R> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        let ready = self.source.fill_buf()?;
        let allowed = usize::try_from(self.left).map_or(ready.len(), |left| ready.len().min(left));
        if allowed == 0 && !ready.is_empty() {
            return Err(io::Error::other(self.beyond));
        }
        Ok(&ready[..allowed])
    }

    fn consume(&mut self, amount: usize) {
        self.left = self.left.saturating_sub(amount as u64);
        self.source.consume(amount);
    }
}

/// Decodes zstd frames one after the other. (`ruzstd`'s own reader stops after one frame, and allows windows of 128
/// MiB.)
struct ZstdDecoder<'a> {
    source: &'a [u8],
    frame: FrameDecoder,
    in_frame: bool,
}

impl<'a> ZstdDecoder<'a> {
    fn new(source: &'a [u8]) -> Self {
        let mut frame = FrameDecoder::new();
        frame.set_max_window_size(ZSTD_WINDOW_BYTES);
        Self { source, frame, in_frame: false }
    }

    /// Starts the next frame with content; false at the end.
    fn next_frame(&mut self) -> io::Result<bool> {
        while !self.source.is_empty() {
            match self.frame.reset(&mut self.source) {
                Ok(()) => return Ok(true),
                Err(FrameDecoderError::ReadFrameHeaderError(ReadFrameHeaderError::SkipFrame { length, .. })) => {
                    let length = usize::try_from(length).unwrap_or(usize::MAX);
                    self.source = self.source.get(length..).ok_or(io::ErrorKind::UnexpectedEof)?;
                }
                Err(error) => return Err(io::Error::other(error)),
            }
        }
        Ok(false)
    }
}

impl Read for ZstdDecoder<'_> {
    fn read(&mut self, target: &mut [u8]) -> io::Result<usize> {
        loop {
            if self.in_frame && self.frame.can_collect() > 0 {
                return self.frame.read(target);
            }
            if self.in_frame && !self.frame.is_finished() {
                // A block has at most 128 KiB.
                let blocks = BlockDecodingStrategy::UptoBlocks(1);
                self.frame.decode_blocks(&mut self.source, blocks).map_err(io::Error::other)?;
                continue;
            }
            self.in_frame = self.next_frame()?;
            if !self.in_frame {
                return Ok(0);
            }
        }
    }
}

#[cfg(test)]
mod tests;
