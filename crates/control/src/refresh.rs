//! Keeping fresh what names stand for: each is asked about as soon as it is wanted, again after a while, and sooner after a
//! failure. The last good answer stays.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use hawser_base::backoff::Backoff;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::wants::Wants;
use crate::writer::Input;

/// Questions on their way at a time.
const AT_ONCE: usize = 8;

/// What is known by name: the answer, or why there never was one.
pub(crate) type Answers<T> = BTreeMap<String, Result<T, String>>;

/// Which names are due when, and what is known of them.
pub(crate) struct Schedule<T> {
    every: Duration,
    retry: (Duration, Duration),
    entries: BTreeMap<String, Entry<T>>,
}

struct Entry<T> {
    answer: Option<Result<T, String>>,
    /// `None` while it is being asked about.
    due: Option<Instant>,
    backoff: Backoff,
}

impl<T: Clone + PartialEq> Schedule<T> {
    /// Asks again after `every`, and after failures from the first to the second of `retry`.
    pub(crate) fn new(every: Duration, retry: (Duration, Duration)) -> Self {
        Self {
            every,
            retry,
            entries: BTreeMap::new(),
        }
    }

    /// Takes up new names, and forgets those that nobody wants any more.
    pub(crate) fn want(&mut self, names: &BTreeSet<String>, now: Instant) {
        self.entries.retain(|name, _| names.contains(name));
        for name in names {
            let backoff = || Backoff::new(self.retry.0, self.retry.1);
            self.entries.entry(name.clone()).or_insert_with(|| Entry {
                answer: None,
                due: Some(now),
                backoff: backoff(),
            });
        }
    }

    /// At most `room` names to ask about now.
    pub(crate) fn take_due(&mut self, now: Instant, room: usize) -> Vec<String> {
        let due = self
            .entries
            .iter_mut()
            .filter(|(_, e)| e.due.is_some_and(|at| at <= now))
            .take(room);
        due.map(|(name, entry)| {
            entry.due = None;
            name.clone()
        })
        .collect()
    }

    /// When the next name is due.
    pub(crate) fn next_due(&self) -> Option<Instant> {
        self.entries.values().filter_map(|e| e.due).min()
    }

    /// Takes an answer; true where it changes what is known. `jitter` is drawn by the caller, from 0 to 1.
    pub(crate) fn answered(
        &mut self,
        name: &str,
        answer: Result<T, String>,
        now: Instant,
        jitter: f64,
    ) -> bool {
        let Some(entry) = self.entries.get_mut(name) else {
            return false;
        };
        let wait = match &answer {
            Ok(_) => {
                entry.backoff.succeeded();
                self.every
            }
            Err(_) => entry.backoff.after_failure(jitter),
        };
        entry.due = Some(now + wait);
        let worse = answer.is_err() && matches!(entry.answer, Some(Ok(_)));
        let changed = !worse && entry.answer.as_ref() != Some(&answer);
        if changed {
            entry.answer = Some(answer);
        }
        changed
    }

    /// What is known.
    pub(crate) fn known(&self) -> Answers<T> {
        self.entries
            .iter()
            .filter_map(|(name, e)| Some((name.clone(), e.answer.clone()?)))
            .collect()
    }
}

/// Asks about the names that are wanted, and tells the writer what has become known, until told to stop.
pub(crate) async fn keep<T, F>(
    mut wants: watch::Receiver<Arc<Wants>>,
    names: impl Fn(&Wants) -> &BTreeSet<String>,
    mut schedule: Schedule<T>,
    ask: impl Fn(String) -> F,
    (inputs, input): (mpsc::Sender<Input>, impl Fn(Answers<T>) -> Input),
    drain: CancellationToken,
) where
    T: Clone + PartialEq + Send + 'static,
    F: Future<Output = Result<T, String>> + Send + 'static,
{
    let mut asked: JoinSet<(String, Result<T, String>)> = JoinSet::new();
    loop {
        let now = Instant::now();
        schedule.want(names(&wants.borrow_and_update()), now);
        for name in schedule.take_due(now, AT_ONCE - asked.len().min(AT_ONCE)) {
            let answer = ask(name.clone());
            asked.spawn(async move { (name, answer.await) });
        }
        let next = schedule.next_due().filter(|_| asked.len() < AT_ONCE);
        tokio::select! {
            () = drain.cancelled() => return,
            changed = wants.changed() => if changed.is_err() { return },
            Some(Ok((name, answer))) = asked.join_next() => {
                if let Err(error) = &answer {
                    tracing::warn!(name, error, "no answer; what was known before stays");
                }
                let changed = schedule.answered(&name, answer, Instant::now(), jitter());
                if changed && inputs.send(input(schedule.known())).await.is_err() {
                    return;
                }
            }
            () = tokio::time::sleep_until(next.unwrap_or(now)), if next.is_some() => {}
        }
    }
}

/// From 0 to 1.
fn jitter() -> f64 {
    f64::from(uuid::Uuid::new_v4().as_fields().0) / f64::from(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_asked_about_when_due_and_good_answers_stay() {
        let now = Instant::now();
        let at = |seconds| now + Duration::from_secs(seconds);
        let names = |list: &[&str]| {
            list.iter()
                .map(|n| (*n).to_owned())
                .collect::<BTreeSet<_>>()
        };
        let bad = || Err("no".to_owned());
        let mut schedule = Schedule::new(
            Duration::from_secs(60),
            (Duration::from_secs(1), Duration::from_secs(4)),
        );
        schedule.want(&names(&["a", "b", "c"]), now);
        assert_eq!(schedule.take_due(now, 2), ["a", "b"]);
        assert_eq!(schedule.take_due(now, 2), ["c"]);
        assert_eq!(schedule.next_due(), None);

        assert!(schedule.answered("a", Ok(1), now, 0.0));
        assert!(schedule.answered("b", bad(), now, 0.0));
        assert_eq!(
            schedule.next_due(),
            Some(at(1)),
            "a failure is tried again sooner"
        );
        assert_eq!(
            schedule.known(),
            Answers::from([("a".to_owned(), Ok(1)), ("b".to_owned(), bad())])
        );
        assert_eq!(schedule.take_due(at(1), 9), ["b"]);
        assert!(!schedule.answered("b", bad(), at(1), 0.0), "nothing new");
        assert_eq!(schedule.next_due(), Some(at(3)));

        assert_eq!(schedule.take_due(at(60), 9), ["a", "b"]);
        assert!(
            !schedule.answered("a", bad(), at(60), 0.0),
            "the good answer stays"
        );
        assert!(schedule.answered("b", Ok(2), at(60), 0.0));
        assert_eq!(
            schedule.known(),
            Answers::from([("a".to_owned(), Ok(1)), ("b".to_owned(), Ok(2))])
        );

        schedule.want(&names(&["b"]), at(60));
        assert!(
            !schedule.answered("a", Ok(3), at(60), 0.0),
            "nobody wants it any more"
        );
        assert_eq!(schedule.known(), Answers::from([("b".to_owned(), Ok(2))]));
    }
}
