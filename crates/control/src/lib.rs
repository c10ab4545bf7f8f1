//! The control plane's one writer task: folds Changes, runs lower, publishes snapshots.
