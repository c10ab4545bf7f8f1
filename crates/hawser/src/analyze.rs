//! `hawser analyze`: what is wrong between the objects of files and of one or several clusters.

mod load;
mod output;

use std::io::IsTerminal;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, Result};
use hawser_analyze::{Settings, Suppression, analyze};
use hawser_api::validate::Severity;

use load::{Inventory, Source};
use output::Message;

/// Find mistakes in files and clusters, with Istio's codes: exit status 0 none, 1 found, 2 wrong use.
///
/// Files alone are analysed in full with --use-kube=false: the Services, Pods and other objects in them count. With a
/// cluster, files are taken as what is about to be applied to it.
#[derive(clap::Args, Debug)]
pub struct AnalyzeArgs {
    /// Files or folders of YAML or JSON; - is standard input.
    #[arg(value_name = "FILE")]
    files: Vec<PathBuf>,
    /// As FILE; may be repeated.
    #[arg(short, long = "filename", value_name = "FILE")]
    filenames: Vec<PathBuf>,
    /// The objects of a cluster, as NAME=FILE or NAME=FOLDER, instead of a live one; may be repeated.
    #[arg(long = "cluster", value_name = "NAME=FILE")]
    clusters: Vec<String>,
    /// Look into folders below the folders given.
    #[arg(short = 'R', long)]
    recursive: bool,
    /// Analyse live clusters; with =false files alone.
    #[arg(short = 'k', long, default_value_t = true, num_args = 0..=1, default_missing_value = "true", require_equals = true, action = clap::ArgAction::Set)]
    use_kube: bool,
    /// A kubeconfig; several for several clusters. By default $KUBECONFIG, then ~/.kube/config.
    #[arg(short = 'c', long, value_name = "FILE")]
    kubeconfig: Vec<PathBuf>,
    /// A context of the kubeconfig; several for several clusters.
    #[arg(long, value_name = "NAME")]
    context: Vec<String>,
    /// Contexts of further clusters, with commas between.
    #[arg(long, value_name = "NAMES", value_delimiter = ',')]
    remote_contexts: Vec<String>,
    /// Report objects of all namespaces.
    #[arg(short = 'A', long, conflicts_with = "namespace")]
    all_namespaces: bool,
    /// Report objects of this namespace; also that of objects in files that name none.
    #[arg(short, long)]
    namespace: Option<String>,
    /// Where the control plane is.
    #[arg(
        short,
        long = "istioNamespace",
        alias = "istio-namespace",
        default_value = "istio-system",
        value_name = "NAMESPACE"
    )]
    istio_namespace: String,
    /// Do not report a code of an object, as "IST0102=Namespace foo"; * stands for anything. May be repeated.
    #[arg(short = 'S', long, value_name = "CODE=OBJECT")]
    suppress: Vec<Suppression>,
    /// The severity from which the exit status is 1.
    #[arg(long, value_enum, ignore_case = true, default_value = "error")]
    failure_threshold: Level,
    /// The severity from which a finding is printed.
    #[arg(long, value_enum, ignore_case = true, default_value = "info")]
    output_threshold: Level,
    /// The form of the output.
    #[arg(short, long, value_enum, default_value = "log")]
    output: Output,
    /// Only list the analyzers.
    #[arg(short = 'L', long)]
    list_analyzers: bool,
    /// Take the mesh's settings from this file instead of a cluster's ConfigMap.
    #[arg(
        long = "meshConfigFile",
        alias = "mesh-config-file",
        value_name = "FILE"
    )]
    mesh_config_file: Option<PathBuf>,
    /// The revision whose settings hold: ConfigMap istio-REVISION.
    #[arg(long, default_value = "default")]
    revision: String,
    /// Analyse the clusters of the control plane's remote secrets (label istio/multiCluster) as well.
    #[arg(long)]
    multi_cluster: bool,
    /// The time that each cluster may take to answer.
    #[arg(long, default_value = "30s", value_parser = duration)]
    timeout: Duration,
    /// Colours; by default where the output is a terminal.
    #[arg(long, num_args = 0..=1, default_missing_value = "true", require_equals = true)]
    color: Option<bool>,
    /// Say what was analysed.
    #[arg(short, long)]
    verbose: bool,
    /// Do not complain of documents that are no objects, or of kinds of Istio that are not known.
    #[arg(long)]
    ignore_unknown: bool,
}

#[derive(clap::ValueEnum, Clone, Copy, Debug, PartialEq, Eq)]
enum Level {
    Info,
    #[value(alias = "warn")]
    Warning,
    Error,
}

