//! Reads the body of an answer: at most 64 kB, both before and after decompression.

use std::io::{self, Read};

use flate2::read::{DeflateDecoder, MultiGzDecoder, ZlibDecoder};
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use hyper::header::{self, HeaderMap};
use shared::model::FailureReason;

use super::super::Failure;
use super::super::attempt::Progress;
use super::exchange::{Exchange, failure_of};
use crate::net::Phase;

/// Longer bodies are refused, compressed or not.
const BODY_BYTES: usize = 64 * 1024;

/// How a body is compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Coding {
    Gzip,
    Deflate,
}

/// The whole body, decompressed.
pub(super) async fn read_whole(exchange: &mut Exchange, progress: &mut Progress) -> Result<Vec<u8>, Failure> {
    let coding = coding_of(&exchange.headers)?;
    progress.trace.start(Phase::Transfer);
    let mut bytes = Vec::new();
    let whole = read_into(&mut exchange.body, BODY_BYTES, &mut bytes).await?;
    progress.trace.stop();
    if !whole {
        return Err(too_large());
    }
    let Some(coding) = coding else { return Ok(bytes) };
    let mut decoded = Vec::new();
    decode(coding, &bytes, BODY_BYTES, &mut decoded)
        .map_err(|_| Failure::new(FailureReason::Protocol, "the body can't be decompressed"))?;
    if decoded.len() > BODY_BYTES { Err(too_large()) } else { Ok(decoded) }
}

fn too_large() -> Failure {
    Failure::new(FailureReason::BodyTooLarge, "the body is longer than the 64 kB that are read for its conditions")
}

/// Reads until the end (true) or the limit (false). What was read stays in `bytes` when the read is cut off.
pub(super) async fn read_into(body: &mut Incoming, limit: usize, bytes: &mut Vec<u8>) -> Result<bool, Failure> {
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|error| {
            let failure = failure_of(&error);
            match failure.reason {
                FailureReason::ConnectionReset => {
                    Failure::new(failure.reason, "the connection was closed within the body")
                }
                _ => failure,
            }
        })?;
        let Some(data) = frame.data_ref() else { continue };
        let room = limit - bytes.len();
        if data.len() > room {
            bytes.extend(data.iter().take(room));
            return Ok(false);
        }
        bytes.extend_from_slice(data);
    }
    Ok(true)
}

/// The beginning of a body, decompressed as far as possible.
pub(super) fn decoded_beginning(headers: &HeaderMap, bytes: Vec<u8>) -> Vec<u8> {
    let Ok(Some(coding)) = coding_of(headers) else { return bytes };
    let mut decoded = Vec::new();
    let _cut_off_is_fine = decode(coding, &bytes, bytes.len() * 4, &mut decoded);
    decoded
}

/// How the body is compressed, although we asked for `identity`.
fn coding_of(headers: &HeaderMap) -> Result<Option<Coding>, Failure> {
    let Some(coding) = headers.get(header::CONTENT_ENCODING) else { return Ok(None) };
    let coding = String::from_utf8_lossy(coding.as_bytes()).trim().to_ascii_lowercase();
    match coding.as_str() {
        "" | "identity" => Ok(None),
        "gzip" | "x-gzip" => Ok(Some(Coding::Gzip)),
        "deflate" => Ok(Some(Coding::Deflate)),
        _ => Err(Failure::new(FailureReason::Protocol, "the body has an unsupported Content-Encoding")),
    }
}

/// Decompresses up to one byte more than the limit, which shows that there is more.
fn decode(coding: Coding, bytes: &[u8], limit: usize, decoded: &mut Vec<u8>) -> io::Result<()> {
    let most = u64::try_from(limit).unwrap_or(u64::MAX).saturating_add(1);
    match coding {
        Coding::Gzip => MultiGzDecoder::new(bytes).take(most).read_to_end(decoded),
        // Servers send it with zlib's header, as the standard says, or without.
        Coding::Deflate => match ZlibDecoder::new(bytes).take(most).read_to_end(decoded) {
            Err(_) if decoded.is_empty() => DeflateDecoder::new(bytes).take(most).read_to_end(decoded),
            result => result,
        },
    }?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use flate2::Compression;
    use flate2::write::{DeflateEncoder, GzEncoder, ZlibEncoder};

    use super::*;

    fn decoded(coding: Coding, bytes: &[u8]) -> io::Result<Vec<u8>> {
        let mut decoded = Vec::new();
        decode(coding, bytes, BODY_BYTES, &mut decoded).map(|()| decoded)
    }

    #[test]
    fn each_coding_is_decoded() {
        let mut gzip = GzEncoder::new(Vec::new(), Compression::fast());
        gzip.write_all(b"hello").unwrap();
        assert_eq!(decoded(Coding::Gzip, &gzip.finish().unwrap()).unwrap(), b"hello");
        let mut zlib = ZlibEncoder::new(Vec::new(), Compression::fast());
        zlib.write_all(b"hello").unwrap();
        assert_eq!(decoded(Coding::Deflate, &zlib.finish().unwrap()).unwrap(), b"hello");
        let mut raw = DeflateEncoder::new(Vec::new(), Compression::fast());
        raw.write_all(b"hello").unwrap();
        assert_eq!(decoded(Coding::Deflate, &raw.finish().unwrap()).unwrap(), b"hello");
    }

    #[test]
    fn a_decompression_bomb_stops_at_the_limit() {
        let mut gzip = GzEncoder::new(Vec::new(), Compression::best());
        for _ in 0..160 {
            gzip.write_all(&[0; 65_536]).unwrap();
        }
        let bomb = gzip.finish().unwrap();
        assert!(bomb.len() < BODY_BYTES);
        assert_eq!(decoded(Coding::Gzip, &bomb).unwrap().len(), BODY_BYTES + 1);
    }

    #[test]
    fn a_corrupt_body_and_an_unknown_coding_are_errors() {
        assert!(decoded(Coding::Gzip, b"nonsense").is_err());
        let headers = HeaderMap::from_iter([(header::CONTENT_ENCODING, "br".parse().unwrap())]);
        assert_eq!(coding_of(&headers).unwrap_err().reason, FailureReason::Protocol);
    }
}
