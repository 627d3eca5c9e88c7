//! Network access to a target: name resolution, guard, connection, TLS. Independent of the kinds of check.

pub mod connect;
pub mod guard;
pub mod phases;
pub mod resolve;
pub mod tls;

pub use connect::{ConnectError, Connector, Host};
pub use guard::{Blocked, Cidr, Guard};
pub use phases::{Hop, Phase, Phases};
pub use resolve::{DnsError, Names};
