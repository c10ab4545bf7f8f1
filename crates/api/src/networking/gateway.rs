//! Gateway (`networking/v1alpha3/gateway.proto`).

use crate::message::{choice, message};
use crate::meta::Labels;
use crate::rules;

message! {
    pub struct Gateway {
        servers: Vec<Server>,
        /// Labels of the gateway pods.
        selector: Labels,
    }

    pub struct Server {
        port: Option<Port> [Required],
        bind: String,
        /// `host` or `namespace/host`; the namespace may be `.` or `*`.
        hosts: Vec<String> [Required],
        tls: Option<ServerTlsSettings>,
        default_endpoint: String,
        name: String,
    }

    pub struct Port {
        number: u32 [Required],
        /// HTTP, HTTPS, GRPC, HTTP2, MONGO, TCP, TLS and the like.
        protocol: String [Required],
        name: String [Required],
        /// Deprecated.
        target_port: u32,
    }

    pub struct ServerTlsSettings {
        https_redirect: bool,
        mode: ServerTlsMode,
        server_certificate: String,
        private_key: String,
        ca_certificates: String,
        ca_crl: String,
        credential_name: String,
        credential_names: Vec<String> [MinItems(1), MaxItems(2)],
        tls_certificates: Vec<TlsCertificate> [MinItems(1), MaxItems(2)],
        ca_cert_credential_name: String,
        subject_alt_names: Vec<String>,
        verify_certificate_spki: Vec<String>,
        verify_certificate_hash: Vec<String>,
        min_protocol_version: TlsProtocol,
        max_protocol_version: TlsProtocol,
        cipher_suites: Vec<String>,
        ecdh_curves: Vec<String>,
        /// A client's certificate is looked at, and the connection accepted whether it holds or not.
        insecure_skip_verify: Option<bool>,
    }
    rule Cel(&rules::NAMES_OR_CERTIFICATES);
    rule Cel(&rules::NAMES_OR_FILES);
    rule Cel(&rules::NAME_OR_NAMES);

    pub struct TlsCertificate {
        server_certificate: String,
        private_key: String,
        ca_certificates: String,
    }
}

choice! {
    pub enum ServerTlsMode {
        Passthrough = "PASSTHROUGH",
        Simple = "SIMPLE",
        Mutual = "MUTUAL",
        AutoPassthrough = "AUTO_PASSTHROUGH",
        IstioMutual = "ISTIO_MUTUAL",
        OptionalMutual = "OPTIONAL_MUTUAL",
    }

    pub enum TlsProtocol {
        Auto = "TLS_AUTO",
        V1_0 = "TLSV1_0",
        V1_1 = "TLSV1_1",
        V1_2 = "TLSV1_2",
        V1_3 = "TLSV1_3",
    }
}
