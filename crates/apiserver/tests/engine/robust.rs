//! Whatever is sent, there is an answer, it is no 5xx of a broken server, and the next request is served.

use bytes::Bytes;
use http::Method;
use serde_json::{Value, json};

use crate::client::{APPLY, Client, Cluster, JSON_PATCH, MAPS, MERGE, STRATEGIC, config_map};

/// A small generator of its own, so that a failure can be had again.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 >> 33).unwrap_or(0) % sides.max(1)
    }

    fn pick<'a>(&mut self, from: &[&'a str]) -> &'a str {
        from[self.roll(from.len())]
    }

    /// Some bytes of a good body are changed, taken away or doubled.
    fn spoil(&mut self, body: &[u8]) -> Vec<u8> {
        let mut body = body.to_vec();
        for _ in 0..self.roll(4) {
            if body.is_empty() {
                break;
            }
            let at = self.roll(body.len());
            match self.roll(4) {
                0 => body[at] = u8::try_from(self.roll(256)).unwrap_or(0),
                1 => drop(body.remove(at)),
                2 => body.insert(at, b"{}[]\",:0\xff"[self.roll(9)]),
                _ => body.truncate(at),
            }
        }
        body
    }
}

const PATHS: &[&str] = &[
    MAPS,
    "/api/v1/namespaces/default/configmaps/m",
    "/api/v1/namespaces/default/configmaps/%00%ff",
    "/api/v1/namespaces/default/pods",
    "/api/v1/namespaces/default/pods/p/binding",
    "/api/v1/namespaces/default/pods/p/eviction",
    "/api/v1/namespaces/default/pods/p/status",
    "/api/v1/namespaces/default/services/kubernetes",
    "/api/v1/namespaces/default/serviceaccounts/default/token",
    "/api/v1/namespaces/default/finalize",
    "/api/v1/namespaces",
    "/api/v1/nodes/n/status",
    "/apis/apps/v1/namespaces/default/deployments",
    "/apis/apps/v1/namespaces/default/deployments/d/scale",
    "/apis/apiextensions.k8s.io/v1/customresourcedefinitions",
    "/apis/authentication.k8s.io/v1/tokenreviews",
    "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews",
    "/apis/rbac.authorization.k8s.io/v1/clusterroles",
    "/apis/admissionregistration.k8s.io/v1/validatingadmissionpolicies",
    "/apis//v1//",
    "/api",
    "/apis/x",
    "/openapi/v2",
    "/openapi/v3/apis/apps/v1",
    "//",
    "/%",
    "/version?%",
];

const QUERIES: &[&str] = &[
    "",
    "fieldManager=x",
    "fieldManager=%00",
    "force=true&fieldManager=m",
    "dryRun=All",
    "dryRun=x",
    "fieldValidation=Strict",
    "labelSelector=a+in+(b",
    "labelSelector=%ff",
    "fieldSelector=metadata.name%3Dm",
    "fieldSelector==,=",
    "limit=-1",
    "limit=99999999999999999999",
    "limit=1&continue=e30",
    "continue=%2e%2e",
    "resourceVersion=-1",
    "resourceVersion=18446744073709551616",
    "resourceVersionMatch=Exact",
    "watch=1&timeoutSeconds=0&resourceVersion=1",
    "timeoutSeconds=-5",
    "includeObject=x",
    "gracePeriodSeconds=-9223372036854775808",
    "propagationPolicy=x",
    "pretty=true",
    "&&&===%%%",
    "hash=x",
];

const ACCEPTS: &[&str] = &[
    "application/json",
    "*/*",
    "text/html",
    "application/vnd.kubernetes.protobuf",
    "application/yaml",
    ";;;,,,q=",
    "application/json;as=Table;v=v1;g=meta.k8s.io",
    "application/json;as=PartialObjectMetadataList;v=v1;g=meta.k8s.io",
    "application/com.github.proto-openapi.spec.v2@v1.0+protobuf",
];

const TYPES: &[&str] = &[
    "application/json",
    "application/yaml",
    "application/vnd.kubernetes.protobuf",
    MERGE,
    JSON_PATCH,
    STRATEGIC,
    APPLY,
    "x",
];

