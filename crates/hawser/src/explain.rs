//! `hawser explain`: what becomes of a call, and why, from files alone.

use std::net::{IpAddr, SocketAddr};
use std::process::ExitCode;

use anyhow::{Context, Result, bail};
use hawser_explain::{Call, Config, HttpCall, TlsCall, Trace, Verdict, explain};
use hawser_model::ProxyKind;
use serde_json::{Value, json};

use crate::offline::{Offline, OfflineArgs};

/// Say what becomes of a call: listener, filters, route, clusters and endpoints, or who refuses it.
///
/// The call is looked at as the proxy of --node gets it: from its own application to the address of the URL's host, or with
/// --inbound from outside. Exit status 1: the call is refused.
#[derive(clap::Args, Debug)]
pub struct ExplainArgs {
    #[command(flatten)]
    mesh: OfflineArgs,
    /// Method and URL; the method TCP is a connection without HTTP, the scheme https TLS by the client.
    #[arg(long, value_name = "METHOD URL", value_parser = request)]
    call: Request,
    /// A header of the call; may be repeated.
    #[arg(short = 'H', long = "header", value_name = "NAME: VALUE", value_parser = header)]
    headers: Vec<(String, String)>,
    /// The port on which the proxy is called from outside: its application's, or a gateway's own.
    #[arg(long, value_name = "PORT")]
    inbound: Option<u16>,
    /// Who calls, by mutual TLS with that service account's certificate.
    #[arg(long, value_name = "NAMESPACE/ACCOUNT", value_parser = account, requires = "inbound")]
    from: Option<(String, String)>,
    /// The caller's address.
    #[arg(long, value_name = "ADDRESS")]
    source: Option<IpAddr>,
    /// The address called; that of the URL's host unless given.
    #[arg(long, value_name = "ADDRESS:PORT", conflicts_with = "inbound")]
    to: Option<SocketAddr>,
    /// The name in the TLS handshake; the URL's host unless given.
    #[arg(long, value_name = "NAME")]
    sni: Option<String>,
    /// The form of the output.
    #[arg(short, long, value_enum, default_value = "text")]
    output: Output,
}

#[derive(clap::ValueEnum, Clone, Copy, Debug)]
enum Output {
    /// For people.
    Text,
    /// `{"steps": […], "verdict": {…}}`.
    Json,
}

/// `METHOD URL`, taken apart.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Request {
    method: String,
    tls: bool,
    authority: String,
    path: String,
}

impl Request {
    fn host(&self) -> &str {
        self.split().0
    }

    fn port(&self) -> u16 {
        self.split().1.unwrap_or(if self.tls { 443 } else { 80 })
    }

    /// Host without the brackets of an IPv6 address, and port.
    fn split(&self) -> (&str, Option<u16>) {
        let (host, port) = match self.authority.rsplit_once(':') {
            Some((host, port)) if port.bytes().all(|b| b.is_ascii_digit()) => {
                (host, port.parse().ok())
            }
            _ => (self.authority.as_str(), None),
        };
        (host.trim_start_matches('[').trim_end_matches(']'), port)
    }
}

fn request(text: &str) -> Result<Request, String> {
    let (method, url) = text.trim().split_once(' ').unwrap_or(("GET", text.trim()));
    let Some((scheme, rest)) = url.trim().split_once("://") else {
        return Err(
            "expected a method and a URL, such as \"GET http://reviews:9080/reviews/1\"".to_owned(),
        );
    };
    let (authority, path) = rest.find('/').map_or((rest, "/"), |at| rest.split_at(at));
    let tls = match scheme {
        "https" | "tls" => true,
        "http" | "tcp" => false,
        other => {
            return Err(format!(
                "unknown scheme {other:?}: expected http, https, tcp or tls"
            ));
        }
    };
    if authority.is_empty() {
        return Err("the URL names no host".to_owned());
    }
    let method = if scheme == "tcp" || scheme == "tls" {
        "TCP"
    } else {
        method
    };
    Ok(Request {
        method: method.to_owned(),
        tls,
        authority: authority.to_owned(),
        path: path.to_owned(),
    })
}

