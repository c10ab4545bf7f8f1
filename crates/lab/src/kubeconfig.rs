//! One kubeconfig for all clusters of a lab, its contexts named as they are.

use std::path::PathBuf;

use anyhow::Context;
use serde_json::{Value, json};

/// Merges kubeconfigs of one cluster each; the first cluster's context is the current one.
pub fn merge(files: &[(String, PathBuf)]) -> anyhow::Result<String> {
    let mut clusters = Vec::new();
    let mut users = Vec::new();
    let mut contexts = Vec::new();
    for (name, path) in files {
        let text = std::fs::read_to_string(path).with_context(|| path.display().to_string())?;
        let config: Value =
            serde_saphyr::from_str(&text).with_context(|| path.display().to_string())?;
        let inner = |list: &str, key: &str| -> anyhow::Result<Value> {
            config
                .pointer(&format!("/{list}/0/{key}"))
                .cloned()
                .with_context(|| format!("{} has no {list}", path.display()))
        };
        clusters.push(json!({"name": name, "cluster": inner("clusters", "cluster")?}));
        users.push(json!({"name": name, "user": inner("users", "user")?}));
        contexts.push(json!({"name": name, "context": {"cluster": name, "user": name}}));
    }
    let current = files.first().map_or("", |(name, _)| name.as_str());
    let merged = json!({
        "apiVersion": "v1", "kind": "Config", "current-context": current,
        "clusters": clusters, "users": users, "contexts": contexts,
    });
    serde_saphyr::to_string(&merged).context("writing the merged kubeconfig")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn contexts_are_named_as_clusters() {
        let dir = std::env::temp_dir().join(format!("hawser-kubeconfig-{}", std::process::id()));
        std::fs::create_dir_all(&dir).expect("a directory");
        let files: Vec<_> = ["cluster1", "cluster2"]
            .map(|name| {
                let path = dir.join(name);
                let text = format!(
                    "clusters: [{{name: x, cluster: {{server: 'https://{name}'}}}}]\nusers: [{{name: u, user: {{token: t-{name}}}}}]\n"
                );
                std::fs::write(&path, text).expect("a kubeconfig");
                (name.to_string(), path)
            })
            .into();
        let merged: Value = serde_saphyr::from_str(&merge(&files).expect("merging")).expect("YAML");
        assert_eq!(merged["current-context"], "cluster1");
        assert_eq!(
            merged["contexts"][1],
            json!({"name": "cluster2", "context": {"cluster": "cluster2", "user": "cluster2"}})
        );
        assert_eq!(
            merged["clusters"][1]["cluster"]["server"],
            "https://cluster2"
        );
        assert_eq!(merged["users"][0]["user"]["token"], "t-cluster1");
        std::fs::remove_dir_all(&dir).expect("removing");
    }
}
