//! Makes a descriptor set of every `.proto` file that the `envoy-types` package ships, a table of where maps occur, and
//! gRPC stubs. Nothing is copied into this tree: the files are found through `cargo metadata`.

mod maps;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use prost::Message;
use prost_reflect::DescriptorPool;
use prost_types::{DescriptorProto, FileDescriptorProto, FileDescriptorSet};

fn main() -> Result<()> {
    println!("cargo::rerun-if-changed=build");
    let out = PathBuf::from(std::env::var("OUT_DIR")?);
    let package = package_dir("envoy-types")?;
    println!(
        "cargo::rerun-if-changed={}",
        package.join("Cargo.toml").display()
    );
    let files = parse_tree(&package.join("proto"))?;
    let set = FileDescriptorSet {
        file: absolute_names(files)?,
    };
    std::fs::write(out.join("descriptors.bin"), set.encode_to_vec())?;
    let well_known = DescriptorPool::global();
    let well_known: Vec<_> = well_known
        .files()
        .map(|f| f.file_descriptor_proto().clone())
        .collect();
    let table = maps::table(well_known.iter().chain(&set.file))?;
    std::fs::write(out.join("maps.rs"), table)?;
    if std::env::var_os("CARGO_FEATURE_GRPC").is_some() {
        stubs(&out);
    }
    Ok(())
}

fn package_dir(name: &str) -> Result<PathBuf> {
    let query = |options: &[&str]| {
        cargo_metadata::MetadataCommand::new()
            .manifest_path(PathBuf::from(std::env::var("CARGO_MANIFEST_DIR")?).join("Cargo.toml"))
            .other_options(options.iter().map(|o| (*o).to_owned()).collect::<Vec<_>>())
            .exec()
            .context("cargo metadata")
    };
    // Offline works once every package of the workspace is here; a build of one crate may come before that.
    let metadata = query(&["--offline"]).or_else(|_| query(&[]))?;
    let package = metadata.packages.iter().find(|p| p.name.as_str() == name);
    let manifest = &package
        .with_context(|| format!("package {name} is not in the dependency graph"))?
        .manifest_path;
    Ok(manifest
        .parent()
        .context("manifest without a folder")?
        .as_std_path()
        .to_owned())
}

/// Every file under the package's proto folders, by its import path.
fn parse_tree(root: &Path) -> Result<BTreeMap<String, FileDescriptorProto>> {
    let mut files = BTreeMap::new();
    for include in std::fs::read_dir(root)? {
        let include = include?.path();
        let mut folders = vec![include.clone()];
        while let Some(folder) = folders.pop() {
            for entry in std::fs::read_dir(&folder)? {
                let path = entry?.path();
                if path.is_dir() {
                    folders.push(path);
                } else if path.extension().is_some_and(|e| e == "proto") {
                    let name = path
                        .strip_prefix(&include)?
                        .to_str()
                        .context("non-UTF-8 path")?
                        .to_owned();
                    // Envoy imports CEL's files both ways.
                    let name = name
                        .strip_prefix("proto/")
                        .map_or(name.clone(), str::to_owned);
                    let source = std::fs::read_to_string(&path)?;
                    files.insert(
                        name.clone(),
                        protox_parse::parse(&name, &source)
                            .map_err(|e| anyhow::anyhow!("{name}: {e}"))?,
                    );
                }
            }
        }
    }
    Ok(files)
}

/// Resolves relative type names as protoc does, against the file and its imports alone: Envoy's packages nest in ways
/// that make a search over all loaded files find the wrong one.
fn absolute_names(
    mut files: BTreeMap<String, FileDescriptorProto>,
) -> Result<Vec<FileDescriptorProto>> {
    let well_known: BTreeMap<String, FileDescriptorProto> = DescriptorPool::global()
        .files()
        .map(|f| (f.name().to_owned(), f.file_descriptor_proto().clone()))
        .collect();
    let defined: BTreeMap<String, BTreeMap<String, bool>> = files
        .iter()
        .chain(&well_known)
        .map(|(name, file)| (name.clone(), definitions(file)))
        .collect();
    let publics: BTreeMap<String, Vec<String>> = files
        .iter()
        .chain(&well_known)
        .map(|(n, f)| {
            (
                n.clone(),
                f.public_dependency
                    .iter()
                    .filter_map(|i| f.dependency.get(*i as usize).cloned())
                    .collect(),
            )
        })
        .collect();
    let mut done = Vec::new();
    for (name, file) in &mut files {
        let mut visible: BTreeMap<&str, bool> = BTreeMap::new();
        let mut wanted: Vec<&str> = vec![name];
        wanted.extend(file.dependency.iter().map(String::as_str));
        let mut seen = BTreeSet::new();
        while let Some(next) = wanted.pop() {
            if !seen.insert(next.to_owned()) {
                continue;
            }
            let Some(names) = defined.get(next) else {
                bail!("{name} imports {next}, which is not shipped")
            };
            visible.extend(names.iter().map(|(n, is_enum)| (n.as_str(), *is_enum)));
            wanted.extend(publics.get(next).into_iter().flatten().map(String::as_str));
        }
        let package = format!(".{}", file.package());
        for message in &mut file.message_type {
            resolve_message(message, &package, &visible)?;
        }
        for extension in &mut file.extension {
            resolve_field(extension, &package, &visible)?;
        }
        for service in &mut file.service {
            service.options = None;
            for method in &mut service.method {
                method.options = None;
                for t in [&mut method.input_type, &mut method.output_type]
                    .into_iter()
                    .flatten()
                {
                    *t = resolve(t, &package, &visible)?.0;
                }
            }
        }
        for e in &mut file.enum_type {
            strip_enum(e);
        }
        file.options = None;
        file.source_code_info = None;
        done.push(file.clone());
    }
    Ok(done)
}

