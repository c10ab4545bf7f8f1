//! What a Corefile means: which names this server knows itself, which it asks others for, and what it does not support.

use std::net::{IpAddr, SocketAddr};

use super::corefile::{Block, Directive, SyntaxError, parse};

/// A Corefile, understood.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Plan {
    /// Longest zone first.
    pub(super) servers: Vec<Server>,
    /// Sentences about what is written but has no effect here.
    pub(super) warnings: Vec<String>,
}

/// What is done with the names of one zone.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Server {
    /// Lower case, without the final dot; empty for the root.
    pub(super) zone: String,
    pub(super) kubernetes: Option<Kubernetes>,
    /// In the order of the file; the longest match wins.
    pub(super) forwards: Vec<Forward>,
    /// Answers are kept at most so many seconds.
    pub(super) cache: Option<u32>,
    pub(super) log: bool,
}

/// The `kubernetes` plugin.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Kubernetes {
    /// The cluster's domain first, then reverse zones.
    pub(super) zones: Vec<String>,
    pub(super) pods: Pods,
    pub(super) ttl: u32,
    /// Zones in which a name that does not exist here goes on to the next plugin.
    pub(super) fallthrough: Vec<String>,
}

/// Which names of pods are answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Pods {
    Disabled,
    /// Any address, as kube-dns did.
    Insecure,
    /// Addresses of existing pods only.
    Verified,
}

/// The `forward` plugin, or `proxy` as it was called before CoreDNS 1.5.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Forward {
    pub(super) zone: String,
    pub(super) except: Vec<String>,
    pub(super) to: Vec<Upstream>,
}

/// Whom to ask.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Upstream {
    /// A server, asked from inside the node's network.
    Server(SocketAddr),
    /// The machine's own resolvers (`/etc/resolv.conf`), asked from the machine's network.
    Host,
}

/// Accepted for what it is in CoreDNS; here there is nothing to do.
const WITHOUT_EFFECT: [&str; 9] = [
    "errors",
    "health",
    "ready",
    "prometheus",
    "reload",
    "loop",
    "loadbalance",
    "lameduck",
    "bind",
];

/// Reads a Corefile. Unknown plugins and zones on other ports become warnings; what cannot be read is an error.
pub(super) fn plan(corefile: &str) -> Result<Plan, SyntaxError> {
    let mut plan = Plan::default();
    for block in parse(corefile)? {
        for zone in &block.zones {
            let (zone, port) = zone_and_port(zone, block.line)?;
            if port != 53 {
                plan.warnings.push(format!(
                    "line {}: {zone}:{port} is not served, only port 53 is",
                    block.line
                ));
                continue;
            }
            let server = server(&block, zone, &mut plan.warnings)?;
            plan.servers.push(server);
        }
    }
    if plan.servers.is_empty() {
        return Err(SyntaxError {
            line: 1,
            message: "no server block for port 53".to_owned(),
        });
    }
    plan.servers
        .sort_by_key(|server| std::cmp::Reverse(server.zone.len()));
    plan.warnings.sort();
    plan.warnings.dedup();
    Ok(plan)
}

fn server(block: &Block, zone: String, warnings: &mut Vec<String>) -> Result<Server, SyntaxError> {
    let mut server = Server {
        zone,
        ..Server::default()
    };
    for directive in &block.directives {
        match directive.name.as_str() {
            "kubernetes" => server.kubernetes = Some(kubernetes(directive, &server.zone)),
            "forward" | "proxy" => server.forwards.push(forward(directive)?),
            "cache" => server.cache = Some(cache(directive)?),
            "log" => server.log = true,
            name if WITHOUT_EFFECT.contains(&name) => {}
            name => warnings.push(format!(
                "line {}: plugin {name} is not known and has no effect",
                directive.line
            )),
        }
    }
    Ok(server)
}

