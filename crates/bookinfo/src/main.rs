//! The sample application, all services in one small binary.
fn main() {}
