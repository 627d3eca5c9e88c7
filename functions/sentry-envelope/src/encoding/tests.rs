//! Every encoding: valid, truncated, and as a bomb.

use std::io::Write as _;

use axum::http::HeaderValue;
use flate2::Compression;
use flate2::write::{DeflateEncoder, GzEncoder, ZlibEncoder};
use proptest::prelude::*;

use super::*;

const PLAIN: &[u8] = include_bytes!("../../fixtures/py-2.envelope");
/// Compressed by the libraries that SDKs use; zstd as two frames with a skippable one in between.
const BROTLI: &[u8] = include_bytes!("../../fixtures/py-2.envelope.br");
const ZSTD: &[u8] = include_bytes!("../../fixtures/py-2.envelope.zst");
/// 809 bytes that decompress to 1 GiB.
const BROTLI_BOMB: &[u8] = include_bytes!("../../fixtures/bomb.br");

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

/// The same content in every encoding.
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

/// A frame of blocks that encode "128 KiB of zeros" in four bytes.
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

/// Skips everything; how many bytes were decoded, and the error at the end.
fn skip_all(encoding: Encoding, bytes: &[u8]) -> (u64, io::Result<()>) {
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

/// The peak memory of this process (one test, under nextest), in bytes.
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
fn truncated_and_invalid_bodies_fail() {
    for (encoding, bytes) in encoded().into_iter().skip(1) {
        for cut in (0..bytes.len()).step_by(7) {
            // An empty body is refused by the parser.
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
    ];
    let before = peak_memory();
    for (encoding, bomb) in bombs {
        let (passed, ended) = skip_all(encoding, &bomb);
        assert_eq!(passed, (bomb.len() as u64 * RATIO).max(FREE_BYTES), "{encoding:?}");
        assert_eq!(ended.err().as_ref().and_then(TooMuch::in_error), Some(TooMuch::Ratio), "{encoding:?}");
    }
    let (passed, ended) = skip_all(Encoding::Identity, &zeros);
    assert_eq!((passed, TooMuch::in_error(&ended.unwrap_err())), (DECODED_BYTES, Some(TooMuch::Bytes)));
    // Brotli's window of 16 MiB, and a copy of it.
    let grown = peak_memory() - before;
    assert!(grown < 40 * 1024 * 1024, "{grown} bytes more");
}

#[test]
fn nested_bombs_have_the_same_limit() {
    let inner = zlib(&vec![0; 32 * 1024 * 1024]);
    let sent = 200;
    let mut source = Encoding::Deflate.decode_of(&inner, sent);
    let mut passed = Vec::new();
    let ended = source.read_to_end(&mut passed).unwrap_err();
    assert_eq!((passed.len() as u64, TooMuch::in_error(&ended)), (FREE_BYTES, Some(TooMuch::Ratio)));
}

#[test]
fn many_empty_frames_are_skipped() {
    let empty = [0x28, 0xb5, 0x2f, 0xfd, 0, 13 << 3, 1, 0, 0];
    assert_eq!(skip_all(Encoding::Zstd, &empty.repeat(100_000)).0, 0);
    assert_eq!(skip_all(Encoding::Gzip, &gzip(b"").repeat(50_000)).0, 0);
}

#[test]
fn twenty_mebibytes_are_within_the_limits() {
    // A line of 64 bytes that differs in its number.
    let largest: String =
        (0..DECODED_BYTES / 64).map(|line| format!("{line:>20} {:<42}\n", "connection refused")).collect();
    assert_eq!(largest.len() as u64, DECODED_BYTES);
    for (more, expected) in [("", None), ("x", Some(TooMuch::Bytes))] {
        let sent = gzip(format!("{largest}{more}").as_bytes());
        let (passed, ended) = skip_all(Encoding::Gzip, &sent);
        let ratio = DECODED_BYTES / sent.len() as u64;
        assert_eq!(
            (passed, ended.err().and_then(|error| TooMuch::in_error(&error))),
            (DECODED_BYTES, expected),
            "{ratio}"
        );
    }
}

#[test]
fn the_largest_event_is_read_at_any_compression_ratio() {
    let most = vec![b' '; usize::try_from(FREE_BYTES).unwrap()];
    assert!(gzip(&most).len() as u64 * RATIO < FREE_BYTES);
    assert_eq!(read(Encoding::Gzip, &gzip(&most)).unwrap().len() as u64, FREE_BYTES);
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
fn one_supported_encoding_may_be_named() {
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
    fn arbitrary_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..600)) {
        for (encoding, _) in encoded() {
            let _ = skip_all(encoding, &bytes);
        }
    }

    #[test]
    fn changed_bytes_never_panic(
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
    ) {
        for (encoding, mut bytes) in encoded() {
            for (at, byte) in &changes {
                let at = at.index(bytes.len());
                bytes[at] = *byte;
            }
            let _ = skip_all(encoding, &bytes);
        }
    }
}
