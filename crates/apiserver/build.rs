//! Makes the table of built-in kinds that `src/schema` works from.
//!
//! Two published packages describe them, both generated from Kubernetes' own definitions: `k8s-openapi` knows the
//! JSON names, types and texts, `k8s-pb` the protobuf tags and the markers for merging (`+listType`, `+patchMergeKey`).
//! Only their sources are read, through `cargo metadata`; neither is compiled for this crate or copied into this tree.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use serde_json::{Map, Value, json};

/// The Kubernetes version described: the folder of that name in `k8s-openapi`.
const VERSION: &str = "v1_35";

fn main() -> Result<()> {
    println!("cargo::rerun-if-changed=build.rs");
    let out = PathBuf::from(std::env::var("OUT_DIR")?);
    let [openapi, protobuf] = package_dirs(["k8s-openapi", "k8s-pb"])?;
    for package in [&openapi, &protobuf] {
        println!(
            "cargo::rerun-if-changed={}",
            package.join("Cargo.toml").display()
        );
    }
    let mut types = json_types(&openapi.join("src").join(VERSION))?;
    let messages = proto_messages(&protobuf.join("src"))?;
    for (name, json_type) in &mut types {
        number(name, json_type, &messages);
    }
    let (table, texts) = table(&types);
    std::fs::write(out.join("types.json"), serde_json::to_vec(&table)?)?;
    std::fs::write(out.join("texts.json"), serde_json::to_vec(&texts)?)?;
    Ok(())
}

fn package_dirs<const N: usize>(names: [&str; N]) -> Result<[PathBuf; N]> {
    let manifest = PathBuf::from(std::env::var("CARGO_MANIFEST_DIR")?).join("Cargo.toml");
    let metadata = cargo_metadata::MetadataCommand::new()
        .manifest_path(manifest)
        .exec()
        .context("cargo metadata")?;
    let mut found = Vec::new();
    for name in names {
        let package = metadata.packages.iter().find(|p| p.name.as_str() == name);
        let package =
            package.with_context(|| format!("package {name} is not in the dependency graph"))?;
        found.push(
            package
                .manifest_path
                .parent()
                .context("manifest without a folder")?
                .as_std_path()
                .to_owned(),
        );
    }
    found
        .try_into()
        .map_err(|_| anyhow::anyhow!("one folder for each package"))
}

/// A type as `k8s-openapi` has it, and what is added to it here.
#[derive(Default)]
struct JsonType {
    schema: Value,
    /// Group, version, kind and plural, for types that are kinds.
    kind: Option<[String; 4]>,
    namespaced: bool,
    /// By JSON name: the path of protobuf tags, more than one below an inlined message.
    tags: BTreeMap<String, Vec<u32>>,
    markers: BTreeMap<String, Vec<String>>,
    atomic: bool,
}

/// The types below `root` by name, without alpha and beta versions.
fn json_types(root: &Path) -> Result<BTreeMap<String, JsonType>> {
    let mut types = BTreeMap::new();
    for file in files(root)? {
        let unstable =
            |part: &str| part.starts_with('v') && (part.contains("alpha") || part.contains("beta"));
        if file.iter().filter_map(|p| p.to_str()).any(unstable) {
            continue;
        }
        let source = std::fs::read_to_string(&file)?;
        let Some(at) = source.find("fn schema_name()") else {
            continue;
        };
        let Some(name) = source[at..]
            .lines()
            .nth(1)
            .and_then(|l| l.split('"').nth(1))
        else {
            continue;
        };
        let Some(start) = source.find("json_schema!(") else {
            continue;
        };
        let mut parser = Parser {
            rest: &source[start + "json_schema!(".len()..],
        };
        let schema = parser.value().with_context(|| file.display().to_string())?;
        let constant = |name: &str| {
            let line = source
                .lines()
                .find(|l| l.trim_start().starts_with(&format!("const {name}:")))?;
            Some(line.split('"').nth(1)?.to_owned())
        };
        let names = (
            constant("GROUP"),
            constant("VERSION"),
            constant("KIND"),
            constant("URL_PATH_SEGMENT"),
        );
        let kind = match names {
            (Some(group), Some(version), Some(kind), Some(plural)) => {
                Some([group, version, kind, plural])
            }
            _ => None,
        };
        let namespaced = source.contains("type Scope = crate::NamespaceResourceScope;");
        types.insert(
            name.to_owned(),
            JsonType {
                schema,
                kind,
                namespaced,
                ..JsonType::default()
            },
        );
    }
    if types.len() < 300 {
        bail!("only {} types found in {}", types.len(), root.display());
    }
    Ok(types)
}

