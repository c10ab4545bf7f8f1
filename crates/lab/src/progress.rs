//! Lines that say how far a lab is, with times.

use std::time::Instant;

/// Prints what has been done, with the seconds since the start.
#[derive(Debug, Clone, Copy)]
pub struct Progress {
    started: Instant,
}

impl Progress {
    /// The clock starts now.
    pub fn start() -> Progress {
        Progress {
            started: Instant::now(),
        }
    }

    /// One line.
    pub fn say(&self, what: impl AsRef<str>) {
        println!(
            "{:6.2}s  {}",
            self.started.elapsed().as_secs_f64(),
            what.as_ref()
        );
    }
}
