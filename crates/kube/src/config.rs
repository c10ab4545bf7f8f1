//! From a kubeconfig, or from inside a pod, to a [`Client`].

use crate::{Client, connect};
use kube::Config;
use kube::config::{KubeConfigOptions, Kubeconfig};
use std::path::Path;

/// Why no client could be made. Nothing here quotes credentials.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("cannot read kubeconfig {path}: {source}")]
    Read {
        /// The file.
        path: String,
        /// What the operating system says.
        source: std::io::Error,
    },
    /// Larger than any kubeconfig is.
    #[error("kubeconfig is larger than {MAX_KUBECONFIG} bytes")]
    TooLarge,
    /// Not a kubeconfig, or one that names what it does not hold.
    #[error("bad kubeconfig: {0}")]
    Bad(String),
    /// A foreign kubeconfig wants to run a program or read a file here.
    #[error("kubeconfig field {field} is not allowed: {why}")]
    Forbidden {
        /// The field, as `users[name=x].user.exec`.
        field: String,
        /// Why, and what to use instead.
        why: &'static str,
    },
    /// Not in a pod, or the service account is not mounted.
    #[error("no in-cluster configuration: {0}")]
    NotInCluster(String),
}

/// A Secret holds at most a mebibyte.
const MAX_KUBECONFIG: usize = 1 << 20;

impl Client {
    /// From a kubeconfig file of the user's own: everything in it is honoured. `None` takes its current context.
    pub async fn from_kubeconfig_file(
        path: &Path,
        context: Option<&str>,
    ) -> Result<Client, ConfigError> {
        let read = |source| ConfigError::Read {
            path: path.display().to_string(),
            source,
        };
        let size = std::fs::metadata(path).map_err(read)?.len();
        if size > MAX_KUBECONFIG as u64 {
            return Err(ConfigError::TooLarge);
        }
        // Unlike parsing the text, this resolves relative file names against the file's folder.
        let kubeconfig = Kubeconfig::read_from(path).map_err(bad)?;
        connect(kubeconfig, context).await
    }

    /// From the text of the user's own kubeconfig.
    pub async fn from_kubeconfig(text: &str, context: Option<&str>) -> Result<Client, ConfigError> {
        connect(parse(text)?, context).await
    }

    /// From a kubeconfig that somebody else wrote, as in Istio's remote secrets: whatever would run a program or read
    /// a file here is refused. Bearer tokens, inline certificates and basic authentication are allowed
    /// (Istio `pkg/kube/multicluster`, sanitizeKubeConfig).
    pub async fn from_foreign_kubeconfig(text: &str) -> Result<Client, ConfigError> {
        let kubeconfig = parse(text)?;
        sanitise(&kubeconfig)?;
        connect(kubeconfig, None).await
    }

    /// From the service account mounted into the pod that this process runs in.
    pub fn in_cluster() -> Result<Client, ConfigError> {
        let config =
            Config::incluster().map_err(|error| ConfigError::NotInCluster(error.to_string()))?;
        build(config)
    }
}

fn parse(text: &str) -> Result<Kubeconfig, ConfigError> {
    if text.len() > MAX_KUBECONFIG {
        return Err(ConfigError::TooLarge);
    }
    Kubeconfig::from_yaml(text).map_err(bad)
}

async fn connect(kubeconfig: Kubeconfig, context: Option<&str>) -> Result<Client, ConfigError> {
    let options = KubeConfigOptions {
        context: context.map(str::to_owned),
        ..KubeConfigOptions::default()
    };
    build(
        Config::from_custom_kubeconfig(kubeconfig, &options)
            .await
            .map_err(bad)?,
    )
}

fn build(config: Config) -> Result<Client, ConfigError> {
    if config.proxy_url.is_some() {
        return Err(ConfigError::Bad(
            "proxy-url is not supported; reach the API server directly".to_owned(),
        ));
    }
    let server = config.cluster_url.to_string();
    let insecure = config.accept_invalid_certs;
    let http = connect::client(config).map_err(|error| ConfigError::Bad(error.to_string()))?;
    Ok(Client::new(http, server, insecure))
}

fn bad(error: kube::config::KubeconfigError) -> ConfigError {
    ConfigError::Bad(error.to_string())
}

