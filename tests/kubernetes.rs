//! A real kube-apiserver on Mainstem: thousands of objects from many clients, conflicts, pages and watches,
//! and `kill -9` of the store in the middle. Neither an object nor an event is lost.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Barrier};
use std::thread;

use anyhow::{Context, Result, ensure};
use harness::clients::Clients;
use harness::kubernetes::{Answer, Api, ApiServer, version};
use harness::server::{Kind, Server};
use proto::etcdserverpb::RangeRequest;
use proto::etcdserverpb::WatchCreateRequest;
use serde_json::{Value, json};

const CONFIG_MAPS: &str = "/api/v1/namespaces/default/configmaps";
const CLIENTS: usize = 16;
const OBJECTS_PER_CLIENT: usize = 128;

/// What one client is sure of.
#[derive(Default)]
struct Sure {
    /// The content of each object that is there; absent: deleted.
    objects: BTreeMap<String, u64>,
    deleted: BTreeSet<String>,
    /// Revisions of acknowledged writes.
    revisions: BTreeSet<i64>,
    conflicts: u64,
}

fn config_map(name: &str, number: u64) -> Value {
    json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": {"number": number.to_string()}})
}

fn number(object: &Value) -> u64 {
    object["data"]["number"].as_str().and_then(|text| text.parse().ok()).unwrap_or(0)
}

/// Asks until an answer comes that is not the store's absence.
fn insist(mut ask: impl FnMut() -> Result<Answer>) -> Answer {
    loop {
        match ask() {
            Ok(answer) if answer.status < 500 && answer.status != 429 => return answer,
            // While the store is down the API server answers 500 or 504, or nothing.
            Ok(_) | Err(_) => thread::yield_now(),
        }
    }
}

struct Client {
    api: Api,
    sure: Sure,
}

impl Client {
    fn run(mut self, name: usize, middle: &Barrier) -> Result<Sure> {
        for index in 0..OBJECTS_PER_CLIENT {
            if index == OBJECTS_PER_CLIENT / 2 {
                // The store is killed while these clients go on.
                middle.wait();
            }
            self.live(&format!("c{name}-{index}"), index % 4 == 3)?;
        }
        Ok(self.sure)
    }

    /// An object's life: created, updated with a conflict, perhaps deleted.
    fn live(&mut self, name: &str, end: bool) -> Result<()> {
        let path = format!("{CONFIG_MAPS}/{name}");
        let created = insist(|| self.api.post(CONFIG_MAPS, &config_map(name, 1)));
        // 409: an attempt without an answer had created it.
        ensure!(created.status == 201 || created.status == 409, "create {name}: {created:?}");
        self.note(&created);
        let current = insist(|| self.api.get(&path));
        ensure!(current.status == 200 && number(&current.body) == 1, "get {name}: {current:?}");
        let mut object = current.body;
        object["data"]["number"] = json!("2");
        let updated = insist(|| self.api.put(&path, &object));
        ensure!(updated.status == 200 || updated.status == 409, "update {name}: {updated:?}");
        self.note(&updated);
        // The same resource version once more is a conflict by now, whatever became of the first answer.
        object["data"]["number"] = json!("3");
        let conflict = insist(|| self.api.put(&path, &object));
        ensure!(conflict.status == 409, "a stale update of {name} must be refused: {conflict:?}");
        self.sure.conflicts += 1;
        self.sure.objects.insert(name.to_owned(), 2);
        if end {
            let deleted = insist(|| self.api.delete(&path));
            ensure!(deleted.status == 200 || deleted.status == 404, "delete {name}: {deleted:?}");
            self.sure.objects.remove(name);
            self.sure.deleted.insert(name.to_owned());
        }
        Ok(())
    }

    fn note(&mut self, answer: &Answer) {
        if answer.status < 300 {
            self.sure.revisions.insert(answer.version());
        }
    }
}

