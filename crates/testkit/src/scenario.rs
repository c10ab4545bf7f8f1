//! A runner for tests that share one expensive thing, such as a lab: steps in order, each named and judged by itself.

use std::process::ExitCode;
use std::time::Instant;

use anyhow::Result;

/// A step: its name, and what it does to the shared thing.
pub type Step<T> = (&'static str, fn(&mut T) -> Result<()>);

/// Runs the steps in order and prints a line for each, in the manner of `cargo test`. A failed step does not keep the later
/// ones from running: they say whether it was that one thing, or everything. A word on the command line selects the steps
/// whose names contain it.
pub fn run<T>(shared: &mut T, steps: &[Step<T>]) -> ExitCode {
    let filter: Vec<String> = std::env::args()
        .skip(1)
        .filter(|a| !a.starts_with('-'))
        .collect();
    let wanted = |name: &str| filter.is_empty() || filter.iter().any(|f| name.contains(f));
    let (mut passed, mut failed) = (0, Vec::new());
    let began = Instant::now();
    println!(
        "\nrunning {} steps",
        steps.iter().filter(|(n, _)| wanted(n)).count()
    );
    for (name, step) in steps.iter().filter(|(n, _)| wanted(n)) {
        let at = Instant::now();
        match step(shared) {
            Ok(()) => {
                passed += 1;
                println!("test {name} ... ok ({:.1} s)", at.elapsed().as_secs_f64());
            }
            Err(error) => {
                println!(
                    "test {name} ... FAILED ({:.1} s)\n    {error:#}",
                    at.elapsed().as_secs_f64()
                );
                failed.push(*name);
            }
        }
    }
    let verdict = if failed.is_empty() { "ok" } else { "FAILED" };
    println!(
        "\ntest result: {verdict}. {passed} passed; {} failed; 0 ignored; 0 measured; 0 filtered out; finished in {:.2}s\n",
        failed.len(),
        began.elapsed().as_secs_f64()
    );
    if failed.is_empty() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}
