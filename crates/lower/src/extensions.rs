//! TrafficExtensions and WasmPlugins.

use hawser_api::extensions as api;
use hawser_api::{Kind, Object, status::IstioStatus};
use hawser_model::extension::{Phase, TrafficExtension, TrafficMatch};
use hawser_model::telemetry::Mode;
use hawser_model::{ClusterId, Problem};

use crate::names::{self, port};
use crate::notes::{Notes, SCHEMA, UNSUPPORTED};
use crate::security::{check_targets, selector};

const INSTEAD: &str =
    "write it in Lua as a TrafficExtension, or add envoy.filters.http.wasm with an EnvoyFilter";

/// Lowers one TrafficExtension; `None` if it has no effect, of which a Problem tells.
pub fn traffic_extension(
    object: &Object<api::TrafficExtension, IstioStatus>,
    cluster: &ClusterId,
    problems: &mut Vec<Problem>,
) -> Option<TrafficExtension> {
    let mut notes = Notes::new(problems, cluster, Kind::TrafficExtension, &object.meta);
    let spec = &object.spec;
    check_targets(None, &spec.target_refs, &mut notes);
    let Some(lua) = spec.lua.as_ref().filter(|l| !l.inline_code.is_empty()) else {
        match &spec.wasm {
            Some(_) => notes.warn(
                UNSUPPORTED,
                "spec.wasm",
                "modules in WebAssembly have no effect",
                INSTEAD,
            ),
            None => notes.error(
                SCHEMA,
                "spec",
                "the extension does not say what it does",
                "set lua.inlineCode",
            ),
        }
        return None;
    };
    let mut matches = Vec::new();
    for (i, m) in spec.match_.iter().enumerate() {
        let mut ports = Vec::new();
        for (j, p) in m.ports.iter().enumerate() {
            match port(p.number) {
                Some(number) => ports.push(number),
                None => notes.error(
                    SCHEMA,
                    format!("spec.match[{i}].ports[{j}].number"),
                    format!("{} is not a port", p.number),
                    "use a number from 1 to 65535",
                ),
            }
        }
        // Where no port is one, there is nothing that is meant.
        if !ports.is_empty() || m.ports.is_empty() {
            matches.push(TrafficMatch {
                mode: mode(m.mode),
                ports,
            });
        }
    }
    if matches.is_empty() && !spec.match_.is_empty() {
        return None;
    }
    Some(TrafficExtension {
        meta: names::meta(&object.meta),
        selector: selector(spec.selector.as_ref(), None, &spec.target_refs),
        phase: match spec.phase {
            api::ExecutionPhase::Authn => Phase::Authn,
            api::ExecutionPhase::Authz => Phase::Authz,
            api::ExecutionPhase::Stats => Phase::Stats,
            api::ExecutionPhase::Unspecified => Phase::Unspecified,
        },
        priority: spec.priority,
        matches,
        lua: lua.inline_code.as_str().into(),
    })
}

fn mode(mode: api::TrafficMode) -> Mode {
    match mode {
        api::TrafficMode::Undefined | api::TrafficMode::ClientAndServer => Mode::ClientAndServer,
        api::TrafficMode::Client => Mode::Client,
        api::TrafficMode::Server => Mode::Server,
    }
}

/// Says of a WasmPlugin that it has no effect.
pub fn wasm_plugin(
    object: &Object<api::WasmPlugin, IstioStatus>,
    cluster: &ClusterId,
    problems: &mut Vec<Problem>,
) {
    Notes::new(problems, cluster, Kind::WasmPlugin, &object.meta).warn(
        UNSUPPORTED,
        "",
        "a WasmPlugin has no effect",
        INSTEAD,
    );
}