impl Level {
    fn includes(self, severity: Severity) -> bool {
        match self {
            Level::Info => true,
            Level::Warning => severity != Severity::Info,
            Level::Error => severity == Severity::Error,
        }
    }
}

#[derive(clap::ValueEnum, Clone, Copy, Debug, PartialEq, Eq)]
enum Output {
    /// A line for each finding, and the way out below it.
    Log,
    /// A list in the shape of istioctl's, with file, line, column and field added.
    Json,
    /// As json, in YAML.
    Yaml,
}

/// The exit status for a command that cannot be carried out as given.
const WRONG_USE: u8 = 2;

fn duration(text: &str) -> Result<Duration, String> {
    let read = hawser_api::Duration::parse(text).ok();
    read.and_then(|d| u64::try_from(d.nanos()).ok())
        .map(Duration::from_nanos)
        .ok_or_else(|| "write a number and a unit, such as 30s or 1m30s".to_owned())
}

/// Prints what is wrong; the exit status says whether anything is.
pub async fn run(args: AnalyzeArgs) -> Result<ExitCode> {
    if args.list_analyzers {
        for analyzer in hawser_analyze::ALL {
            println!("* {}\n    {}", analyzer.name, analyzer.description);
        }
        return Ok(ExitCode::SUCCESS);
    }
    let sources = match sources(&args) {
        Ok(sources) => sources,
        Err(message) => {
            eprintln!("hawser: {message}");
            return Ok(ExitCode::from(WRONG_USE));
        }
    };
    let live = sources
        .iter()
        .any(|source| matches!(source, Source::Live { .. }));
    let mut inventory = Inventory::new(
        args.namespace.as_deref().unwrap_or("default"),
        args.recursive,
    );
    for source in &sources {
        match source {
            Source::Live {
                name,
                kubeconfig,
                context,
            } => {
                let reading = inventory.add_live(name, kubeconfig, context.as_deref());
                let client = in_time(args.timeout, name, reading).await?;
                if args.multi_cluster {
                    let secrets = load::remote_clusters(&client, &args.istio_namespace);
                    for (remote, client) in in_time(args.timeout, name, secrets).await? {
                        let reading = inventory.add_cluster(&remote, &client);
                        in_time(args.timeout, &remote, reading).await?;
                    }
                }
            }
            Source::Files { name, input } => {
                if let Err(error) = inventory.add_files(name, input) {
                    eprintln!("hawser: {error:#}");
                    return Ok(ExitCode::from(WRONG_USE));
                }
            }
        }
    }
    let mesh = match args.mesh_config_file.as_deref().map(load::mesh_config) {
        None => None,
        Some(Ok((mesh, faults))) => {
            inventory.unreadable.extend(faults);
            Some(mesh)
        }
        Some(Err(error)) => {
            eprintln!("hawser: {error:#}");
            return Ok(ExitCode::from(WRONG_USE));
        }
    };
    let settings = Settings {
        istio_namespace: args.istio_namespace.clone(),
        now: time::OffsetDateTime::now_utc().unix_timestamp(),
        secrets_known: inventory.secrets_known,
        revision: args.revision.clone(),
        mesh,
    };
    let (clusters, places, unreadable) = inventory.finish();
    let names: Vec<String> = clusters.iter().map(|c| c.name.clone()).collect();
    if args.verbose {
        for cluster in &clusters {
            eprintln!(
                "Analyzed {} objects of {}.",
                cluster.objects.len(),
                cluster.name
            );
        }
        eprintln!(
            "Ran {} analyzers; -L lists them.",
            hawser_analyze::ALL.len()
        );
    }
    let findings = analyze(clusters, &settings);
    let mut messages: Vec<Message> = Vec::new();
    if !args.ignore_unknown {
        messages.extend(unreadable);
    }
    let wanted = |namespace: &str| match &args.namespace {
        _ if args.all_namespaces || namespace.is_empty() => true,
        Some(one) => namespace == one,
        // Without a word about it: all of the files, and of a cluster what kubectl would show.
        None => !live || namespace == "default",
    };
    for finding in findings {
        let place = places.get(finding.cluster, &finding.object);
        let from_file = place.is_some() && args.namespace.is_none();
        let kept = wanted(&finding.object.namespace) || from_file;
        if kept && !args.suppress.iter().any(|s| s.matches(&finding)) {
            let cluster = names.get(finding.cluster).filter(|_| names.len() > 1);
            messages.push(Message::of(finding, place, cluster));
        }
    }
    let failed = messages
        .iter()
        .any(|m| args.failure_threshold.includes(m.severity));
    messages.retain(|m| args.output_threshold.includes(m.severity));
    let scope = match (&args.namespace, args.all_namespaces || !live) {
        (Some(namespace), _) => format!("namespace: {namespace}"),
        (None, true) => "all namespaces".to_owned(),
        (None, false) => "namespace: default".to_owned(),
    };
    let color = args.color.unwrap_or_else(|| {
        std::io::stdout().is_terminal() && std::env::var_os("TERM").is_none_or(|t| t != "dumb")
    });
    output::print(&messages, args.output, &scope, color);
    if failed && args.output == Output::Log {
        eprintln!("Analyzers found issues when analyzing {scope}.");
    }
    Ok(ExitCode::from(u8::from(failed)))
}

