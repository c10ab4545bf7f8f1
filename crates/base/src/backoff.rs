//! Waiting longer after each failure.

use std::time::Duration;

/// Exponential back-off between two bounds, with jitter that the caller draws.
#[derive(Clone, Debug)]
pub struct Backoff {
    least: Duration,
    greatest: Duration,
    next: Duration,
}

impl Backoff {
    /// Starts at `least`, doubles, stays at `greatest`.
    pub fn new(least: Duration, greatest: Duration) -> Self {
        Self {
            least,
            greatest,
            next: least,
        }
    }

    /// How long to wait after one more failure. `jitter` (0 to 1) takes up to half of it away, so that many who failed
    /// together do not come back together.
    pub fn after_failure(&mut self, jitter: f64) -> Duration {
        let wait = self.next;
        self.next = (self.next * 2).min(self.greatest);
        wait.mul_f64(1.0 - jitter.clamp(0.0, 1.0) / 2.0)
    }

    /// Begins anew.
    pub fn succeeded(&mut self) {
        self.next = self.least;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_doubles_up_to_its_bound_and_begins_anew() {
        let mut backoff = Backoff::new(Duration::from_millis(100), Duration::from_millis(300));
        let waits: Vec<_> = (0..4)
            .map(|_| backoff.after_failure(0.0).as_millis())
            .collect();
        assert_eq!(waits, [100, 200, 300, 300]);
        backoff.succeeded();
        assert_eq!(backoff.after_failure(1.0).as_millis(), 50);
    }
}
