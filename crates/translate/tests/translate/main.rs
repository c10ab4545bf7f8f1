//! What proxies are given for a mesh of YAML, as short text.

mod clusters;
mod endpoints;
mod gateways;
mod listeners;
mod mesh;
mod names;
mod patches;
mod properties;
mod routes;
mod security;
mod telemetry;
mod text;

use hawser_model::Proxy;
use mesh::Mesh;
use text::View;

/// Compares what a proxy is given with the text expected, line by line without regard to indentation.
#[track_caller]
fn check(name: &str, mesh: &Mesh, proxy: &Proxy, view: View, expected: &str) {
    let (resources, _) = hawser_translate::translate(&mesh.snapshot(), proxy);
    let lines = |text: &str| -> String {
        let lines = text.lines().map(str::trim).filter(|l| !l.is_empty());
        lines.map(|l| format!("  {l}\n")).collect()
    };
    let (found, expected) = (lines(&text::text(&resources, view)), lines(expected));
    assert!(
        found == expected,
        "{name}: {view:?}\n--- expected\n{expected}--- found\n{found}"
    );
}
