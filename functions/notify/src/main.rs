//! The Lambda binary of `notify`.

fn main() {}