fn files(root: &Path) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    let mut folders = vec![root.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).with_context(|| folder.display().to_string())? {
            let path = entry?.path();
            if path.is_dir() {
                folders.push(path)
            } else {
                found.push(path)
            }
        }
    }
    found.sort();
    Ok(found)
}

/// Reads the argument of `json_schema!`: JSON with trailing commas and with expressions that refer to other types.
struct Parser<'a> {
    rest: &'a str,
}

impl Parser<'_> {
    fn value(&mut self) -> Result<Value> {
        self.rest = self.rest.trim_start();
        match self.rest.chars().next() {
            Some('{') => {
                self.rest = &self.rest[1..];
                let mut map = Map::new();
                while !self.ends('}') {
                    let key = self.string()?;
                    self.expect(':')?;
                    map.insert(key, self.value()?);
                    self.ends_item();
                }
                Ok(Value::Object(map))
            }
            Some('[') => {
                self.rest = &self.rest[1..];
                let mut list = Vec::new();
                while !self.ends(']') {
                    list.push(self.value()?);
                    self.ends_item();
                }
                Ok(Value::Array(list))
            }
            Some('"') => Ok(Value::String(self.string()?)),
            Some('(' | '_') => self.reference(),
            _ => {
                let end = self
                    .rest
                    .find([',', '}', ']', '\n'])
                    .context("unfinished value")?;
                let (word, rest) = self.rest.split_at(end);
                self.rest = rest;
                serde_json::from_str(word.trim()).with_context(|| format!("value {word:?}"))
            }
        }
    }

    fn ends(&mut self, close: char) -> bool {
        self.rest = self.rest.trim_start();
        self.rest
            .strip_prefix(close)
            .inspect(|rest| self.rest = rest)
            .is_some()
    }

    fn ends_item(&mut self) {
        self.ends(',');
    }

    fn expect(&mut self, c: char) -> Result<()> {
        if self.ends(c) {
            Ok(())
        } else {
            bail!(
                "expected {c:?} before {:?}",
                self.rest.chars().take(30).collect::<String>()
            )
        }
    }

    fn string(&mut self) -> Result<String> {
        self.expect('"')?;
        let mut text = String::new();
        let mut chars = self.rest.char_indices();
        while let Some((at, c)) = chars.next() {
            match c {
                '"' => {
                    self.rest = &self.rest[at + 1..];
                    return Ok(text);
                }
                '\\' => match chars.next().map(|(_, c)| c) {
                    Some('n') => text.push('\n'),
                    Some('t') => text.push('\t'),
                    Some(c @ ('"' | '\\' | '\'')) => text.push(c),
                    Some('u') => {
                        let code: String = chars
                            .by_ref()
                            .map(|(_, c)| c)
                            .skip(1)
                            .take_while(|c| *c != '}')
                            .collect();
                        text.push(
                            u32::from_str_radix(&code, 16)
                                .ok()
                                .and_then(char::from_u32)
                                .context("escape")?,
                        );
                    }
                    other => bail!("escape {other:?}"),
                },
                c => text.push(c),
            }
        }
        bail!("unfinished string")
    }

    /// `__gen.subschema_for::<PATH>()`, alone or in a block that also inserts a description.
    fn reference(&mut self) -> Result<Value> {
        const CALL: &str = "subschema_for::<";
        let depth_before = self.rest.starts_with('(');
        let start = self.rest.find(CALL).context("expression without a type")? + CALL.len();
        self.rest = &self.rest[start..];
        let end = self.rest.find(">()").context("unfinished type")?;
        let path = self.rest[..end]
            .strip_prefix("crate::")
            .context("type path")?;
        let name = format!("io.k8s.{}", path.replace("::", ".").replace('_', "-"));
        self.rest = &self.rest[end + ">()".len()..];
        let mut map = Map::from_iter([("$ref".to_owned(), Value::String(name))]);
        if self.ends(';') {
            if let Some(rest) = self
                .rest
                .trim_start()
                .strip_prefix("schema_obj.ensure_object().insert(\"description\".into(), ")
            {
                self.rest = rest;
                let description = self.string()?;
                map.insert("description".to_owned(), Value::String(description));
            }
            let end = self.rest.find("})").context("unfinished block")?;
            self.rest = &self.rest[end + 2..];
        } else if depth_before {
            self.expect(')')?;
        }
        Ok(Value::Object(map))
    }
}

