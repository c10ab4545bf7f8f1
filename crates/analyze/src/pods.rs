//! Pods and Services of all clusters, found by labels without a walk over all of them.

use hawser_api::core::{PodSpec, PodStatus, ServiceSpec, ServiceStatus};
use hawser_api::{Labels, Object};
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

/// A pod, and what the mesh knows of it.
pub struct Pod {
    pub cluster: usize,
    /// Not a pod but a Deployment (or its like) of a cluster of which no pods are known: what it would make.
    pub stand_in: bool,
    pub object: Arc<Object<PodSpec, PodStatus>>,
    /// Whether it has a proxy, or gets one (Istio `analyzers/util/in_mesh.go`).
    pub in_mesh: bool,
    /// The labels by which subsets select it: its own, and those of its node (Istio `label.AugmentLabels`).
    pub subset_labels: Labels,
}

impl Pod {
    pub fn namespace(&self) -> &str {
        &self.object.meta.namespace
    }

    pub fn name(&self) -> &str {
        &self.object.meta.name
    }

    pub fn labels(&self) -> &Labels {
        &self.object.meta.labels
    }

    /// In the mesh without a sidecar.
    pub fn is_ambient(&self) -> bool {
        self.object.annotation("ambient.istio.io/redirection") == Some("enabled")
    }
}

/// Where the pods with a label are: key, then value.
#[derive(Default)]
struct Postings(HashMap<String, HashMap<String, Vec<usize>>>);

impl Postings {
    fn add(&mut self, labels: &Labels, index: usize) {
        for (key, value) in labels {
            let values = self.0.entry(key.clone()).or_default();
            values.entry(value.clone()).or_default().push(index);
        }
    }

    /// The shortest list that holds everything with these labels; `None` for no labels.
    fn shortest(&self, labels: &Labels) -> Option<&[usize]> {
        let list = |(key, value): (&String, &String)| -> &[usize] {
            let found = self.0.get(key).and_then(|values| values.get(value));
            found.map_or(&[], Vec::as_slice)
        };
        labels.iter().map(list).min_by_key(|list| list.len())
    }
}

/// All pods, in order of cluster, namespace and name.
#[derive(Default)]
pub struct Pods {
    all: Vec<Pod>,
    everywhere: Postings,
    subset_labels: Postings,
    by_namespace: BTreeMap<String, (Vec<usize>, Postings)>,
}

/// Whether labels are among those asked for; an empty selector takes everything, as Kubernetes has it.
pub fn selects(selector: &Labels, labels: &Labels) -> bool {
    selector.iter().all(|(k, v)| labels.get(k) == Some(v))
}

impl Pods {
    pub fn new(all: Vec<Pod>) -> Pods {
        let mut out = Pods::default();
        for (i, pod) in all.iter().enumerate() {
            out.everywhere.add(pod.labels(), i);
            out.subset_labels.add(&pod.subset_labels, i);
            let namespace = pod.namespace().to_owned();
            let (list, postings) = out.by_namespace.entry(namespace).or_default();
            list.push(i);
            postings.add(pod.labels(), i);
        }
        out.all = all;
        out
    }

    pub fn all(&self) -> &[Pod] {
        &self.all
    }

    /// The pods of any namespace with these labels.
    pub fn select<'a>(&'a self, selector: &'a Labels) -> impl Iterator<Item = &'a Pod> {
        let listed = self.everywhere.shortest(selector);
        self.walk(listed)
            .filter(move |pod| selects(selector, pod.labels()))
    }

    /// The pods that a subset with these labels takes; those of its node count.
    pub fn select_subset<'a>(&'a self, selector: &'a Labels) -> impl Iterator<Item = &'a Pod> {
        let listed = self.subset_labels.shortest(selector);
        self.walk(listed)
            .filter(move |pod| selects(selector, &pod.subset_labels))
    }

