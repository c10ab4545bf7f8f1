//! What an analyzer has to say of an object.

use crate::codes::Code;
use hawser_api::validate::Severity;
use hawser_api::{Kind, Meta, ObjectRef};

/// One thing found. Two findings of one object with the same code and message are one: see [`Finding::also`].
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Finding {
    pub severity: Severity,
    /// Istio's code (`IST0101`) or ours (`HWS0201`).
    pub code: &'static str,
    /// What the object is called: `VirtualService default/reviews`, as istioctl writes it.
    pub origin: String,
    pub message: String,
    /// Which of the analysed clusters, counted from 0.
    pub cluster: usize,
    /// The object that holds the field.
    pub object: ObjectRef,
    /// As `spec.http[0].route[0].destination.host`; empty for the object as a whole.
    pub path: String,
    /// The way out; empty where the message says it.
    pub help: String,
    /// Further fields of the object of which the same is to be said.
    pub also: Vec<String>,
}

impl Finding {
    pub(crate) fn new(
        code: Code,
        object: ObjectRef,
        path: impl Into<String>,
        message: impl Into<String>,
    ) -> Self {
        Finding {
            severity: code.severity,
            code: code.id,
            origin: object.to_string(),
            message: message.into(),
            cluster: 0,
            object,
            path: path.into(),
            help: String::new(),
            also: Vec::new(),
        }
    }

    pub(crate) fn help(mut self, help: impl Into<String>) -> Self {
        self.help = help.into();
        self
    }

    /// Istio's page about the code, if it has one.
    pub fn documentation(&self) -> Option<String> {
        self.code.starts_with("IST").then(|| {
            let page = self.code.to_ascii_lowercase();
            format!("https://istio.io/v1.31/docs/reference/config/analysis/{page}/")
        })
    }
}

/// The name of an object.
pub(crate) fn on(kind: Kind, meta: &Meta) -> ObjectRef {
    ObjectRef {
        kind,
        namespace: meta.namespace.clone(),
        name: meta.name.clone(),
    }
}

/// `namespace/name`, or the name alone of what is cluster-wide.
pub(crate) fn full_name(meta: &Meta) -> String {
    if meta.namespace.is_empty() {
        meta.name.clone()
    } else {
        format!("{}/{}", meta.namespace, meta.name)
    }
}

/// As many names as one can read at once, then how many there are besides.
pub(crate) fn list<'a>(names: impl IntoIterator<Item = &'a str>) -> String {
    const SHOWN: usize = 5;
    let mut names = names.into_iter();
    let shown: Vec<&str> = names.by_ref().take(SHOWN).collect();
    match names.count() {
        0 => shown.join(", "),
        more => format!("{} and {more} more", shown.join(", ")),
    }
}

/// Labels as a selector is written: `app=reviews,version=v1`.
pub(crate) fn selector_text(labels: &hawser_api::Labels) -> String {
    let pairs: Vec<String> = labels.iter().map(|(k, v)| format!("{k}={v}")).collect();
    pairs.join(",")
}

/// The path of an entry of a map whose key may have dots: `metadata.labels[istio.io/rev]`.
pub(crate) fn entry(map: &str, key: &str) -> String {
    format!("{map}[{key}]")
}