fn header(text: &str) -> Result<(String, String), String> {
    let (name, value) = text
        .split_once(':')
        .ok_or("expected a name and a value with a colon between")?;
    Ok((name.trim().to_ascii_lowercase(), value.trim().to_owned()))
}

fn account(text: &str) -> Result<(String, String), String> {
    match text.split_once('/') {
        Some((namespace, name)) if !namespace.is_empty() && !name.is_empty() => {
            Ok((namespace.to_owned(), name.to_owned()))
        }
        _ => Err("expected NAMESPACE/ACCOUNT".to_owned()),
    }
}

/// Prints the steps and what becomes of the call.
pub fn run(args: &ExplainArgs) -> Result<ExitCode> {
    let offline = args.mesh.read()?;
    let call = call(args, &offline)?;
    let trace = explain(&Config::of(&offline.resources)?, &call);
    match args.output {
        Output::Text => print!("{}", text(&trace)),
        Output::Json => println!("{}", serde_json::to_string_pretty(&machine(&trace))?),
    }
    let arrives = matches!(
        trace.verdict,
        Verdict::Forwarded(_) | Verdict::Answered { .. }
    );
    Ok(if arrives {
        ExitCode::SUCCESS
    } else {
        ExitCode::from(1)
    })
}

fn call(args: &ExplainArgs, offline: &Offline) -> Result<Call> {
    let (proxy, wanted) = (&offline.proxy, &args.call);
    let own = *proxy
        .addresses
        .first()
        .context("the node's id has no address")?;
    let (destination, received_on) = match args.inbound {
        Some(port) if proxy.kind == ProxyKind::Sidecar => (SocketAddr::new(own, port), 15006),
        Some(port) => (SocketAddr::new(own, port), port),
        None if proxy.kind != ProxyKind::Sidecar => {
            bail!("a gateway is called from outside: give the port with --inbound")
        }
        None => (args.to.map_or_else(|| address(offline, wanted), Ok)?, 15001),
    };
    let mut tls = wanted.tls.then(|| TlsCall {
        sni: wanted.host().to_owned(),
        ..TlsCall::default()
    });
    if let Some((namespace, account)) = &args.from {
        let trust_domain = &offline.snapshot.mesh.trust_domain;
        let first = if wanted.method == "TCP" {
            None
        } else {
            Some("istio-http/1.1".to_owned())
        };
        tls = Some(TlsCall {
            sni: String::new(),
            alpn: first.into_iter().chain(["istio".to_owned()]).collect(),
            uris: vec![format!(
                "spiffe://{trust_domain}/ns/{namespace}/sa/{account}"
            )],
        });
    }
    if let (Some(tls), Some(sni)) = (&mut tls, &args.sni) {
        tls.sni.clone_from(sni);
    }
    let http = (wanted.method != "TCP").then(|| HttpCall {
        method: wanted.method.clone(),
        authority: wanted.authority.clone(),
        path: wanted.path.clone(),
        headers: args.headers.clone(),
        http2: false,
        denied_externally: false,
    });
    let unknown = IpAddr::from([127, 0, 0, 1]);
    let source = args
        .source
        .unwrap_or(if args.inbound.is_some() { unknown } else { own });
    Ok(Call {
        source,
        destination,
        received_on,
        tls,
        http,
    })
}

