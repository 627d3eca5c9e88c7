//! Postgres as Supabase serves it: through a pooler in transaction mode, and over TLS with a private authority.
//!
//! Debian's own `PgBouncer` and PostgreSQL are started by each test and end with it. Where they are missing, the tests
//! fail and say how to get them.
#![expect(clippy::unwrap_used, clippy::panic, reason = "tests")]

mod certificates;
mod pgbouncer;
mod pooler;
mod program;
mod server;
mod tls;
