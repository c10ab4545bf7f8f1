//! Listeners of one Gateway, its ListenerSets' included, that cannot share a port.

use super::listeners::Listener;

/// Leaves every port to the first of those that contend for it: the Gateway's own in order of writing, then those of
/// ListenerSets in order of age. One that lost is nobody's rival any more (Gateway API, `ListenerConditionConflicted`).
pub(super) fn resolve(listeners: &mut [Listener<'_>]) {
    for i in 1..listeners.len() {
        let (earlier, later) = listeners.split_at_mut(i);
        let Some(own) = later.first_mut() else {
            continue;
        };
        let rivals = earlier.iter().filter(|l| l.conflict.is_none());
        if let Some(reason) = rivals.filter_map(|l| contend(own, l)).next() {
            own.give_way(reason);
        }
    }
}

/// Why two listeners cannot be of one Gateway.
fn contend(a: &Listener<'_>, b: &Listener<'_>) -> Option<&'static str> {
    if a.spec.port != b.spec.port {
        return None;
    }
    let l4 = |protocol: &str| matches!(protocol, "TCP" | "UDP");
    let http = |protocol: &str| matches!(protocol, "HTTP" | "HTTPS" | "TLS");
    let (own, other) = (a.spec.protocol.as_str(), b.spec.protocol.as_str());
    let clash = match (own, other) {
        _ if http(own) && http(other) => a.host == b.host,
        _ if (l4(own) || http(own)) && (l4(other) || http(other)) => true,
        _ => own == other,
    };
    let same = own == other && !l4(own);
    clash.then_some(if same {
        "HostnameConflict"
    } else {
        "ProtocolConflict"
    })
}
