//! Every protobuf type: Envoy, xDS, Istio's CA service and name table, with JSON by descriptors.
