//! The store alone: expectations, history, failing disks.

use std::collections::BTreeMap;

use proptest::prelude::*;
use serde_json::{Value, json};

use super::disk::{Disk, DiskError, Put};
use super::{Change, Expect, Key, ResourceId, Store, Volume, Write, WriteError};

/// A disk that remembers nothing, and fails when told to.
struct TestDisk {
    fail: std::sync::Arc<std::sync::atomic::AtomicBool>,
}

impl Disk for TestDisk {
    fn load(&mut self, _visit: &mut dyn FnMut(&str, &[u8])) -> Result<u64, DiskError> {
        Ok(0)
    }
    fn commit(&mut self, _revision: u64, _puts: &[Put]) -> Result<(), DiskError> {
        if self.fail.load(std::sync::atomic::Ordering::SeqCst) {
            return Err(DiskError::Corrupt {
                key: String::new(),
                reason: "told to fail".into(),
            });
        }
        Ok(())
    }
}

fn open() -> (Store, std::sync::Arc<std::sync::atomic::AtomicBool>) {
    let fail = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(false));
    let claims: super::ClaimsOf = |resource| {
        (resource == "claimers").then_some(|object: &Value| {
            vec![object["claim"].as_str().unwrap_or_default().to_owned()]
        })
    };
    let (store, _events) =
        Store::open(Box::new(TestDisk { fail: fail.clone() }), claims).expect("it opens");
    (store, fail)
}

fn object(name: &str, number: u32) -> Value {
    json!({"metadata": {"name": name, "uid": name}, "n": number})
}

fn put(resource: &ResourceId, name: &str, expect: Expect, value: Value) -> Write {
    Write {
        resource: resource.clone(),
        key: Key::new("", name),
        expect,
        change: Change::Put(value),
    }
}

#[tokio::test]
async fn expectations_decide() {
    let (store, _) = open();
    let things = ResourceId::new("things", "");
    let first = store
        .write(put(&things, "a", Expect::Absent, object("a", 1)))
        .await
        .expect("created");
    let again = store
        .write(put(&things, "a", Expect::Absent, object("a", 2)))
        .await;
    assert_eq!(again.err(), Some(WriteError::Exists));
    let second = put(
        &things,
        "a",
        Expect::Revision(first.revision),
        object("a", 2),
    );
    let second = store.write(second).await.expect("updated");
    assert!(second.revision > first.revision);
    let stale = store
        .write(put(
            &things,
            "a",
            Expect::Revision(first.revision),
            object("a", 3),
        ))
        .await;
    assert_eq!(stale.err(), Some(WriteError::Stale));
    let elsewhere = Write {
        resource: things.clone(),
        key: Key::new("nowhere", "b"),
        expect: Expect::Absent,
        change: Change::Put(json!({"metadata": {"name": "b", "namespace": "nowhere", "uid": "b"}})),
    };
    assert_eq!(
        store.write(elsewhere).await.err(),
        Some(WriteError::NamespaceMissing)
    );
}

#[tokio::test]
async fn claims_are_held_by_one() {
    let (store, _) = open();
    let claimers = ResourceId::new("claimers", "");
    let claiming = |name: &str| json!({"metadata": {"name": name, "uid": name}, "claim": "x"});
    let first = store
        .write(put(&claimers, "a", Expect::Absent, claiming("a")))
        .await
        .expect("claimed");
    let second = store
        .write(put(&claimers, "b", Expect::Absent, claiming("b")))
        .await;
    assert_eq!(second.err(), Some(WriteError::Claimed("x".into())));
    let gone = Write {
        resource: claimers.clone(),
        key: Key::new("", "a"),
        expect: Expect::Revision(first.revision),
        change: Change::Delete,
    };
    store.write(gone).await.expect("deleted");
    store
        .write(put(&claimers, "b", Expect::Absent, claiming("b")))
        .await
        .expect("free again");
}

#[tokio::test]
async fn what_the_disk_refuses_never_happened() {
    let (store, fail) = open();
    let things = ResourceId::new("things", "");
    store
        .write(put(&things, "a", Expect::Absent, object("a", 1)))
        .await
        .expect("created");
    let revision = store.revision();
    fail.store(true, std::sync::atomic::Ordering::SeqCst);
    let refused = store
        .write(put(&things, "b", Expect::Absent, object("b", 1)))
        .await;
    assert!(matches!(refused, Err(WriteError::Disk(_))), "{refused:?}");
    assert_eq!(
        (store.revision(), store.get(&things, &Key::new("", "b"))),
        (revision, None)
    );
    fail.store(false, std::sync::atomic::Ordering::SeqCst);
    store
        .write(put(&things, "b", Expect::Absent, object("b", 1)))
        .await
        .expect("created at last");
}

fn contents(volume: &Volume) -> BTreeMap<String, Value> {
    volume
        .iter(None)
        .map(|object| (object.key.name.to_string(), object.value()["n"].clone()))
        .collect()
}

proptest! {
    /// A past state is what it was, and the changes since lead from it to the present.
    #[test]
    fn the_past_can_be_read(steps in proptest::collection::vec((0_u8..5, any::<bool>()), 1..60)) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
        runtime.block_on(async {
            let (store, _) = open();
            let things = ResourceId::new("things", "");
            let mut past = vec![(0, BTreeMap::new())];
            for (number, (which, delete)) in steps.into_iter().enumerate() {
                let name = format!("o{which}");
                let present = store.get(&things, &Key::new("", &name));
                let expect = present.as_ref().map_or(Expect::Absent, |object| Expect::Revision(object.revision));
                let change = match (&present, delete) {
                    (None, true) => continue,
                    (Some(_), true) => Change::Delete,
                    _ => Change::Put(object(&name, u32::try_from(number).unwrap_or(0))),
                };
                let write = Write { resource: things.clone(), key: Key::new("", &name), expect, change };
                let written = store.write(write).await.expect("written");
                past.push((written.revision, contents(&store.read(&things).0)));
            }
            let (now, _) = store.read(&things);
            for (revision, expected) in past {
                let then = now.at(revision).expect("nothing is forgotten yet");
                assert_eq!(contents(&then), expected, "at {revision}");
                let mut replayed = expected;
                for event in now.since(revision).expect("nothing is forgotten yet") {
                    assert!(event.revision > revision);
                    let name = event.object.key.name.to_string();
                    match event.kind {
                        super::EventKind::Deleted => drop(replayed.remove(&name)),
                        _ => drop(replayed.insert(name, event.object.value()["n"].clone())),
                    }
                }
                assert_eq!(replayed, contents(&now), "replayed from {revision}");
            }
        });
    }
}
