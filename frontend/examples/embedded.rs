//! A store inside a program: `cargo run -p frontend --example embedded`.
//!
//! Everything a client can do over gRPC can be done here without a socket: put, get, a transaction, a watch, a lease.

use std::error::Error;
use std::io::Write;

use frontend::operation::{Compare, Op, Put, Relation, Subject, Txn};
use frontend::{Config, EventKind, KeyRange, Node};

// One thread is enough here. The store brings threads of its own for the journal and for its state.
#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    tour(&mut std::io::stdout()).await
}

async fn tour(out: &mut impl Write) -> Result<(), Box<dyn Error>> {
    // Without disk and without sockets. `Config::in_directory("my.data")` keeps what is written, and with
    // addresses in `listen_client` etcd's clients are served beside this one.
    let node = Node::start(Config::ephemeral()).await?;
    let client = node.client();

    // A watch tells of everything from its creation on. It holds nothing until it is read.
    let fruit = KeyRange::Range { start: "fruit/".into(), end: "fruit0".into() };
    let mut watch = client.watch(fruit.clone(), None);

    // Each write makes a new revision of the whole store.
    client.put("fruit/apple", "3").await?;
    let revision = client.put("fruit/pear", "5").await?;
    writeln!(out, "at revision {}:", revision.0)?;
    for kv in client.range(fruit.clone()).await?.kvs {
        writeln!(out, "  {} = {}", text(&kv.key), text(&kv.value))?;
    }

    // Take an apple, but only if nobody has changed their number since it was read.
    let apples = client.get("fruit/apple").await?.ok_or("it was put just now")?;
    let unchanged = Compare {
        keys: KeyRange::Single(apples.key.clone()),
        subject: Subject::Mod(apples.mod_revision.to_wire()),
        relation: Relation::Equal,
    };
    let take = Op::Put(Put::new(apples.key, "2"));
    let txn = Txn { compares: vec![unchanged], success: vec![take], failure: Vec::new() };
    writeln!(out, "the first taker gets one: {}", client.txn(&txn).await?.succeeded)?;
    writeln!(out, "the second one does not: {}", !client.txn(&txn).await?.succeeded)?;

    // Keys under a lease go when it ends: because its time is over, or as here, because it is revoked.
    let granted = client.grant(60).await?;
    client.put_with(Put { lease: granted.lease, ..Put::new("fruit/melon", "1") }).await?;
    client.keep_alive(granted.lease).await?;
    client.revoke(granted.lease).await?;

    // All of it was seen, in order. A call of `next` brings whole revisions.
    writeln!(out, "what happened:")?;
    let mut left = 5;
    while left > 0 {
        for event in watch.next().await? {
            let (revision, key) = (event.revision.0, text(&event.kv.key));
            match event.kind {
                EventKind::Put => writeln!(out, "  {revision}: {key} = {}", text(&event.kv.value))?,
                EventKind::Delete => writeln!(out, "  {revision}: {key} is gone")?,
            }
            left -= 1;
        }
    }

    // In order, and only when everything that was acknowledged is safe.
    node.shutdown().await;
    Ok(())
}

fn text(bytes: &[u8]) -> std::borrow::Cow<'_, str> {
    String::from_utf8_lossy(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    const EXPECTED: &str = "\
at revision 3:
  fruit/apple = 3
  fruit/pear = 5
the first taker gets one: true
the second one does not: true
what happened:
  2: fruit/apple = 3
  3: fruit/pear = 5
  4: fruit/apple = 2
  5: fruit/melon = 1
  6: fruit/melon is gone
";

    #[tokio::test]
    async fn the_tour_ends_well() {
        let mut out = Vec::new();
        tour(&mut out).await.expect("nothing stands in its way");
        assert_eq!(text(&out), EXPECTED);
    }
}