/// Full names (with a leading dot) of all types of a file; true where it is an enum.
fn definitions(file: &FileDescriptorProto) -> BTreeMap<String, bool> {
    fn message(m: &DescriptorProto, scope: &str, out: &mut BTreeMap<String, bool>) {
        let name = format!("{scope}.{}", m.name());
        out.extend(
            m.enum_type
                .iter()
                .map(|e| (format!("{name}.{}", e.name()), true)),
        );
        m.nested_type.iter().for_each(|n| message(n, &name, out));
        out.insert(name, false);
    }
    let scope = format!(".{}", file.package());
    let mut out: BTreeMap<_, _> = file
        .enum_type
        .iter()
        .map(|e| (format!("{scope}.{}", e.name()), true))
        .collect();
    file.message_type
        .iter()
        .for_each(|m| message(m, &scope, &mut out));
    out
}

/// Of an enum's options only `allow_alias` matters, and that shows in its numbers.
fn strip_enum(e: &mut prost_types::EnumDescriptorProto) {
    let numbers: BTreeSet<i32> = e.value.iter().map(|v| v.number()).collect();
    let aliased = numbers.len() < e.value.len();
    e.options = aliased.then(|| prost_types::EnumOptions {
        allow_alias: Some(true),
        ..Default::default()
    });
    e.value.iter_mut().for_each(|v| v.options = None);
}

fn resolve_message(
    m: &mut DescriptorProto,
    scope: &str,
    visible: &BTreeMap<&str, bool>,
) -> Result<()> {
    let scope = format!("{scope}.{}", m.name());
    if let Some(options) = &mut m.options {
        options.uninterpreted_option.clear();
    }
    m.oneof_decl.iter_mut().for_each(|o| o.options = None);
    m.enum_type.iter_mut().for_each(strip_enum);
    for field in m.field.iter_mut().chain(&mut m.extension) {
        resolve_field(field, &scope, visible)?;
    }
    m.nested_type
        .iter_mut()
        .try_for_each(|n| resolve_message(n, &scope, visible))
}

fn resolve_field(
    f: &mut prost_types::FieldDescriptorProto,
    scope: &str,
    visible: &BTreeMap<&str, bool>,
) -> Result<()> {
    use prost_types::field_descriptor_proto::Type;
    if let Some(options) = &mut f.options {
        options.uninterpreted_option.clear();
    }
    if let Some(extendee) = &f.extendee {
        f.extendee = Some(resolve(extendee, scope, visible)?.0);
    }
    if let Some(name) = &f.type_name {
        let (name, is_enum) = resolve(name, scope, visible)?;
        f.type_name = Some(name);
        if f.r#type.is_none() {
            f.r#type = Some(if is_enum { Type::Enum } else { Type::Message } as i32);
        }
    }
    Ok(())
}

/// Innermost scope first, as the language says.
fn resolve(name: &str, scope: &str, visible: &BTreeMap<&str, bool>) -> Result<(String, bool)> {
    if name.starts_with('.') {
        return visible
            .get(name)
            .map(|e| (name.to_owned(), *e))
            .with_context(|| format!("{name} is not defined"));
    }
    let mut scope = scope;
    loop {
        let candidate = format!("{scope}.{name}");
        if let Some(is_enum) = visible.get(candidate.as_str()) {
            return Ok((candidate, *is_enum));
        }
        match scope.rfind('.') {
            Some(dot) => scope = &scope[..dot],
            None => bail!("{name} is not defined in {scope}"),
        }
    }
}

/// Stubs that no crate has: Istio's CA service.
fn stubs(out: &Path) {
    let sign = tonic_build::manual::Method::builder()
        .name("create_certificate")
        .route_name("CreateCertificate")
        .input_type("crate::istio::ca::IstioCertificateRequest")
        .output_type("crate::istio::ca::IstioCertificateResponse")
        .codec_path("tonic_prost::ProstCodec");
    let ca = tonic_build::manual::Service::builder()
        .name("IstioCertificateService")
        .package("istio.v1.auth")
        .method(sign.build())
        .build();
    tonic_build::manual::Builder::new()
        .out_dir(out)
        .compile(&[ca]);
}
