//! Decompression, as a stream: what is not kept is never in memory as a whole, and nothing grows beyond the limit.
//!
//! Invariant: whatever the bytes say, a decoder holds no more than its window (zstd 8 MiB, as RFC 9659 has it for HTTP;
//! brotli 16 MiB; deflate 32 KiB) and gives no more than [`DECODED_BYTES`]. User: the envelope parser.

use std::io::{self, BufRead, BufReader, Read};

use axum::http::HeaderMap;
use axum::http::header::CONTENT_ENCODING;
use brotli_decompressor::Decompressor as BrotliDecoder;
use flate2::bufread::{DeflateDecoder, MultiGzDecoder, ZlibDecoder};
use ruzstd::decoding::errors::{FrameDecoderError, ReadFrameHeaderError};
use ruzstd::decoding::{BlockDecodingStrategy, FrameDecoder};

/// A body may have this many bytes when it is decompressed.
pub const DECODED_BYTES: u64 = 20 * 1024 * 1024;

/// What zstd in HTTP may look back to (RFC 9659).
const ZSTD_WINDOW_BYTES: u64 = 8 * 1024 * 1024;

/// How a body is compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Encoding {
    /// Not at all.
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

/// An encoding that we don't read, or several on top of each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("Content-Encoding must be one of gzip, deflate, br, zstd, identity")]
pub struct Unsupported;

/// More bytes than [`DECODED_BYTES`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("more than {DECODED_BYTES} bytes when decompressed")]
pub struct TooMuch;

impl TooMuch {
    /// Whether this is why reading has failed.
    #[must_use]
    pub fn is_in(error: &io::Error) -> bool {
        error.get_ref().is_some_and(|inner| inner.is::<Self>())
    }
}

impl Encoding {
    /// The encoding that a request names; none means that it is as it is.
    ///
    /// # Errors
    /// When it is one that we don't read, or more than one.
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

    /// What these bytes hold. Reading fails with [`TooMuch`] beyond the limit, and with any other error where the bytes
    /// are not of this encoding or end too early.
    #[must_use]
    pub fn decode(self, bytes: &[u8]) -> Box<dyn BufRead + '_> {
        match self {
            Self::Identity => Box::new(Bounded::new(bytes)),
            Self::Gzip => decoded(MultiGzDecoder::new(bytes)),
            Self::Deflate if begins_as_zlib(bytes) => decoded(ZlibDecoder::new(bytes)),
            Self::Deflate => decoded(DeflateDecoder::new(bytes)),
            // The decoder would take them; what it can't read fails as every broken stream does.
            Self::Brotli if has_large_window(bytes) => decoded(BrotliDecoder::new(&[][..], 1)),
            Self::Brotli => decoded(BrotliDecoder::new(bytes, 4096)),
            Self::Zstd => decoded(ZstdDecoder::new(bytes)),
        }
    }
}

fn decoded<'a>(decoder: impl Read + 'a) -> Box<dyn BufRead + 'a> {
    Box::new(Bounded::new(BufReader::with_capacity(16 * 1024, decoder)))
}

/// The two bytes that zlib begins with: method 8, and a checksum over both.
fn begins_as_zlib(bytes: &[u8]) -> bool {
    matches!(bytes, [method, flags, ..] if method & 0x0f == 8 && u16::from_be_bytes([*method, *flags]) % 31 == 0)
}

/// Brotli's extension for windows of up to 1 GiB: RFC 7932, which HTTP uses, has these bits for no window.
fn has_large_window(bytes: &[u8]) -> bool {
    bytes.first().is_some_and(|first| first & 0x7f == 0x11)
}

/// Lets the first [`DECODED_BYTES`] pass, and fails if there are more.
struct Bounded<R> {
    source: R,
    left: u64,
}

impl<R> Bounded<R> {
    fn new(source: R) -> Self {
        Self { source, left: DECODED_BYTES }
    }
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
            return Err(io::Error::other(TooMuch));
        }
        Ok(&ready[..allowed])
    }

    fn consume(&mut self, amount: usize) {
        self.left = self.left.saturating_sub(amount as u64);
        self.source.consume(amount);
    }
}

