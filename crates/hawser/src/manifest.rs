//! `hawser manifest generate`: prints what installs a mesh, to be given to `kubectl apply -f -`.

use std::collections::BTreeMap;
use std::process::ExitCode;

use anyhow::{Result, anyhow, bail};
use hawser_inject::Settings;
use serde_json::{Map, Value, json};

/// The definitions of the kinds, as the api crate generates them from its types.
const DEFINITIONS: &[&str] = &[
    include_str!("../../api/crds/authorizationpolicies.security.istio.io.yaml"),
    include_str!("../../api/crds/destinationrules.networking.istio.io.yaml"),
    include_str!("../../api/crds/envoyfilters.networking.istio.io.yaml"),
    include_str!("../../api/crds/gateways.networking.istio.io.yaml"),
    include_str!("../../api/crds/peerauthentications.security.istio.io.yaml"),
    include_str!("../../api/crds/proxyconfigs.networking.istio.io.yaml"),
    include_str!("../../api/crds/requestauthentications.security.istio.io.yaml"),
    include_str!("../../api/crds/serviceentries.networking.istio.io.yaml"),
    include_str!("../../api/crds/sidecars.networking.istio.io.yaml"),
    include_str!("../../api/crds/telemetries.telemetry.istio.io.yaml"),
    include_str!("../../api/crds/trafficextensions.extensions.istio.io.yaml"),
    include_str!("../../api/crds/virtualservices.networking.istio.io.yaml"),
    include_str!("../../api/crds/wasmplugins.extensions.istio.io.yaml"),
    include_str!("../../api/crds/workloadentries.networking.istio.io.yaml"),
    include_str!("../../api/crds/workloadgroups.networking.istio.io.yaml"),
];

/// The objects of the profile `replicated`, in the order in which they are applied. `%{NAME}` stands for a value.
const REPLICATED: &[(&str, &str)] = &[
    (
        "rbac.yaml",
        include_str!("../manifests/replicated/rbac.yaml"),
    ),
    (
        "istiod.yaml",
        include_str!("../manifests/replicated/istiod.yaml"),
    ),
    ("dns.yaml", include_str!("../manifests/replicated/dns.yaml")),
    (
        "gateways.yaml",
        include_str!("../manifests/replicated/gateways.yaml"),
    ),
    (
        "multicluster.yaml",
        include_str!("../manifests/replicated/multicluster.yaml"),
    ),
    // Last, so that nothing of the above waits for a control plane that is still starting.
    (
        "webhooks.yaml",
        include_str!("../manifests/replicated/webhooks.yaml"),
    ),
];
const NAMESPACE: (&str, &str) = (
    "namespace.yaml",
    include_str!("../manifests/replicated/namespace.yaml"),
);

/// Manifests that install a mesh.
#[derive(clap::Args, Debug)]
pub struct ManifestArgs {
    #[command(subcommand)]
    command: Command,
}

#[derive(clap::Subcommand, Debug)]
enum Command {
    /// Print the manifest of a profile.
    ///
    /// kubectl looks up the kinds of all objects before it creates the first one. On a cluster that does not know
    /// Istio's kinds yet, apply `--part definitions` first, or apply the whole twice.
    Generate {
        /// The kind of mesh: replicated control planes, joined by gateways and names under `.global`.
        #[arg(long, value_enum, default_value = "replicated")]
        profile: Profile,
        /// Which part to print.
        #[arg(long, value_enum, default_value = "all")]
        part: Part,
        /// A value, `NAME=VALUE`; may be repeated. Without a known name, the error lists them.
        #[arg(long = "set", value_name = "NAME=VALUE")]
        set: Vec<String>,
    },
}

#[derive(clap::ValueEnum, Clone, Copy, Debug, PartialEq, Eq)]
enum Profile {
    Replicated,
}

#[derive(clap::ValueEnum, Clone, Copy, Debug, PartialEq, Eq)]
enum Part {
    All,
    /// The namespace and the definitions of the kinds.
    Definitions,
    /// Everything else.
    Mesh,
}

/// Prints the manifest.
pub fn run(args: &ManifestArgs) -> Result<ExitCode> {
    let Command::Generate {
        profile: Profile::Replicated,
        part,
        set,
    } = &args.command;
    let values = match Values::parse(set) {
        Ok(values) => values,
        Err(error) => {
            eprintln!("error: {error}");
            return Ok(ExitCode::from(2));
        }
    };
    print!("{}", generate(&values, *part)?);
    Ok(ExitCode::SUCCESS)
}

