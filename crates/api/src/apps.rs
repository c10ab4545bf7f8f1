//! Workload controllers, webhook configurations and CRDs: kinds that the analyzers look at.

use crate::core::PodSpec;
use crate::message::message;
use crate::meta::Meta;
use crate::selector::KubeSelector;

message! {
    /// Deployment, ReplicaSet, StatefulSet and DaemonSet alike.
    pub struct WorkloadSpec (slim) {
        replicas: Option<i32>,
        selector: KubeSelector,
        template: PodTemplate,
        /// StatefulSet only: the headless service of its pods.
        service_name: String,
    }

    pub struct PodTemplate (slim) {
        metadata: Meta,
        spec: PodSpec,
    }

    pub struct WorkloadStatus (slim) {
        replicas: i32,
        ready_replicas: i32,
        available_replicas: i32,
        observed_generation: i64,
    }

    pub struct WebhookConfiguration (slim) {
        webhooks: Vec<Webhook>,
    }

    pub struct Webhook (slim) {
        name: String,
        client_config: WebhookClientConfig,
        namespace_selector: Option<KubeSelector>,
        object_selector: Option<KubeSelector>,
        failure_policy: String,
    }

    pub struct WebhookClientConfig (slim) {
        url: Option<String>,
        service: Option<WebhookService>,
    }

    pub struct WebhookService (slim) {
        namespace: String,
        name: String,
        path: Option<String>,
        port: Option<i32>,
    }

    pub struct CrdSpec (slim) {
        group: String,
        names: CrdNames,
        versions: Vec<CrdVersion>,
    }

    pub struct CrdNames (slim) {
        kind: String,
        plural: String,
    }

    pub struct CrdVersion (slim) {
        name: String,
        served: bool,
        storage: bool,
    }
}
