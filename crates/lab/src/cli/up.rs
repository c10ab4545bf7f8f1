//! `hawser lab up`.

use std::fs::File;
use std::io::{Read, Write};
use std::path::PathBuf;
use std::process::{ExitCode, Stdio};
use std::time::Duration;

use anyhow::{Context, bail};
use hawser_base::drain;
use tokio_util::sync::CancellationToken;

use super::{App, GatewayAddress, Networks, Topology, UpArgs, WrongUse};
use crate::dir::LabDir;
use crate::lab::{Lab, Options};
use crate::net::MAX_CLUSTERS;
use crate::pods::Images;
use crate::preflight;
use crate::programs;
use crate::progress::Progress;
use crate::scenario::replicated::{self, GatewayBy};
use crate::state::LabPhase;

const POLL: Duration = Duration::from_millis(50);

pub(super) async fn run(args: UpArgs) -> anyhow::Result<ExitCode> {
    check(&args)?;
    let missing = preflight::missing();
    if !missing.is_empty() {
        bail!("this machine cannot run a lab:\n- {}", missing.join("\n- "));
    }
    let dir = LabDir::new(&args.dir.dir)?;
    if args.detach {
        return detach(&dir, &args).await;
    }
    if args.daemon {
        // The lab is not to end with the terminal it was started from.
        nix::unistd::setsid().context("leaving the terminal")?;
    } else {
        dir.clear_logs()?;
    }
    let stop = drain::on_signal().context("listening to signals")?;
    let options = options(&args)?;
    let progress = Progress::start();
    let mut lab = Lab::start(dir, options, &progress).await?;
    let done = tokio::select! {
        done = install(&args, &mut lab, &progress) => done,
        () = stop.cancelled() => Ok(()),
    };
    if let Err(error) = done {
        // What went wrong is in the pods' logs, which stay.
        let logs = lab.dir.logs();
        lab.end().await.context("ending the lab")?;
        return Err(error.context(format!(
            "the lab did not come up; the logs are in {}",
            logs.display()
        )));
    }
    stay(&stop).await;
    println!("ending the lab");
    lab.end().await?;
    Ok(ExitCode::SUCCESS)
}

async fn stay(stop: &CancellationToken) {
    stop.cancelled().await;
}

/// Says no to what is not there, before anything is made.
fn check(args: &UpArgs) -> Result<(), WrongUse> {
    let refuse = |text: &str| Err(WrongUse(text.to_string()));
    if !(1..=MAX_CLUSTERS).contains(&args.clusters) {
        return Err(WrongUse(format!(
            "--clusters {}: from 1 to {MAX_CLUSTERS}",
            args.clusters
        )));
    }
    match args.topology {
        Topology::Replicated | Topology::None => {}
        Topology::MultiPrimary => {
            return refuse("--topology multi-primary is not built yet; there is: replicated, none");
        }
        Topology::PrimaryRemote => {
            return refuse(
                "--topology primary-remote is not built yet; there is: replicated, none",
            );
        }
        Topology::External => {
            return refuse("--topology external is not built yet; there is: replicated, none");
        }
    }
    if args.networks == Networks::One {
        return refuse("--networks one is not built yet; there is: two");
    }
    match (args.app, args.topology) {
        (App::Helloworld, _) => {
            return refuse("--app helloworld is not built yet; there is: bookinfo, none");
        }
        (App::Bookinfo, Topology::Replicated) if args.clusters != 2 => {
            return refuse(
                "--app bookinfo of the replicated topology is made for two clusters; use --clusters 2 or --app none",
            );
        }
        _ => {}
    }
    Ok(())
}

fn options(args: &UpArgs) -> anyhow::Result<Options> {
    let own = match &args.images {
        Some(path) => {
            let text = std::fs::read_to_string(path).with_context(|| path.display().to_string())?;
            Some((path.display().to_string(), text))
        }
        None => None,
    };
    let images = Images::load(
        own.as_ref()
            .map(|(name, text)| (name.as_str(), text.as_str())),
    )?;
    let mesh = args.topology != Topology::None;
    let envoy = if mesh {
        Some(programs::find_envoy(args.envoy.as_deref())?)
    } else {
        args.envoy.clone()
    };
    // Bookinfo's program is small; a lab without it could not run the sample's manifests later.
    let companions = if mesh {
        vec!["hawser-bookinfo"]
    } else {
        Vec::new()
    };
    Ok(Options {
        clusters: args.clusters,
        images,
        companions,
        envoy,
    })
}

async fn install(args: &UpArgs, lab: &mut Lab, progress: &Progress) -> anyhow::Result<()> {
    if args.topology == Topology::Replicated {
        let by = match args.gateway {
            GatewayAddress::Loadbalancer => GatewayBy::LoadBalancer,
            GatewayAddress::Nodeport => GatewayBy::NodePort,
        };
        replicated::install(lab, progress).await?;
        if args.app == App::Bookinfo {
            replicated::bookinfo(lab, by, progress).await?;
            let table = replicated::observe(lab, progress).await?;
            println!("\n{table}");
            println!(
                "product page   http://{}/productpage",
                lab.clusters[0].ingress
            );
        }
    }
    println!("kubeconfig     {}", lab.dir.merged_kubeconfig().display());
    for cluster in &lab.clusters {
        println!(
            "{:<14} ingress http://{}, node {}",
            cluster.name, cluster.ingress, cluster.net.node_ip
        );
    }
    if !args.daemon {
        println!("\nthe lab is up until Ctrl-C");
    }
    std::io::stdout().flush()?;
    lab.ready()
}

