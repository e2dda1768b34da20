//! `mainstem partition …`: what an operator types.

use std::io::Write;
use std::time::Duration;

use clap::{Parser, Subcommand};
use proto::admin::admin_client::AdminClient;
use proto::admin::{
    ForgetRequest, MergeRequest, MoveRequest, Partition, Partitions, PartitionsRequest, SplitRequest,
};
use tonic::Response;

use super::Failure;
use super::reach::{self, Reach};

/// Tells which partitions there are, and changes that while the store is in use.
#[derive(Debug, Parser)]
#[command(name = "partition", bin_name = "mainstem partition")]
pub struct Arguments {
    #[command(flatten)]
    reach: Reach,
    /// How many seconds each may take; by default 10, and 3600 to move a partition.
    #[arg(long, global = true)]
    timeout: Option<u64>,
    #[command(subcommand)]
    wish: Wish,
}

#[derive(Clone, Debug, Subcommand)]
enum Wish {
    /// Show the partitions and who should hold them.
    List,
    /// Make two partitions of the one that has the key. The second begins with it.
    Split { key: String },
    /// Make one partition of this one, by its number, and the next.
    Merge { partition: u64 },
    /// Let another memstore hold the partition. It is done when that one serves, and goes on when it is asked again.
    Move {
        partition: u64,
        /// The name of a memstore that holds it.
        #[arg(long)]
        from: String,
        /// The name of one that does not.
        #[arg(long)]
        to: String,
    },
    /// Take a memstore that is gone for good out of the routes, by its name.
    Forget { name: String },
}

impl Arguments {
    /// From a command line that begins with the word "partition".
    #[must_use]
    pub fn read(arguments: &[String]) -> Arguments {
        Arguments::parse_from(arguments)
    }

    fn patience(&self) -> Duration {
        let suited = if matches!(self.wish, Wish::Move { .. }) { 3_600 } else { 10 };
        Duration::from_secs(self.timeout.unwrap_or(suited))
    }
}

/// Does what was asked for.
///
/// # Errors
/// Why not, for a person.
pub fn run(arguments: &Arguments, out: &mut impl Write) -> Result<(), Failure> {
    reach::tell(out, async { ask(arguments).await.map(|partitions| text(&partitions)) })
}

async fn ask(arguments: &Arguments) -> Result<Partitions, Failure> {
    let asked = async |channel| {
        let mut admin = AdminClient::new(channel);
        match arguments.wish.clone() {
            Wish::List => admin.list(PartitionsRequest {}).await,
            Wish::Split { key } => admin.split(SplitRequest { key: key.into() }).await,
            Wish::Merge { partition } => admin.merge(MergeRequest { partition }).await,
            Wish::Move { partition, from, to } => admin.r#move(MoveRequest { partition, from, to }).await,
            Wish::Forget { name } => admin.forget(ForgetRequest { memstore: name }).await,
        }
    };
    arguments.reach.ask(arguments.patience(), asked).await.map(Response::into_inner)
}

fn text(partitions: &Partitions) -> String {
    if partitions.version == 0 {
        return "Nobody has changed the partitions: they are those of --split-keys. `mainstem partition split KEY` \
                begins.\n"
            .to_owned();
    }
    let mut text = format!("routes, version {}\n", partitions.version);
    for partition in &partitions.partitions {
        let start = partition.start.escape_ascii();
        let end = partition.end.as_ref().map(|end| format!("{:?}", end.escape_ascii().to_string()));
        let replicas = match partition.replicas.as_slice() {
            [] => "every frontend's own memstore".to_owned(),
            names => {
                names.iter().map(|name| held(partitions, partition, name)).collect::<Vec<_>>().join(", ")
            }
        };
        let end = end.unwrap_or_else(|| "the end".to_owned());
        text += &format!("  partition {:<4} from \"{start}\" to {end}   {replicas}\n", partition.id);
    }
    text
}

/// A replica, and what keeps it from serving.
fn held(partitions: &Partitions, partition: &Partition, name: &str) -> String {
    let memstore = partitions.memstores.iter().find(|memstore| memstore.name == name);
    match memstore.and_then(|memstore| memstore.is_up) {
        Some(false) => format!("{name} (does not answer)"),
        Some(true) if !partition.serving.iter().any(|serving| serving == name) => {
            format!("{name} (not yet)")
        }
        Some(true) | None => name.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use expect_test::expect;
    use proto::admin::Memstore;

    #[test]
    fn the_key_to_split_at_is_not_that_of_a_certificate() {
        let words = ["partition", "split", "m", "--cert", "a.pem", "--key", "a.key"].map(str::to_owned);
        let Arguments { wish, .. } = Arguments::read(&words);
        assert!(matches!(wish, Wish::Split { key } if key == "m"));
    }

    #[test]
    fn partitions_are_told_by_their_keys() {
        let partition = |id, start: &'static str, end: Option<&'static str>| Partition {
            id,
            start: start.into(),
            end: end.map(Into::into),
            ..Partition::default()
        };
        let partitions = Partitions {
            version: 2,
            partitions: vec![partition(3, "", Some("m\u{0}")), partition(4, "m\u{0}", None)],
            memstores: Vec::new(),
        };
        expect![[r#"
            routes, version 2
              partition 3    from "" to "m\\x00"   every frontend's own memstore
              partition 4    from "m\x00" to the end   every frontend's own memstore
        "#]]
        .assert_eq(&text(&partitions));
    }

    #[test]
    fn a_replica_that_does_not_serve_says_why() {
        let memstore = |name: &str, is_up| Memstore { name: name.to_owned(), is_up, ..Memstore::default() };
        let names = |names: &[&str]| names.iter().copied().map(str::to_owned).collect();
        let replicas = names(&["a", "b", "c", "d"]);
        let partition = Partition { id: 3, replicas, serving: names(&["a"]), ..Partition::default() };
        let partitions = Partitions {
            version: 2,
            partitions: vec![partition],
            memstores: vec![memstore("a", Some(true)), memstore("b", Some(true)), memstore("c", Some(false))],
        };
        expect![[r#"
            routes, version 2
              partition 3    from "" to the end   a, b (not yet), c (does not answer), d
        "#]]
        .assert_eq(&text(&partitions));
    }
}
