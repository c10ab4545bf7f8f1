//! How long to wait between attempts.

use std::hash::{BuildHasher, Hasher, RandomState};
use std::time::Duration;

/// Doubling delays between a least and a most, each shortened at random by up to half so that many clients do not
/// come back in step.
#[derive(Debug)]
pub(crate) struct Backoff {
    least: Duration,
    most: Duration,
    next: Duration,
    random: RandomState,
    drawn: u64,
}

impl Backoff {
    pub(crate) fn new(least: Duration, most: Duration) -> Backoff {
        Backoff {
            least,
            most,
            next: least,
            random: RandomState::new(),
            drawn: 0,
        }
    }

    /// The next delay.
    pub(crate) fn delay(&mut self) -> Duration {
        let full = self.next;
        self.next = (self.next * 2).min(self.most);
        self.drawn += 1;
        let mut hasher = self.random.build_hasher();
        hasher.write_u64(self.drawn);
        // 1024 steps are fine enough for a delay.
        let step = (hasher.finish() % 1024) as u32;
        full / 2 + (full / 2) * step / 1024
    }

    /// To be called after a success.
    pub(crate) fn reset(&mut self) {
        self.next = self.least;
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
