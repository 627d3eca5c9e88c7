//! The pure part of the report's path, from a request's bytes to the report that is stored: `make bench-ingest`.
//!
//! Compiled as the Lambdas are (for size), so the figures are those of the deployed code.
#![expect(clippy::expect_used, reason = "a benchmark of something broken has failed")]

use std::hint::black_box;
use std::time::Duration;

use aho_corasick::AhoCorasick;
use axum::http::{HeaderMap, HeaderName};
use bytes::Bytes;
use chrono::{DateTime, Utc};
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use regex::{Regex, RegexBuilder};
use secrecy::SecretString;
use sentry_webhook::payload::Delivery;
use sentry_webhook::resource::{Meaning, meaning};
use sentry_webhook::signature::{self, WebhookKind};
use shared::classify::{BUILT_IN, Classification, Classifier};
use shared::fingerprint::Fingerprint;
use shared::model::{Report, Severity};
use shared::redact::Redactor;

/// Bodies of two sizes; `bench ingest` sends the same.
const BODIES: [(&str, &str); 2] =
    [("1 kB", include_str!("reports/1kB.json")), ("11 kB", include_str!("reports/11kB.json"))];

fn parse(body: &str, now: DateTime<Utc>) -> Report {
    report_error::parse::report(&HeaderMap::new(), body.as_bytes(), now).expect("the body should be a report")
}

/// Everything before the database: redact, make storable, classify, fingerprint.
fn decide(report: Report, rules: &(Classifier, Redactor)) -> (Classification, Fingerprint, Report) {
    let report = rules.1.report(report).storable();
    (rules.0.classify(&report), Fingerprint::of_report(&report), report)
}

fn pure(criterion: &mut Criterion) {
    let rules = (Classifier::default(), Redactor::default());
    let now = Utc::now();
    for (size, body) in BODIES {
        let mut group = criterion.benchmark_group(size);
        group.warm_up_time(Duration::from_millis(500)).measurement_time(Duration::from_secs(2));
        group.throughput(Throughput::Bytes(body.len() as u64));
        let (parsed, stored) = (parse(body, now), parse(body, now).storable());
        group.bench_function("all", |bench| bench.iter(|| decide(parse(black_box(body), now), &rules)));
        group.bench_function("parse", |bench| bench.iter(|| parse(black_box(body), now)));
        group.bench_function("redact", |bench| {
            bench.iter_batched(|| parsed.clone(), |report| rules.1.report(report), criterion::BatchSize::SmallInput);
        });
        group.bench_function("storable", |bench| {
            bench.iter_batched(|| parsed.clone(), Report::storable, criterion::BatchSize::SmallInput);
        });
        group.bench_function("classify", |bench| bench.iter(|| rules.0.classify(black_box(&stored))));
        group.bench_function("fingerprint", |bench| bench.iter(|| Fingerprint::of_report(black_box(&stored))));
        group.finish();
    }
}

/// A Sentry delivery with an event of 10 kB, from its signature to its classification.
fn webhook(criterion: &mut Criterion) {
    const EVENT: &str = include_str!("reports/event.json");
    let secret = SecretString::from("benchmark-secret");
    let rules = (Classifier::default(), Redactor::default());
    let now = Utc::now();
    let value = signature::sign(&secret, EVENT.as_bytes()).parse().expect("a signature is a header's value");
    let headers = HeaderMap::from_iter([
        (HeaderName::from_static("sentry-hook-signature"), value),
        (HeaderName::from_static("sentry-hook-resource"), "error".parse().expect("a header's value")),
    ]);
    let mut group = criterion.benchmark_group("Sentry event");
    group.warm_up_time(Duration::from_millis(500)).measurement_time(Duration::from_secs(2));
    group.throughput(Throughput::Bytes(EVENT.len() as u64));
    group.bench_function("all", |bench| {
        bench.iter(|| {
            signature::verify(WebhookKind::Integration, &secret, &headers, black_box(EVENT).as_bytes())
                .expect("the signature is right");
            let delivery = Delivery::parse(&headers, Bytes::from_static(EVENT.as_bytes())).expect("it is a delivery");
            let Meaning::Report(report, _) = meaning(&delivery, now) else { unreachable!("an error is a report") };
            decide(*report, &rules)
        });
    });
    group.finish();
}

/// The built-in rules as one automaton, and as a loop of regular expressions; and how long a new process takes to build
/// each.
fn rules(criterion: &mut Criterion) {
    let message =
        "Worker 17 could not finish the job: connection reset by peer while reading the answer (attempt 3 of 5)";
    let compiled = || -> Vec<(Regex, Severity)> {
        let regex = |text: &str| RegexBuilder::new(&regex::escape(text)).case_insensitive(true).build();
        BUILT_IN.iter().map(|(text, severity)| (regex(text).expect("a literal compiles"), *severity)).collect()
    };
    let automaton = || {
        let texts = BUILT_IN.map(|(text, _)| text);
        AhoCorasick::builder().ascii_case_insensitive(true).build(texts).expect("literals compile")
    };
    let (regexes, automat) = (compiled(), automaton());
    let mut group = criterion.benchmark_group("Rules");
    group.warm_up_time(Duration::from_millis(300)).measurement_time(Duration::from_secs(1));
    group.bench_function("automaton", |bench| {
        bench.iter(|| {
            automat.find_overlapping_iter(black_box(message)).map(|found| BUILT_IN[found.pattern().as_usize()].1).max()
        });
    });
    group.bench_function("regexes", |bench| {
        bench.iter(|| {
            regexes.iter().filter(|(regex, _)| regex.is_match(black_box(message))).map(|(_, severity)| *severity).max()
        });
    });
    group.bench_function("automaton ready", |bench| bench.iter(automaton));
    group.bench_function("regexes ready", |bench| bench.iter(compiled));
    group.bench_function("redactor ready", |bench| bench.iter(Redactor::default));
    group.finish();
}

criterion_group!(benches, pure, webhook, rules);
criterion_main!(benches);
