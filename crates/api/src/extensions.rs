//! `extensions.istio.io`: WasmPlugin and TrafficExtension.

use crate::message::{Struct, choice, message};
use crate::rules;
use crate::selector::{LabelSelector, TargetRef};

message! {
    pub struct WasmPlugin {
        selector: Option<LabelSelector>,
        target_ref: Option<TargetRef>,
        target_refs: Vec<TargetRef> [MaxItems(16)],
        url: String [Required, MinLength(1), Cel(&rules::WASM_URL)],
        sha256: String [Pattern("(^$|^[a-f0-9]{64}$)")],
        image_pull_policy: PullPolicy,
        image_pull_secret: String [MinLength(1), MaxLength(253)],
        verification_key: String,
        plugin_config: Struct,
        plugin_name: String [MinLength(1), MaxLength(256)],
        phase: PluginPhase,
        priority: Option<i32>,
        fail_strategy: FailStrategy,
        vm_config: Option<VmConfig>,
        match_: Vec<TrafficSelector>,
        type_: PluginType,
    }
    rule Cel(&rules::SELECTOR_OR_TARGET_REFS);

    pub struct VmConfig {
        env: Vec<EnvVar> [MaxItems(256), MapKeys(&["name"])],
    }

    pub struct EnvVar {
        name: String [Required, MinLength(1), MaxLength(256)],
        value_from: EnvValueSource,
        value: String [MaxLength(2048)],
    }
    rule Cel(&rules::ENV_VALUE_INLINE);

    pub struct TrafficSelector {
        mode: TrafficMode,
        ports: Vec<TrafficPort> [MapKeys(&["number"])],
    }

    pub struct TrafficPort {
        number: u32 [Required, Min(1), Max(65535)],
    }

    pub struct TrafficExtension {
        selector: Option<LabelSelector>,
        target_refs: Vec<TargetRef> [MaxItems(16)],
        phase: ExecutionPhase,
        priority: Option<i32>,
        match_: Vec<TrafficSelector>,
        wasm: Option<WasmConfig>,
        lua: Option<LuaConfig>,
    }
    oneof [wasm, lua]
    rule Cel(&rules::LABELS_OR_TARGET_REFS);
    rule Cel(&rules::WASM_OR_LUA);

    pub struct WasmConfig {
        url: String [Required, MinLength(1), Cel(&rules::WASM_URL)],
        sha256: String [Pattern("(^$|^[a-f0-9]{64}$)")],
        image_pull_policy: PullPolicy,
        image_pull_secret: String [MinLength(1), MaxLength(253)],
        verification_key: String,
        plugin_config: Struct,
        plugin_name: String [MinLength(1), MaxLength(256)],
        fail_strategy: FailStrategy,
        vm_config: Option<VmConfig>,
        type_: PluginType,
    }

    pub struct LuaConfig {
        inline_code: String [Required, MinLength(1), MaxLength(65536)],
    }
}

choice! {
    pub enum PullPolicy {
        Unspecified = "UNSPECIFIED_POLICY",
        IfNotPresent = "IfNotPresent",
        Always = "Always",
    }

    pub enum PluginPhase {
        Unspecified = "UNSPECIFIED_PHASE",
        Authn = "AUTHN",
        Authz = "AUTHZ",
        Stats = "STATS",
    }

    pub enum ExecutionPhase {
        Unspecified = "UNSPECIFIED",
        Authn = "AUTHN",
        Authz = "AUTHZ",
        Stats = "STATS",
    }

    pub enum FailStrategy {
        Close = "FAIL_CLOSE",
        Open = "FAIL_OPEN",
        Reload = "FAIL_RELOAD",
    }

    pub enum EnvValueSource {
        Inline = "INLINE",
        Host = "HOST",
    }

    pub enum PluginType {
        Unspecified = "UNSPECIFIED_PLUGIN_TYPE",
        Http = "HTTP",
        Network = "NETWORK",
    }

    pub enum TrafficMode {
        Undefined = "UNDEFINED",
        Client = "CLIENT",
        Server = "SERVER",
        ClientAndServer = "CLIENT_AND_SERVER",
    }
}
