//! What the tests stand on: for each one a database of its own, a running stack on a free port, typed helpers.
//!
//! The Postgres server is brought up once for a whole run, by `with-postgres` (see `make test`); each test clones the
//! migrated template database, in some 50 ms.
//!
//! - [`Database`]: a database of one's own, and SQL on it.
//! - [`TestStack`]: the local stack on such a database, spoken to over HTTP.
//! - [`Target`]: a service to probe, which answers as it is told to.
//! - [`lambda::Lambda`]: a Lambda environment for one of our real binaries.
//! - [`moto::Moto`]: AWS, as far as events go.
//! - [`scratch::Scratch`]: a directory, and the end of the processes in it.
//! - [`template`]: what is deployed.
//! - [`proxy::Proxy`]: a Postgres proxy that counts, and that loses answers on demand.
#![expect(clippy::expect_used, clippy::panic, reason = "a test that can't be set up has failed")]

mod answer;
mod database;
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

/// Where `with-postgres` tells the tests their server is: a connection string without a database.
pub const SERVER_VARIABLE: &str = "WATCHKEEPER_TEST_SERVER";

/// The role that the functions log in as: [`TestStack`] and [`lambda::Lambda`] do, whatever the test itself may do.
pub const AGENT: &str = "watchkeeper_agent";

/// Its password on the test server.
pub const AGENT_PASSWORD: &str = "agent";

/// The migrated database that each test clones.
pub const TEMPLATE: &str = "watchkeeper_template";