/// Reads one zstd frame after the other. (`ruzstd` has a reader too: of one frame, with a window of up to 128 MiB.)
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

    /// Goes to the next frame with content; false when there is none.
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
                // One block has 128 KiB at most.
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
mod tests {
    use std::io::Write as _;

    use axum::http::HeaderValue;
    use flate2::Compression;
    use flate2::write::{DeflateEncoder, GzEncoder, ZlibEncoder};
    use proptest::prelude::*;

    use super::*;

    const PLAIN: &[u8] = include_bytes!("../fixtures/py-2.envelope");
    /// By the libraries that SDKs compress with; zstd as two frames with a skippable one in between.
    const BROTLI: &[u8] = include_bytes!("../fixtures/py-2.envelope.br");
    const ZSTD: &[u8] = include_bytes!("../fixtures/py-2.envelope.zst");
    /// 809 bytes that would be 1 GiB.
    const BROTLI_BOMB: &[u8] = include_bytes!("../fixtures/bomb.br");

    fn gzip(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }

    fn zlib(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = ZlibEncoder::new(Vec::new(), Compression::best());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }

    fn deflate(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = DeflateEncoder::new(Vec::new(), Compression::best());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }

    /// Every encoding, with the same content.
    fn encoded() -> [(Encoding, Vec<u8>); 6] {
        [
            (Encoding::Identity, PLAIN.to_vec()),
            (Encoding::Gzip, gzip(PLAIN)),
            (Encoding::Deflate, zlib(PLAIN)),
            (Encoding::Deflate, deflate(PLAIN)),
            (Encoding::Brotli, BROTLI.to_vec()),
            (Encoding::Zstd, ZSTD.to_vec()),
        ]
    }

    /// A frame of blocks that say "128 KiB of zeros" in four bytes.
    fn zstd_bomb(blocks: usize) -> Vec<u8> {
        let block = u32::to_le_bytes((128 * 1024) << 3 | 0b01 << 1);
        let mut frame = vec![0x28, 0xb5, 0x2f, 0xfd, 0, 13 << 3];
        (0..blocks).for_each(|_| frame.extend_from_slice(&[block[0], block[1], block[2], 0]));
        frame
    }

    fn read(encoding: Encoding, bytes: &[u8]) -> io::Result<Vec<u8>> {
        let mut decoded = Vec::new();
        encoding.decode(bytes).read_to_end(&mut decoded).map(|_| decoded)
    }

    /// Passes over everything; how many bytes came, and what ended it.
    fn pass_over(encoding: Encoding, bytes: &[u8]) -> (u64, io::Result<()>) {
        let mut source = encoding.decode(bytes);
        let mut passed = 0;
        loop {
            match source.fill_buf().map(<[u8]>::len) {
                Ok(0) => return (passed, Ok(())),
                Ok(ready) => {
                    passed += ready as u64;
                    source.consume(ready);
                }
                Err(error) => return (passed, Err(error)),
            }
        }
    }

    /// The most memory that this process (one test, under nextest) has ever had, in bytes.
    fn peak_memory() -> u64 {
        let status = std::fs::read_to_string("/proc/self/status").unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
        line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() * 1024
    }

    #[test]
    fn every_encoding_is_read() {
        for (encoding, bytes) in encoded() {
            assert_eq!(read(encoding, &bytes).unwrap(), PLAIN, "{encoding:?}");
        }
        let two_members = [gzip(b"one "), gzip(b"two")].concat();
        assert_eq!(read(Encoding::Gzip, &two_members).unwrap(), b"one two");
    }

    #[test]
    fn what_is_cut_off_or_broken_fails_after_what_was_whole() {
        for (encoding, bytes) in encoded().into_iter().skip(1) {
            for cut in (0..bytes.len()).step_by(7) {
                // An empty body is no body: the parser says so.
                assert!(cut == 0 || read(encoding, &bytes[..cut]).is_err(), "{encoding:?} cut at {cut}");
            }
            for start in [&b"{\"event_id\""[..], b"\x00\x00\x00", b"\xff\xff\xff\xff", b"\x11\x22\x33"] {
                assert!(read(encoding, start).is_err(), "{encoding:?} of {start:?}");
            }
        }
    }

