//! Partitions that move between memstores, by themselves and on request, and a memstore that is taken out of the routes.

use super::*;
use crate::admin::partition;

/// A journal, memstores by their names, and one frontend that asks them.
struct Tiers {
    peer: String,
    journal: Node,
    memstores: Vec<(&'static str, Node)>,
    frontend: Node,
}

impl Tiers {
    async fn start(names: &[&'static str], replicas: usize) -> Tiers {
        let (journal, peer) = journal();
        let journal = Node::start(journal).await.expect("it starts");
        let mut memstores = Vec::new();
        for name in names {
            memstores.push((*name, Node::start(memstore(name, &peer)).await.expect("it starts")));
        }
        let frontend = Config { replicas, ..frontend(&peer) };
        let frontend = Node::start(frontend).await.expect("it starts");
        Tiers { peer, journal, memstores, frontend }
    }

    /// Waits until so many memstores should hold the first partition.
    async fn replicas(&self, count: usize) {
        self.routes(|routes| routes.partitions()[0].replicas.len() == count).await;
    }

    /// Waits until the routes are so, and answers where partitions begin.
    async fn routes(&self, are: impl Fn(&journal::Routes) -> bool) -> Vec<String> {
        let mut status = self.journal.journal.handle().status();
        let status = status.wait_for(|status| are(&status.routes)).await.expect("the journal goes on");
        let start = |route: &journal::Route| route.start.escape_ascii().to_string();
        status.routes.partitions().iter().map(start).collect()
    }

    /// Resolves once `left` should not hold the first partition any more, with whether `taken` serves it then.
    fn serves_when_left(&self, left: &str, taken: &str) -> impl Future<Output = bool> + use<> {
        let mut status = self.journal.journal.handle().status();
        let memstore = self.memstores.iter().find(|(name, _)| *name == taken);
        let memstore =
            memstore.and_then(|(_, node)| node.memstore.as_ref()).expect("it runs").here().memstore.clone();
        let left = left.to_owned();
        async move {
            let is_left = |routes: &journal::Routes| {
                let replicas = &routes.partitions()[0].replicas;
                routes.memstore_named(&left).is_some_and(|info| !replicas.contains(&info.id))
            };
            let _ = status.wait_for(|status| is_left(&status.routes)).await;
            memstore.partitions().iter().any(|range| range.id == memstore::PartitionId(1))
        }
    }

    async fn stop(&mut self, name: &str) {
        let at = self.memstores.iter().position(|(one, _)| *one == name).expect("it runs");
        self.memstores.remove(at).1.shutdown().await;
    }

    /// What `mainstem partition …` prints, or complains of.
    async fn partition(&self, words: &[&str]) -> String {
        ask(self.frontend.summary().clients[0], words).await
    }

    async fn close(self) {
        self.frontend.shutdown().await;
        for (_, memstore) in self.memstores {
            memstore.shutdown().await;
        }
        self.journal.shutdown().await;
    }
}

fn frontend(peer: &str) -> Config {
    Config {
        roles: Roles { journal: false, memstore: false, frontend: true },
        name: "front".to_owned(),
        journal_endpoints: vec![peer.to_owned()],
        ..listening()
    }
}

fn memstore(name: &str, peer: &str) -> Config {
    let (socket, url) = free_address();
    Config {
        roles: Roles { journal: false, memstore: true, frontend: false },
        name: name.to_owned(),
        journal_endpoints: vec![peer.to_owned()],
        listen_memstore: vec![Address {
            url: url.clone(),
            socket: SocketAddress::Tcp(socket),
            secure: false,
        }],
        advertise_memstore: vec![url],
        ..Config::ephemeral()
    }
}

async fn ask(frontend: SocketAddr, words: &[&str]) -> String {
    let endpoints = format!("--endpoints=http://{frontend}");
    let words = ["partition"].iter().chain(words).copied().chain([&endpoints[..]]);
    let arguments = partition::Arguments::read(&words.map(str::to_owned).collect::<Vec<_>>());
    let run = move || {
        let mut out = Vec::new();
        match partition::run(&arguments, &mut out) {
            Ok(()) => String::from_utf8(out).expect("a text"),
            Err(failure) => failure.to_string(),
        }
    };
    tokio::task::spawn_blocking(run).await.expect("nothing panics")
}

/// The line of each partition, without how it is aligned.
fn lines(text: &str) -> Vec<String> {
    text.lines().skip(1).map(|line| line.split_whitespace().collect::<Vec<_>>().join(" ")).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_partition_moves_while_it_is_used() {
    let mut tiers = Tiers::start(&["a", "b"], 1).await;
    let client = tiers.frontend.client();
    for key in 0..200 {
        client.put(format!("{key}"), "v".repeat(10_000)).await.expect("somebody holds it");
    }
    let revision = client.put("k", "1").await.expect("somebody holds it");
    for (from, to) in [("a", "b"), ("b", "a"), ("a", "b")] {
        let serves = tokio::spawn(tiers.serves_when_left(from, to));
        let moved = tiers.partition(&["move", "1", "--from", from, "--to", to]).await;
        assert!(serves.await.expect("nothing panics"), "{from} was left before {to} served");
        assert_eq!(lines(&moved), [format!("partition 1 from \"\" to the end {to}")], "{moved}");
        let found = client.get("k").await.expect("somebody holds it").expect("it was put");
        assert_eq!((&found.value[..], found.mod_revision), (&b"1"[..], revision));
    }
    let refusal = tiers.partition(&["move", "1", "--from", "a", "--to", "b"]).await;
    assert_eq!(refusal, "memstore b has partition 1 already, and a does not: nothing is left to move");

    tiers.stop("a").await;
    let refusal = tiers.partition(&["move", "1", "--from", "b", "--to", "a"]).await;
    assert_eq!(refusal, "memstore a does not answer: start it first");
    assert_eq!(lines(&tiers.partition(&["list"]).await), ["partition 1 from \"\" to the end b"]);
    tiers.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_memstore_that_is_gone_for_good_is_forgotten() {
    let mut tiers = Tiers::start(&["a", "b"], 2).await;
    tiers.replicas(2).await;
    assert_eq!(tiers.partition(&["forget", "c"]).await, "there is no memstore \"c\", only a, b");
    assert_eq!(
        tiers.partition(&["forget", "b"]).await,
        "memstore b answers: stop it first, or it would register again"
    );
    tiers.stop("b").await;
    let forgotten = tiers.partition(&["forget", "b"]).await;
    assert_eq!(lines(&forgotten), ["partition 1 from \"\" to the end a"], "{forgotten}");
    tiers.stop("a").await;
    assert_eq!(
        tiers.partition(&["forget", "a"]).await,
        "memstore a alone holds partition 1: add another replica of it first"
    );
    tiers.close().await;
}

/// Nobody has asked for it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn partitions_get_the_replicas_that_are_wanted_and_no_more() {
    let tiers = Tiers::start(&["a", "b", "c"], 3).await;
    tiers.replicas(3).await;
    let content = Config { name: "content".to_owned(), replicas: 2, ..frontend(&tiers.peer) };
    tiers.frontend.shutdown().await;
    let content = Node::start(content).await.expect("it starts");
    let tiers = Tiers { frontend: content, ..tiers };
    tiers.replicas(2).await;
    tiers.frontend.client().put("k", "1").await.expect("somebody holds it");
    tiers.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_partition_that_grows_becomes_two() {
    let mut tiers = Tiers::start(&["a"], 1).await;
    let cuts = Config { name: "cuts".to_owned(), split_after_bytes: 300_000, ..frontend(&tiers.peer) };
    tiers.frontend.shutdown().await;
    tiers.frontend = Node::start(cuts).await.expect("it starts");
    let client = tiers.frontend.client();
    for key in 0..40 {
        client.put(format!("k{key:02}"), "v".repeat(10_000)).await.expect("somebody holds it");
    }
    let starts = tiers.routes(|routes| 1 < routes.partitions().len()).await;
    // It may have been cut before the last were put.
    assert!(starts.len() == 2 && "k10" < &starts[1][..] && &starts[1][..] <= "k20", "{starts:?}");
    for key in [0, 19, 20, 39] {
        let found = client.get(format!("k{key:02}")).await.expect("somebody holds it");
        assert_eq!(found.map(|found| found.value.len()), Some(10_000), "{key}");
    }
    tiers.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_frontend_with_a_memstore_of_its_own_says_whom_to_ask() {
    let tiers = Tiers::start(&["a", "b"], 1).await;
    let own = Config {
        roles: Roles { journal: false, memstore: true, frontend: true },
        name: "own".to_owned(),
        journal_endpoints: vec![tiers.peer.clone()],
        ..listening()
    };
    let own = Node::start(own).await.expect("it starts");
    for words in [&["move", "1", "--from", "a", "--to", "b"][..], &["forget", "a"]] {
        assert_eq!(
            ask(own.summary().clients[0], words).await,
            "this frontend answers from a memstore of its own and does not see the others: ask one that was started \
             as `mainstem frontend`"
        );
    }
    own.shutdown().await;
    tiers.close().await;
}