/// A value that can be set: its name, the name that Istio's charts have for it, its default, and which values it takes.
struct Setting {
    name: &'static str,
    chart_name: &'static str,
    default: &'static str,
    takes: Takes,
}

#[derive(Clone, Copy)]
enum Takes {
    /// A DNS label-like name, possibly empty.
    Name,
    /// A part of an image's name.
    Image,
    /// A path, possibly empty.
    Path,
    OneOf(&'static [&'static str]),
}

const SETTINGS: &[Setting] = &[
    Setting {
        name: "accessLogFile",
        chart_name: "meshConfig.accessLogFile",
        default: "",
        takes: Takes::Path,
    },
    Setting {
        name: "clusterID",
        chart_name: "global.multiCluster.clusterName",
        default: "Kubernetes",
        takes: Takes::Name,
    },
    Setting {
        name: "gatewayType",
        chart_name: "gateways.istio-ingressgateway.type",
        default: "LoadBalancer",
        takes: Takes::OneOf(&["LoadBalancer", "NodePort", "ClusterIP"]),
    },
    Setting {
        name: "hub",
        chart_name: "global.hub",
        default: "hawser",
        takes: Takes::Image,
    },
    Setting {
        name: "meshID",
        chart_name: "global.meshID",
        default: "",
        takes: Takes::Name,
    },
    Setting {
        name: "network",
        chart_name: "global.network",
        default: "",
        takes: Takes::Name,
    },
    Setting {
        name: "tag",
        chart_name: "global.tag",
        default: env!("CARGO_PKG_VERSION"),
        takes: Takes::Image,
    },
    Setting {
        name: "trustDomain",
        chart_name: "meshConfig.trustDomain",
        default: "cluster.local",
        takes: Takes::Name,
    },
];

