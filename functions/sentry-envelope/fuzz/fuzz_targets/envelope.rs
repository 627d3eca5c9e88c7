//! From a body's bytes to reports: no input may panic, hang, or take more memory than an envelope may.
//!
//! The first byte chooses the encoding, the rest is the body.
#![no_main]

use chrono::DateTime;
use libfuzzer_sys::fuzz_target;
use sentry_envelope::contents::Contents;
use sentry_envelope::encoding::Encoding;
use sentry_envelope::envelope::Envelope;
use sentry_envelope::store_body;

const ENCODINGS: [Encoding; 5] =
    [Encoding::Identity, Encoding::Gzip, Encoding::Deflate, Encoding::Brotli, Encoding::Zstd];

fuzz_target!(|bytes: &[u8]| {
    let Some((first, body)) = bytes.split_first() else { return };
    let encoding = ENCODINGS[usize::from(*first) % ENCODINGS.len()];
    if let Ok(envelope) = Envelope::open(encoding.decode(body)) {
        let contents = Contents::of_envelope(envelope, 1, DateTime::UNIX_EPOCH);
        for report in contents.reports {
            let _ = report.storable();
        }
    }
    let _ = store_body::read(encoding, body);
});
