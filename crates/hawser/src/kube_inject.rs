//! `hawser kube-inject`: what the injector would do, done to files.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, Result, bail};
use hawser_inject::Settings;

/// Add proxies to the pods of objects in files, and print the result.
#[derive(clap::Args, Debug)]
pub struct KubeInjectArgs {
    /// A file or folder of YAML or JSON; - is standard input. May be repeated.
    #[arg(short, long = "filename", value_name = "FILE", required = true)]
    filenames: Vec<PathBuf>,
    /// Name of the cluster that the pods will run in.
    #[arg(long, default_value = "Kubernetes")]
    cluster_id: String,
    /// Network of the pods.
    #[arg(long, default_value = "")]
    network: String,
    /// Name of the mesh.
    #[arg(long, default_value = "")]
    mesh_id: String,
    /// Where the images come from.
    #[arg(long, default_value = "hawser")]
    hub: String,
    /// The images' tag.
    #[arg(long, default_value = env!("CARGO_PKG_VERSION"))]
    tag: String,
}

/// Prints all objects, those with pods injected.
pub fn run(args: &KubeInjectArgs) -> Result<ExitCode> {
    let settings = Settings {
        cluster_id: args.cluster_id.clone(),
        network: args.network.clone(),
        mesh_id: args.mesh_id.clone(),
        init_image: format!("{}/init:{}", args.hub, args.tag),
        proxy_image: format!("{}/proxyv2:{}", args.hub, args.tag),
        ..Settings::default()
    };
    for input in &args.filenames {
        for (name, bytes) in crate::files::read(input, true)? {
            let manifest = hawser_api::manifest::read(&name, &bytes);
            if let Some(error) = manifest.errors.first() {
                bail!("{error}");
            }
            for document in manifest.docs {
                let (object, warnings) = hawser_inject::inject_workload(&document.value, &settings)
                    .unwrap_or_else(|| (document.value.clone(), Vec::new()));
                warnings
                    .iter()
                    .for_each(|warning| eprintln!("warning: {name}: {warning}"));
                print!(
                    "---\n{}",
                    serde_saphyr::to_string(&object).context("printing YAML")?
                );
            }
        }
    }
    Ok(ExitCode::SUCCESS)
}
