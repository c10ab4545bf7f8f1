//! Patches that proxies refuse, gathered over all streams for the writer, which makes Problems of them.

use std::collections::BTreeMap;

use hawser_model::filter::RefusedPatch;
use hawser_serve::ads::Refusals;
use tokio::sync::mpsc;

use crate::writer::Input;

/// Follows what streams say until none is left or the writer stops.
pub async fn follow(mut said: mpsc::UnboundedReceiver<Refusals>, inputs: mpsc::Sender<Input>) {
    let mut by_stream: BTreeMap<u64, Vec<RefusedPatch>> = BTreeMap::new();
    let mut known = Vec::new();
    while let Some(refusals) = said.recv().await {
        if refusals.patches.is_empty() {
            by_stream.remove(&refusals.stream);
        } else {
            by_stream.insert(refusals.stream, refusals.patches);
        }
        let all = each_once(&by_stream);
        if all != known {
            known.clone_from(&all);
            if inputs.send(Input::Refused(all)).await.is_err() {
                return;
            }
        }
    }
}

/// Each patch once, as the proxy that has been connected longest tells it: thousands of proxies refuse the same one.
fn each_once(by_stream: &BTreeMap<u64, Vec<RefusedPatch>>) -> Vec<RefusedPatch> {
    let mut all: Vec<RefusedPatch> = Vec::new();
    for refused in by_stream.values().flatten() {
        if !all.iter().any(|known| known.named == refused.named) {
            all.push(refused.clone());
        }
    }
    all
}