/// The values of a manifest by name.
struct Values(BTreeMap<&'static str, String>);

impl Values {
    fn parse(set: &[String]) -> Result<Values> {
        let mut values: BTreeMap<_, _> = SETTINGS
            .iter()
            .map(|setting| (setting.name, setting.default.to_owned()))
            .collect();
        for pair in set {
            let (name, value) = pair
                .split_once('=')
                .ok_or_else(|| anyhow!("--set {pair}: expected NAME=VALUE"))?;
            let setting = SETTINGS
                .iter()
                .find(|setting| setting.name == name || setting.chart_name == name);
            let Some(setting) = setting else {
                let known: Vec<_> = SETTINGS
                    .iter()
                    .map(|known| format!("{} (or {})", known.name, known.chart_name))
                    .collect();
                bail!(
                    "--set {name}: there is no such value; known are {}",
                    known.join(", ")
                );
            };
            if let Some(expected) = setting.takes.refuses(value) {
                bail!("--set {name}={value}: expected {expected}");
            }
            values.insert(setting.name, value.to_owned());
        }
        Ok(Values(values))
    }

    fn get(&self, name: &str) -> &str {
        self.0.get(name).map_or("", String::as_str)
    }

    fn image(&self, name: &str) -> String {
        format!("{}/{name}:{}", self.get("hub"), self.get("tag"))
    }

    /// What `%{NAME}` stands for.
    fn placeholder(&self, name: &str) -> Result<String> {
        if let Some(image) = name.strip_prefix("image:") {
            return Ok(self.image(image));
        }
        self.0
            .get(name)
            .cloned()
            .ok_or_else(|| anyhow!("%{{{name}}} stands for nothing"))
    }
}

impl Takes {
    /// What was expected instead of a value, if it is not taken.
    fn refuses(self, value: &str) -> Option<String> {
        let made_of = |others: &str| {
            value
                .chars()
                .all(|character| character.is_ascii_alphanumeric() || others.contains(character))
        };
        let (taken, expected) = match self {
            Takes::Name => (
                value.len() <= 253 && made_of("-._"),
                "letters, digits, '-', '.' and '_'".to_owned(),
            ),
            Takes::Image => (
                !value.is_empty() && made_of("-._/:@"),
                "a part of an image's name".to_owned(),
            ),
            Takes::Path => (made_of("-._/"), "a path".to_owned()),
            Takes::OneOf(choices) => (
                choices.contains(&value),
                format!("one of {}", choices.join(", ")),
            ),
        };
        (!taken).then_some(expected)
    }
}

fn generate(values: &Values, part: Part) -> Result<String> {
    let mut documents = Vec::new();
    if part != Part::Mesh {
        documents.extend(
            objects(NAMESPACE, values)?
                .iter()
                .map(yaml)
                .collect::<Result<Vec<_>>>()?,
        );
        documents.extend(DEFINITIONS.iter().map(|text| (*text).to_owned()));
    }
    if part != Part::Definitions {
        documents.push(yaml(&mesh_config(values))?);
        for file in REPLICATED {
            documents.extend(
                objects(*file, values)?
                    .iter()
                    .map(yaml)
                    .collect::<Result<Vec<_>>>()?,
            );
        }
    }
    Ok(documents
        .iter()
        .map(|document| format!("---\n{}\n", document.trim_start_matches("---").trim()))
        .collect())
}

/// The objects of a file, with values in place and gateways complete.
fn objects((name, text): (&str, &str), values: &Values) -> Result<Vec<Value>> {
    let manifest = hawser_api::manifest::read(name, text.as_bytes());
    if let Some(error) = manifest.errors.first() {
        bail!("{error}");
    }
    let settings = injection(values);
    let mut objects = Vec::new();
    for document in manifest.docs {
        let mut object = document.value;
        fill(&mut object, values)?;
        if object["kind"] == "Namespace" && !values.get("network").is_empty() {
            object["metadata"]["labels"] =
                json!({"topology.istio.io/network": values.get("network")});
        }
        let gateway =
            object.pointer("/spec/template/metadata/annotations/inject.istio.io~1templates");
        if gateway.is_some_and(|template| template == "gateway") {
            // Written out, so that a gateway starts without waiting for the injector.
            let (injected, _) = hawser_inject::inject_workload(&object, &settings)
                .ok_or_else(|| anyhow!("{name}: a gateway that cannot be injected"))?;
            object = injected;
        }
        objects.push(object);
    }
    Ok(objects)
}

/// Replaces texts that are `%{NAME}`.
fn fill(value: &mut Value, values: &Values) -> Result<()> {
    match value {
        Value::String(text) => {
            if let Some(name) = text
                .strip_prefix("%{")
                .and_then(|rest| rest.strip_suffix('}'))
            {
                *text = values.placeholder(name)?;
            }
        }
        Value::Array(items) => {
            for item in items {
                fill(item, values)?;
            }
        }
        Value::Object(fields) => {
            for field in fields.values_mut() {
                fill(field, values)?;
            }
        }
        _ => {}
    }
    Ok(())
}

fn injection(values: &Values) -> Settings {
    Settings {
        cluster_id: values.get("clusterID").to_owned(),
        network: values.get("network").to_owned(),
        mesh_id: values.get("meshID").to_owned(),
        trust_domain: values.get("trustDomain").to_owned(),
        init_image: values.image("init"),
        proxy_image: values.image("proxyv2"),
        ..Settings::default()
    }
}

/// The ConfigMap `istio`, from which the control plane takes its MeshConfig.
fn mesh_config(values: &Values) -> Value {
    let discovery = injection(values).discovery_address;
    let mut defaults = Map::new();
    defaults.insert("discoveryAddress".to_owned(), json!(discovery));
    if !values.get("meshID").is_empty() {
        defaults.insert("meshId".to_owned(), json!(values.get("meshID")));
    }
    let mut mesh = json!({
        "defaultConfig": defaults,
        "enableAutoMtls": true,
        "rootNamespace": "istio-system",
        "trustDomain": values.get("trustDomain"),
    });
    if !values.get("accessLogFile").is_empty() {
        mesh["accessLogFile"] = json!(values.get("accessLogFile"));
    }
    json!({
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": "istio", "namespace": "istio-system", "labels": {"istio.io/rev": "default"}},
        // JSON is YAML, too.
        "data": {"mesh": format!("{mesh:#}\n"), "meshNetworks": "networks: {}\n"},
    })
}

fn yaml(object: &Value) -> Result<String> {
    Ok(serde_saphyr::to_string(object)?)
}

#[cfg(test)]
#[path = "manifest_tests.rs"]
mod tests;
