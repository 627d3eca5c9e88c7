//! The end-to-end tests: real HTTP, a real Postgres, the handlers that the Lambdas run.
#![expect(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

mod report_error;
