//! The same question of many objects, answered by all processors.

use std::num::NonZero;
use std::thread;

/// Fewer questions than this for each processor are not worth a thread: they take less than a millisecond.
const WORTH_IT: usize = 500;

/// The answers, in the order of the items.
pub fn map<I: Sync, O: Send>(items: &[I], answer: impl Fn(&I) -> O + Sync) -> Vec<O> {
    let processors = thread::available_parallelism().map_or(1, NonZero::get);
    let parts = processors.min(items.len() / WORTH_IT).max(1);
    let mut parts = items.chunks(items.len().div_ceil(parts).max(1));
    let own = parts.next().unwrap_or_default();
    thread::scope(|scope| {
        let answers = |part: &[I]| part.iter().map(&answer).collect::<Vec<O>>();
        let others: Vec<_> = parts
            .map(|part| scope.spawn(move || answers(part)))
            .collect();
        let mut out = answers(own);
        for other in others {
            match other.join() {
                Ok(answers) => out.extend(answers),
                Err(panic) => std::panic::resume_unwind(panic),
            }
        }
        out
    })
}

#[cfg(test)]
mod tests {
    use super::map;

    #[test]
    fn answers_stand_in_the_order_of_the_items() {
        for many in [0, 1, 999, 1000, 1001, 12_345] {
            let items: Vec<u32> = (0..many).collect();
            let expected: Vec<u64> = items.iter().map(|i| u64::from(*i) * 2).collect();
            assert_eq!(map(&items, |i| u64::from(*i) * 2), expected, "{many}");
        }
    }
}
