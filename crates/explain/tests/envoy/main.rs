//! The walker, and what translation makes, against a real Envoy: the same calls put to both must end alike.
//!
//! Each case is a configuration with a table of calls. `HAWSER_CALLS=5000` adds that many generated ones; the arguments are
//! names of cases to run alone. Needs root, `ip`, `nft` and `setpriv`.

mod ads;
mod call;
mod cases;
mod certificates;
mod echo;
mod generate;
mod judge;
mod net;
mod objects;
mod proxy;
mod tokens;
mod world;

use std::process::ExitCode;
use std::sync::Arc;
use std::time::Instant;

use anyhow::{Context, Result, ensure};
use hawser_explain::Config;

use call::Line;
use cases::Case;
use certificates::Authority;
use net::Net;
use proxy::Envoy;
use tokens::Tokens;
use world::Side;

/// What every case needs.
struct Bench {
    runtime: tokio::runtime::Runtime,
    net: Net,
    authority: Arc<Authority>,
    tokens: Tokens,
}

impl Bench {
    fn new() -> Result<Self> {
        hawser_base::tls::install();
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()?;
        let authority = Arc::new(Authority::new()?);
        let (net, echoes) = Net::new()?;
        let tls = Arc::new(certificates::servers(Arc::clone(&authority))?);
        for listener in [echoes.application, echoes.world] {
            runtime.spawn(echo::serve(listener, Arc::clone(&tls)));
        }
        Ok(Self {
            runtime,
            net,
            authority,
            tokens: Tokens::new()?,
        })
    }

    /// The number of calls made; fails with everything that went otherwise than the walker said or the table expects.
    fn run(&self, case: &Case, generated: usize) -> Result<usize> {
        let yaml = case
            .yaml
            .replace("{keys-a}", &self.tokens.keys[0])
            .replace("{keys-b}", &self.tokens.keys[1]);
        let own = world::read(&yaml)?;
        world::valid(&own)?;
        let mut objects = world::base(case.side)?;
        objects.extend(own);
        let snapshot = world::snapshot(objects, case.mesh)?;
        let resources = world::resources(case.side, &snapshot, case.metadata)?;
        let config = Config::of(&resources)?;
        self.net.capture(case.side != Side::Gateway)?;
        let served = world::served(case.side, &resources, &self.authority)?;
        let envoy = Envoy::start(self.runtime.handle(), &self.net, served, "1")?;
        let lines = case.calls.lines().map(str::trim).filter(|l| !l.is_empty());
        let mut lines: Vec<Line> = lines
            .map(|l| call::read(l, case.side, &self.tokens))
            .collect::<Result<_>>()?;
        lines.extend(generate::more(case.name, &lines, generated));
        let mut wrong = Vec::new();
        for line in &lines {
            let before = envoy.requests()?;
            let outcome = call::make(&self.net, &self.authority, case.side, line)?;
            let after = envoy.requests()?;
            if let Err(error) =
                judge::judge(&config, line, &outcome, &judge::called(&before, &after))
            {
                wrong.push(format!("{}\n        {error:#}", line.text));
            }
        }
        let refused = envoy.refused();
        ensure!(refused.is_empty(), "Envoy refused: {}", refused.join("; "));
        ensure!(
            wrong.is_empty(),
            "{} of {} calls:\n    {}",
            wrong.len(),
            lines.len(),
            wrong.join("\n    ")
        );
        Ok(lines.len())
    }
}

fn main() -> ExitCode {
    let only: Vec<String> = std::env::args()
        .skip(1)
        .filter(|a| !a.starts_with('-'))
        .collect();
    if std::env::args().any(|a| a == "--list") {
        cases::all()
            .iter()
            .for_each(|c| println!("{}: test", c.name));
        return ExitCode::SUCCESS;
    }
    match run(&only) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            println!("test result: FAILED. {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(only: &[String]) -> Result<bool> {
    let extra: usize = std::env::var("HAWSER_CALLS")
        .ok()
        .map_or(Ok(0), |n| n.parse())
        .context("HAWSER_CALLS")?;
    let bench = Bench::new()?;
    let cases = cases::all();
    let chosen: Vec<&Case> = cases
        .iter()
        .filter(|c| only.is_empty() || only.iter().any(|o| c.name.contains(o.as_str())))
        .collect();
    let began = Instant::now();
    let (mut calls, mut failed) = (0, 0);
    for case in &chosen {
        match bench.run(case, extra.div_ceil(chosen.len().max(1))) {
            Ok(n) => {
                calls += n;
                println!("test {} ... ok ({n} calls)", case.name);
            }
            Err(error) => {
                failed += 1;
                println!("test {} ... FAILED\n    {error:#}", case.name);
            }
        }
    }
    for seed in objects::seeds(only) {
        match objects::run(&bench, seed) {
            Ok(n) => println!("test generated_objects_{seed} ... ok ({n} objects)"),
            Err(error) => {
                failed += 1;
                println!("test generated_objects_{seed} ... FAILED\n    {error:#}");
            }
        }
    }
    let verdict = if failed == 0 { "ok" } else { "FAILED" };
    println!(
        "\ntest result: {verdict}. {} cases, {failed} failed, {calls} calls, {:.0?}",
        chosen.len(),
        began.elapsed()
    );
    Ok(failed == 0)
}
