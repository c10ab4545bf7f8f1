//! The destinations of a VirtualService, each with its field.

use hawser_api::networking::{Destination, VirtualService};

/// A destination of a route or of a mirror.
pub struct Target<'a> {
    pub path: String,
    pub is_mirror: bool,
    pub destination: &'a Destination,
}

pub fn targets(route: &VirtualService) -> Vec<Target<'_>> {
    fn target(
        path: String,
        is_mirror: bool,
        destination: Option<&Destination>,
    ) -> Option<Target<'_>> {
        destination.map(|destination| Target {
            path,
            is_mirror,
            destination,
        })
    }
    let mut out = Vec::new();
    for (i, rule) in route.tcp.iter().enumerate() {
        for (j, to) in rule.route.iter().enumerate() {
            out.extend(target(
                format!("spec.tcp[{i}].route[{j}].destination"),
                false,
                to.destination.as_ref(),
            ));
        }
    }
    for (i, rule) in route.tls.iter().enumerate() {
        for (j, to) in rule.route.iter().enumerate() {
            out.extend(target(
                format!("spec.tls[{i}].route[{j}].destination"),
                false,
                to.destination.as_ref(),
            ));
        }
    }
    for (i, rule) in route.http.iter().enumerate() {
        for (j, to) in rule.route.iter().enumerate() {
            out.extend(target(
                format!("spec.http[{i}].route[{j}].destination"),
                false,
                to.destination.as_ref(),
            ));
        }
        out.extend(target(
            format!("spec.http[{i}].mirror"),
            true,
            rule.mirror.as_ref(),
        ));
        for (j, to) in rule.mirrors.iter().enumerate() {
            out.extend(target(
                format!("spec.http[{i}].mirrors[{j}].destination"),
                true,
                to.destination.as_ref(),
            ));
        }
    }
    out
}
