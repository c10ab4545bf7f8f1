//! `hawser translate`: what a proxy would be given, from files.

use std::collections::BTreeMap;
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::{Context, Result};
use hawser_model::Str;
use hawser_translate::Resource;
use serde_json::{Map, Value, json};

use crate::offline::OfflineArgs;

/// Print what a proxy would be given, from files alone.
#[derive(clap::Args, Debug)]
pub struct TranslateArgs {
    #[command(flatten)]
    mesh: OfflineArgs,
    /// The form of the output.
    #[arg(short, long, value_enum, default_value = "json")]
    output: Output,
}

#[derive(clap::ValueEnum, Clone, Copy, Debug)]
enum Output {
    /// Envoy v3 protobuf JSON with the proto's own field names.
    Json,
}

/// Prints the resources; problems of the configuration go to standard error and make the exit status 1.
pub fn run(args: &TranslateArgs) -> Result<ExitCode> {
    let Output::Json = args.output;
    let offline = args.mesh.read()?;
    let resources = &offline.resources;
    let names: BTreeMap<Str, Arc<Resource>> = resources
        .names
        .iter()
        .map(|r| (r.name.clone(), Arc::clone(r)))
        .collect();
    let mut output = json!({
        "cds": print(&resources.clusters)?,
        "eds": print(&resources.endpoints)?,
        "lds": print(&resources.listeners)?,
        "rds": print(&resources.routes)?,
        "nds": print(&names)?,
    });
    // Only where there are any: the other keys are what other programs count on.
    let bootstrap: BTreeMap<Str, Arc<Resource>> = resources
        .bootstrap
        .iter()
        .map(|r| (r.name.clone(), Arc::clone(r)))
        .collect();
    for (key, more) in [("ecds", &resources.extensions), ("bds", &bootstrap)] {
        if !more.is_empty() {
            output[key] = Value::Object(print(more)?);
        }
    }
    println!("{}", serde_json::to_string_pretty(&output)?);
    Ok(if offline.clean {
        ExitCode::SUCCESS
    } else {
        ExitCode::from(1)
    })
}

fn print(resources: &BTreeMap<Str, Arc<Resource>>) -> Result<Map<String, Value>> {
    let one = |r: &Arc<Resource>| {
        let value = hawser_proto::json::print_any(&r.any).with_context(|| r.name.to_string())?;
        Ok((r.name.to_string(), value))
    };
    resources.values().map(one).collect()
}
