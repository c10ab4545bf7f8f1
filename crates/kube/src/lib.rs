//! The only Kubernetes client: watches become Changes, server-side apply, leases.
