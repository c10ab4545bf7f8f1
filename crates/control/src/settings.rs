//! MeshConfig and MeshNetworks as text.

use hawser_api::Fault;
use hawser_api::manifest;
use hawser_api::mesh::{MeshConfig, MeshNetworks};
use serde_json::Value;

/// Settings, and what in them has no effect (fields that nobody knows).
#[derive(Debug, Clone, Default)]
pub struct Read<T> {
    /// The settings.
    pub settings: T,
    /// Lines for the user.
    pub warnings: Vec<String>,
}

/// Reads a MeshConfig; no text is the default. `file` is how messages call it.
pub fn mesh_config(file: &str, text: &str) -> Result<Read<MeshConfig>, String> {
    read(file, text, MeshConfig::from_value)
}

/// Reads MeshNetworks likewise.
pub fn mesh_networks(file: &str, text: &str) -> Result<Read<MeshNetworks>, String> {
    read(file, text, MeshNetworks::from_value)
}

fn read<T: Default>(
    file: &str,
    text: &str,
    from: impl Fn(Value) -> (T, Vec<Fault>),
) -> Result<Read<T>, String> {
    let manifest = manifest::read(file, text.as_bytes());
    if let Some(error) = manifest.errors.first() {
        return Err(error.to_string());
    }
    let Some(doc) = manifest.docs.into_iter().find(|d| !d.value.is_null()) else {
        return Ok(Read {
            settings: T::default(),
            warnings: Vec::new(),
        });
    };
    let place = |fault: &Fault| format!("{file}:{}: {fault}", doc.position(&fault.path));
    let (settings, faults) = from(doc.value.clone());
    let (warnings, errors): (Vec<&Fault>, Vec<&Fault>) = faults.iter().partition(|f| f.harmless());
    if !errors.is_empty() {
        return Err(errors.into_iter().map(place).collect::<Vec<_>>().join("\n"));
    }
    Ok(Read {
        settings,
        warnings: warnings.into_iter().map(place).collect(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mistakes_are_named_with_their_place() {
        assert!(mesh_config("m", "").unwrap().warnings.is_empty());
        let typo = mesh_config("mesh.yaml", "trustDomain: a.b\ntrustDomian: c\n").unwrap();
        assert_eq!(typo.settings.trust_domain(), "a.b");
        assert!(
            typo.warnings[0].starts_with("mesh.yaml:2:"),
            "{:?}",
            typo.warnings
        );
        let wrong = mesh_config("mesh.yaml", "enableAutoMtls: perhaps\n").unwrap_err();
        assert!(
            wrong.starts_with("mesh.yaml:1:") && wrong.contains("enableAutoMtls"),
            "{wrong}"
        );
    }
}
