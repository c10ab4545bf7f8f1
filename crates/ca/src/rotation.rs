//! When a certificate is to be replaced.

use std::time::Duration;

use time::OffsetDateTime;

/// A certificate's lifetime.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Validity {
    /// Not valid before.
    pub from: OffsetDateTime,
    /// Not valid after.
    pub until: OffsetDateTime,
}

impl Validity {
    /// How long to wait, from `now`, before asking for the next certificate: half of the lifetime, as Istio's agent does
    /// (grace ratio 0.5), less or more by up to one percent of it. `jitter` is drawn by the caller from -1 to 1. Zero once
    /// that moment is past.
    pub fn renewal(&self, now: OffsetDateTime, jitter: f64) -> Duration {
        let whole = self.until - self.from;
        let due = self.from + whole * (0.5 + 0.01 * jitter.clamp(-1.0, 1.0));
        Duration::try_from(due - now).unwrap_or(Duration::ZERO)
    }

    /// True if it is not, or no longer, valid.
    pub fn is_over(&self, now: OffsetDateTime) -> bool {
        now < self.from || now >= self.until
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn renewal_is_due_at_half_of_the_lifetime() {
        let from = OffsetDateTime::UNIX_EPOCH;
        let validity = Validity {
            from,
            until: from + Duration::from_secs(1000),
        };
        for (now, jitter, expected) in [
            (0, 0.0, 500),
            (0, 1.0, 510),
            (0, -1.0, 490),
            (400, 0.0, 100),
            (900, 0.0, 0),
        ] {
            let wait = validity.renewal(from + Duration::from_secs(now), jitter);
            assert_eq!(
                wait.as_secs_f64().round() as u64,
                expected,
                "at {now} with {jitter}"
            );
        }
    }
}