/// Starts the lab as a process of its own and follows what it says until it is up.
async fn detach(dir: &LabDir, args: &UpArgs) -> anyhow::Result<ExitCode> {
    dir.clear_logs()?;
    // Taken once to say at once if it cannot be; the daemon takes it again.
    drop(dir.take()?);
    let log = File::create(dir.up_log()).with_context(|| dir.up_log().display().to_string())?;
    let mut command = tokio::process::Command::new(std::env::current_exe()?);
    command
        .args(daemon_flags(args, dir))
        .stdin(Stdio::null())
        .stdout(log.try_clone()?)
        .stderr(log);
    let mut daemon = command.spawn().context("starting the lab's process")?;
    let stop = drain::on_signal()?;
    let mut said = File::open(dir.up_log())?;
    loop {
        let ended = daemon.try_wait()?;
        let ready = dir
            .read_state()?
            .is_some_and(|state| state.phase == LabPhase::Ready);
        let mut text = String::new();
        said.read_to_string(&mut text)?;
        print!("{text}");
        std::io::stdout().flush()?;
        if ready {
            println!(
                "\nthe lab is up; `hawser lab down --dir {}` ends it",
                args.dir.dir.display()
            );
            return Ok(ExitCode::SUCCESS);
        }
        if ended.is_some() {
            return Ok(ExitCode::from(1));
        }
        tokio::select! {
            () = tokio::time::sleep(POLL) => {}
            () = stop.cancelled() => {
                super::status::down(dir.root()).await?;
                return Ok(ExitCode::from(1));
            }
        }
    }
}

/// The flags of the process that stays behind.
fn daemon_flags(args: &UpArgs, dir: &LabDir) -> Vec<PathBuf> {
    let name = |value: &dyn NamedValue| PathBuf::from(value.name());
    let mut flags: Vec<PathBuf> = ["lab", "up", "--daemon", "--dir"].map(PathBuf::from).into();
    flags.push(dir.root().to_path_buf());
    flags.extend(["--clusters".into(), args.clusters.to_string().into()]);
    let named: [(&str, &dyn NamedValue); 5] = [
        ("--topology", &args.topology),
        ("--networks", &args.networks),
        ("--app", &args.app),
        ("--proxy", &args.proxy),
        ("--gateway", &args.gateway),
    ];
    for (flag, value) in named {
        flags.extend([flag.into(), name(value)]);
    }
    for (flag, value) in [("--envoy", &args.envoy), ("--images", &args.images)] {
        if let Some(value) = value {
            flags.extend([flag.into(), value.clone()]);
        }
    }
    flags
}

/// The name of a flag's value.
trait NamedValue {
    fn name(&self) -> String;
}

impl<T: clap::ValueEnum> NamedValue for T {
    fn name(&self) -> String {
        self.to_possible_value()
            .map(|value| value.get_name().to_string())
            .unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Debug, Parser)]
    struct Cli {
        #[command(flatten)]
        lab: super::super::LabArgs,
    }

    fn parse(flags: &[&str]) -> UpArgs {
        let cli = Cli::try_parse_from(["hawser", "up"].iter().chain(flags)).expect("flags");
        match cli.lab.command {
            super::super::LabCommand::Up(args) => args,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn what_is_not_built_is_refused() {
        let cases = [
            (&[][..], None),
            (
                &["--topology", "none", "--clusters", "3", "--app", "none"],
                None,
            ),
            (
                &["--topology", "multi-primary"],
                Some("multi-primary is not built"),
            ),
            (&["--networks", "one"], Some("--networks one")),
            (&["--app", "helloworld"], Some("helloworld")),
            (&["--clusters", "0"], Some("from 1 to")),
            (&["--clusters", "3"], Some("two clusters")),
        ];
        for (flags, expected) in cases {
            let given = check(&parse(flags)).err().map(|error| error.to_string());
            match expected {
                None => assert_eq!(given, None, "{flags:?}"),
                Some(part) => assert!(
                    given.as_deref().unwrap_or_default().contains(part),
                    "{flags:?}: {given:?}"
                ),
            }
        }
    }

    #[test]
    fn a_daemon_gets_the_same_flags() {
        let args = parse(&[
            "--clusters",
            "3",
            "--topology",
            "none",
            "--app",
            "none",
            "--envoy",
            "/x",
            "--detach",
        ]);
        let dir = LabDir::new(std::path::Path::new("/tmp/lab")).expect("a path");
        let flags: Vec<String> = daemon_flags(&args, &dir)
            .iter()
            .skip(2)
            .map(|flag| flag.display().to_string())
            .collect();
        let flags: Vec<&str> = flags.iter().map(String::as_str).collect();
        let again = parse(&flags);
        assert!(again.daemon && !again.detach);
        assert_eq!(
            (again.clusters, again.topology, again.app),
            (args.clusters, args.topology, args.app)
        );
        assert_eq!(again.envoy, args.envoy);
    }
}
