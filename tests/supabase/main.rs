//! Postgres as Supabase serves it: through a pooler in transaction mode, and over TLS with a private certificate authority.
//!
//! Each test starts Debian's own `PgBouncer` and PostgreSQL, and stops them. Where they are missing, the tests
//! fail and name the packages.
#![expect(clippy::unwrap_used, clippy::panic, reason = "tests")]

mod certificates;
mod pgbouncer;
mod pooler;
mod program;
mod server;
mod tls;
