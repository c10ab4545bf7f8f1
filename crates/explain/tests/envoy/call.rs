//! Calls as lines of a table, made for real and put to the walker.
//!
//! `METHOD URL  field  field …  => expected`, fields apart by two blanks. A field is a header (`name: value`) or one of
//! `@to=ADDRESS:PORT` (else the service's, or the pod's), `@from=ADDRESS`, `@as=NAMESPACE/ACCOUNT` (client certificate),
//! `@sni=NAME`, `@alpn=A,B`, `@token=NAME`, `@sees=TEXT` and `@unseen=TEXT` (what the server gets to see), and `@envoy`
//! (what the walker cannot know: a signature). `TCP` is a method that speaks no HTTP; the scheme `https` speaks TLS.

use std::io::{Read, Write};
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use hawser_explain::{Call, HttpCall, TlsCall};
use rustls::pki_types::ServerName;
use rustls::{ClientConnection, StreamOwned};

use crate::certificates::Authority;
use crate::echo;
use crate::net::{Net, POD};
use crate::tokens::Tokens;
use crate::world::{self, Side};

const PATIENCE: Duration = Duration::from_secs(5);

/// A line of a table.
#[derive(Clone, Debug)]
pub struct Line {
    pub call: Call,
    pub account: Option<String>,
    pub expected: Option<String>,
    pub sees: Vec<String>,
    pub unseen: Vec<String>,
    /// Only Envoy can know.
    pub beyond_the_walker: bool,
    pub text: String,
}

/// Reads a line.
pub fn read(text: &str, side: Side, tokens: &Tokens) -> Result<Line> {
    let (call, expected) = match text.split_once("=>") {
        Some((call, expected)) => (call, Some(expected.trim().to_owned())),
        None => (text, None),
    };
    let mut fields = call
        .trim()
        .split("  ")
        .map(str::trim)
        .filter(|f| !f.is_empty());
    let (method, url) = fields
        .next()
        .and_then(|f| f.split_once(' '))
        .with_context(|| format!("no method and URL: {text}"))?;
    let (scheme, rest) = url
        .split_once("://")
        .with_context(|| format!("no URL: {text}"))?;
    let (authority, path) = rest
        .find(['/', '\\'])
        .map_or((rest, "/"), |at| rest.split_at(at));
    let mut to = destination(side, scheme, authority);
    let mut source: IpAddr = match side {
        Side::Client => POD.parse()?,
        _ => "10.1.0.77".parse()?,
    };
    let mut tls = TlsCall::default();
    let (mut headers, mut account, mut sees, mut unseen) =
        (Vec::new(), None, Vec::new(), Vec::new());
    let mut beyond_the_walker = false;
    for field in fields {
        match field
            .strip_prefix('@')
            .map(|f| f.split_once('=').unwrap_or((f, "")))
        {
            Some(("to", v)) => to = Some(v.parse()?),
            Some(("from", v)) => source = v.parse()?,
            Some(("as", v)) => account = Some(v.to_owned()),
            Some(("sni", v)) => tls.sni = v.to_owned(),
            Some(("alpn", v)) => tls.alpn = v.split(',').map(str::to_owned).collect(),
            Some(("token", v)) => headers.push((
                "authorization".to_owned(),
                format!("Bearer {}", tokens.get(v)?),
            )),
            Some(("sees", v)) => sees.push(v.to_owned()),
            Some(("unseen", v)) => unseen.push(v.to_owned()),
            Some(("envoy", "")) => beyond_the_walker = true,
            Some((other, _)) => bail!("unknown option @{other}"),
            None => {
                let (name, value) = field
                    .split_once(':')
                    .with_context(|| format!("no header: {field}"))?;
                headers.push((name.trim().to_ascii_lowercase(), value.trim().to_owned()));
            }
        }
    }
    if let Some(account) = &account {
        let mut parts: Vec<&str> = account.split('/').collect();
        if parts.len() == 2 {
            parts.insert(0, "cluster.local");
        }
        tls.uris = vec![format!(
            "spiffe://{}/ns/{}/sa/{}",
            parts[0], parts[1], parts[2]
        )];
        if tls.alpn.is_empty() && side == Side::Server {
            // As the sidecar of a client in the mesh has it.
            tls.alpn = if method == "TCP" {
                vec!["istio".to_owned()]
            } else {
                vec!["istio-http/1.1".to_owned(), "istio".to_owned()]
            };
        }
    }
    let speaks_tls = scheme == "https" || account.is_some();
    if speaks_tls && tls.sni.is_empty() {
        tls.sni = match side {
            Side::Server => "outbound_.9080_._.web.default.svc.cluster.local".to_owned(),
            _ => authority.split(':').next().unwrap_or_default().to_owned(),
        };
    }
    let destination: SocketAddr = to.with_context(|| format!("where to? {text}"))?;
    let received_on = match side {
        Side::Client => 15001,
        Side::Server => 15006,
        Side::Gateway => destination.port(),
    };
    let http = (method != "TCP").then(|| HttpCall {
        method: method.to_owned(),
        authority: authority.to_owned(),
        path: path.to_owned(),
        denied_externally: headers
            .iter()
            .any(|(n, _): &(String, String)| n == echo::REFUSE),
        headers,
        http2: false,
    });
    Ok(Line {
        call: Call {
            source,
            destination,
            received_on,
            tls: speaks_tls.then_some(tls),
            http,
        },
        account,
        expected,
        sees,
        unseen,
        beyond_the_walker,
        text: text.trim().to_owned(),
    })
}

