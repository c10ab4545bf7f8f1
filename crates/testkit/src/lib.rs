//! Dev only: where things are, a lab to test in, a runner for scenarios, the tidy test.

#![forbid(unsafe_code)]
#![warn(missing_docs)]

pub mod http;
pub mod lab;
pub mod place;
pub mod scenario;
pub mod wait;
