//! Telemetries whose providers are missing or given up.

use crate::codes::{DEPRECATED, TELEMETRY_WITHOUT_PROVIDER};
use crate::finding::{Finding, on};
use crate::world::World;
use hawser_api::Kind;
use std::collections::BTreeSet;

/// Istio `telemetry.ProviderAnalyzer`.
pub fn providers(world: &World) -> Vec<Finding> {
    let defaults = world.mesh.default_providers.as_ref();
    if defaults.is_some_and(|d| !d.access_logging.is_empty()) {
        return Vec::new();
    }
    let mut out = Vec::new();
    for telemetry in &world.telemetries {
        for (i, _) in telemetry
            .spec
            .access_logging
            .iter()
            .enumerate()
            .filter(|(_, l)| l.providers.is_empty())
        {
            let message =
                "access logging without providers is ignored: MeshConfig names no default provider";
            let found = Finding::new(
                TELEMETRY_WITHOUT_PROVIDER,
                on(Kind::Telemetry, &telemetry.meta),
                format!("spec.accessLogging[{i}]"),
                message,
            );
            out.push(found.help("write providers: [{name: envoy}], or set defaultProviders.accessLogging in MeshConfig"));
        }
    }
    out
}

/// Istio `telemetry.LightstepAnalyzer`.
pub fn lightstep(world: &World) -> Vec<Finding> {
    let lightstep = world
        .mesh
        .extension_providers
        .iter()
        .filter(|p| p.lightstep.is_some());
    let names: BTreeSet<&str> = lightstep.map(|p| p.name.as_str()).collect();
    let mut out = Vec::new();
    for telemetry in &world.telemetries {
        for (i, tracing) in telemetry.spec.tracing.iter().enumerate() {
            for (j, provider) in tracing
                .providers
                .iter()
                .enumerate()
                .filter(|(_, p)| names.contains(p.name.as_str()))
            {
                let message = format!(
                    "provider {} is of kind lightstep, which is deprecated",
                    provider.name
                );
                let path = format!("spec.tracing[{i}].providers[{j}].name");
                out.push(
                    Finding::new(
                        DEPRECATED,
                        on(Kind::Telemetry, &telemetry.meta),
                        path,
                        message,
                    )
                    .help("define an opentelemetry provider and name it here"),
                );
            }
        }
    }
    out
}
