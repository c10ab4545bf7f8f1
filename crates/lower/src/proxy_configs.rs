//! ProxyConfigs.

use hawser_api::networking as api;
use hawser_api::{Object, status::IstioStatus};
use hawser_model::proxy_config::ProxyConfig;

use crate::names::{self, labels};

/// Lowers one ProxyConfig.
pub fn proxy_config(object: &Object<api::ProxyConfig, IstioStatus>) -> ProxyConfig {
    let spec = &object.spec;
    let selector = spec.selector.as_ref();
    ProxyConfig {
        meta: names::meta(&object.meta),
        labels: selector
            .map(|s| labels(&s.match_labels))
            .unwrap_or_default(),
        concurrency: spec.concurrency.and_then(|count| u32::try_from(count).ok()),
        environment: spec
            .environment_variables
            .iter()
            .map(|(name, value)| (name.as_str().into(), value.as_str().into()))
            .collect(),
        image_type: spec
            .image
            .as_ref()
            .map(|i| i.image_type.as_str().into())
            .unwrap_or_default(),
    }
}
