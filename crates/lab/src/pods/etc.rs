//! Pure: the files below `/etc` that make a pod see the cluster's names.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::net::Ipv4Addr;

use k8s_openapi::api::core::v1::Pod;

/// The domain of services.
const DOMAIN: &str = "cluster.local";

/// `resolv.conf`, `hosts`, `hostname` and `nsswitch.conf` of a pod. `host_resolv` is the host's
/// resolv.conf, for pods that ask for it.
pub(crate) fn files(
    pod: &Pod,
    hostname: &str,
    ip: Ipv4Addr,
    dns: Ipv4Addr,
    host_resolv: &str,
) -> BTreeMap<String, String> {
    BTreeMap::from([
        (
            "resolv.conf".to_string(),
            resolv_conf(pod, dns, host_resolv),
        ),
        ("hosts".to_string(), hosts(pod, hostname, ip)),
        ("hostname".to_string(), format!("{hostname}\n")),
        // The host's may ask its own resolver daemon first, which knows nothing of clusters.
        (
            "nsswitch.conf".to_string(),
            "passwd: files\ngroup: files\nshadow: files\nhosts: files dns\nservices: files\n"
                .to_string(),
        ),
    ])
}

/// <https://kubernetes.io/docs/concepts/services-networking/dns-pod-service/>
fn resolv_conf(pod: &Pod, dns: Ipv4Addr, host_resolv: &str) -> String {
    let namespace = pod.metadata.namespace.as_deref().unwrap_or("default");
    let spec = pod.spec.as_ref();
    let host_network = spec.and_then(|spec| spec.host_network) == Some(true);
    let policy = match spec
        .and_then(|spec| spec.dns_policy.as_deref())
        .unwrap_or("ClusterFirst")
    {
        "ClusterFirst" if host_network => "Default",
        policy => policy,
    };
    let (mut servers, mut searches, mut options) = (Vec::new(), Vec::new(), Vec::new());
    match policy {
        "None" => {}
        "Default" => {
            for line in host_resolv.lines() {
                let mut words = line.split_whitespace().map(str::to_string);
                match words.next().as_deref() {
                    Some("nameserver") => servers.extend(words.next()),
                    Some("search") => searches = words.collect(),
                    Some("options") => options.extend(words),
                    _ => {}
                }
            }
        }
        _ => {
            servers.push(dns.to_string());
            let parts = [
                format!("{namespace}.svc.{DOMAIN}"),
                format!("svc.{DOMAIN}"),
                DOMAIN.to_string(),
            ];
            searches.extend(parts);
            options.push("ndots:5".to_string());
        }
    }
    if let Some(config) = spec.and_then(|spec| spec.dns_config.as_ref()) {
        servers.extend(config.nameservers.iter().flatten().cloned());
        searches.extend(config.searches.iter().flatten().cloned());
        for option in config.options.iter().flatten() {
            let name = option.name.clone().unwrap_or_default();
            options.retain(|known| known.split(':').next() != Some(&name));
            options.push(match &option.value {
                Some(value) => format!("{name}:{value}"),
                None => name,
            });
        }
    }
    let mut text = String::new();
    if !searches.is_empty() {
        let _ = writeln!(text, "search {}", searches.join(" "));
    }
    for server in servers {
        let _ = writeln!(text, "nameserver {server}");
    }
    if !options.is_empty() {
        let _ = writeln!(text, "options {}", options.join(" "));
    }
    text
}

fn hosts(pod: &Pod, hostname: &str, ip: Ipv4Addr) -> String {
    let spec = pod.spec.as_ref();
    let subdomain = spec
        .and_then(|spec| spec.subdomain.as_deref())
        .filter(|name| !name.is_empty());
    let namespace = pod.metadata.namespace.as_deref().unwrap_or("default");
    let mut text =
        String::from("127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\n");
    let _ = match subdomain {
        Some(subdomain) => writeln!(
            text,
            "{ip}\t{hostname}.{subdomain}.{namespace}.svc.{DOMAIN}\t{hostname}"
        ),
        None => writeln!(text, "{ip}\t{hostname}"),
    };
    for alias in spec
        .iter()
        .flat_map(|spec| spec.host_aliases.iter().flatten())
    {
        let _ = writeln!(
            text,
            "{}\t{}",
            alias.ip,
            alias
                .hostnames
                .iter()
                .flatten()
                .cloned()
                .collect::<Vec<_>>()
                .join("\t")
        );
    }
    text
}

/// The host name of a pod: `spec.hostname`, or its name, cut to what the kernel takes.
pub(crate) fn hostname(pod: &Pod) -> String {
    let own = pod
        .spec
        .as_ref()
        .and_then(|spec| spec.hostname.as_deref())
        .filter(|name| !name.is_empty());
    let name = own.or(pod.metadata.name.as_deref()).unwrap_or("pod");
    name.chars()
        .take(63)
        .collect::<String>()
        .trim_end_matches(['-', '.'])
        .to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{from_value, json};

    const DNS: Ipv4Addr = Ipv4Addr::new(10, 96, 0, 10);

    fn check(name: &str, spec: serde_json::Value, expected: &str) {
        let mut spec = spec;
        spec["containers"] = json!([]);
        let pod: Pod =
            from_value(json!({"metadata": {"name": "p", "namespace": "n"}, "spec": spec}))
                .expect("a pod");
        let host = "# by hand\nsearch lan\nnameserver 192.0.2.1\noptions rotate\n";
        assert_eq!(resolv_conf(&pod, DNS, host), expected, "{name}");
    }

    #[test]
    fn resolv_confs() {
        let cluster =
            "search n.svc.cluster.local svc.cluster.local cluster.local\nnameserver 10.96.0.10\n";
        let host = "search lan\nnameserver 192.0.2.1\noptions rotate\n";
        check("default", json!({}), &format!("{cluster}options ndots:5\n"));
        check("the node's", json!({"dnsPolicy": "Default"}), host);
        check("host network", json!({"hostNetwork": true}), host);
        check(
            "own options",
            json!({"dnsConfig": {"options": [{"name": "ndots", "value": "2"}, {"name": "edns0"}]}}),
            &format!("{cluster}options ndots:2 edns0\n"),
        );
        check(
            "nothing but its own",
            json!({"dnsPolicy": "None", "dnsConfig": {"nameservers": ["192.0.2.9"], "searches": ["x"]}}),
            "search x\nnameserver 192.0.2.9\n",
        );
    }

    #[test]
    fn hosts_files() {
        let pod: Pod = from_value(json!({
            "metadata": {"name": "p", "namespace": "n"},
            "spec": {"containers": [], "hostAliases": [{"ip": "192.0.2.7", "hostnames": ["a", "b"]}]}
        }))
        .expect("a pod");
        let text = hosts(&pod, "p", Ipv4Addr::new(10, 1, 0, 9));
        assert!(text.ends_with("10.1.0.9\tp\n192.0.2.7\ta\tb\n"), "{text}");
    }
}