/// Where the name of the URL leads in the proxy's cluster, by the short names that its namespace may use.
fn address(offline: &Offline, wanted: &Request) -> Result<SocketAddr> {
    let host = wanted.host().trim_end_matches('.').to_ascii_lowercase();
    if let Ok(ip) = host.parse() {
        return Ok(SocketAddr::new(ip, wanted.port()));
    }
    let (namespace, domain) = (&offline.proxy.namespace, &offline.snapshot.mesh.dns_domain);
    let names = [
        host.clone(),
        format!("{host}.{namespace}.svc.{domain}"),
        format!("{host}.svc.{domain}"),
        format!("{host}.{domain}"),
    ];
    let Some(service) = names
        .iter()
        .find_map(|name| offline.snapshot.services.of_host(name).first())
    else {
        bail!("no service is called {host}: give the address that it resolves to with --to");
    };
    let ip = service
        .addresses_in(&offline.proxy.cluster)
        .first()
        .map(|net| net.addr());
    let ip = ip.with_context(|| {
        format!(
            "{} has no address: give one of its endpoints with --to",
            service.host
        )
    })?;
    Ok(SocketAddr::new(ip, wanted.port()))
}

fn text(trace: &Trace) -> String {
    let mut out: String = trace.steps.iter().map(|step| format!("{step}\n")).collect();
    match &trace.verdict {
        Verdict::Forwarded(shares) => {
            for share in shares {
                out.push_str(&format!(
                    "=> {}% to {}\n",
                    Short(share.percent),
                    share.cluster
                ));
                for (endpoint, percent) in &share.endpoints {
                    out.push_str(&format!("     {}% to {endpoint}\n", Short(*percent)));
                }
                if share.endpoints.is_empty() {
                    out.push_str("     which has no endpoint\n");
                }
            }
        }
        Verdict::Answered { status, location } if location.is_empty() => {
            out.push_str(&format!("=> answered with {status}\n"))
        }
        Verdict::Answered { status, location } => {
            out.push_str(&format!("=> answered with {status} to {location}\n"))
        }
        Verdict::Refused { status, why } => {
            out.push_str(&format!("=> refused with {status}: {why}\n"))
        }
        Verdict::Closed { why } => out.push_str(&format!("=> closed: {why}\n")),
    }
    out
}

/// A share without needless digits.
struct Short(f64);

impl std::fmt::Display for Short {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}", (self.0 * 100.0).round() / 100.0)
    }
}

fn machine(trace: &Trace) -> Value {
    let verdict = match &trace.verdict {
        Verdict::Forwarded(shares) => {
            let one = |s: &hawser_explain::Share| json!({"cluster": s.cluster, "percent": s.percent, "endpoints": s.endpoints});
            json!({"forwarded": shares.iter().map(one).collect::<Vec<_>>()})
        }
        Verdict::Answered { status, location } => {
            json!({"answered": {"status": status, "location": location}})
        }
        Verdict::Refused { status, why } => json!({"refused": {"status": status, "why": why}}),
        Verdict::Closed { why } => json!({"closed": {"why": why}}),
    };
    json!({"steps": trace.steps, "verdict": verdict})
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calls_are_read_as_people_write_them() {
        let call = |method: &str, tls, authority: &str, path: &str| Request {
            method: method.into(),
            tls,
            authority: authority.into(),
            path: path.into(),
        };
        for (text, expected) in [
            (
                "GET http://reviews:9080/x?y=/z",
                call("GET", false, "reviews:9080", "/x?y=/z"),
            ),
            ("http://reviews", call("GET", false, "reviews", "/")),
            (
                "POST https://a.example",
                call("POST", true, "a.example", "/"),
            ),
            ("TCP tcp://db:3306", call("TCP", false, "db:3306", "/")),
            ("tls://db", call("TCP", true, "db", "/")),
        ] {
            assert_eq!(request(text), Ok(expected), "{text}");
        }
        for wrong in [
            "reviews",
            "GET reviews:9080/",
            "GET ftp://x/",
            "GET http:///x",
        ] {
            assert!(request(wrong).is_err(), "{wrong}");
        }
        let parts = |text: &str| request(text).map(|r| (r.host().to_owned(), r.port()));
        assert_eq!(
            parts("http://[fd00::1]:81/"),
            Ok(("fd00::1".to_owned(), 81))
        );
        assert_eq!(parts("https://a/"), Ok(("a".to_owned(), 443)));
    }
}