/// Follows the objects in the store itself, as a watch cache does: resumes where it was after each break.
async fn follow(endpoint: String, stop: Arc<AtomicBool>) -> Result<BTreeMap<i64, (String, bool)>> {
    let mut told = BTreeMap::new();
    let mut next = 1;
    while !stop.load(Ordering::Acquire) {
        let clients = Clients::new(&endpoint)?;
        let create = WatchCreateRequest {
            key: "/registry/configmaps/default/c".into(),
            range_end: "/registry/configmaps/default/d".into(),
            start_revision: next,
            ..WatchCreateRequest::default()
        };
        let Ok(mut stream) = clients.watching(create).await else { continue };
        while let Ok(Some(answer)) = stream.message().await {
            ensure!(!answer.canceled, "the watch was cancelled: {answer:?}");
            for event in answer.events {
                let kv = event.kv.context("an event has a key")?;
                ensure!(kv.mod_revision >= next, "revision {} came twice", kv.mod_revision);
                let key = String::from_utf8_lossy(&kv.key).into_owned();
                told.insert(kv.mod_revision, (key, kv.version == 0));
                next = kv.mod_revision + 1;
            }
            if stop.load(Ordering::Acquire) && told.values().any(|(key, _)| key.ends_with("/c-end")) {
                return Ok(told);
            }
        }
    }
    Ok(told)
}

fn list_by_pages(api: &Api) -> Result<BTreeMap<String, u64>> {
    let mut objects = BTreeMap::new();
    let mut token = String::new();
    loop {
        let answer = api.get(&format!("{CONFIG_MAPS}?limit=97&continue={token}"))?;
        ensure!(answer.status == 200, "list: {answer:?}");
        let items = answer.body["items"].as_array().context("a list has items")?;
        for item in items {
            let name = item["metadata"]["name"].as_str().context("an object has a name")?;
            ensure!(version(item) > 0, "an object has a resource version");
            objects.insert(name.to_owned(), number(item));
        }
        match answer.body["metadata"]["continue"].as_str() {
            Some(next) if !next.is_empty() => next.clone_into(&mut token),
            _ => return Ok(objects),
        }
    }
}

fn judge(sure: &[Sure], told: &BTreeMap<i64, (String, bool)>, listed: &BTreeMap<String, u64>) -> Result<()> {
    for sure in sure {
        for revision in &sure.revisions {
            ensure!(told.contains_key(revision), "the event of acknowledged revision {revision} is lost");
        }
        for (name, number) in &sure.objects {
            ensure!(listed.get(name) == Some(number), "{name} is {:?}, not {number}", listed.get(name));
        }
        for name in &sure.deleted {
            ensure!(!listed.contains_key(name), "{name} is back");
        }
    }
    // What the events say is there is what is there.
    let mut alive = BTreeSet::new();
    for (key, deleted) in told.values() {
        let name = key.rsplit('/').next().context("a key has a name")?.to_owned();
        if *deleted {
            alive.remove(&name)
        } else {
            alive.insert(name)
        };
    }
    let ours: BTreeSet<String> = listed.keys().filter(|name| name.starts_with('c')).cloned().collect();
    ensure!(
        alive == ours,
        "events and list differ: {:?}",
        alive.symmetric_difference(&ours).collect::<Vec<_>>()
    );
    Ok(())
}

