//! Redirecting a pod's traffic (nftables) to its proxy, for sidecars and machines.
//!
//! [`ruleset`] is pure: settings in, the text of a whole nftables ruleset out. [`apply`] hands that
//! text to `nft`, which takes all of it or nothing. [`CaptureArgs`] are the flags of the role.

mod args;
mod nft;
mod ruleset;
mod settings;

pub use args::{CaptureArgs, run};
pub use nft::{ApplyError, apply};
pub use ruleset::{removal, ruleset};
pub use settings::{DnsCapture, Ports, Ranges, Settings, SettingsError};
