//! Probes and lifecycle hooks: asking a container whether it is well, or telling it something.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use http_body_util::{BodyExt, Empty, Limited};
use hyper::body::Bytes;
use hyper_util::rt::TokioIo;
use k8s_openapi::api::core::v1::{
    Container, ExecAction, HTTPGetAction, HTTPHeader, LifecycleHandler, Probe, TCPSocketAction,
};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

use super::logs;
use crate::net::connect_in;
use crate::sandbox::{Join, Program, Request, Runner};

/// The most that is read of an answer or of a command's output, bytes.
const MAX_ANSWER: usize = 10 << 10;

/// Something to ask of a container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Check {
    Http {
        host: Option<String>,
        port: u16,
        path: String,
        headers: Vec<(String, String)>,
    },
    Tcp {
        host: Option<String>,
        port: u16,
    },
    Exec(Vec<String>),
    Sleep(Duration),
}

/// A probe with its numbers, defaults filled in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Plan {
    pub(crate) check: Check,
    pub(crate) delay: Duration,
    pub(crate) period: Duration,
    pub(crate) timeout: Duration,
    pub(crate) success: u32,
    pub(crate) failure: u32,
}

/// Reads a probe of a container; an error is a sentence for its status.
pub(crate) fn plan(container: &Container, probe: &Probe) -> Result<Plan, String> {
    let check = if probe.grpc.is_some() {
        return Err(
            "gRPC probes are not supported in a lab; use httpGet, tcpSocket or exec".to_string(),
        );
    } else {
        check(
            container,
            probe.exec.as_ref(),
            probe.http_get.as_ref(),
            probe.tcp_socket.as_ref(),
        )?
    };
    let seconds = |value: Option<i32>, default: u32| {
        let value = value
            .and_then(|value| u32::try_from(value).ok())
            .filter(|value| *value > 0);
        Duration::from_secs(u64::from(value.unwrap_or(default)))
    };
    let count = |value: Option<i32>, default: u32| {
        value
            .and_then(|value| u32::try_from(value).ok())
            .filter(|value| *value > 0)
            .unwrap_or(default)
    };
    Ok(Plan {
        check,
        delay: seconds(probe.initial_delay_seconds, 0),
        period: seconds(probe.period_seconds, 10),
        timeout: seconds(probe.timeout_seconds, 1),
        success: count(probe.success_threshold, 1),
        failure: count(probe.failure_threshold, 3),
    })
}

/// Reads a lifecycle hook of a container.
pub(crate) fn hook(container: &Container, handler: &LifecycleHandler) -> Result<Check, String> {
    if let Some(sleep) = &handler.sleep {
        return Ok(Check::Sleep(Duration::from_secs(
            sleep.seconds.unsigned_abs(),
        )));
    }
    check(
        container,
        handler.exec.as_ref(),
        handler.http_get.as_ref(),
        handler.tcp_socket.as_ref(),
    )
}

fn check(
    container: &Container,
    exec: Option<&ExecAction>,
    http: Option<&HTTPGetAction>,
    tcp: Option<&TCPSocketAction>,
) -> Result<Check, String> {
    if let Some(exec) = exec {
        return Ok(Check::Exec(exec.command.clone().unwrap_or_default()));
    }
    if let Some(http) = http {
        if http.scheme.as_deref() == Some("HTTPS") {
            return Err(
                "HTTPS probes are not supported in a lab; use HTTP, tcpSocket or exec".to_string(),
            );
        }
        let header = |header: &HTTPHeader| (header.name.clone(), header.value.clone());
        return Ok(Check::Http {
            host: http.host.clone().filter(|host| !host.is_empty()),
            port: port(container, &http.port)?,
            path: http
                .path
                .clone()
                .filter(|path| !path.is_empty())
                .unwrap_or_else(|| "/".to_string()),
            headers: http.http_headers.iter().flatten().map(header).collect(),
        });
    }
    if let Some(tcp) = tcp {
        let host = tcp.host.clone().filter(|host| !host.is_empty());
        return Ok(Check::Tcp {
            host,
            port: port(container, &tcp.port)?,
        });
    }
    Err("it names no action: httpGet, tcpSocket or exec".to_string())
}

