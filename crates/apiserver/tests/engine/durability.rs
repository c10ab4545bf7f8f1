//! What was acknowledged survives the worst.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};

use serde_json::json;

use crate::client::{Client, Cluster, MAPS, config_map};

const DIR: &str = "HAWSER_TEST_SERVER_DIR";

/// The server as a process of its own, to be killed; run by the test below, not by itself.
#[test]
#[ignore = "started as a process by another test"]
fn server_process() {
    let Ok(dir) = std::env::var(DIR) else { return };
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    runtime.block_on(async {
        let cluster = Cluster::start_in(std::path::Path::new(&dir)).await;
        let about = json!({"url": cluster.handle.url(), "ca": cluster.handle.ca_pem(), "token": cluster.handle.token()});
        println!("\nSERVING {about}");
        std::future::pending::<()>().await;
    });
}

/// A process that does not outlive its test.
struct Process(Child);

impl Process {
    fn kill(&mut self) {
        // One that has ended already is as good.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
    }
}

fn spawn(dir: &std::path::Path) -> (Process, Client) {
    let child = Command::new(std::env::current_exe().expect("this program"))
        .args([
            "--exact",
            "durability::server_process",
            "--ignored",
            "--nocapture",
        ])
        .env(DIR, dir)
        .stdout(Stdio::piped())
        .spawn()
        .expect("the server process starts");
    let mut process = Process(child);
    let lines = BufReader::new(process.0.stdout.take().expect("its output")).lines();
    for line in lines {
        let line = line.expect("a line");
        if let Some(about) = line.strip_prefix("SERVING ") {
            let about: serde_json::Value = serde_json::from_str(about).expect("JSON");
            let text = |field: &str| about[field].as_str().expect("text").to_owned();
            return (
                process,
                Client::new(&text("url"), &text("ca"), &text("token")),
            );
        }
    }
    panic!("the server process ended before it served");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn kill_nine_loses_nothing_acknowledged() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let (mut child, client) = spawn(dir.path());
    let acknowledged = std::sync::Arc::new(std::sync::Mutex::new(Vec::<(String, u64)>::new()));
    let mut writers = Vec::new();
    for writer in 0..4 {
        let (client, acknowledged) = (client.clone(), acknowledged.clone());
        writers.push(tokio::spawn(async move {
            for number in 0.. {
                let name = format!("w{writer}-{number}");
                let reply = client
                    .post(MAPS, &config_map(&name, json!({"n": name})))
                    .await;
                assert_eq!(reply.code, 201);
                let revision = reply.body["metadata"]["resourceVersion"]
                    .as_str()
                    .and_then(|rv| rv.parse().ok());
                acknowledged
                    .lock()
                    .expect("no writer panics holding it")
                    .push((name, revision.expect("a revision")));
            }
        }));
    }
    let start = std::time::Instant::now();
    while acknowledged
        .lock()
        .expect("no writer panics holding it")
        .len()
        < 200
    {
        assert!(start.elapsed().as_secs() < 60, "200 writes take too long");
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    }
    child.kill();
    for writer in writers {
        // They end by the connection that breaks under them.
        let _ = writer.await;
    }
    let acknowledged = acknowledged
        .lock()
        .expect("no writer panics holding it")
        .clone();
    let cluster = Cluster::start_in(dir.path()).await;
    let list = cluster.client.get(MAPS).await.body;
    let revision: u64 = list["metadata"]["resourceVersion"]
        .as_str()
        .and_then(|rv| rv.parse().ok())
        .expect("a revision");
    let stored: std::collections::BTreeMap<&str, &serde_json::Value> = list["items"]
        .as_array()
        .expect("items")
        .iter()
        .map(|item| (item["metadata"]["name"].as_str().expect("a name"), item))
        .collect();
    for (name, written) in &acknowledged {
        let item = stored
            .get(name.as_str())
            .unwrap_or_else(|| panic!("{name} was acknowledged and is lost"));
        assert_eq!(item["data"]["n"], name.as_str());
        assert_eq!(item["metadata"]["resourceVersion"], written.to_string());
        assert!(
            *written <= revision,
            "{written} is beyond the list's {revision}"
        );
    }
    let next = cluster
        .client
        .post(MAPS, &config_map("after", json!({})))
        .await;
    let next: u64 = next.body["metadata"]["resourceVersion"]
        .as_str()
        .and_then(|rv| rv.parse().ok())
        .expect("a revision");
    assert!(next > revision, "revisions never go back");
}