fn kubernetes(directive: &Directive, own: &str) -> Kubernetes {
    let mut zones: Vec<String> = directive.args.iter().map(|zone| normal(zone)).collect();
    if zones.is_empty() {
        zones.push(own.to_owned());
    }
    let mut kubernetes = Kubernetes {
        zones,
        pods: Pods::Disabled,
        ttl: 5,
        fallthrough: Vec::new(),
    };
    for words in &directive.block {
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        match words.as_slice() {
            ["pods", "insecure"] => kubernetes.pods = Pods::Insecure,
            ["pods", "verified"] => kubernetes.pods = Pods::Verified,
            ["ttl", seconds] => kubernetes.ttl = seconds.parse().unwrap_or(5).min(3600),
            ["fallthrough"] => kubernetes.fallthrough.push(String::new()),
            ["fallthrough", zones @ ..] => kubernetes
                .fallthrough
                .extend(zones.iter().map(|zone| normal(zone))),
            _ => {}
        }
    }
    kubernetes
}

fn forward(directive: &Directive) -> Result<Forward, SyntaxError> {
    let fail = |message: String| SyntaxError {
        line: directive.line,
        message,
    };
    let Some((zone, to)) = directive.args.split_first() else {
        return Err(fail(format!(
            "{} needs a zone and whom to ask",
            directive.name
        )));
    };
    let mut upstreams = Vec::new();
    for target in to {
        upstreams.push(
            upstream(target)
                .ok_or_else(|| fail(format!("{target:?} is no address of a DNS server")))?,
        );
    }
    if upstreams.is_empty() {
        return Err(fail(format!(
            "{} {zone} does not say whom to ask",
            directive.name
        )));
    }
    let excepts = directive
        .block
        .iter()
        .filter(|words| words.first().is_some_and(|word| word == "except"));
    let except = excepts
        .flat_map(|words| words.iter().skip(1))
        .map(|zone| normal(zone))
        .collect();
    Ok(Forward {
        zone: normal(zone),
        except,
        to: upstreams,
    })
}

fn upstream(target: &str) -> Option<Upstream> {
    if target.starts_with('/') {
        return Some(Upstream::Host);
    }
    let target = target.strip_prefix("dns://").unwrap_or(target);
    let address = target.parse::<SocketAddr>().ok();
    address
        .or_else(|| Some(SocketAddr::new(target.parse::<IpAddr>().ok()?, 53)))
        .map(Upstream::Server)
}

fn cache(directive: &Directive) -> Result<u32, SyntaxError> {
    const MOST: u32 = 3600;
    match directive.args.first() {
        None => Ok(MOST),
        Some(seconds) => match seconds.parse::<u32>() {
            Ok(seconds) => Ok(seconds.min(MOST)),
            // `cache example.org` names a zone.
            Err(_) if !seconds.starts_with(|c: char| c.is_ascii_digit() || c == '-') => Ok(MOST),
            Err(_) => {
                let message = format!("cache {seconds:?} is no number of seconds");
                Err(SyntaxError {
                    line: directive.line,
                    message,
                })
            }
        },
    }
}

fn zone_and_port(text: &str, line: usize) -> Result<(String, u16), SyntaxError> {
    let text = text.strip_prefix("dns://").unwrap_or(text);
    let (zone, port) = match text.rsplit_once(':') {
        Some((zone, port)) => (zone, Some(port)),
        None => (text, None),
    };
    let port = port.map_or(Ok(53), str::parse::<u16>);
    let port = port.map_err(|_| SyntaxError {
        line,
        message: format!("{text:?}: the port is no number"),
    })?;
    Ok((normal(zone), port))
}

/// Lower case, without the final dot.
fn normal(zone: &str) -> String {
    zone.trim_end_matches('.').to_ascii_lowercase()
}

/// Whether a normal name is the zone or lies in it.
pub(super) fn is_in(name: &str, zone: &str) -> bool {
    zone.is_empty()
        || name == zone
        || name
            .strip_suffix(zone)
            .is_some_and(|rest| rest.ends_with('.'))
}

impl Plan {
    /// The server block for a name: the one with the longest zone.
    pub(super) fn server(&self, name: &str) -> Option<&Server> {
        self.servers.iter().find(|server| is_in(name, &server.zone))
    }
}

