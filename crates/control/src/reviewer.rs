//! Service account tokens, checked by the cluster that issued them (TokenReview).

use hawser_kube::{Client, Resource};
use hawser_serve::auth::{ReviewError, TokenReviewer};
use serde_json::{Value, json};

const TOKEN_REVIEWS: Resource =
    Resource::cluster_wide("authentication.k8s.io", "v1", "TokenReview", "tokenreviews");
/// The audience of tokens meant for us (Istio: `istio-token`).
pub const AUDIENCE: &str = "istio-ca";

/// Asks one cluster's API server.
pub struct ClusterReviewer {
    client: Client,
}

impl ClusterReviewer {
    /// Tokens are checked by the server behind this client.
    pub fn new(client: Client) -> Self {
        Self { client }
    }
}

#[async_trait::async_trait]
impl TokenReviewer for ClusterReviewer {
    async fn review(
        &self,
        token: &str,
        _cluster: Option<&str>,
    ) -> Result<(String, String), ReviewError> {
        let question = json!({
            "apiVersion": "authentication.k8s.io/v1",
            "kind": "TokenReview",
            "spec": { "token": token, "audiences": [AUDIENCE] },
        });
        let answer = self.client.create(&TOKEN_REVIEWS, &question).await;
        let answer = answer.map_err(|e| ReviewError::Unavailable(e.to_string()))?;
        account(&answer)
    }
}

fn account(answer: &Value) -> Result<(String, String), ReviewError> {
    let status = &answer["status"];
    if status["authenticated"] != json!(true) {
        let why = status["error"].as_str().unwrap_or("not authenticated");
        return Err(ReviewError::Refused(why.to_owned()));
    }
    let meant_for_us = status["audiences"]
        .as_array()
        .is_some_and(|a| a.iter().any(|v| v == AUDIENCE));
    if !meant_for_us {
        return Err(ReviewError::Refused(format!(
            "the token is not for audience {AUDIENCE}"
        )));
    }
    let user = status["user"]["username"].as_str().unwrap_or_default();
    let account = user
        .strip_prefix("system:serviceaccount:")
        .and_then(|a| a.split_once(':'));
    let (namespace, name) =
        account.ok_or_else(|| ReviewError::Refused(format!("{user} is no service account")))?;
    Ok((namespace.to_owned(), name.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_service_accounts_with_our_audience_pass() {
        let answer = |authenticated: bool, audiences: &[&str], user: &str| json!({ "status": { "authenticated": authenticated, "audiences": audiences, "user": { "username": user } } });
        for (name, answer, expected) in [
            (
                "good",
                answer(true, &["istio-ca"], "system:serviceaccount:default:web"),
                Ok(("default", "web")),
            ),
            (
                "refused",
                answer(false, &["istio-ca"], "system:serviceaccount:default:web"),
                Err("not authenticated"),
            ),
            (
                "other audience",
                answer(true, &["vault"], "system:serviceaccount:default:web"),
                Err("audience"),
            ),
            (
                "no audience",
                answer(true, &[], "system:serviceaccount:default:web"),
                Err("audience"),
            ),
            (
                "a person",
                answer(true, &["istio-ca"], "alice"),
                Err("no service account"),
            ),
        ] {
            match (account(&answer), expected) {
                (Ok((ns, sa)), Ok(wanted)) => assert_eq!((&*ns, &*sa), wanted, "{name}"),
                (Err(error), Err(part)) => {
                    assert!(error.to_string().contains(part), "{name}: {error}")
                }
                (got, _) => panic!("{name}: {got:?}"),
            }
        }
    }
}
