//! Pure: CSR + identity + now become a chain; roots, intermediates, rotation rules.
//!
//! Nothing here reads clocks or files: time, serial numbers and key pairs are arguments. The one randomness inside is the
//! nonce that ECDSA signatures need, which belongs to the key's own library.

#![forbid(unsafe_code)]
#![warn(missing_docs)]

pub mod authority;
pub mod csr;
pub mod issue;
pub mod rotation;

pub use authority::{Authority, CaFiles, LoadError};
pub use issue::{IssueError, Issued};
