//! Webhooks: who is asked about what, and what becomes of the answer.

use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use super::Attributes;
use super::call::{Target, post};
use super::rules::{Match, Shown};
use crate::kinds::{Kind, api_version};
use crate::object::{strings, text};
use crate::status::ApiError;
use crate::store::Volume;

/// One configured webhook.
#[derive(Debug)]
pub struct Hook {
    name: String,
    target: Target,
    about: Match,
    fail: bool,
    timeout: Duration,
    /// Whether it wants to be asked again when another has changed the object after it.
    pub reinvoke: bool,
    side_effects: bool,
    mutating: bool,
}

/// The webhooks of all configurations of a kind, by name of their configuration.
pub fn read(configurations: &Volume) -> Vec<Hook> {
    let mut hooks = Vec::new();
    for stored in configurations.iter(None) {
        let configuration = stored.value();
        let mutating = configuration["kind"] == "MutatingWebhookConfiguration";
        for webhook in configuration["webhooks"].as_array().into_iter().flatten() {
            hooks.push(Hook {
                name: text(webhook, "/name").to_owned(),
                target: Target::read(&webhook["clientConfig"]),
                about: Match::read(webhook, "rules", &webhook["matchConditions"]),
                fail: text(webhook, "/failurePolicy") != "Ignore",
                timeout: Duration::from_secs(
                    webhook["timeoutSeconds"]
                        .as_u64()
                        .unwrap_or(10)
                        .clamp(1, 30),
                ),
                reinvoke: text(webhook, "/reinvocationPolicy") == "IfNeeded",
                side_effects: !matches!(text(webhook, "/sideEffects"), "None" | "NoneOnDryRun"),
                mutating,
            });
        }
    }
    hooks
}

impl Hook {
    /// Asks the webhook if it is about this request; says whether it was asked.
    ///
    /// # Errors
    /// Its refusal, or its failure if it must not fail.
    pub async fn run(
        &self,
        attributes: &mut Attributes<'_>,
        warnings: &mut Vec<String>,
    ) -> Result<bool, ApiError> {
        let shown = match self.about.shown(attributes) {
            Ok(Some(shown)) => shown,
            Ok(None) => return Ok(false),
            Err(why) if self.fail => {
                let kind = &attributes.request.kind;
                return Err(ApiError::forbidden(kind, &attributes.name, &why));
            }
            Err(why) => {
                tracing::warn!(webhook = %self.name, "not asked: {why}");
                return Ok(false);
            }
        };
        if attributes.review.dry_run && self.side_effects {
            let message = format!("admission webhook {:?} does not support dry run", self.name);
            return Err(ApiError::bad_request(message));
        }
        match self.ask(attributes, &shown, warnings).await {
            Ok(Verdict::Allowed) => Ok(true),
            Ok(Verdict::Changed(object)) => {
                attributes.object = Some(object);
                Ok(true)
            }
            Ok(Verdict::Denied(error)) => Err(error),
            // The webhook was there: that what it wants cannot be done is no matter of its failure policy.
            Ok(Verdict::Unusable(why)) => Err(ApiError::internal(why)),
            Err(why) if self.fail => Err(ApiError::internal(format!(
                "failed calling webhook {:?}: {why}",
                self.name
            ))),
            Err(why) => {
                tracing::warn!(webhook = %self.name, "failed open: {why}");
                Ok(true)
            }
        }
    }

    async fn ask(
        &self,
        attributes: &Attributes<'_>,
        shown: &Shown,
        warnings: &mut Vec<String>,
    ) -> Result<Verdict, String> {
        let uid = uuid::Uuid::new_v4().to_string();
        let kind = attributes.request.kind.clone();
        let show = |object: &Value| show(&kind, object, shown);
        let body = review(attributes, shown, &uid, &show);
        let cluster = attributes.request.cluster;
        let answer = post(cluster, &self.target, self.timeout, body.to_string())
            .await
            .map_err(|why| format!("failed to call webhook: {why}"))?;
        let answer: Value = serde_json::from_slice(&answer)
            .map_err(|error| format!("received invalid webhook response: {error}"))?;
        let response = &answer["response"];
        if answer["kind"] != "AdmissionReview" || response.is_null() {
            return Err(
                "received invalid webhook response: no AdmissionReview with a response".into(),
            );
        }
        if response["uid"] != uid.as_str() {
            return Err(format!(
                "received invalid webhook response: expected response.uid={uid:?}, got {}",
                response["uid"]
            ));
        }
        warnings.extend(
            strings(response.get("warnings"))
                .into_iter()
                .map(str::to_owned),
        );
        if response["allowed"] != true {
            return Ok(Verdict::Denied(self.denied(&response["status"])));
        }
        let patch = text(response, "/patch");
        if patch.is_empty() || !self.mutating {
            return Ok(Verdict::Allowed);
        }
        let Some(object) = &attributes.object else {
            return Ok(Verdict::Allowed);
        };
        if text(response, "/patchType") != "JSONPatch" {
            return Err(format!("unsupported patch type {}", response["patchType"]));
        }
        let patch = STANDARD
            .decode(patch)
            .map_err(|error| format!("the patch is not base64: {error}"))?;
        let mut changed = show(object);
        let patched = serde_json::from_slice::<json_patch::Patch>(&patch)
            .map_err(|error| {
                format!(
                    "the patch of webhook {:?} cannot be read: {error}",
                    self.name
                )
            })
            .and_then(|patch| {
                json_patch::patch(&mut changed, &patch).map_err(|error| {
                    format!(
                        "the patch of webhook {:?} cannot be applied: {error}",
                        self.name
                    )
                })
            });
        if let Err(why) = patched {
            return Ok(Verdict::Unusable(why));
        }
        unshow(&kind, &mut changed);
        kind.prune(&mut changed);
        Ok(Verdict::Changed(changed))
    }