    #[test]
    fn bombs_are_stopped_at_the_limit_and_do_not_grow_in_memory() {
        let zeros = vec![0; 32 * 1024 * 1024];
        let bombs = [
            (Encoding::Gzip, gzip(&zeros)),
            (Encoding::Deflate, zlib(&zeros)),
            (Encoding::Deflate, deflate(&zeros)),
            (Encoding::Brotli, BROTLI_BOMB.to_vec()),
            (Encoding::Zstd, zstd_bomb(8 * 1024)),
            (Encoding::Identity, zeros.clone()),
        ];
        let before = peak_memory();
        for (encoding, bomb) in bombs {
            let (passed, ended) = pass_over(encoding, &bomb);
            assert_eq!(passed, DECODED_BYTES, "{encoding:?}");
            assert!(ended.is_err_and(|error| TooMuch::is_in(&error)), "{encoding:?}");
        }
        // Brotli's window of 16 MiB, and a copy of it.
        let grown = peak_memory() - before;
        assert!(grown < 40 * 1024 * 1024, "{grown} bytes more");
    }

    #[test]
    fn very_many_empty_frames_are_passed_over() {
        let empty = [0x28, 0xb5, 0x2f, 0xfd, 0, 13 << 3, 1, 0, 0];
        assert_eq!(pass_over(Encoding::Zstd, &empty.repeat(100_000)).0, 0);
        assert_eq!(pass_over(Encoding::Gzip, &gzip(b"").repeat(50_000)).0, 0);
    }

    #[test]
    fn twenty_mebibytes_are_not_too_much() {
        let largest = vec![b' '; usize::try_from(DECODED_BYTES).unwrap()];
        let (passed, ended) = pass_over(Encoding::Gzip, &gzip(&largest));
        assert_eq!((passed, ended.is_ok()), (DECODED_BYTES, true));
    }

    #[test]
    fn windows_that_http_does_not_allow_are_refused() {
        // 128 MiB, as `zstd --long` makes them; and brotli's large window.
        let zstd = [&[0x28, 0xb5, 0x2f, 0xfd, 0, 17 << 3][..], &zstd_bomb(1)[6..]].concat();
        assert!(read(Encoding::Zstd, &zstd).is_err());
        assert!(read(Encoding::Zstd, &zstd_bomb(0)).is_err(), "a frame without an end");
        assert!(read(Encoding::Brotli, &[0x11, 0x1e, 0x0b, 0x02, 0x80, 0x61, 0x03]).is_err());
    }

    #[test]
    fn one_encoding_that_we_know_may_be_named() {
        let named = |values: &[&'static [u8]]| {
            let value = |value: &&'static [u8]| (CONTENT_ENCODING, HeaderValue::from_bytes(value).unwrap());
            Encoding::of(&HeaderMap::from_iter(values.iter().map(value)))
        };
        assert_eq!(Encoding::of(&HeaderMap::new()), Ok(Encoding::Identity));
        for (value, wanted) in [
            (&b"gzip"[..], Encoding::Gzip),
            (b" GZip ", Encoding::Gzip),
            (b"deflate", Encoding::Deflate),
            (b"br", Encoding::Brotli),
            (b"zstd", Encoding::Zstd),
            (b"identity", Encoding::Identity),
            (b"", Encoding::Identity),
        ] {
            assert_eq!(named(&[value]), Ok(wanted), "{value:?}");
        }
        for wrong in [&[&b"gzip, br"[..]][..], &[b"br,gzip"], &[b"compress"], &[b"\xff"], &[b"gzip", b"gzip"]] {
            assert_eq!(named(wrong), Err(Unsupported), "{wrong:?}");
        }
    }

    proptest! {
        #[test]
        fn no_bytes_panic_whatever_they_are_taken_for(bytes in prop::collection::vec(any::<u8>(), 0..600)) {
            for (encoding, _) in encoded() {
                let _ = pass_over(encoding, &bytes);
            }
        }

        #[test]
        fn nothing_panics_when_good_bytes_are_changed(
            changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
        ) {
            for (encoding, mut bytes) in encoded() {
                for (at, byte) in &changes {
                    let at = at.index(bytes.len());
                    bytes[at] = *byte;
                }
                let _ = pass_over(encoding, &bytes);
            }
        }
    }
}
