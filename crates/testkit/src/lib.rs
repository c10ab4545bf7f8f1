//! Dev only: fixtures, scripted ADS peer, the tidy test.

#![forbid(unsafe_code)]
#![warn(missing_docs)]

pub mod place;
