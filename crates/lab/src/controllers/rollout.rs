//! The arithmetic of a rolling update (`k8s.io/kubernetes/pkg/controller/deployment/rolling.go`).

use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

/// One ReplicaSet, as far as the update is concerned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Size {
    /// Pods that it is to have.
    pub(super) desired: i32,
    /// Pods that serve.
    pub(super) available: i32,
}

/// How far an update may stray from the number of pods wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Slack {
    pub(super) surge: i32,
    pub(super) unavailable: i32,
}

/// Resolves both to numbers: surge rounds up, unavailable rounds down, and not both are zero.
pub(super) fn slack(
    surge: Option<&IntOrString>,
    unavailable: Option<&IntOrString>,
    replicas: i32,
) -> Slack {
    let quarter = IntOrString::String("25%".to_owned());
    let surge = resolve(surge.unwrap_or(&quarter), replicas, true);
    let unavailable = resolve(unavailable.unwrap_or(&quarter), replicas, false);
    let unavailable = if surge == 0 && unavailable == 0 {
        1
    } else {
        unavailable
    };
    Slack {
        surge,
        unavailable: unavailable.min(replicas.max(0)),
    }
}

fn resolve(value: &IntOrString, of: i32, up: bool) -> i32 {
    match value {
        IntOrString::Int(number) => (*number).max(0),
        IntOrString::String(text) => {
            let percent: i64 = text.trim_end_matches('%').parse().unwrap_or_default();
            let parts = percent.clamp(0, 100_000) * i64::from(of.max(0));
            let whole = if up { (parts + 99) / 100 } else { parts / 100 };
            i32::try_from(whole).unwrap_or(i32::MAX)
        }
    }
}

/// The next sizes of the new set and of the old ones, oldest first: never more than wanted plus surge in all, never
/// fewer available than wanted minus unavailable by our doing.
pub(super) fn step(replicas: i32, slack: Slack, new: Size, old: &[Size]) -> (i32, Vec<i32>) {
    let total = new.desired + old.iter().map(|set| set.desired).sum::<i32>();
    let room = (replicas + slack.surge - total).max(0);
    let grown = if new.desired >= replicas {
        replicas
    } else {
        new.desired + room.min(replicas - new.desired)
    };

    let must_serve = replicas - slack.unavailable;
    let not_yet_serving = (new.desired - new.available).max(0);
    let mut may_go = (total - must_serve - not_yet_serving).max(0);
    let mut sizes: Vec<i32> = old.iter().map(|set| set.desired).collect();
    // Pods that do not serve anyway go first.
    for (size, set) in sizes.iter_mut().zip(old) {
        let cut = may_go.min((set.desired - set.available).max(0));
        *size -= cut;
        may_go -= cut;
    }
    let serving = new.available + old.iter().map(|set| set.available).sum::<i32>();
    let mut may_go = may_go.min((serving - must_serve).max(0));
    for size in &mut sizes {
        let cut = may_go.min(*size);
        *size -= cut;
        may_go -= cut;
    }
    (grown, sizes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn size((desired, available): (i32, i32)) -> Size {
        Size { desired, available }
    }

    fn check(
        name: &str,
        replicas: i32,
        slack: (i32, i32),
        new: (i32, i32),
        old: &[(i32, i32)],
        expected: (i32, &[i32]),
    ) {
        let slack = Slack {
            surge: slack.0,
            unavailable: slack.1,
        };
        let old: Vec<Size> = old.iter().copied().map(size).collect();
        let (grown, sizes) = step(replicas, slack, size(new), &old);
        assert_eq!((grown, sizes.as_slice()), expected, "{name}");
    }

    #[test]
    fn steps_of_an_update() {
        check("first roll-out", 3, (1, 0), (0, 0), &[], (3, &[]));
        check("one more at first", 3, (1, 0), (0, 0), &[(3, 3)], (1, &[3]));
        check(
            "waits for the new pod",
            3,
            (1, 0),
            (1, 0),
            &[(3, 3)],
            (1, &[3]),
        );
        check(
            "an old one goes for it",
            3,
            (1, 0),
            (1, 1),
            &[(3, 3)],
            (1, &[2]),
        );
        check("then the next", 3, (1, 0), (1, 1), &[(2, 2)], (2, &[2]));
        check("the last old one", 3, (1, 0), (3, 3), &[(1, 1)], (3, &[0]));
        check(
            "without surge, one goes first",
            2,
            (0, 1),
            (0, 0),
            &[(2, 2)],
            (0, &[1]),
        );
        check(
            "broken old ones go first",
            3,
            (1, 0),
            (1, 1),
            &[(2, 0), (1, 1)],
            (1, &[1, 1]),
        );
        check("scaled down", 1, (1, 0), (3, 3), &[], (1, &[]));
    }

    #[test]
    fn percentages() {
        let percent = |text: &str| IntOrString::String(text.to_owned());
        assert_eq!(
            slack(None, None, 4),
            Slack {
                surge: 1,
                unavailable: 1
            }
        );
        assert_eq!(
            slack(None, None, 1),
            Slack {
                surge: 1,
                unavailable: 0
            }
        );
        assert_eq!(
            slack(Some(&percent("0%")), Some(&percent("10%")), 3),
            Slack {
                surge: 0,
                unavailable: 1
            }
        );
        assert_eq!(
            slack(Some(&IntOrString::Int(2)), Some(&percent("nonsense")), 3),
            Slack {
                surge: 2,
                unavailable: 0
            }
        );
    }

    proptest! {
        #[test]
        fn bounds_hold(
            replicas in 0..20i32, surge in 0..5i32, unavailable in 0..5i32,
            new in (0..20i32, 0..20i32), old in prop::collection::vec((0..20i32, 0..20i32), 0..4),
        ) {
            let cap = |(desired, available): (i32, i32)| Size { desired, available: available.min(desired) };
            let (new, old) = (cap(new), old.into_iter().map(cap).collect::<Vec<_>>());
            let slack = Slack { surge, unavailable: if surge == 0 { unavailable.max(1) } else { unavailable } };
            let (grown, sizes) = step(replicas, slack, new, &old);
            let before = new.desired + old.iter().map(|set| set.desired).sum::<i32>();
            let after = grown + old.iter().map(|set| set.desired).sum::<i32>();
            prop_assert!(after <= (replicas + slack.surge).max(before));
            prop_assert!(sizes.iter().zip(&old).all(|(size, set)| *size >= 0 && *size <= set.desired));
            let serving = new.available.min(grown)
                + sizes.iter().zip(&old).map(|(size, set)| set.available.min(*size)).sum::<i32>();
            let before = new.available.min(grown) + old.iter().map(|set| set.available).sum::<i32>();
            prop_assert!(serving >= (replicas - slack.unavailable).min(before));
        }
    }
}