/// What a cluster answers, if it does so in time.
async fn in_time<T>(
    timeout: Duration,
    name: &str,
    reading: impl Future<Output = Result<T>>,
) -> Result<T> {
    tokio::time::timeout(timeout, reading)
        .await
        .with_context(|| format!("cluster {name} has not answered within {timeout:?}"))?
}

/// The clusters and files that are meant; a file without a cluster of its own belongs to the first one.
fn sources(args: &AnalyzeArgs) -> Result<Vec<Source>, String> {
    let mut out = Vec::new();
    for cluster in &args.clusters {
        let Some((name, input)) = cluster
            .split_once('=')
            .filter(|(name, input)| !name.is_empty() && !input.is_empty())
        else {
            return Err(format!("--cluster {cluster}: write NAME=FILE"));
        };
        out.push(Source::Files {
            name: name.to_owned(),
            input: input.into(),
        });
    }
    let files: Vec<&PathBuf> = args.files.iter().chain(&args.filenames).collect();
    if out.is_empty() && args.use_kube {
        out = live(args, !files.is_empty())?;
    }
    let first = match out.first() {
        Some(source) => source.name().clone(),
        None => "files".to_owned(),
    };
    out.extend(files.into_iter().map(|input| Source::Files {
        name: first.clone(),
        input: input.clone(),
    }));
    if out.is_empty() {
        return Err("nothing to analyse: name files or folders, - for standard input, or a cluster by --kubeconfig".to_owned());
    }
    Ok(out)
}

/// The live clusters by kubeconfigs and contexts. Without any kubeconfig at all, files do alone.
fn live(args: &AnalyzeArgs, with_files: bool) -> Result<Vec<Source>, String> {
    let contexts: Vec<&String> = args.context.iter().chain(&args.remote_contexts).collect();
    let kubeconfigs = if args.kubeconfig.is_empty() {
        let asked = !contexts.is_empty();
        match default_kubeconfig() {
            Some(file) => vec![file],
            None if with_files && !asked => {
                eprintln!("hawser: no kubeconfig, so the files alone are analysed (--use-kube=false says so)");
                return Ok(Vec::new());
            }
            None => return Err("no kubeconfig: give one by --kubeconfig or KUBECONFIG, or files and --use-kube=false".to_owned()),
        }
    } else {
        args.kubeconfig.clone()
    };
    let source = |kubeconfig: &PathBuf, context: Option<&String>| Source::Live {
        name: context
            .cloned()
            .unwrap_or_else(|| kubeconfig.display().to_string()),
        kubeconfig: kubeconfig.clone(),
        context: context.cloned(),
    };
    let found: Vec<Source> = match (kubeconfigs.as_slice(), contexts.as_slice()) {
        (files, []) => files.iter().map(|file| source(file, None)).collect(),
        ([file], contexts) => contexts
            .iter()
            .map(|context| source(file, Some(context)))
            .collect(),
        (files, contexts) if files.len() == contexts.len() => {
            let pairs = files.iter().zip(contexts);
            pairs
                .map(|(file, context)| source(file, Some(context)))
                .collect()
        }
        _ => {
            return Err("give one --kubeconfig, or one --context for each --kubeconfig".to_owned());
        }
    };
    let mut names: Vec<&String> = found.iter().map(Source::name).collect();
    names.sort();
    match names.windows(2).find(|pair| pair.first() == pair.last()) {
        Some(pair) => Err(format!(
            "cluster {} is given twice",
            pair.first().map_or("", |name| name)
        )),
        None => Ok(found),
    }
}

fn default_kubeconfig() -> Option<PathBuf> {
    let variable = std::env::var_os("KUBECONFIG").filter(|v| !v.is_empty());
    if let Some(files) = variable {
        return std::env::split_paths(&files).find(|file| file.is_file());
    }
    let home = std::env::var_os("HOME")?;
    let file = PathBuf::from(home).join(".kube/config");
    file.is_file().then_some(file)
}
