//! WasmPlugin and TrafficExtension.

use super::names::{self, Wrong, wrong};
use super::{Check, policy};
use crate::extensions::{EnvValueSource, TrafficExtension, TrafficSelector, VmConfig, WasmPlugin};
use crate::uri;
use std::collections::BTreeSet;

pub(super) fn check_wasm_plugin(c: &mut Check, p: &WasmPlugin) {
    policy::targets(
        c,
        p.selector.as_ref(),
        p.target_ref.as_ref(),
        &p.target_refs,
    );
    module(
        c,
        &p.url,
        &p.sha256,
        &p.image_pull_secret,
        &p.plugin_name,
        p.vm_config.as_ref(),
    );
    c.each("match", &p.match_, traffic);
}

pub(super) fn check_traffic_extension(c: &mut Check, e: &TrafficExtension) {
    policy::targets(c, e.selector.as_ref(), None, &e.target_refs);
    match (&e.wasm, &e.lua) {
        (Some(w), None) => c.within("wasm", |c| {
            module(
                c,
                &w.url,
                &w.sha256,
                &w.image_pull_secret,
                &w.plugin_name,
                w.vm_config.as_ref(),
            );
        }),
        (None, Some(lua)) => {
            if lua.inline_code.is_empty() {
                c.within("lua", |c| c.error_at("inlineCode", "must not be empty", ""));
            }
        }
        _ => c.error("exactly one of wasm and lua must be set", ""),
    }
    c.each("match", &e.match_, traffic);
}

fn module(c: &mut Check, url: &str, sha256: &str, secret: &str, name: &str, vm: Option<&VmConfig>) {
    c.require("url", wasm_url(url));
    let hex = |b: u8| b.is_ascii_digit() || (b'a'..=b'f').contains(&b);
    if !sha256.is_empty() && (sha256.len() != 64 || !sha256.bytes().all(hex)) {
        c.error_at(
            "sha256",
            "is not a SHA-256 checksum",
            "write 64 hexadecimal digits in lower case",
        );
    }
    for (key, value, max) in [("imagePullSecret", secret, 253), ("pluginName", name, 256)] {
        if value.len() > max {
            c.error_at(key, format!("has more than {max} characters"), "");
        }
    }
    if let Some(vm) = vm {
        c.within("vmConfig", |c| environment(c, vm));
    }
}

fn wasm_url(url: &str) -> Result<(), Wrong> {
    if url.is_empty() {
        return Err(wrong(
            "is required",
            "use oci://, https://, http:// or file://",
        ));
    }
    let read = uri::parse(url).or_else(|_| uri::parse(&format!("http://{url}")));
    let (message, help) = match read {
        Ok(uri) if matches!(uri.scheme.as_str(), "" | "oci" | "http" | "https" | "file") => {
            return Ok(());
        }
        Ok(uri) if !url.contains("://") => (
            format!("\"{url}\" reads as a URL of scheme \"{}\"", uri.scheme),
            format!("write oci://{url}"),
        ),
        Ok(uri) => (
            format!("\"{}\" is not a scheme for modules", uri.scheme),
            "use oci://, https://, http:// or file://".to_owned(),
        ),
        Err(why) => (format!("\"{url}\" is not a URL: {why}"), String::new()),
    };
    Err(wrong(message, help))
}

fn environment(c: &mut Check, vm: &VmConfig) {
    let mut seen = BTreeSet::new();
    c.each("env", &vm.env, |c, variable| {
        if variable.name.is_empty() || variable.name.len() > 256 {
            c.error_at("name", "must have from 1 to 256 characters", "");
        } else if !seen.insert(variable.name.clone()) {
            c.error_at(
                "name",
                format!("\"{}\" stands twice", variable.name),
                "remove one",
            );
        } else if variable.value_from != EnvValueSource::Inline && !variable.value.is_empty() {
            c.error_at("value", "contradicts valueFrom: HOST", "remove one of them");
        }
    });
}

fn traffic(c: &mut Check, selector: &TrafficSelector) {
    c.each("ports", &selector.ports, |c, port| {
        c.require("number", names::port(port.number))
    });
}
