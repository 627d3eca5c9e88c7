//! The body of an answer, as far as it is read: at most 64 kB, before and after it is unpacked.

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

/// Longer bodies are not read, and not unpacked.
const BODY_BYTES: usize = 64 * 1024;

/// How a body is packed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Coding {
    Gzip,
    Deflate,
}

/// The whole body, unpacked.
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
    let mut unpacked = Vec::new();
    unpack(coding, &bytes, BODY_BYTES, &mut unpacked)
        .map_err(|_| Failure::new(FailureReason::Protocol, "the body can't be unpacked"))?;
    if unpacked.len() > BODY_BYTES { Err(too_large()) } else { Ok(unpacked) }
}

fn too_large() -> Failure {
    Failure::new(FailureReason::BodyTooLarge, "the body is longer than the 64 kB that are read for its conditions")
}

/// Reads until the end, and says so, or until there is more than the limit. What has been read stays when it is cut off.
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

/// The beginning of a body, unpacked as far as it goes.
pub(super) fn decoded_beginning(headers: &HeaderMap, bytes: Vec<u8>) -> Vec<u8> {
    let Ok(Some(coding)) = coding_of(headers) else { return bytes };
    let mut unpacked = Vec::new();
    let _cut_off_is_fine = unpack(coding, &bytes, bytes.len() * 4, &mut unpacked);
    unpacked
}

/// How the body is packed, although that was not asked for.
fn coding_of(headers: &HeaderMap) -> Result<Option<Coding>, Failure> {
    let Some(coding) = headers.get(header::CONTENT_ENCODING) else { return Ok(None) };
    let coding = String::from_utf8_lossy(coding.as_bytes()).trim().to_ascii_lowercase();
    match coding.as_str() {
        "" | "identity" => Ok(None),
        "gzip" | "x-gzip" => Ok(Some(Coding::Gzip)),
        "deflate" => Ok(Some(Coding::Deflate)),
        _ => Err(Failure::new(FailureReason::Protocol, "the body is packed in a way that was not asked for")),
    }
}

/// Unpacks up to one byte more than the limit, which tells that there is more.
fn unpack(coding: Coding, bytes: &[u8], limit: usize, unpacked: &mut Vec<u8>) -> io::Result<()> {
    let most = u64::try_from(limit).unwrap_or(u64::MAX).saturating_add(1);
    match coding {
        Coding::Gzip => MultiGzDecoder::new(bytes).take(most).read_to_end(unpacked),
        // Some send it with zlib's header, as they should, some without.
        Coding::Deflate => match ZlibDecoder::new(bytes).take(most).read_to_end(unpacked) {
            Err(_) if unpacked.is_empty() => DeflateDecoder::new(bytes).take(most).read_to_end(unpacked),
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

    fn unpacked(coding: Coding, bytes: &[u8]) -> io::Result<Vec<u8>> {
        let mut unpacked = Vec::new();
        unpack(coding, bytes, BODY_BYTES, &mut unpacked).map(|()| unpacked)
    }

    #[test]
    fn each_way_of_packing_is_understood() {
        let mut gzip = GzEncoder::new(Vec::new(), Compression::fast());
        gzip.write_all(b"hello").unwrap();
        assert_eq!(unpacked(Coding::Gzip, &gzip.finish().unwrap()).unwrap(), b"hello");
        let mut zlib = ZlibEncoder::new(Vec::new(), Compression::fast());
        zlib.write_all(b"hello").unwrap();
        assert_eq!(unpacked(Coding::Deflate, &zlib.finish().unwrap()).unwrap(), b"hello");
        let mut raw = DeflateEncoder::new(Vec::new(), Compression::fast());
        raw.write_all(b"hello").unwrap();
        assert_eq!(unpacked(Coding::Deflate, &raw.finish().unwrap()).unwrap(), b"hello");
    }

    #[test]
    fn a_bomb_does_not_grow_beyond_the_limit() {
        let mut gzip = GzEncoder::new(Vec::new(), Compression::best());
        for _ in 0..160 {
            gzip.write_all(&[0; 65_536]).unwrap();
        }
        let bomb = gzip.finish().unwrap();
        assert!(bomb.len() < BODY_BYTES);
        assert_eq!(unpacked(Coding::Gzip, &bomb).unwrap().len(), BODY_BYTES + 1);
    }

    #[test]
    fn what_is_broken_is_an_error_and_what_is_unknown_too() {
        assert!(unpacked(Coding::Gzip, b"nonsense").is_err());
        let headers = HeaderMap::from_iter([(header::CONTENT_ENCODING, "br".parse().unwrap())]);
        assert_eq!(coding_of(&headers).unwrap_err().reason, FailureReason::Protocol);
    }
}
