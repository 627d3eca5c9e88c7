//! The test harness: for each test a database of its own, a running stack on a free port, typed helpers.
//!
//! The Postgres server is started once for a whole run, by `with-postgres` (see `make test`); each test clones the
//! migrated template database, in some 50 ms.
//!
//! - [`Database`]: a database for one test, and SQL on it.
//! - [`TestStack`]: the local stack on such a database, called over HTTP.
//! - [`Target`]: a service to probe, which answers as the test sets it.
//! - [`lambda::Lambda`]: a Lambda environment for one of our real binaries.
//! - [`events`]: messages of the bus, and what producers publish.
//! - [`moto::Moto`]: AWS, for events and parameters.
//! - [`scratch::Scratch`]: a directory, and the end of the processes in it.
//! - [`template`]: the deployment template.
//! - [`proxy::Proxy`]: a Postgres proxy that counts round trips, and that loses answers on demand.
#![expect(clippy::expect_used, clippy::panic, reason = "a test that can't be set up has failed")]

mod answer;
mod database;
pub mod events;
pub mod lambda;
pub mod moto;
pub mod proxy;
pub mod scratch;
mod stack;
mod target;
pub mod template;

pub use answer::Answer;
pub use database::Database;
pub use stack::{TestStack, TestStackBuilder};
pub use target::{Behaviour, Target, spec};

/// The variable in which `with-postgres` passes the server's connection string, without a database.
pub const SERVER_VARIABLE: &str = "WATCHKEEPER_TEST_SERVER";

/// The role that the functions log in as: [`TestStack`] and [`lambda::Lambda`] do, whatever the test itself may do.
pub const AGENT: &str = "watchkeeper_agent";

/// Its password on the test server.
pub const AGENT_PASSWORD: &str = "agent";

/// The migrated database that each test clones.
pub const TEMPLATE: &str = "watchkeeper_template";
