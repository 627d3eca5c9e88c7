//! The way to a target: its name's addresses, the guard that none of them passes unseen, the connection, and TLS.
//! Nothing here knows what is checked.

pub mod connect;
pub mod guard;
pub mod phases;
pub mod resolve;
pub mod tls;

pub use connect::{ConnectError, Connector, Host};
pub use guard::{Blocked, Cidr, Guard};
pub use phases::{Hop, Phase, Phases};
pub use resolve::{DnsError, Names};
