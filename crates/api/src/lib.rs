//! Every Kubernetes-shaped type and Change: Istio's kinds, Gateway API and the core kinds used; one table of kinds.
