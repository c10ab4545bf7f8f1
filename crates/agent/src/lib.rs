//! Beside each proxy: certificates, SDS socket, DNS, bootstrap, starting and draining Envoy.