fn destination(side: Side, scheme: &str, authority: &str) -> Option<SocketAddr> {
    let (host, port) = authority
        .rsplit_once(':')
        .unwrap_or((authority, if scheme == "https" { "443" } else { "80" }));
    match side {
        Side::Client => {
            let ip = host.parse().ok().or_else(|| world::address(host))?;
            Some(SocketAddr::new(ip, port.parse().ok()?))
        }
        Side::Server => Some(SocketAddr::new(POD.parse().ok()?, port.parse().ok()?)),
        Side::Gateway => Some(SocketAddr::new(
            POD.parse().ok()?,
            if scheme == "https" { 8443 } else { 8080 },
        )),
    }
}

/// What became of a call.
#[derive(Clone, Debug)]
pub enum Outcome {
    /// An answer: by that server, or by the proxy itself.
    Answer {
        status: u16,
        location: String,
        by: Option<String>,
        seen: String,
    },
    /// Bytes from that server.
    Bytes { by: String },
    /// The connection broke, in the client's words.
    Closed { error: String },
}

impl Outcome {
    /// As tables expect it.
    pub fn shown(&self) -> String {
        match self {
            Self::Answer { by: Some(by), .. } | Self::Bytes { by } => by.clone(),
            Self::Answer {
                status, location, ..
            } => format!("{status} {location}").trim_end().to_owned(),
            Self::Closed { .. } => "closed".to_owned(),
        }
    }
}

/// Makes the call for real.
pub fn make(net: &Net, authority: &Arc<Authority>, side: Side, line: &Line) -> Result<Outcome> {
    let (line, authority) = (line.clone(), Arc::clone(authority));
    let from = if side == Side::Client {
        &net.pod
    } else {
        &net.world
    };
    from.run(move || match exchange(&line, &authority) {
        Ok(outcome) => outcome,
        Err(error) => Outcome::Closed {
            error: format!("{error:#}"),
        },
    })
}

trait Stream: Read + Write {}
impl<T: Read + Write> Stream for T {}

fn exchange(line: &Line, authority: &Authority) -> Result<Outcome> {
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None)?;
    if line.call.received_on != 15001 {
        socket.bind(&SocketAddr::new(line.call.source, 0).into())?;
    }
    socket.connect_timeout(&line.call.destination.into(), PATIENCE)?;
    let socket = TcpStream::from(socket);
    socket.set_read_timeout(Some(PATIENCE))?;
    socket.set_nodelay(true)?;
    let mut stream: Box<dyn Stream> = match &line.call.tls {
        None => Box::new(socket),
        Some(tls) => {
            let mut config = authority.client(line.account.as_deref(), &tls.alpn)?;
            config.enable_sni = tls.sni != "none";
            let name = ServerName::try_from(if tls.sni == "none" {
                "x.example".to_owned()
            } else {
                tls.sni.clone()
            })?;
            Box::new(StreamOwned::new(
                ClientConnection::new(Arc::new(config), name)?,
                socket,
            ))
        }
    };
    let Some(request) = &line.call.http else {
        stream.write_all(echo::BYTES)?;
        let mut text = String::new();
        // Without a close_notify rustls reports an error after the bytes.
        drop(stream.read_to_string(&mut text));
        ensure!(text.ends_with('\n'), "no answer: {text:?}");
        return Ok(Outcome::Bytes {
            by: text.trim().to_owned(),
        });
    };
    let mut head = format!(
        "{} {} HTTP/1.1\r\nhost: {}\r\n",
        request.method, request.path, request.authority
    );
    for (name, value) in &request.headers {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    head.push_str("\r\n");
    stream.write_all(head.as_bytes())?;
    answer(&mut *stream)
}

fn answer(stream: &mut dyn Stream) -> Result<Outcome> {
    let mut bytes = Vec::new();
    loop {
        let mut chunk = [0; 4096];
        let n = stream.read(&mut chunk)?;
        bytes.extend_from_slice(&chunk[..n]);
        let whole = complete(&bytes);
        if whole || n == 0 {
            ensure!(whole || !bytes.is_empty(), "closed without an answer");
            break;
        }
    }
    let answer = hawser_testkit::http::parse(&bytes)?;
    Ok(Outcome::Answer {
        status: answer.status,
        location: answer.header("location").unwrap_or_default().to_owned(),
        by: answer.header(echo::ANSWERED_BY).map(str::to_owned),
        seen: answer.body,
    })
}

fn complete(bytes: &[u8]) -> bool {
    let text = String::from_utf8_lossy(bytes);
    let Some((head, body)) = text.split_once("\r\n\r\n") else {
        return false;
    };
    let length = head
        .lines()
        .filter_map(|l| l.split_once(':'))
        .find(|(n, _)| n.eq_ignore_ascii_case("content-length"));
    match length {
        Some((_, length)) => length
            .trim()
            .parse::<usize>()
            .is_ok_and(|n| body.len() >= n),
        None => {
            body.ends_with("0\r\n\r\n")
                || head.starts_with("HTTP/1.1 204")
                || head.starts_with("HTTP/1.1 304")
        }
    }
}