struct ProtoField {
    tag: u32,
    /// The message in the same module that this field holds one of, if it does.
    message: Option<String>,
    markers: Vec<String>,
}

#[derive(Default)]
struct ProtoMessage {
    atomic: bool,
    fields: BTreeMap<String, ProtoField>,
}

/// The messages by plain name (see [`plain`]), their fields by plain name.
fn proto_messages(root: &Path) -> Result<BTreeMap<String, ProtoMessage>> {
    let mut messages = BTreeMap::new();
    for file in files(root)? {
        let module = file
            .parent()
            .and_then(|p| p.strip_prefix(root).ok())
            .context("module path")?;
        let module: String = module.iter().filter_map(|p| p.to_str()).collect();
        let source = std::fs::read_to_string(&file)?;
        let (mut markers, mut tag, mut current) = (Vec::new(), None, None);
        for line in source.lines().map(str::trim) {
            if let Some(marker) = line.strip_prefix("/// +") {
                markers.push(marker.to_owned());
            } else if let Some(rest) = line.strip_prefix("pub struct ") {
                let name = plain(&format!(
                    "io.k8s.{module}.{}",
                    rest.trim_end_matches(['{', '}', ' '])
                ));
                let atomic = markers.drain(..).any(|m: String| m == "structType=atomic");
                messages.insert(
                    name.clone(),
                    ProtoMessage {
                        atomic,
                        ..ProtoMessage::default()
                    },
                );
                current = Some(name);
            } else if line.starts_with("#[prost(") {
                let number = line
                    .split("tag = \"")
                    .nth(1)
                    .and_then(|t| t.split('"').next());
                tag = number
                    .and_then(|n| n.parse::<u32>().ok())
                    .map(|n| (n, line.contains("(message, optional")));
            } else if let (Some(rest), Some((tag, single))) = (line.strip_prefix("pub "), tag) {
                let (name, ty) = rest.split_once(':').context("field")?;
                let ty = ty
                    .trim()
                    .trim_start_matches("::core::option::Option<")
                    .trim_end_matches([',', '>']);
                let message =
                    (single && !ty.contains("::")).then(|| plain(&format!("io.k8s.{module}.{ty}")));
                let message_fields = current
                    .as_ref()
                    .and_then(|c| messages.get_mut(c))
                    .context("field outside")?;
                message_fields.fields.insert(
                    plain(name),
                    ProtoField {
                        tag,
                        message,
                        markers: std::mem::take(&mut markers),
                    },
                );
            } else if line == "}" {
                markers.clear();
                current = None;
            }
            if line.starts_with("pub ") {
                tag = None;
                markers.clear();
            }
        }
    }
    Ok(messages)
}

/// A name without what code generators change: case and punctuation.
fn plain(name: &str) -> String {
    let name = name.trim().trim_start_matches("r#");
    name.chars()
        .filter(char::is_ascii_alphanumeric)
        .map(|c| c.to_ascii_lowercase())
        .collect()
}

/// Gives a type's fields their tags and markers.
fn number(name: &str, json_type: &mut JsonType, messages: &BTreeMap<String, ProtoMessage>) {
    let Some(message) = messages.get(&plain(name)) else {
        return;
    };
    json_type.atomic = message.atomic;
    let Some(properties) = json_type
        .schema
        .get("properties")
        .and_then(Value::as_object)
    else {
        return;
    };
    let names: BTreeMap<String, String> =
        properties.keys().map(|k| (plain(k), k.clone())).collect();
    let mut open = vec![(message, Vec::new())];
    while let Some((message, path)) = open.pop() {
        for (plain_name, field) in &message.fields {
            let mut path: Vec<u32> = path.clone();
            path.push(field.tag);
            if let Some(json_name) = names.get(plain_name) {
                json_type.tags.entry(json_name.clone()).or_insert(path);
                json_type
                    .markers
                    .entry(json_name.clone())
                    .or_insert_with(|| field.markers.clone());
            } else if let Some(inline) = field.message.as_ref().and_then(|m| messages.get(m)) {
                // Go's embedded structs are a message of their own in protobuf and nothing in JSON.
                if path.len() < 4 {
                    open.push((inline, path));
                }
            }
        }
    }
}

