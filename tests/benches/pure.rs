//! The pure part of the error journey, from a request's bytes to the report that is written: `make bench-ingest`.
//!
//! It is compiled as the Lambdas are (for size), so these are the figures of what is deployed.
#![expect(clippy::expect_used, reason = "a benchmark of something broken has failed")]

use std::hint::black_box;
use std::time::Duration;

use axum::http::HeaderMap;
use chrono::{DateTime, Utc};
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use shared::classify::{Classification, Classifier};
use shared::fingerprint::Fingerprint;
use shared::model::Report;

/// Bodies of two sizes; `bench ingest` sends the same.
const BODIES: [(&str, &str); 2] =
    [("1 kB", include_str!("reports/1kB.json")), ("11 kB", include_str!("reports/11kB.json"))];

fn parse(body: &str, now: DateTime<Utc>) -> Report {
    report_error::parse::report(&HeaderMap::new(), body.as_bytes(), now).expect("the body should be a report")
}

/// What happens to each request before the database is asked.
fn decide(body: &str, classifier: &Classifier, now: DateTime<Utc>) -> (Classification, Fingerprint, Report) {
    let report = parse(body, now).storable();
    (classifier.classify(&report), Fingerprint::of_report(&report), report)
}

fn pure(criterion: &mut Criterion) {
    let classifier = Classifier::default();
    let now = Utc::now();
    for (size, body) in BODIES {
        let mut group = criterion.benchmark_group(size);
        group.warm_up_time(Duration::from_millis(500)).measurement_time(Duration::from_secs(2));
        group.throughput(Throughput::Bytes(body.len() as u64));
        let (parsed, stored) = (parse(body, now), parse(body, now).storable());
        group.bench_function("all", |bench| bench.iter(|| decide(black_box(body), &classifier, now)));
        group.bench_function("parse", |bench| bench.iter(|| parse(black_box(body), now)));
        group.bench_function("storable", |bench| {
            bench.iter_batched(|| parsed.clone(), Report::storable, criterion::BatchSize::SmallInput);
        });
        group.bench_function("classify", |bench| bench.iter(|| classifier.classify(black_box(&stored))));
        group.bench_function("fingerprint", |bench| bench.iter(|| Fingerprint::of_report(black_box(&stored))));
        group.finish();
    }
}

criterion_group!(benches, pure);
criterion_main!(benches);