    fn denied(&self, status: &Value) -> ApiError {
        let by = format!("admission webhook {:?} denied the request", self.name);
        let message = match (text(status, "/message"), text(status, "/reason")) {
            ("", "") => format!("{by} without explanation"),
            ("", reason) => format!("{by}: {reason}"),
            (message, _) => format!("{by}: {message}"),
        };
        let code = status["code"]
            .as_u64()
            .and_then(|code| u16::try_from(code).ok())
            .filter(|code| *code >= 400);
        let reason = match text(status, "/reason") {
            "Forbidden" => "Forbidden",
            "Invalid" => "Invalid",
            "Conflict" => "Conflict",
            "BadRequest" => "BadRequest",
            "Unauthorized" => "Unauthorized",
            "NotFound" => "NotFound",
            "InternalError" => "InternalError",
            _ => match code {
                None | Some(403) => "Forbidden",
                Some(400) => "BadRequest",
                Some(422) => "Invalid",
                _ => "",
            },
        };
        ApiError::new(code.unwrap_or(403), reason, message)
    }
}

enum Verdict {
    Allowed,
    Changed(Value),
    Denied(ApiError),
    /// It allowed the object, changed in a way that is none.
    Unusable(String),
}

/// The object in the version that the webhook knows. Built-in kinds are worked on as stored, which is what rules
/// about their other versions are shown as well.
fn show(kind: &Kind, object: &Value, shown: &Shown) -> Value {
    let mut object = object.clone();
    if kind.custom.is_some()
        && let Some(fields) = object.as_object_mut()
    {
        fields.insert(
            "apiVersion".into(),
            api_version(&shown.group, &shown.version).into(),
        );
    }
    object
}

fn unshow(kind: &Kind, object: &mut Value) {
    if kind.custom.is_some()
        && let Some(fields) = object.as_object_mut()
    {
        fields.insert("apiVersion".into(), kind.api_version().into());
    }
}

/// An `AdmissionReview` request.
fn review(
    attributes: &Attributes<'_>,
    shown: &Shown,
    uid: &str,
    show: &dyn Fn(&Value) -> Value,
) -> Value {
    let request = attributes.request;
    let kind = &request.kind;
    let (group, version) = if kind.custom.is_some() {
        (shown.group.as_str(), shown.version.as_str())
    } else {
        (&*kind.storage_group, &*kind.storage_version)
    };
    let mut body = json!({
        "uid": uid,
        "kind": {"group": group, "version": version, "kind": *kind.kind},
        "resource": {"group": group, "version": version, "resource": *kind.plural},
        "requestKind": {"group": *kind.group, "version": *kind.version, "kind": *kind.kind},
        "requestResource": {"group": *kind.group, "version": *kind.version, "resource": *kind.plural},
        "operation": attributes.review.operation,
        "userInfo": request.user,
        "object": attributes.object.as_ref().map(show),
        "oldObject": attributes.old.map(show),
        "dryRun": attributes.review.dry_run,
        "options": attributes.options(),
    });
    for (field, value) in [
        ("name", attributes.name.as_str()),
        (
            "namespace",
            if kind.is("namespaces") {
                attributes.name.as_str()
            } else {
                request.namespace.as_str()
            },
        ),
        ("subResource", attributes.review.subresource),
        ("requestSubResource", attributes.review.subresource),
    ] {
        if !value.is_empty() {
            body[field] = value.into();
        }
    }
    json!({"kind": "AdmissionReview", "apiVersion": "admission.k8s.io/v1", "request": body})
}
