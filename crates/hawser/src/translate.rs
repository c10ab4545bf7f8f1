//! `hawser translate`: what a proxy would be given, from files.

use std::collections::BTreeMap;
use std::io::Write;
use std::process::ExitCode;
use std::sync::Arc;
use std::thread;

use anyhow::{Context, Result};
use hawser_model::Str;
use hawser_proto::json::Printed;
use hawser_translate::Resource;
use serde::Serialize as _;

use crate::blocks;
use crate::offline::OfflineArgs;

mod layout;

use layout::Layout;

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
    let all = |of: &BTreeMap<Str, Arc<Resource>>| of.values().cloned().collect();
    let sections: [(&str, Vec<Arc<Resource>>); 7] = [
        ("bds", resources.bootstrap.iter().cloned().collect()),
        ("cds", all(&resources.clusters)),
        ("ecds", all(&resources.extensions)),
        ("eds", all(&resources.endpoints)),
        ("lds", all(&resources.listeners)),
        ("nds", resources.names.iter().cloned().collect()),
        ("rds", all(&resources.routes)),
    ];
    // These only where there are any: the other keys are what other programs count on.
    let optional = ["bds", "ecds"];
    let sections = sections
        .into_iter()
        .filter(|(key, of)| !of.is_empty() || !optional.contains(key))
        .collect::<Vec<_>>();
    print(&sections, &mut std::io::stdout().lock())?;
    let clean = offline.clean;
    // As with the objects: the process ends here.
    std::mem::forget((offline, sections));
    Ok(if clean {
        ExitCode::SUCCESS
    } else {
        ExitCode::from(1)
    })
}

/// Resources that are written at a time.
const RESOURCES: usize = 64;

/// A section with fewer resources than this may have large ones, such as the routes of all services at one port.
const FEW: usize = 8;

/// An object of the sections, each an object of its resources by name. Sections of few resources, which cannot be parted
/// into blocks, are printed beside all others.
fn print(sections: &[(&str, Vec<Arc<Resource>>)], out: &mut impl Write) -> Result<()> {
    thread::scope(|scope| {
        let ahead = sections.iter().map(|(_, resources)| {
            (resources.len() < FEW).then(|| scope.spawn(|| print_block(&numbered(resources))))
        });
        let ahead: Vec<_> = ahead.collect();
        for (at, ((section, resources), ahead)) in sections.iter().zip(ahead).enumerate() {
            let before = if at == 0 { '{' } else { ',' };
            write!(out, "{before}\n  \"{section}\": {{")?;
            let mut write =
                |text: Result<Vec<u8>>| out.write_all(&text?).context("writing the resources");
            match ahead {
                Some(printing) => write(
                    printing
                        .join()
                        .unwrap_or_else(|panic| std::panic::resume_unwind(panic)),
                )?,
                None => blocks::map(&numbered(resources), RESOURCES, print_block, write)?,
            }
            let line = if resources.is_empty() { "" } else { "\n  " };
            write!(out, "{line}}}")?;
        }
        out.write_all(b"\n}\n").context("writing the resources")
    })
}

fn numbered(resources: &[Arc<Resource>]) -> Vec<(usize, &Arc<Resource>)> {
    resources.iter().enumerate().collect()
}

fn print_block(block: &[(usize, &Arc<Resource>)]) -> Result<Vec<u8>> {
    // Most take some kilobytes.
    let mut out = Vec::with_capacity(block.len() * 4096);
    for (at, resource) in block {
        let line: &[u8] = if *at == 0 { b"\n    " } else { b",\n    " };
        out.extend_from_slice(line);
        serde_json::to_writer(&mut out, &*resource.name)?;
        out.extend_from_slice(b": ");
        let mut serializer = serde_json::Serializer::with_formatter(&mut out, Layout::at(2));
        Printed(&resource.any)
            .serialize(&mut serializer)
            .with_context(|| format!("printing {}", resource.name))?;
    }
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;
    use hawser_proto::envoy::config::cluster::v3::Cluster;
    use serde_json::{Value, json};

    #[test]
    fn the_parts_make_one_document_laid_out_as_usual() {
        let resource = |name: &str| {
            let cluster = Cluster {
                name: name.to_owned(),
                alt_stat_name: "\"quoted\"".to_owned(),
                ..Default::default()
            };
            Arc::new(Resource {
                name: name.into(),
                any: Arc::new(hawser_proto::any(&cluster)),
                version: 0,
            })
        };
        let many: Vec<_> = (100..300).map(|n| resource(&format!("c{n}"))).collect();
        let sections = [
            ("cds", many.clone()),
            ("eds", vec![]),
            ("lds", vec![resource("é\n")]),
        ];
        let mut out = Vec::new();
        print(&sections, &mut out).unwrap();
        let section = |resources: &[Arc<Resource>]| -> Value {
            let one = |r: &Arc<Resource>| {
                let value = hawser_proto::json::print_any(&r.any).unwrap();
                (r.name.to_string(), value)
            };
            Value::Object(resources.iter().map(one).collect())
        };
        let whole = json!({"cds": section(&many), "eds": {}, "lds": section(&sections[2].1)});
        let expected = serde_json::to_string_pretty(&whole).unwrap() + "\n";
        assert!(String::from_utf8(out).unwrap() == expected);
    }
}