/// Refuses what a kubeconfig from elsewhere must not make this process do.
fn sanitise(kubeconfig: &Kubeconfig) -> Result<(), ConfigError> {
    const INLINE: &str =
        "files of this machine are not read for another cluster; put the data inline";
    const RUNS: &str = "programs are not run for another cluster; use a bearer token";
    for named in &kubeconfig.clusters {
        let Some(cluster) = &named.cluster else {
            continue;
        };
        if cluster.certificate_authority.is_some() {
            let field = format!(
                "clusters[name={}].cluster.certificate-authority",
                named.name
            );
            return Err(ConfigError::Forbidden { field, why: INLINE });
        }
    }
    for named in &kubeconfig.auth_infos {
        let Some(user) = &named.auth_info else {
            continue;
        };
        let refused = [
            ("exec", user.exec.is_some(), RUNS),
            ("auth-provider", user.auth_provider.is_some(), RUNS),
            ("tokenFile", user.token_file.is_some(), INLINE),
            (
                "client-certificate",
                user.client_certificate.is_some(),
                INLINE,
            ),
            ("client-key", user.client_key.is_some(), INLINE),
        ];
        for (field, present, why) in refused {
            if present {
                let field = format!("users[name={}].user.{field}", named.name);
                return Err(ConfigError::Forbidden { field, why });
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kubeconfig(cluster: &str, user: &str) -> String {
        format!(
            "apiVersion: v1\nkind: Config\ncurrent-context: x\n\
             clusters: [{{name: x, cluster: {{server: 'https://10.0.0.1:6443', {cluster}}}}}]\n\
             users: [{{name: x, user: {{{user}}}}}]\n\
             contexts: [{{name: x, context: {{cluster: x, user: x}}}}]\n"
        )
    }

    /// The refusal's text holds `expected`, or there is none.
    async fn check(name: &str, text: &str, expected: Option<&str>) {
        let result = Client::from_foreign_kubeconfig(text).await;
        match (result, expected) {
            (Ok(_), None) => {}
            (Err(error), Some(expected)) => {
                let message = error.to_string();
                assert!(message.contains(expected), "{name}: {message}");
                assert!(
                    !message.contains("s3cret"),
                    "{name} shows a secret: {message}"
                );
            }
            (result, expected) => panic!("{name}: {result:?}, expected {expected:?}"),
        }
    }

    #[tokio::test]
    async fn foreign_kubeconfigs_run_nothing_and_read_nothing() {
        check("a token", &kubeconfig("", "token: s3cret"), None).await;
        check(
            "a password",
            &kubeconfig("", "username: u, password: s3cret"),
            None,
        )
        .await;
        check(
            "exec",
            &kubeconfig("", "exec: {command: /bin/sh}"),
            Some("users[name=x].user.exec"),
        )
        .await;
        check(
            "a provider",
            &kubeconfig("", "auth-provider: {name: gcp}"),
            Some("auth-provider"),
        )
        .await;
        check(
            "a token file",
            &kubeconfig("", "tokenFile: /etc/shadow"),
            Some("tokenFile"),
        )
        .await;
        check(
            "a key file",
            &kubeconfig("", "client-key: /k"),
            Some("client-key"),
        )
        .await;
        check(
            "a CA file",
            &kubeconfig("certificate-authority: /ca", ""),
            Some("certificate-authority"),
        )
        .await;
        check("no YAML", "{", Some("bad kubeconfig")).await;
        check("no context", "kind: Config", Some("context")).await;
        check("too much", &"#".repeat(MAX_KUBECONFIG + 1), Some("larger")).await;
    }

    #[tokio::test]
    async fn insecure_is_honoured_and_told() {
        let text = kubeconfig("insecure-skip-tls-verify: true", "token: s3cret");
        let client = Client::from_kubeconfig(&text, None)
            .await
            .expect("a good kubeconfig");
        assert!(client.is_insecure());
        let text = kubeconfig("", "token: s3cret");
        let client = Client::from_kubeconfig(&text, Some("x"))
            .await
            .expect("a good kubeconfig");
        assert!(!client.is_insecure());
        assert_eq!(client.server(), "https://10.0.0.1:6443/");
    }
}
