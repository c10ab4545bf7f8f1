//! Controllers, service rules and DNS of two clusters against real API servers and the kernel, with pods that only
//! listen. Needs root, `ip` and `nft`.

use std::io::Write;
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use hawser_apiserver::{Config, Handle, Server};
use hawser_kube::{Client, Resource, Selection};
use hawser_lab::net::{LabNet, Node, PodNet, connect_in, in_netns, plan};
use hawser_lab::{controllers, dns};
use serde_json::{Value, json};
use tokio::io::AsyncReadExt;
use tokio_util::sync::CancellationToken;

const PODS: Resource = Resource::namespaced("", "v1", "Pod", "pods");
const NODES: Resource = Resource::cluster_wide("", "v1", "Node", "nodes");
const SERVICES: Resource = Resource::namespaced("", "v1", "Service", "services");
const DEPLOYMENTS: Resource = Resource::namespaced("apps", "v1", "Deployment", "deployments");
const CONFIG_MAPS: Resource = Resource::namespaced("", "v1", "ConfigMap", "configmaps");
const EVENTS: Resource = Resource::namespaced("", "v1", "Event", "events");

/// A cluster without a kubelet: this test gives pods their network and says that they run.
struct Cluster {
    client: Client,
    /// Stops with the value.
    _server: Handle,
    node: Node,
    pods: Vec<(String, PodNet)>,
}

impl Cluster {
    async fn start(node: Node, dir: &Path, stop: &CancellationToken) -> Cluster {
        let server = Server::start(Config::new("cluster", dir))
            .await
            .expect("an API server");
        let client = Client::from_kubeconfig(&server.kubeconfig(), None)
            .await
            .expect("a client");
        let apiserver = SocketAddrV4::new(node.net.node_ip, 6443);
        let settings = controllers::Settings {
            client: client.clone(),
            net: node.net.clone(),
            apiserver,
        };
        tokio::spawn(controllers::run(settings, stop.clone()));
        let settings = dns::Settings {
            client: client.clone(),
            net: node.net.clone(),
        };
        tokio::spawn(dns::run(settings, stop.clone()));
        let object = json!({"apiVersion": "v1", "kind": "Node", "metadata": {"name": "n1"}});
        client.create(&NODES, &object).await.expect("a node");
        let ready = json!({"status": {"conditions": [{"type": "Ready", "status": "True"}]}});
        client
            .merge_patch(&NODES, (None, "n1"), "status", &ready)
            .await
            .expect("a ready node");
        Cluster {
            client,
            _server: server,
            node,
            pods: Vec::new(),
        }
    }

    /// Gives every bound pod an address and somebody who listens on port 8080 and says the pod's name.
    async fn run_pods(&mut self, count: usize) {
        let bound = wait("pods on the node", async || {
            let pods = self
                .client
                .list(&PODS, &Selection::in_namespace("default"))
                .await
                .map_err(|e| e.to_string())?;
            let bound = pods
                .items
                .iter()
                .filter(|pod| pod["spec"]["nodeName"] == "n1");
            let bound: Vec<String> = bound.map(|pod| text(&pod["metadata"]["name"])).collect();
            if bound.len() == count {
                Ok(bound)
            } else {
                Err(format!("{bound:?}"))
            }
        })
        .await;
        for name in bound {
            let number = u32::try_from(self.pods.len()).expect("few pods") + 2;
            let ip = Ipv4Addr::from(u32::from(self.node.net.pod_cidr.network()) + number);
            let pod = PodNet::create(&self.node.netns, &self.node.net, ip, number)
                .expect("a pod's network");
            let listener = in_netns(pod.netns.path(), || {
                std::net::TcpListener::bind(("0.0.0.0", 8080))
            });
            listen(listener.expect("a listener"), name.clone());
            let status = json!({"status": {"phase": "Running", "podIP": ip.to_string(),
                "conditions": [{"type": "Ready", "status": "True"}]}});
            let key = (Some("default"), name.as_str());
            self.client
                .merge_patch(&PODS, key, "status", &status)
                .await
                .expect("a status");
            self.pods.push((name, pod));
        }
    }
}

fn listen(listener: std::net::TcpListener, name: String) {
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let mut stream = stream;
            let from = stream
                .peer_addr()
                .map(|peer| peer.ip().to_string())
                .unwrap_or_default();
            // The asker may be gone; the next one is not.
            let _ = stream.write_all(format!("{name} {from}").as_bytes());
        }
    });
}

