//! A connection between two nodes whose messages get lost, doubled and swapped.

use std::io::Write;
use std::sync::OnceLock;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::runtime::Handle;

use super::*;

#[test]
fn what_is_carried_is_read_back() {
    let chunk = Chunk { place: 7, bytes: vec![0, 255, 3].into(), ends: true };
    for carried in [Carried::Chunk(chunk), Carried::Upto(9), Carried::Gone] {
        assert_eq!(read(&write("a", 5, carried.clone())), Some(("a".to_owned(), 5, carried)));
    }
    assert_eq!(read(&body(json!({ "id": "a", "port": 70_000 }))), None);
    assert_eq!(read(&body(json!({ "id": "a", "port": 1, "place": 1, "bytes": "?", "ends": true }))), None);
}

/// Takes one node's lines to the other.
struct Wire {
    to: Arc<OnceLock<Messages>>,
    runtime: Handle,
    random: u64,
    held: Option<Message>,
}

impl Wire {
    fn draw(&mut self) -> u64 {
        self.random =
            self.random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        self.random >> 33
    }
}

impl Write for Wire {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        let message: Message = serde_json::from_slice(line).expect("only messages are written");
        let to = self.to.get().expect("both are there").clone();
        let _here = self.runtime.enter();
        match self.draw() % 20 {
            0 => {}
            1 => [&message, &message].into_iter().for_each(|message| to.hear(message)),
            2 if self.held.is_none() => self.held = Some(message),
            _ => {
                to.hear(&message);
                self.held.take().iter().for_each(|held| to.hear(held));
            }
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn two() -> [Messages; 2] {
    let ends: [Arc<OnceLock<Messages>>; 2] = Default::default();
    let node = |name: &str, to: &Arc<OnceLock<Messages>>, random| {
        let wire = Wire { to: to.clone(), runtime: Handle::current(), random, held: None };
        Messages::new(name, Says::start(wire))
    };
    let nodes = [node("a", &ends[1], 1), node("b", &ends[0], 2)];
    ends.iter().zip(&nodes).for_each(|(end, node)| end.set(node.clone()).expect("it is set once"));
    nodes
}

#[tokio::test]
async fn a_connection_carries_every_byte_both_ways() {
    let [dials, listens] = two();
    let echoes = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("there are ports");
    listens.listens(80, echoes.local_addr().expect("it is bound").port());
    tokio::spawn(async move {
        let (mut socket, _) = echoes.accept().await.expect("it is dialed");
        let (mut reads, mut writes) = socket.split();
        tokio::io::copy(&mut reads, &mut writes).await.expect("it is not cut off");
        writes.shutdown().await.expect("it is not cut off");
    });
    let connection = dials.connect("b", 80).await.expect("it begins at once");
    let (mut reads, mut writes) = tokio::io::split(connection);
    let sent: Vec<u8> = (0..600_000_u32).map(|number| number.to_le_bytes()[1]).collect();
    let mut came = Vec::new();
    let (written, read) = tokio::join!(
        async {
            writes.write_all(&sent).await?;
            writes.shutdown().await
        },
        reads.read_to_end(&mut came)
    );
    written.expect("it is not cut off");
    read.expect("it is not cut off");
    assert!(came == sent, "{} of {} bytes", came.len(), sent.len());
}

#[tokio::test]
async fn where_nobody_listens_a_connection_ends() {
    let [dials, listens] = two();
    let closed = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("there are ports");
    listens.listens(80, closed.local_addr().expect("it is bound").port());
    drop(closed);
    let mut connection = dials.connect("b", 80).await.expect("it begins at once");
    // It may end before all of it is taken.
    drop(connection.write_all(b"is anybody there?").await);
    let mut came = Vec::new();
    drop(connection.read_to_end(&mut came).await);
    assert!(came.is_empty());
}