fn port(container: &Container, port: &IntOrString) -> Result<u16, String> {
    let number = match port {
        IntOrString::Int(number) => Some(*number),
        IntOrString::String(name) => {
            let ports = container.ports.iter().flatten();
            let named = ports
                .into_iter()
                .find(|port| port.name.as_deref() == Some(name));
            named
                .map(|port| port.container_port)
                .or_else(|| name.parse().ok())
        }
    };
    number.and_then(|number| u16::try_from(number).ok()).filter(|number| *number > 0).ok_or_else(|| {
        format!("port {port:?} is neither a number from 1 to 65535 nor the name of a port of the container")
    })
}

/// Counts results: says when enough in a row agree.
#[derive(Debug)]
pub(crate) struct Counter {
    success: u32,
    failure: u32,
    run: u32,
    last: Option<bool>,
}

impl Counter {
    pub(crate) fn new(plan: &Plan) -> Counter {
        Counter {
            success: plan.success,
            failure: plan.failure,
            run: 0,
            last: None,
        }
    }

    /// Takes a result; `Some` once it stands.
    pub(crate) fn count(&mut self, passed: bool) -> Option<bool> {
        self.run = if self.last == Some(passed) {
            self.run.saturating_add(1)
        } else {
            1
        };
        self.last = Some(passed);
        let needed = if passed { self.success } else { self.failure };
        (self.run >= needed).then_some(passed)
    }
}

/// Where a container can be asked.
pub(crate) struct Patient {
    pub(crate) netns: PathBuf,
    pub(crate) ip: Ipv4Addr,
    pub(crate) runner: Runner,
    /// Process id of the container's init.
    pub(crate) pid: u32,
    /// As whom, and with what environment, commands run.
    pub(crate) user: (u32, u32, Vec<u32>),
    pub(crate) env: std::collections::BTreeMap<String, String>,
    pub(crate) cwd: Option<String>,
}

impl Patient {
    /// Asks; the error says why the answer is no.
    pub(crate) async fn ask(&self, check: &Check, timeout: Duration) -> Result<(), String> {
        let answer = async {
            match check {
                Check::Http {
                    host,
                    port,
                    path,
                    headers,
                } => self.http(host.as_deref(), *port, path, headers).await,
                Check::Tcp { host, port } => {
                    let to = self.address(host.as_deref(), *port)?;
                    connect_in(&self.netns, to, timeout)
                        .await
                        .map(drop)
                        .map_err(|error| format!("dial {to}: {error}"))
                }
                Check::Exec(argv) => self.exec(argv).await,
                Check::Sleep(time) => {
                    tokio::time::sleep(*time).await;
                    Ok(())
                }
            }
        };
        tokio::time::timeout(timeout, answer)
            .await
            .unwrap_or_else(|_| Err(format!("no answer within {timeout:?}")))
    }

    fn address(&self, host: Option<&str>, port: u16) -> Result<SocketAddr, String> {
        match host {
            None => Ok(SocketAddr::from((self.ip, port))),
            Some("localhost") => Ok(SocketAddr::from((Ipv4Addr::LOCALHOST, port))),
            Some(host) => host
                .parse()
                .map(|ip| SocketAddr::new(ip, port))
                .map_err(|_| format!("host {host:?} of a probe must be an address in a lab")),
        }
    }

    async fn http(
        &self,
        host: Option<&str>,
        port: u16,
        path: &str,
        headers: &[(String, String)],
    ) -> Result<(), String> {
        let to = self.address(host, port)?;
        let stream = connect_in(&self.netns, to, Duration::from_secs(60)).await;
        let stream = stream.map_err(|error| format!("Get \"http://{to}{path}\": {error}"))?;
        let text = |error: hyper::Error| format!("Get \"http://{to}{path}\": {error}");
        let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
            .await
            .map_err(text)?;
        let driver = tokio::spawn(connection);
        let slash = if path.starts_with('/') { "" } else { "/" };
        let mut request = hyper::Request::get(format!("{slash}{path}"));
        if !headers
            .iter()
            .any(|(name, _)| name.eq_ignore_ascii_case("host"))
        {
            request = request.header("host", to.to_string());
        }
        request = request
            .header("user-agent", "kube-probe/1.33")
            .header("connection", "close");
        for (name, value) in headers {
            request = request.header(name, value);
        }
        let request = request
            .body(Empty::<Bytes>::new())
            .map_err(|error| format!("the probe's request: {error}"))?;
        let response = sender.send_request(request).await.map_err(text)?;
        let status = response.status();
        let _ = Limited::new(response.into_body(), MAX_ANSWER)
            .collect()
            .await;
        driver.abort();
        if status.is_success() || status.is_redirection() {
            Ok(())
        } else {
            Err(format!(
                "HTTP probe failed with statuscode: {}",
                status.as_u16()
            ))
        }
    }