fn bodies() -> Vec<Vec<u8>> {
    let pod = json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p"}, "spec": {"containers": [{"name": "c", "image": "i",
        "resources": {"limits": {"cpu": "1e400", "memory": "-1Ki"}}, "ports": [{"containerPort": 99999999999i64}]}]}});
    let crd = json!({"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition", "metadata": {"name": "as.b.c"},
        "spec": {"group": "b.c", "scope": "Namespaced", "names": {"plural": "as", "kind": "A"}, "versions": [{"name": "v1", "served": true, "storage": true,
        "schema": {"openAPIV3Schema": {"type": "object", "properties": {"x": {"type": "string", "pattern": "(((a+)+)+)$", "default": 1,
        "x-kubernetes-validations": [{"rule": "self.matches('(')"}]}}}}}]}});
    let patch = json!([{"op": "add", "path": "/a/b/-1/~2", "value": {}}, {"op": "move", "from": "", "path": "/data"}]);
    let fields = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "m", "managedFields": [{"manager": "m", "operation": "Apply",
        "apiVersion": "v1", "fieldsType": "FieldsV1", "fieldsV1": {"k:{": {}, "f:data": {".": 1, "v:x": {}}}}]}, "data": {"a": 1}});
    let deep = "[".repeat(5_000) + &"]".repeat(5_000);
    let nested = "{\"metadata\":".repeat(200) + "1" + &"}".repeat(200);
    let bomb = "a: &a [x,x,x,x,x,x,x,x,x]\n".to_owned()
        + &(0..12)
            .map(|n| {
                format!(
                    "{0}: &{0} [*{1},*{1},*{1},*{1},*{1},*{1},*{1},*{1}]\n",
                    (b'b' + n) as char,
                    (b'a' + n) as char
                )
            })
            .collect::<String>();
    let protobuf =
        b"k8s\0\x0a\x0f\x0a\x02v1\x12\x09ConfigMap\x12\x05\x0a\x03\x0a\x01m\x1a\x00\x22\x00"
            .to_vec();
    let mut all: Vec<Vec<u8>> = [
        pod,
        crd,
        patch,
        fields,
        config_map("m", json!({"a": "b"})),
        json!(null),
        json!("x"),
        json!({"metadata": []}),
    ]
    .iter()
    .map(|value| value.to_string().into_bytes())
    .collect();
    all.extend([
        deep.into_bytes(),
        nested.into_bytes(),
        bomb.into_bytes(),
        protobuf,
        Vec::new(),
    ]);
    all
}

async fn send(client: &Client, dice: &mut Dice, bodies: &[Vec<u8>]) -> (String, u16) {
    let method = [
        Method::GET,
        Method::POST,
        Method::PUT,
        Method::PATCH,
        Method::DELETE,
    ][dice.roll(5)]
    .clone();
    let (path, query) = (dice.pick(PATHS), dice.pick(QUERIES));
    let (accept, content_type) = (dice.pick(ACCEPTS), dice.pick(TYPES));
    let body = bodies[dice.roll(bodies.len())].clone();
    let body = if method == Method::GET {
        Vec::new()
    } else {
        dice.spoil(&body)
    };
    let shown = format!(
        "{method} {path}?{query} as {accept}, {content_type}: {:?}",
        String::from_utf8_lossy(&body[..body.len().min(300)])
    );
    let separator = if path.contains('?') { '&' } else { '?' };
    // What clients' libraries refuse to send is not sent.
    let url = format!("{path}{separator}{query}");
    let reply = tokio::time::timeout(
        std::time::Duration::from_secs(60),
        client.ask(method, &url, content_type, accept, Bytes::from(body)),
    );
    let reply = reply.await.unwrap_or_else(|_| panic!("no answer: {shown}"));
    (shown, reply.code)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_request_breaks_the_server() {
    let cluster = Cluster::start().await;
    let c = &cluster.client;
    let mut dice = Dice(0x5eed);
    let bodies = bodies();
    for _ in 0..1_000 {
        let (shown, code) = send(c, &mut dice, &bodies).await;
        // 504 says that the revision asked for is not reached yet.
        assert!(code < 500 || code == 504, "{code}: {shown}");
    }
    let after = c.post(MAPS, &config_map("after", json!({}))).await;
    assert_eq!(after.code, 201, "{}", after.body);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bodies_have_a_limit() {
    let cluster = Cluster::start().await;
    let c = &cluster.client;
    let large = config_map("large", json!({"a": "x".repeat(4 << 20)}));
    let refused = c.post(MAPS, &large).await;
    assert_eq!(
        (refused.code, &refused.body["reason"]),
        (413, &Value::from("RequestEntityTooLarge"))
    );
    assert_eq!(c.get(MAPS).await.code, 200, "others are served");
}
