//! ServiceEntry (`networking/v1alpha3/service_entry.proto`).

use crate::message::{choice, message};
use crate::networking::WorkloadEntry;
use crate::rules;
use crate::selector::WorkloadSelector;

message! {
    pub struct ServiceEntry {
        hosts: Vec<String> [Required, MinItems(1), MaxItems(256), Each(&[Cel(&rules::HOST_NOT_WILDCARD)])],
        /// Virtual addresses, or CIDR blocks where resolution is NONE.
        addresses: Vec<String> [MaxItems(256), Each(&[MaxLength(64)])],
        ports: Vec<ServicePort> [MaxItems(256), MapKeys(&["name"]), Cel(&rules::PORT_NUMBERS_ONCE)],
        location: Location,
        resolution: Resolution,
        endpoints: Vec<WorkloadEntry> [MaxItems(4096), Each(&[Cel(&rules::ADDRESS_OR_NETWORK)])],
        workload_selector: Option<WorkloadSelector>,
        export_to: Vec<String>,
        subject_alt_names: Vec<String>,
    }
    rule Cel(&rules::SELECTOR_OR_ENDPOINTS);
    rule Cel(&rules::CIDR_ADDRESSES);
    rule Cel(&rules::NONE_WITHOUT_ENDPOINTS);
    rule Cel(&rules::ROUND_ROBIN_ONE_ENDPOINT);

    pub struct ServicePort {
        number: u32 [Required, Cel(&rules::PORT)],
        protocol: String [MaxLength(256)],
        name: String [Required, MaxLength(256)],
        target_port: u32 [Cel(&rules::PORT)],
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
