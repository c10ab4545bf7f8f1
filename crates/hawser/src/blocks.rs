//! Work on many items by all processors, of which the results are taken in the order of the items.

use std::num::NonZero;
use std::sync::mpsc::sync_channel;
use std::thread;

/// What is made ahead of being taken, for each processor: enough to stay busy, little to keep.
const AHEAD: usize = 2;

/// Makes something of each block of `size` items, on threads of their own, and takes it on this one, in order.
pub fn map<I: Sync, R: Send, E>(
    items: &[I],
    size: usize,
    make: impl Fn(&[I]) -> R + Sync,
    mut take: impl FnMut(R) -> Result<(), E>,
) -> Result<(), E> {
    let blocks: Vec<&[I]> = items.chunks(size.max(1)).collect();
    let threads = thread::available_parallelism().map_or(1, NonZero::get);
    thread::scope(|scope| {
        let made: Vec<_> = (0..threads.min(blocks.len()))
            .map(|first| {
                let (give, made) = sync_channel(AHEAD);
                let own = blocks.iter().skip(first).step_by(threads);
                let make = &make;
                scope.spawn(move || {
                    for block in own {
                        if give.send(make(block)).is_err() {
                            // Nobody wants more.
                            return;
                        }
                    }
                });
                made
            })
            .collect();
        // A thread that ends early has panicked, which the scope passes on.
        made.iter()
            .cycle()
            .take(blocks.len())
            .map_while(|made| made.recv().ok())
            .try_for_each(&mut take)
    })
}

#[cfg(test)]
mod tests {
    use super::map;

    #[test]
    fn results_come_in_order_until_one_is_refused() {
        let items: Vec<u32> = (0..1000).collect();
        for (what, size, limit, expected) in [
            ("all", 7, u32::MAX, 499_500),
            ("one block", 5000, u32::MAX, 499_500),
            ("until refused", 10, 500, 124_750),
        ] {
            let (mut sum, mut next) = (0, 0);
            let outcome = map(&items, size, <[u32]>::to_vec, |block| {
                for item in block {
                    assert_eq!(item, next, "{what}");
                    if item >= limit {
                        return Err(item);
                    }
                    (sum, next) = (sum + item, item + 1);
                }
                Ok(())
            });
            assert_eq!(sum, expected, "{what}");
            assert_eq!(outcome.is_err(), limit < 1000, "{what}");
        }
        assert_eq!(map(&[0; 0], 1, |_| (), |()| Err(())), Ok(()));
    }
}