fn run(kind: Kind, arguments: &[&str]) -> Result<()> {
    let mut store = Server::start(kind)?;
    let server = ApiServer::start(&store.endpoint(), arguments)?;
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
    let stop = Arc::new(AtomicBool::new(false));
    let follower = runtime.spawn(follow(store.endpoint(), stop.clone()));
    let middle = Arc::new(Barrier::new(CLIENTS + 1));
    let clients: Vec<_> = (0..CLIENTS)
        .map(|name| {
            let (client, middle) = (Client { api: server.api(), sure: Sure::default() }, middle.clone());
            thread::spawn(move || client.run(name, &middle))
        })
        .collect();
    middle.wait();
    store.kill()?;
    store.restart()?;
    let mut sure = Vec::new();
    for client in clients {
        let client = client.join().map_err(|_| anyhow::anyhow!("a client panicked"))?;
        sure.push(client.with_context(|| server.log_end())?);
    }
    stop.store(true, Ordering::Release);
    insist(|| server.api().post(CONFIG_MAPS, &config_map("c-end", 9)));
    let told = runtime.block_on(follower)??;
    let mut listed = list_by_pages(&server.api())?;
    sure.push(Sure { objects: BTreeMap::from([("c-end".to_owned(), 9)]), ..Sure::default() });
    judge(&sure, &told, &listed)?;
    listed.retain(|name, _| name.starts_with('c'));
    let conflicts: u64 = sure.iter().map(|sure| sure.conflicts).sum();
    ensure!(conflicts >= 2_000, "only {conflicts} objects lived");
    let count = runtime.block_on(count(&store.endpoint()))?;
    ensure!(count >= i64::try_from(listed.len())?, "the store counts {count} of {} objects", listed.len());
    eprintln!(
        "{kind:?} {arguments:?}: {} events, {} objects listed, {conflicts} conflicts",
        told.len(),
        listed.len()
    );
    Ok(())
}

async fn count(endpoint: &str) -> Result<i64> {
    let prefix = RangeRequest {
        key: "/registry/configmaps/".into(),
        range_end: "/registry/configmaps0".into(),
        count_only: true,
        ..RangeRequest::default()
    };
    Ok(Clients::new(endpoint)?.kv.range(prefix).await?.into_inner().count)
}

#[test]
fn nothing_is_lost_behind_a_watch_cache() -> Result<()> {
    run(Kind::Mainstem { partitions: 5 }, &[])
}

#[test]
fn nothing_is_lost_when_every_read_reaches_the_store() -> Result<()> {
    run(Kind::Tiers { partitions: 5 }, &["--watch-cache=false"])
}

#[test]
fn nothing_is_lost_behind_a_watch_cache_over_tiers() -> Result<()> {
    run(Kind::Tiers { partitions: 1 }, &[])
}

/// Every object of `deploy/kubernetes`, with unknown and doubled fields refused, and without a warning.
#[test]
fn our_manifests_are_accepted() -> Result<()> {
    let store = Server::start(Kind::Mainstem { partitions: 1 })?;
    let server = ApiServer::start(&store.endpoint(), &["--enable-admission-plugins=PodSecurity"])?;
    let folder = "deploy/kubernetes";
    server.kubectl(&["apply", "--filename", &format!("{folder}/namespace.yaml")])?;
    let told = server.kubectl(&["apply", "--dry-run=server", "--validate=strict", "--kustomize", folder])?;
    let kinds = [
        "namespace/mainstem",
        "configmap/mainstem",
        "service/mainstem",
        "service/mainstem-journal",
        "service/mainstem-memstore",
        "statefulset.apps/mainstem-journal",
        "statefulset.apps/mainstem-memstore",
        "deployment.apps/mainstem-frontend",
        "poddisruptionbudget.policy/mainstem-journal",
        "poddisruptionbudget.policy/mainstem-memstore",
        "poddisruptionbudget.policy/mainstem-frontend",
        "networkpolicy.networking.k8s.io/mainstem-journal",
        "networkpolicy.networking.k8s.io/mainstem-memstore",
        "networkpolicy.networking.k8s.io/mainstem-frontend",
    ];
    let accepted = |kind: &&str| {
        let line = format!("{kind} ");
        told.lines().any(|told| told.starts_with(&line) && told.ends_with("(server dry run)"))
    };
    ensure!(kinds.iter().all(accepted), "{told}");
    ensure!(!told.to_lowercase().contains("warning"), "{told}");
    ensure!(told.lines().count() == kinds.len(), "{told}");
    Ok(())
}