    async fn exec(&self, argv: &[String]) -> Result<(), String> {
        let (uid, gid, groups) = self.user.clone();
        let program = Program {
            argv: argv.to_vec(),
            env: self.env.clone(),
            cwd: self.cwd.clone(),
            uid,
            gid,
            groups,
        };
        let request = Request::Join(Join {
            pid: self.pid,
            program,
        });
        let mut process = self
            .runner
            .start(&request)
            .await
            .map_err(|error| error.to_string())?;
        let said = logs::head(&mut process, MAX_ANSWER).await;
        match process.wait().await {
            0 => Ok(()),
            code => Err(format!("command ended with {code}: {said}")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{from_value, json};

    fn check_plan(name: &str, probe: serde_json::Value, expected: Result<Plan, &str>) {
        let container: Container =
            from_value(json!({"name": "c", "ports": [{"name": "http", "containerPort": 8080}]}))
                .expect("a container");
        let probe: Probe = from_value(probe).expect("a probe");
        let given = plan(&container, &probe);
        match expected {
            Ok(expected) => assert_eq!(given, Ok(expected), "{name}"),
            Err(part) => {
                let message = given.expect_err(name);
                assert!(message.contains(part), "{name}: {message}");
            }
        }
    }

    #[test]
    fn plans() {
        let seconds = Duration::from_secs;
        let base = Plan {
            check: Check::Tcp {
                host: None,
                port: 8080,
            },
            delay: seconds(0),
            period: seconds(10),
            timeout: seconds(1),
            success: 1,
            failure: 3,
        };
        check_plan(
            "defaults",
            json!({"tcpSocket": {"port": "http"}}),
            Ok(base.clone()),
        );
        check_plan(
            "its own numbers",
            json!({"httpGet": {"port": 80, "path": "/ready", "httpHeaders": [{"name": "a", "value": "b"}]},
                "initialDelaySeconds": 1, "periodSeconds": 2, "timeoutSeconds": 3, "failureThreshold": 4}),
            Ok(Plan {
                check: Check::Http {
                    host: None,
                    port: 80,
                    path: "/ready".into(),
                    headers: vec![("a".into(), "b".into())],
                },
                delay: seconds(1),
                period: seconds(2),
                timeout: seconds(3),
                failure: 4,
                ..base.clone()
            }),
        );
        check_plan("no action", json!({}), Err("no action"));
        check_plan(
            "unknown port",
            json!({"tcpSocket": {"port": "grpc"}}),
            Err("grpc"),
        );
        check_plan("port 0", json!({"tcpSocket": {"port": 0}}), Err("port"));
        check_plan(
            "https",
            json!({"httpGet": {"port": 80, "scheme": "HTTPS"}}),
            Err("HTTPS"),
        );
    }

    #[test]
    fn thresholds() {
        let container = Container::default();
        let probe: Probe = from_value(json!({
            "tcpSocket": {"port": 1}, "successThreshold": 2, "failureThreshold": 3
        }))
        .expect("a probe");
        let mut counter = Counter::new(&plan(&container, &probe).expect("a plan"));
        let given: Vec<_> = [true, true, false, false, true, false, false, false, true]
            .map(|passed| counter.count(passed))
            .into();
        let expected = [
            None,
            Some(true),
            None,
            None,
            None,
            None,
            None,
            Some(false),
            None,
        ];
        assert_eq!(given, expected);
    }
}