/// A property's type in the table's short notation, read by `schema::ir`.
fn notation(schema: &Value) -> String {
    if let Some(name) = schema.get("$ref").and_then(Value::as_str) {
        let last = name.rsplit('.').next().unwrap_or(name);
        return match (last, name.contains("apimachinery") || name.contains("JSON")) {
            ("Time", true) => "t".to_owned(),
            ("MicroTime", true) => "u".to_owned(),
            ("Quantity", true) => "q".to_owned(),
            ("IntOrString", true) => "x".to_owned(),
            ("RawExtension" | "FieldsV1" | "JSON", true) => "*".to_owned(),
            ("JSONSchemaPropsOrBool", true) => "o".to_owned(),
            ("JSONSchemaPropsOrArray", true) => "a".to_owned(),
            ("JSONSchemaPropsOrStringArray", true) => "p".to_owned(),
            _ => format!("#{name}"),
        };
    }
    let format = schema
        .get("format")
        .and_then(Value::as_str)
        .unwrap_or_default();
    match (
        schema
            .get("type")
            .and_then(Value::as_str)
            .unwrap_or_default(),
        format,
    ) {
        ("string", "byte") => "y".to_owned(),
        ("string", _) => "s".to_owned(),
        ("boolean", _) => "b".to_owned(),
        ("integer", "int32") => "i".to_owned(),
        ("integer", _) => "l".to_owned(),
        ("number", _) => "f".to_owned(),
        ("array", _) => format!("[{}", schema.get("items").map_or("*".to_owned(), notation)),
        ("object", _) => schema
            .get("additionalProperties")
            .map_or("*".to_owned(), |v| format!("{{{}", notation(v))),
        _ => "*".to_owned(),
    }
}

/// The structure and, apart because they are rarely needed, the descriptions.
fn table(types: &BTreeMap<String, JsonType>) -> (Value, Value) {
    let (mut structure, mut texts, mut kinds) = (Map::new(), Map::new(), Vec::new());
    for (name, json_type) in types {
        let schema = &json_type.schema;
        if let Some([group, version, kind, plural]) = &json_type.kind {
            kinds.push(json!([
                group,
                version,
                kind,
                name,
                plural,
                json_type.namespaced
            ]));
        }
        let mut described = Map::new();
        if let Some(text) = schema.get("description") {
            described.insert(String::new(), text.clone());
        }
        let required: BTreeSet<&str> = schema
            .get("required")
            .and_then(Value::as_array)
            .into_iter()
            .flatten()
            .filter_map(Value::as_str)
            .collect();
        let mut fields = Map::new();
        for (field, property) in schema
            .get("properties")
            .and_then(Value::as_object)
            .into_iter()
            .flatten()
        {
            if let Some(text) = property.get("description") {
                described.insert(field.clone(), text.clone());
            }
            let mut entry = Map::from_iter([("t".to_owned(), Value::String(notation(property)))]);
            if let Some(tags) = json_type.tags.get(field) {
                entry.insert("n".to_owned(), json!(tags));
            }
            let optional = json_type
                .markers
                .get(field)
                .is_some_and(|m| m.iter().any(|m| m == "optional"));
            if required.contains(field.as_str()) && !optional {
                entry.insert("r".to_owned(), Value::Bool(true));
            }
            for marker in json_type.markers.get(field).into_iter().flatten() {
                let (key, value) = marker.split_once('=').unwrap_or((marker, ""));
                let short = match key {
                    "listType" | "mapType" | "structType" => "m",
                    "patchMergeKey" => "pk",
                    "patchStrategy" => "ps",
                    "listMapKey" => {
                        let keys = entry.entry("k").or_insert_with(|| Value::Array(Vec::new()));
                        if let Value::Array(keys) = keys {
                            keys.push(Value::String(value.to_owned()));
                        }
                        continue;
                    }
                    _ => continue,
                };
                entry.insert(short.to_owned(), Value::String(value.to_owned()));
            }
            fields.insert(field.clone(), Value::Object(entry));
        }
        texts.insert(name.clone(), Value::Object(described));
        structure.insert(
            name.clone(),
            json!({ "atomic": json_type.atomic, "fields": fields }),
        );
    }
    (
        json!({ "types": structure, "kinds": kinds }),
        Value::Object(texts),
    )
}