impl Server {
    /// Whom to ask for a name that is not known here.
    pub(super) fn forward(&self, name: &str) -> Option<&Forward> {
        let fits = |forward: &&Forward| {
            is_in(name, &forward.zone) && !forward.except.iter().any(|zone| is_in(name, zone))
        };
        // Of equally long zones the first wins.
        self.forwards
            .iter()
            .filter(fits)
            .rev()
            .max_by_key(|forward| forward.zone.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SCENARIO: &str = "\
.:53 {
    errors
    health
    kubernetes cluster.local in-addr.arpa ip6.arpa {
        pods insecure
        upstream
        fallthrough in-addr.arpa ip6.arpa
    }
    prometheus :9153
    proxy global 10.96.7.7
    proxy . /etc/resolv.conf
    cache 30
    reload
}
";

    /// Whom the plan asks for a name that it does not know itself.
    fn check(name: &str, corefile: &str, asked: &str, expected: Option<&[Upstream]>) {
        let plan = plan(corefile).unwrap_or_else(|error| panic!("{name}: {error}"));
        let forward = plan.server(asked).and_then(|server| server.forward(asked));
        assert_eq!(
            forward.map(|forward| forward.to.as_slice()),
            expected,
            "{name}"
        );
        assert_eq!(plan.warnings, Vec::<String>::new(), "{name}");
    }

    fn server(text: &str) -> Upstream {
        Upstream::Server(text.parse().expect("address"))
    }

    #[test]
    fn names_go_where_the_corefile_says() {
        check(
            "global",
            SCENARIO,
            "reviews.default.global",
            Some(&[server("10.96.7.7:53")]),
        );
        check(
            "not a suffix",
            SCENARIO,
            "notglobal",
            Some(&[Upstream::Host]),
        );
        check("others", SCENARIO, "example.org", Some(&[Upstream::Host]));
        let blocks = "global:53 {\n errors\n cache 30\n proxy . 10.96.7.7:5353\n}\n.:53 {\n forward . 8.8.8.8 9.9.9.9 {\n except corp.local\n }\n}";
        check(
            "a block of its own",
            blocks,
            "a.global",
            Some(&[server("10.96.7.7:5353")]),
        );
        check(
            "several",
            blocks,
            "a.org",
            Some(&[server("8.8.8.8:53"), server("9.9.9.9:53")]),
        );
        check("except", blocks, "a.corp.local", None);
    }

    #[test]
    fn the_kubernetes_plugin_is_read() {
        let plan = plan(SCENARIO).expect("a good Corefile");
        let server = plan.server("a.cluster.local").expect("a server");
        let kubernetes = server.kubernetes.as_ref().expect("kubernetes");
        assert_eq!(
            kubernetes.zones,
            ["cluster.local", "in-addr.arpa", "ip6.arpa"]
        );
        assert_eq!((kubernetes.pods, kubernetes.ttl), (Pods::Insecure, 5));
        assert_eq!(kubernetes.fallthrough, ["in-addr.arpa", "ip6.arpa"]);
        assert_eq!(server.cache, Some(30));
    }

    #[test]
    fn mistakes_are_named() {
        let refused = |text: &str| plan(text).expect_err("a mistake").to_string();
        assert_eq!(
            refused(".:53 {\n proxy global\n}"),
            "Corefile line 2: proxy global does not say whom to ask"
        );
        assert_eq!(
            refused(".:53 {\n forward . x.y\n}"),
            "Corefile line 2: \"x.y\" is no address of a DNS server"
        );
        assert_eq!(
            refused(".:x {\n}"),
            "Corefile line 1: \".:x\": the port is no number"
        );
        assert_eq!(refused(""), "Corefile line 1: no server block for port 53");
        let warned = plan(".:53 {\n autopath @kubernetes\n}\nx:54 {\n}")
            .expect("readable")
            .warnings;
        assert_eq!(
            warned,
            [
                "line 2: plugin autopath is not known and has no effect",
                "line 4: x:54 is not served, only port 53 is"
            ]
        );
    }
}
