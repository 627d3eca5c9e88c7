//! x
pub mod encoding;
pub mod envelope;