/// Asks until the answer is yes; the last no is the failure's message.
async fn wait<T>(what: &str, mut question: impl AsyncFnMut() -> Result<T, String>) -> T {
    let deadline = Instant::now() + Duration::from_secs(20);
    loop {
        match question().await {
            Ok(answer) => return answer,
            Err(no) => assert!(Instant::now() < deadline, "waiting for {what}: {no}"),
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

/// What whoever listens says, to a caller in this namespace: the pod's name and who called.
async fn call(from: &Path, to: impl Into<SocketAddr>) -> Result<(String, String), String> {
    let said = async {
        let mut stream = connect_in(from, to.into(), Duration::from_secs(2)).await?;
        let mut said = String::new();
        stream.read_to_string(&mut said).await?;
        Ok::<String, std::io::Error>(said)
    };
    let said = said.await.map_err(|error| error.to_string())?;
    said.split_once(' ')
        .map(|(name, from)| (name.to_owned(), from.to_owned()))
        .ok_or(said.clone())
}

/// Asks the cluster's DNS from inside a namespace, over UDP; the first address of the answer.
fn resolve(from: &Path, name: &str) -> Result<Ipv4Addr, String> {
    use hickory_proto::op::{Message, Query};
    use hickory_proto::rr::{Name, RData, RecordType};
    let mut message = Message::query();
    message.add_query(Query::query(
        Name::from_ascii(name).expect("a name"),
        RecordType::A,
    ));
    let bytes = message.to_vec().expect("bytes");
    let received = in_netns(from, || {
        let socket = std::net::UdpSocket::bind(("0.0.0.0", 0))?;
        socket.set_read_timeout(Some(Duration::from_secs(2)))?;
        socket.send_to(&bytes, ("10.96.0.10", 53))?;
        let mut buffer = vec![0; 2048];
        let length = socket.recv(&mut buffer)?;
        buffer.truncate(length);
        Ok(buffer)
    });
    let answer = Message::from_vec(&received.map_err(|error| error.to_string())?)
        .map_err(|e| e.to_string())?;
    let address = answer.answers.iter().find_map(|record| match &record.data {
        RData::A(ip) => Some(ip.0),
        _ => None,
    });
    address.ok_or_else(|| answer.metadata.response_code.to_string())
}

#[tokio::test(flavor = "multi_thread")]
async fn services_of_two_clusters() {
    let net = LabNet::create(&plan(2))
        .expect("networks: run this test as root, with ip and nft installed");
    let stop = CancellationToken::new();
    let dirs: Vec<PathBuf> = (0..2)
        .map(|n| std::env::temp_dir().join(format!("hawser-services-{}-{n}", std::process::id())))
        .collect();
    let mut nodes = net.nodes.into_iter();
    let mut one = Cluster::start(nodes.next().expect("a node"), &dirs[0], &stop).await;
    let two = Cluster::start(nodes.next().expect("a node"), &dirs[1], &stop).await;

    let deployment = json!({"apiVersion": "apps/v1", "kind": "Deployment",
        "metadata": {"name": "web", "namespace": "default"},
        "spec": {"replicas": 2, "selector": {"matchLabels": {"app": "web"}}, "template": {
            "metadata": {"labels": {"app": "web"}},
            "spec": {"containers": [{"name": "web", "image": "web", "ports": [{"name": "http", "containerPort": 8080}]}]}}}});
    let service = json!({"apiVersion": "v1", "kind": "Service",
        "metadata": {"name": "web", "namespace": "default"},
        "spec": {"type": "LoadBalancer", "selector": {"app": "web"}, "ports": [{"name": "http", "port": 80, "targetPort": "http"}]}});
    let service = one
        .client
        .create(&SERVICES, &service)
        .await
        .expect("a service");
    one.client
        .create(&DEPLOYMENTS, &deployment)
        .await
        .expect("a deployment");
    let vip: Ipv4Addr = text(&service["spec"]["clusterIP"])
        .parse()
        .expect("a service address");
    let node_port = u16::try_from(
        service["spec"]["ports"][0]["nodePort"]
            .as_u64()
            .expect("a port"),
    )
    .expect("a port");

    // Nobody serves yet: callers are told at once.
    let other = two.node.netns.path().to_owned();
    let balancer: Ipv4Addr = wait("an address", async || {
        let service = one
            .client
            .get(&SERVICES, Some("default"), "web")
            .await
            .map_err(|e| e.to_string())?;
        text(&service["status"]["loadBalancer"]["ingress"][0]["ip"])
            .parse()
            .map_err(|_| "none".to_owned())
    })
    .await;
    assert!(one.node.net.lb_pool.contains(&balancer));
    wait("a refusal", async || {
        match call(&other, (balancer, 80)).await {
            Err(error) if error.contains("refused") => Ok(()),
            other => Err(format!("{other:?}")),
        }
    })
    .await;

    one.run_pods(2).await;
    let (_, pod) = one.pods.first().expect("a pod");
    let inside = pod.netns.path();
    wait("a served service", async || call(inside, (vip, 80)).await).await;
    // Every pod gets its share, also of calls that come from a pod itself, which sees the node as the caller.
    let mut expected: Vec<(String, String)> = vec![
        (
            one.pods[0].0.clone(),
            one.node.net.pod_gateway().to_string(),
        ),
        (one.pods[1].0.clone(), pod.ip.to_string()),
    ];
    expected.sort();
    let mut callers: Vec<(String, String)> = Vec::new();
    wait("both pods", async || {
        callers.push(call(inside, (vip, 80)).await?);
        callers.sort();
        callers.dedup();
        if callers.len() < expected.len() {
            Err(format!("only {callers:?}"))
        } else {
            Ok(())
        }
    })
    .await;
    assert_eq!(callers, expected);
    for to in [(balancer, 80), (one.node.net.node_ip, node_port)] {
        call(inside, to).await.expect("from a pod");
        call(one.node.netns.path(), to)
            .await
            .unwrap_or_else(|error| panic!("from the node to {to:?}: {error}"));
        let (_, from) = call(&other, to)
            .await
            .unwrap_or_else(|error| panic!("from the other node to {to:?}: {error}"));
        assert_eq!(from, two.node.net.node_ip.to_string());
    }
    call(one.node.netns.path(), (vip, 80))
        .await
        .expect("from the node");
    assert!(
        call(inside, (balancer, 81))
            .await
            .is_err_and(|error| error.contains("refused"))
    );

    let status = one
        .client
        .get(&DEPLOYMENTS, Some("default"), "web")
        .await
        .expect("the deployment");
    assert_eq!(
        status["status"]["availableReplicas"], 2,
        "{}",
        status["status"]
    );

    names(&one, inside, vip).await;
    stop.cancel();
    for dir in dirs {
        // Left over where the server still writes; the next run has another name.
        let _ = std::fs::remove_dir_all(dir);
    }
}

async fn names(cluster: &Cluster, inside: &Path, vip: Ipv4Addr) {
    wait("a name", async || {
        match resolve(inside, "web.default.svc.cluster.local.") {
            Ok(ip) if ip == vip => Ok(()),
            other => Err(format!("{other:?}")),
        }
    })
    .await;
    // As the scenario's users do it: `proxy global IP` asks another server, here one that is a pod's.
    let (_, pod) = &cluster.pods[1];
    let upstream = in_netns(pod.netns.path(), || {
        std::net::UdpSocket::bind(("0.0.0.0", 53))
    })
    .expect("a socket");
    std::thread::spawn(move || answer_everything(&upstream));
    let corefile = |text: String| {
        json!({"apiVersion": "v1", "kind": "ConfigMap", "data": {"Corefile": text},
        "metadata": {"namespace": "kube-system", "name": "kube-dns"}})
    };
    let good = format!(
        ".:53 {{\n kubernetes cluster.local\n proxy global {}\n}}\n",
        pod.ip
    );
    cluster
        .client
        .create(&CONFIG_MAPS, &corefile(good))
        .await
        .expect("a configuration");
    let far = Ipv4Addr::new(240, 0, 0, 3);
    let found = async || match resolve(inside, "reviews.default.global.") {
        Ok(ip) if ip == far => Ok(()),
        other => Err(format!("{other:?}")),
    };
    wait("a name of another cluster", found).await;
    cluster
        .client
        .replace(&CONFIG_MAPS, &corefile(".:53 {".to_owned()))
        .await
        .expect("a configuration");
    wait("a complaint", async || {
        let events = cluster
            .client
            .list(&EVENTS, &Selection::in_namespace("kube-system"))
            .await
            .map_err(|e| e.to_string())?;
        let told = events
            .items
            .iter()
            .any(|event| event["reason"] == "CorefileInvalid");
        told.then_some(())
            .ok_or_else(|| format!("{:?}", events.items))
    })
    .await;
    wait("the last good configuration", found).await;
}

/// A DNS server that answers 240.0.0.3 to whatever it is asked.
fn answer_everything(socket: &std::net::UdpSocket) {
    use hickory_proto::op::Message;
    use hickory_proto::rr::rdata::A;
    use hickory_proto::rr::{RData, Record};
    let mut buffer = [0; 2048];
    while let Ok((length, from)) = socket.recv_from(&mut buffer) {
        let query = Message::from_vec(&buffer[..length]).expect("a query");
        let mut answer = query.clone().into_response();
        let name = query.queries[0].name().clone();
        answer.add_answer(Record::from_rdata(
            name,
            5,
            RData::A(A(Ipv4Addr::new(240, 0, 0, 3))),
        ));
        socket
            .send_to(&answer.to_vec().expect("bytes"), from)
            .expect("sent");
    }
}
