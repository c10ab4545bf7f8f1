//! `hawser create-remote-secret`: a Secret by which another cluster's control plane may read this one.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hawser_kube::{Client, Error, Resource};
use serde_json::{Value, json};

const SECRETS: Resource = Resource::namespaced("", "v1", "Secret", "secrets");
const ACCOUNTS: Resource = Resource::namespaced("", "v1", "ServiceAccount", "serviceaccounts");
/// How long Kubernetes may take to put a token into a Secret.
const PATIENCE: Duration = Duration::from_secs(10);

/// Print a Secret by which a control plane of another cluster discovers this one.
#[derive(clap::Args, Debug)]
pub struct RemoteSecretArgs {
    /// Name of the cluster that will be discovered.
    #[arg(long)]
    name: String,
    /// Kubeconfig of that cluster.
    #[arg(long, value_name = "FILE", env = "KUBECONFIG")]
    kubeconfig: PathBuf,
    /// Context of the kubeconfig.
    #[arg(long)]
    context: Option<String>,
    /// Address of the API server as the other cluster reaches it; otherwise the kubeconfig's.
    #[arg(long, value_name = "URL")]
    server: Option<String>,
    /// Namespace of the mesh.
    #[arg(long, default_value = "istio-system")]
    namespace: String,
    /// The account whose rights the control plane gets.
    #[arg(long, default_value = "istio-reader-service-account")]
    service_account: String,
}

/// Prints the Secret.
pub async fn run(args: RemoteSecretArgs) -> Result<ExitCode> {
    let client = Client::from_kubeconfig_file(&args.kubeconfig, args.context.as_deref()).await?;
    let (namespace, account) = (args.namespace.as_str(), args.service_account.as_str());
    match client.get(&ACCOUNTS, Some(namespace), account).await {
        Ok(_) => {}
        Err(Error::NotFound(_)) => bail!(
            "there is no service account {namespace}/{account}; install the mesh there first, or name one with --service-account"
        ),
        Err(error) => {
            return Err(error)
                .with_context(|| format!("reading service account {namespace}/{account}"));
        }
    }
    let (token, ca) = token(&client, namespace, account).await?;
    let server = args.server.as_deref().unwrap_or(client.server()).to_owned();
    print!(
        "---\n{}",
        serde_saphyr::to_string(&secret(
            &args.name,
            namespace,
            &kubeconfig(&args.name, &server, &token, &ca)
        ))?
    );
    Ok(ExitCode::SUCCESS)
}

/// The account's lasting token and the API server's roots (base64), from a Secret that Kubernetes fills, as istioctl has it.
async fn token(client: &Client, namespace: &str, account: &str) -> Result<(String, String)> {
    let name = format!("{account}-istio-remote-secret-token");
    let wanted = json!({
        "apiVersion": "v1", "kind": "Secret", "type": "kubernetes.io/service-account-token",
        "metadata": { "name": name, "namespace": namespace, "annotations": { "kubernetes.io/service-account.name": account } },
    });
    match client.create(&SECRETS, &wanted).await {
        Ok(_) | Err(Error::AlreadyExists(_)) => {}
        Err(error) => {
            return Err(error).with_context(|| format!("creating secret {namespace}/{name}"));
        }
    }
    let begun = std::time::Instant::now();
    loop {
        let found = client
            .get(&SECRETS, Some(namespace), &name)
            .await
            .with_context(|| format!("reading secret {namespace}/{name}"))?;
        let (token, ca) = (
            found["data"]["token"].as_str(),
            found["data"]["ca.crt"].as_str(),
        );
        if let (Some(token), Some(ca)) = (token.filter(|t| !t.is_empty()), ca) {
            let token = STANDARD.decode(token).context("the token is not base64")?;
            return Ok((
                String::from_utf8(token).context("the token is not text")?,
                ca.to_owned(),
            ));
        }
        if begun.elapsed() > PATIENCE {
            bail!(
                "secret {namespace}/{name} got no token within {} s",
                PATIENCE.as_secs()
            );
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

fn kubeconfig(name: &str, server: &str, token: &str, ca: &str) -> Value {
    json!({
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{ "name": name, "cluster": { "server": server, "certificate-authority-data": ca } }],
        "contexts": [{ "name": name, "context": { "cluster": name, "user": name } }],
        "current-context": name,
        "users": [{ "name": name, "user": { "token": token } }],
    })
}

/// The Secret in the form that control planes look for.
fn secret(name: &str, namespace: &str, kubeconfig: &Value) -> Value {
    json!({
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {
            "name": format!("istio-remote-secret-{name}"),
            "namespace": namespace,
            "labels": { "istio/multiCluster": "true" },
            "annotations": { "networking.istio.io/cluster": name },
        },
        // JSON is YAML, too.
        "stringData": { name: format!("{kubeconfig:#}\n") },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_what_control_planes_look_for() {
        let made = secret(
            "cluster2",
            "istio-system",
            &kubeconfig("cluster2", "https://192.0.2.1:6443", "T", "Q0E="),
        );
        assert_eq!(made["metadata"]["labels"]["istio/multiCluster"], "true");
        let config: Value =
            serde_json::from_str(made["stringData"]["cluster2"].as_str().unwrap()).unwrap();
        assert_eq!(config["current-context"], "cluster2");
        assert_eq!(
            config["clusters"][0]["cluster"]["server"],
            "https://192.0.2.1:6443"
        );
    }
}
