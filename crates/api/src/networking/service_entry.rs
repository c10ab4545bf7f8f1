//! ServiceEntry (`networking/v1alpha3/service_entry.proto`).

use crate::message::{choice, message};
use crate::networking::WorkloadEntry;
use crate::selector::WorkloadSelector;

message! {
    pub struct ServiceEntry {
        hosts: Vec<String> [Required, MinItems(1), MaxItems(256)],
        /// Virtual addresses, or CIDR blocks where resolution is NONE.
        addresses: Vec<String> [MaxItems(256), Each(&[MaxLength(64)])],
        ports: Vec<ServicePort> [MaxItems(256), MapKeys(&["name"])],
        location: Location,
        resolution: Resolution,
        endpoints: Vec<WorkloadEntry> [MaxItems(4096)],
        workload_selector: Option<WorkloadSelector>,
        export_to: Vec<String>,
        subject_alt_names: Vec<String>,
    }

    pub struct ServicePort {
        number: u32 [Required],
        protocol: String [MaxLength(256)],
        name: String [Required, MinLength(1), MaxLength(256)],
        target_port: u32,
    }
}

choice! {
    pub enum Location {
        MeshExternal = "MESH_EXTERNAL",
        MeshInternal = "MESH_INTERNAL",
    }

    pub enum Resolution {
        None = "NONE",
        Static = "STATIC",
        Dns = "DNS",
        DnsRoundRobin = "DNS_ROUND_ROBIN",
        DynamicDns = "DYNAMIC_DNS",
    }
}
