//! Reading and writing single objects and lists.

use bytes::Bytes;
use http::Method;
use serde_json::{Value, json};

use crate::client::{APPLY, Cluster, JSON_PATCH, MAPS, MERGE, Reply, STRATEGIC, config_map};

/// One question and what its answer must hold: the code, and values at JSON pointers (null: absent).
fn check(name: &str, reply: &Reply, code: u16, expected: &[(&str, Value)]) {
    assert_eq!(reply.code, code, "{name}: {}", reply.body);
    for (pointer, value) in expected {
        let found = reply.body.pointer(pointer).unwrap_or(&Value::Null);
        assert_eq!(found, value, "{name}: {pointer} of {}", reply.body);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn writes_and_refusals() {
    let cluster = Cluster::start().await;
    let c = &cluster.client;
    let one = &format!("{MAPS}/a");

    check(
        "create",
        &c.post(MAPS, &config_map("a", json!({"x": "1"}))).await,
        201,
        &[("/data/x", json!("1"))],
    );
    check(
        "create twice",
        &c.post(MAPS, &config_map("a", json!({}))).await,
        409,
        &[("/reason", json!("AlreadyExists"))],
    );
    check(
        "absent",
        &c.get(&format!("{MAPS}/none")).await,
        404,
        &[("/details/name", json!("none"))],
    );
    check(
        "bad name",
        &c.post(MAPS, &config_map("A", json!({}))).await,
        422,
        &[("/details/causes/0/field", json!("metadata.name"))],
    );
    check(
        "absent namespace",
        &c.post(
            "/api/v1/namespaces/none/configmaps",
            &config_map("a", json!({})),
        )
        .await,
        404,
        &[("/details/kind", json!("namespaces"))],
    );
    let mut unknown = config_map("u", json!({}));
    unknown["bogus"] = json!(1);
    check(
        "strict",
        &c.post(&format!("{MAPS}?fieldValidation=Strict"), &unknown)
            .await,
        400,
        &[],
    );
    let warned = c.post(MAPS, &unknown).await;
    check("warned", &warned, 201, &[("/bogus", Value::Null)]);
    assert_eq!(
        warned.headers["warning"],
        r#"299 - "unknown field \"bogus\"""#
    );
    let twice = Bytes::from_static(br#"{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"t"},"data":{"a":"1","a":"2"}}"#);
    let twice = c
        .ask(
            Method::POST,
            &format!("{MAPS}?fieldValidation=Strict"),
            "application/json",
            "",
            twice,
        )
        .await;
    check("a field given twice", &twice, 400, &[]);
    assert!(
        twice.body["message"]
            .as_str()
            .is_some_and(|m| m.contains("duplicate field \"data.a\"")),
        "{}",
        twice.body
    );

    let first = c.get(one).await.body;
    let mut changed = first.clone();
    changed["data"]["x"] = json!("2");
    check(
        "put",
        &c.put(one, &changed).await,
        200,
        &[("/data/x", json!("2"))],
    );
    check(
        "put of an old version",
        &c.put(one, &changed).await,
        409,
        &[("/reason", json!("Conflict"))],
    );
    let before = c.get(one).await.body["metadata"]["resourceVersion"].clone();
    changed["metadata"]["resourceVersion"] = json!("");
    check(
        "put that changes nothing",
        &c.put(one, &changed).await,
        200,
        &[("/metadata/resourceVersion", before)],
    );

    check(
        "merge patch",
        &c.patch(one, MERGE, &json!({"data": {"x": null, "y": "1"}}))
            .await,
        200,
        &[("/data/x", Value::Null), ("/data/y", json!("1"))],
    );
    let test = json!([{"op": "test", "path": "/data/y", "value": "9"}]);
    check(
        "json patch whose test fails",
        &c.patch(one, JSON_PATCH, &test).await,
        422,
        &[],
    );
    let stale = json!({"metadata": {"resourceVersion": "1"}, "data": {"z": "1"}});
    check(
        "patch of an old version",
        &c.patch(one, MERGE, &stale).await,
        409,
        &[],
    );
    check(
        "another kind's body",
        &c.post(MAPS, &json!({"apiVersion": "v1", "kind": "Secret"}))
            .await,
        400,
        &[],
    );
    check("no such method", &c.post(one, &changed).await, 405, &[]);
    check(
        "no such resource",
        &c.get("/api/v1/namespaces/default/nopes").await,
        404,
        &[("/kind", json!("Status"))],
    );
    check(
        "dry run",
        &c.post(&format!("{MAPS}?dryRun=All"), &config_map("dry", json!({})))
            .await,
        201,
        &[],
    );
    check(
        "nothing came of the dry run",
        &c.get(&format!("{MAPS}/dry")).await,
        404,
        &[],
    );
    check(
        "a precondition",
        &c.delete_with(one, json!({"preconditions": {"uid": "other"}}))
            .await,
        409,
        &[],
    );
    check(
        "delete",
        &c.delete(one).await,
        200,
        &[("/status", json!("Success")), ("/details/name", json!("a"))],
    );
    check("delete twice", &c.delete(one).await, 404, &[]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn apply_and_ownership() {
    let cluster = Cluster::start().await;
    let c = &cluster.client;
    let by = |manager: &str| format!("{MAPS}/s?fieldManager={manager}");
    check(
        "first apply creates",
        &c.patch(&by("one"), APPLY, &config_map("s", json!({"k": "1"})))
            .await,
        201,
        &[],
    );
    check(
        "another's field",
        &c.patch(&by("two"), APPLY, &config_map("s", json!({"k": "2"})))
            .await,
        409,
        &[
            ("/details/causes/0/reason", json!("FieldManagerConflict")),
            ("/details/causes/0/field", json!(".data.k")),
        ],
    );
    let forced = c
        .patch(
            &format!("{}&force=true", by("two")),
            APPLY,
            &config_map("s", json!({"k": "2"})),
        )
        .await;
    check("by force", &forced, 200, &[("/data/k", json!("2"))]);
    let without = c
        .patch(&by("two"), APPLY, &config_map("s", json!({})))
        .await;
    check(
        "what is not applied any more goes",
        &without,
        200,
        &[("/data", Value::Null)],
    );
    check(
        "no manager",
        &c.patch(&format!("{MAPS}/s"), APPLY, &config_map("s", json!({})))
            .await,
        422,
        &[],
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn deployments_generations_and_scale() {
    let cluster = Cluster::start().await;
    let c = &cluster.client;
    let all = "/apis/apps/v1/namespaces/default/deployments";
    let one = &format!("{all}/d");
    let template = json!({"metadata": {"labels": {"a": "b"}}, "spec": {"containers": [{"name": "c", "image": "i"}]}});
    let spec = json!({"selector": {"matchLabels": {"a": "b"}}, "template": template});
    let deployment = json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "d"}, "spec": spec});
    check(
        "defaults",
        &c.post(all, &deployment).await,
        201,
        &[
            ("/spec/replicas", json!(1)),
            ("/spec/strategy/type", json!("RollingUpdate")),
            ("/metadata/generation", json!(1)),
        ],
    );
    let label = json!({"metadata": {"labels": {"z": "z"}}});
    check(
        "a label",
        &c.patch(one, MERGE, &label).await,
        200,
        &[("/metadata/generation", json!(1))],
    );
    let status = json!({"status": {"replicas": 7}, "spec": {"replicas": 9}});
    check(
        "status only",
        &c.patch(&format!("{one}/status"), MERGE, &status).await,
        200,
        &[
            ("/spec/replicas", json!(1)),
            ("/status/replicas", json!(7)),
            ("/metadata/generation", json!(1)),
        ],
    );
    let spec_only = json!({"status": {"replicas": 1}, "spec": {"replicas": 2}});
    check(
        "spec only",
        &c.patch(one, MERGE, &spec_only).await,
        200,
        &[
            ("/status/replicas", json!(7)),
            ("/metadata/generation", json!(2)),
        ],
    );
    check(
        "scale",
        &c.patch(
            &format!("{one}/scale"),
            MERGE,
            &json!({"spec": {"replicas": 5}}),
        )
        .await,
        200,
        &[
            ("/kind", json!("Scale")),
            ("/spec/replicas", json!(5)),
            ("/status/selector", json!("a=b")),
        ],
    );
    check(
        "scaled",
        &c.get(one).await,
        200,
        &[
            ("/spec/replicas", json!(5)),
            ("/metadata/generation", json!(3)),
        ],
    );
    let containers = json!([{"name": "c2", "image": "j"}, {"name": "c", "$patch": "delete"}]);
    let strategic = json!({"spec": {"template": {"spec": {"containers": containers}}}});
    check(
        "strategic merge",
        &c.patch(one, STRATEGIC, &strategic).await,
        200,
        &[
            ("/spec/template/spec/containers/0/name", json!("c2")),
            ("/spec/template/spec/containers/1", Value::Null),
        ],
    );

    let old = "/apis/extensions/v1beta1/namespaces/default/deployments";
    let legacy = json!({
        "apiVersion": "extensions/v1beta1", "kind": "Deployment", "metadata": {"name": "legacy"},
        "spec": {"template": template},
    });
    check(
        "a deployment of the old API",
        &c.post(old, &legacy).await,
        201,
        &[
            ("/apiVersion", json!("extensions/v1beta1")),
            ("/spec/selector/matchLabels/a", json!("b")),
        ],
    );
    check(
        "is one of the new",
        &c.get(&format!("{all}/legacy")).await,
        200,
        &[("/apiVersion", json!("apps/v1"))],
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn lists_come_in_chunks_of_one_moment() {
    let cluster = Cluster::start().await;
    let c = &cluster.client;
    for name in ["a", "b", "c", "d", "e"] {
        c.post(MAPS, &config_map(name, json!({}))).await;
    }
    let first = c.get(&format!("{MAPS}?limit=2")).await;
    check(
        "first page",
        &first,
        200,
        &[("/metadata/remainingItemCount", json!(4))],
    );
    c.post(MAPS, &config_map("aa", json!({}))).await;
    c.delete(&format!("{MAPS}/d")).await;
    let mut names: Vec<String> = Vec::new();
    let mut page = first;
    loop {
        let items = page.body["items"].as_array().cloned().unwrap_or_default();
        names.extend(
            items
                .iter()
                .filter_map(|item| item["metadata"]["name"].as_str())
                .map(str::to_owned),
        );
        match page.body["metadata"]["continue"].as_str() {
            Some(next) => page = c.get(&format!("{MAPS}?limit=2&continue={next}")).await,
            None => break,
        }
    }
    assert_eq!(
        names,
        ["a", "b", "c", "d", "e", "kube-root-ca.crt"],
        "the list is that of the first page's moment"
    );
    let selected = c
        .get(&format!(
            "{MAPS}?fieldSelector=metadata.name!%3Da,metadata.name!%3Db"
        ))
        .await;
    assert_eq!(
        selected.body["items"].as_array().map(Vec::len),
        Some(4),
        "a, aa, b, c, e and the CA without a and b"
    );
    check(
        "future",
        &c.get(&format!("{MAPS}?resourceVersion=99999999")).await,
        504,
        &[("/reason", json!("Timeout"))],
    );
    check(
        "not a number",
        &c.get(&format!("{MAPS}?resourceVersion=x")).await,
        400,
        &[],
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn services_never_share_an_address() {
    let cluster = Cluster::start().await;
    let services = "/api/v1/namespaces/default/services";
    let creations = (0..100).map(|number| {
        let client = cluster.client.clone();
        async move {
            let spec = json!({"type": "NodePort", "ports": [{"port": 80}], "selector": {"a": "b"}});
            let name = format!("s{number}");
            let service = json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": name}, "spec": spec});
            client.post(services, &service).await
        }
    });
    let replies = futures::future::join_all(creations).await;
    let mut held: Vec<(String, u64)> = Vec::new();
    for reply in replies {
        assert_eq!(reply.code, 201, "{}", reply.body);
        let ip = reply.body["spec"]["clusterIP"]
            .as_str()
            .unwrap_or_default()
            .to_owned();
        assert!(ip.starts_with("10.96."), "{ip}");
        let port = reply.body["spec"]["ports"][0]["nodePort"]
            .as_u64()
            .unwrap_or_default();
        assert!((30000..=32767).contains(&port), "{port}");
        assert!(
            held.iter()
                .all(|(other_ip, other_port)| *other_ip != ip && *other_port != port),
            "{ip} {port} twice"
        );
        held.push((ip, port));
    }
    let taken = json!({
        "apiVersion": "v1", "kind": "Service", "metadata": {"name": "again"},
        "spec": {"clusterIP": held[0].0, "ports": [{"port": 80}]},
    });
    check(
        "an address that is taken",
        &cluster.client.post(services, &taken).await,
        422,
        &[("/details/causes/0/field", json!("spec.clusterIPs"))],
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn concurrent_writers_lose_nothing() {
    let cluster = Cluster::start().await;
    let c = &cluster.client;
    c.post(MAPS, &config_map("counter", json!({"n": "0"})))
        .await;
    let path = format!("{MAPS}/counter");
    let writers = (0..8).map(|_| {
        let (client, path) = (c.clone(), path.clone());
        async move {
            for _ in 0..10 {
                loop {
                    let mut map = client.get(&path).await.body;
                    let count: u32 = map["data"]["n"]
                        .as_str()
                        .and_then(|n| n.parse().ok())
                        .expect("a number");
                    map["data"]["n"] = json!((count + 1).to_string());
                    match client.put(&path, &map).await.code {
                        200 => break,
                        409 => {}
                        other => panic!("unexpected {other}"),
                    }
                }
            }
        }
    });
    futures::future::join_all(writers).await;
    assert_eq!(c.get(&path).await.body["data"]["n"], "80");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn shapes_and_discovery() {
    let cluster = Cluster::start().await;
    let c = &cluster.client;
    c.post(MAPS, &config_map("a", json!({"x": "1"}))).await;
    let shaped = async |accept: &'static str| {
        c.ask(Method::GET, &format!("{MAPS}/a"), "", accept, Bytes::new())
            .await
    };
    check(
        "table",
        &shaped("application/json;as=Table;v=v1;g=meta.k8s.io,application/json").await,
        200,
        &[
            ("/kind", json!("Table")),
            ("/rows/0/cells/0", json!("a")),
            ("/rows/0/cells/1", json!(1)),
        ],
    );
    check(
        "metadata",
        &shaped("application/json;as=PartialObjectMetadata;v=v1;g=meta.k8s.io").await,
        200,
        &[
            ("/kind", json!("PartialObjectMetadata")),
            ("/data", Value::Null),
        ],
    );
    check("nothing acceptable", &shaped("text/html").await, 406, &[]);
    check(
        "protobuf or JSON",
        &shaped("application/vnd.kubernetes.protobuf,application/json").await,
        200,
        &[],
    );
    let v2 = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList";
    let found = c.ask(Method::GET, "/apis", "", v2, Bytes::new()).await;
    check(
        "aggregated discovery",
        &found,
        200,
        &[("/kind", json!("APIGroupDiscoveryList"))],
    );
    let etag = found.headers["etag"].clone();
    assert!(!etag.is_empty());
    check(
        "legacy discovery",
        &c.get("/apis").await,
        200,
        &[("/kind", json!("APIGroupList"))],
    );
    check(
        "unknown group",
        &c.get("/apis/nope.io/v1/x").await,
        404,
        &[("", json!("404 page not found\n"))],
    );
    let paths = c.get("/openapi/v3").await.body["paths"].clone();
    let url = paths["apis/apps/v1"]["serverRelativeURL"]
        .as_str()
        .expect("a document")
        .to_owned();
    assert_eq!(c.get(&url).await.code, 200);
    assert_eq!(c.get("/openapi/v3/apis/apps/v1?hash=0").await.code, 301);
}
