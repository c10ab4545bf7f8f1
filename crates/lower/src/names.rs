//! Small pieces that all kinds share: host names, metadata, visibility, ports.

use std::collections::BTreeSet;
use std::time::Duration;

use hawser_api::networking::Destination as ApiDestination;
use hawser_model::gateway::NamespaceMatch;
use hawser_model::mesh::DefaultVisibility;
use hawser_model::route::Destination;
use hawser_model::{Hostname, Labels, Meta, Protocol, Str, Visibility};

use crate::notes::{Notes, SCHEMA};

/// Labels as the model has them.
pub fn labels(labels: &hawser_api::Labels) -> Labels {
    labels
        .iter()
        .map(|(k, v)| (k.as_str(), v.as_str()))
        .collect()
}

/// Place and age of an object.
pub fn meta(meta: &hawser_api::Meta) -> Meta {
    Meta {
        created_s: meta.creation_timestamp.map_or(0, |t| t.0),
        name: meta.name.as_str().into(),
        namespace: meta.namespace.as_str().into(),
    }
}

/// Strings as the model has them.
pub fn strs<'a>(texts: impl IntoIterator<Item = &'a String>) -> Vec<Str> {
    texts.into_iter().map(|t| t.as_str().into()).collect()
}

/// The fully qualified name of a Kubernetes service.
pub fn service_host(name: &str, namespace: &str, domain: &str) -> Option<Hostname> {
    Hostname::parse(&format!("{name}.{namespace}.svc.{domain}")).ok()
}

/// Qualifies a short name as Istio does (`ResolveShortnameToFQDN`): one label is a service of the namespace; anything
/// with a dot, an address or `*` stands for itself.
pub fn qualify(
    host: &str,
    namespace: &str,
    domain: &str,
) -> Result<Hostname, hawser_model::name::HostnameError> {
    let short = !host.contains('.') && host != "*" && host.parse::<std::net::IpAddr>().is_err();
    if short && !host.is_empty() && !namespace.is_empty() {
        Hostname::parse(&format!("{host}.{namespace}.svc.{domain}"))
    } else {
        Hostname::parse(host)
    }
}

/// A host that must be one, or a note.
pub fn host(
    text: &str,
    namespace: &str,
    domain: &str,
    field: &str,
    notes: &mut Notes<'_>,
) -> Option<Hostname> {
    match qualify(text, namespace, domain) {
        Ok(host) => Some(host),
        Err(error) => {
            notes.error(
                SCHEMA,
                field,
                format!("{text:?} is not a host name: {error}"),
                "write a short name, a full name, or a wildcard such as *.example.com",
            );
            None
        }
    }
}

/// A destination, or a note.
pub fn destination(
    destination: &ApiDestination,
    namespace: &str,
    domain: &str,
    field: &str,
    notes: &mut Notes<'_>,
) -> Option<Destination> {
    let host = host(
        &destination.host,
        namespace,
        domain,
        &format!("{field}.host"),
        notes,
    )?;
    Some(Destination {
        host,
        subset: destination.subset.as_str().into(),
        port: destination.port.as_ref().and_then(|p| port(p.number)),
    })
}

/// A port number; 0 and what is beyond 65535 is none.
pub fn port(number: impl TryInto<u16>) -> Option<u16> {
    number.try_into().ok().filter(|p| *p != 0)
}

/// A duration; negative ones are zero.
pub fn duration(duration: Option<hawser_api::Duration>) -> Option<Duration> {
    duration.map(hawser_api::Duration::to_std)
}

/// `exportTo`: an empty list is the mesh's default.
pub fn visibility(
    export_to: &[impl AsRef<str>],
    namespace: &str,
    default: &DefaultVisibility,
) -> Visibility {
    let texts: Vec<&str> = export_to
        .iter()
        .map(|t| t.as_ref().trim())
        .filter(|t| !t.is_empty())
        .collect();
    if texts.is_empty() {
        return match default {
            DefaultVisibility::Public => Visibility::Public,
            DefaultVisibility::Private => {
                Visibility::Namespaces(BTreeSet::from([namespace.into()]))
            }
            DefaultVisibility::Fixed(Visibility::Namespaces(set)) => Visibility::Namespaces(
                set.iter()
                    .map(|t| {
                        if &**t == "." {
                            namespace.into()
                        } else {
                            t.clone()
                        }
                    })
                    .collect(),
            ),
            DefaultVisibility::Fixed(fixed) => fixed.clone(),
        };
    }
    if texts.contains(&"*") {
        return Visibility::Public;
    }
    if texts.contains(&"~") {
        return Visibility::None;
    }
    Visibility::Namespaces(
        texts
            .into_iter()
            .map(|t| if t == "." { namespace.into() } else { t.into() })
            .collect(),
    )
}

/// A default of `exportTo`.
pub fn default_visibility(export_to: &[String]) -> DefaultVisibility {
    match export_to {
        [] => DefaultVisibility::Public,
        [one] if one == "." => DefaultVisibility::Private,
        many => match visibility(many, ".", &DefaultVisibility::Public) {
            Visibility::Public => DefaultVisibility::Public,
            fixed => DefaultVisibility::Fixed(fixed),
        },
    }
}

/// A protocol by its name in Istio's APIs, whatever its case (`protocol.Parse`); `None` where the name is none.
pub fn protocol(name: &str) -> Option<Protocol> {
    Some(match name.to_ascii_lowercase().as_str() {
        "tcp" => Protocol::Tcp,
        "udp" => Protocol::Udp,
        "grpc" => Protocol::Grpc,
        "grpc-web" => Protocol::GrpcWeb,
        "http" => Protocol::Http,
        "http2" => Protocol::Http2,
        "https" => Protocol::Https,
        "tls" => Protocol::Tls,
        "mongo" => Protocol::Mongo,
        "redis" => Protocol::Redis,
        "mysql" => Protocol::Mysql,
        "hbone" => Protocol::Hbone,
        _ => return None,
    })
}

/// Ports of servers that speak first: Istio never sniffs them (`kube.ConvertProtocol`).
const NEVER_SNIFFED: [i32; 4] = [25, 53, 3306, 27017];

/// The protocol of a Kubernetes service port, from `appProtocol` or the name's prefix (`kube.ConvertProtocol`).
pub fn port_protocol(
    port: i32,
    name: &str,
    transport: &str,
    app_protocol: Option<&str>,
) -> Protocol {
    if transport == "UDP" {
        return Protocol::Udp;
    }
    match app_protocol {
        Some("kubernetes.io/h2c") => return Protocol::Http2,
        Some("kubernetes.io/ws") => return Protocol::Http,
        Some("kubernetes.io/wss") => return Protocol::Https,
        _ => {}
    }
    let name = app_protocol.unwrap_or(name);
    if name
        .get(..8)
        .is_some_and(|p| p.eq_ignore_ascii_case("grpc-web"))
    {
        return Protocol::GrpcWeb;
    }
    let prefix = name.split('-').next().unwrap_or_default();
    match protocol(prefix) {
        Some(known) => known,
        None if NEVER_SNIFFED.contains(&port) => Protocol::Tcp,
        None => Protocol::Unknown,
    }
}

/// The namespace part of a `namespace/host` text.
pub fn namespace_match(text: &str, own: &str) -> NamespaceMatch {
    match text {
        "*" | "" => NamespaceMatch::Any,
        "." => NamespaceMatch::Only(own.into()),
        "~" => NamespaceMatch::Nothing,
        other => NamespaceMatch::Only(other.into()),
    }
}
