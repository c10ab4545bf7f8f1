//! Redirecting a pod's traffic (nftables) to its proxy, for sidecars and machines.