    /// The pods of one namespace with these labels.
    pub fn select_in<'a>(
        &'a self,
        namespace: &str,
        selector: &'a Labels,
    ) -> impl Iterator<Item = &'a Pod> {
        let listed = match self.by_namespace.get(namespace) {
            Some((list, postings)) => postings.shortest(selector).unwrap_or(list),
            None => &[],
        };
        self.walk(Some(listed))
            .filter(move |pod| selects(selector, pod.labels()))
    }

    fn walk<'a>(&'a self, listed: Option<&'a [usize]>) -> impl Iterator<Item = &'a Pod> {
        let everything = listed.is_none().then(|| self.all.iter());
        let some = listed.unwrap_or_default();
        let some = some.iter().filter_map(|i| self.all.get(*i));
        everything.into_iter().flatten().chain(some)
    }
}

/// A Service, and where it is from.
pub struct Service {
    pub cluster: usize,
    pub object: Arc<Object<ServiceSpec, ServiceStatus>>,
}

impl Service {
    pub fn full_name(&self) -> String {
        crate::finding::full_name(&self.object.meta)
    }
}

/// One pair of a selector.
type Pair = (String, String);

/// All Services, in order of cluster, namespace and name.
#[derive(Default)]
pub struct Services {
    all: Vec<Service>,
    /// By namespace, then by the first pair of the selector; what selects by nothing is under no pair.
    by_selector: HashMap<String, HashMap<Option<Pair>, Vec<usize>>>,
    by_name: BTreeMap<(String, String), Vec<usize>>,
}

impl Services {
    pub fn new(all: Vec<Service>) -> Services {
        let mut by_selector: HashMap<String, HashMap<_, Vec<usize>>> = HashMap::new();
        let mut by_name: BTreeMap<_, Vec<usize>> = BTreeMap::new();
        for (i, service) in all.iter().enumerate() {
            let meta = &service.object.meta;
            let name = (meta.namespace.clone(), meta.name.clone());
            by_name.entry(name).or_default().push(i);
            let first = service.object.spec.selector.iter().next();
            let first = first.map(|(k, v)| (k.clone(), v.clone()));
            let of_namespace = by_selector.entry(service.object.meta.namespace.clone());
            let lists = of_namespace.or_default();
            lists.entry(first).or_default().push(i);
        }
        Services {
            all,
            by_selector,
            by_name,
        }
    }

    pub fn all(&self) -> &[Service] {
        &self.all
    }

    /// The Services of a namespace whose selector takes a pod with these labels.
    pub fn selecting(&self, namespace: &str, labels: &Labels) -> Vec<&Service> {
        let Some(lists) = self.by_selector.get(namespace) else {
            return Vec::new();
        };
        let mut found: Vec<usize> = labels
            .iter()
            .filter_map(|(k, v)| lists.get(&Some((k.clone(), v.clone()))))
            .flatten()
            .copied()
            .collect();
        found.sort_unstable();
        let services = found.into_iter().filter_map(|i| self.all.get(i));
        services
            .filter(|s| selects(&s.object.spec.selector, labels))
            .collect()
    }

    /// All Services by namespace and name, with one of each cluster that has it.
    pub fn by_name(&self) -> impl Iterator<Item = (&(String, String), Vec<&Service>)> {
        self.by_name.iter().map(|(name, list)| {
            let services = list.iter().filter_map(|i| self.all.get(*i));
            (name, services.collect())
        })
    }

    /// The Services of this name, one of each cluster that has it.
    pub fn named(&self, namespace: &str, name: &str) -> impl Iterator<Item = &Service> {
        let key = (namespace.to_owned(), name.to_owned());
        let list = self.by_name.get(&key).into_iter().flatten();
        list.filter_map(|i| self.all.get(*i))
    }

    /// The Services of a namespace that select no pods by themselves.
    pub fn without_selector(&self, namespace: &str) -> impl Iterator<Item = &Service> {
        let list = self.by_selector.get(namespace).and_then(|l| l.get(&None));
        list.into_iter().flatten().filter_map(|i| self.all.get(*i))
    }
}
