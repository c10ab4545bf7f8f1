//! How long to wait between attempts.

use std::hash::{BuildHasher, Hasher, RandomState};
use std::time::Duration;

/// [`hawser_base::backoff::Backoff`] with jitter of its own.
#[derive(Debug)]
pub(crate) struct Backoff {
    delays: hawser_base::backoff::Backoff,
    random: RandomState,
    drawn: u64,
}

impl Backoff {
    pub(crate) fn new(least: Duration, most: Duration) -> Backoff {
        let delays = hawser_base::backoff::Backoff::new(least, most);
        Backoff {
            delays,
            random: RandomState::new(),
            drawn: 0,
        }
    }

    /// The next delay.
    pub(crate) fn delay(&mut self) -> Duration {
        self.drawn += 1;
        let mut hasher = self.random.build_hasher();
        hasher.write_u64(self.drawn);
        // 1024 steps are fine enough for a delay.
        self.delays
            .after_failure((hasher.finish() % 1024) as f64 / 1024.0)
    }

    /// To be called after a success.
    pub(crate) fn reset(&mut self) {
        self.delays.succeeded();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn grows_to_its_most_and_starts_over() {
        let (least, most) = (Duration::from_millis(100), Duration::from_secs(1));
        let mut backoff = Backoff::new(least, most);
        for expected in [100, 200, 400, 800, 1000, 1000] {
            let delay = backoff.delay();
            let expected = Duration::from_millis(expected);
            assert!(
                delay >= expected / 2 && delay <= expected,
                "{delay:?} for {expected:?}"
            );
        }
        backoff.reset();
        assert!(backoff.delay() <= least);
    }
}
