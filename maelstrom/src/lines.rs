//! Standard input and output: the only way in and out. Nobody else writes there: a line that is no message silences a
//! node for good.

use std::io::Write;

use tokio::io::{AsyncBufReadExt, BufReader, Lines, Stdin};
use tokio::sync::mpsc;

use crate::message::Message;

/// Messages on their way out. What may be lost is, when there are more.
const WAITING_MAX: usize = 4_096;

/// Says messages. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct Says {
    out: mpsc::Sender<Message>,
}

impl Says {
    /// Writes to `out` on a thread of its own: a pipe that nobody reads stops nothing else.
    pub(crate) fn start(mut out: impl Write + Send + 'static) -> Says {
        let (says, mut said) = mpsc::channel::<Message>(WAITING_MAX);
        std::thread::spawn(move || {
            while let Some(message) = said.blocking_recv() {
                let mut line = serde_json::to_vec(&message).expect("a message has only text keys");
                line.push(b'\n');
                // Nobody is left to be told of it.
                if out.write_all(&line).and_then(|()| out.flush()).is_err() {
                    return;
                }
            }
        });
        Says { out: says }
    }

    /// To another node, which is sent it again where it is lost.
    pub(crate) fn post(&self, message: Message) {
        // A full queue is a lossy network.
        drop(self.out.try_send(message));
    }

    /// To a client, which is sent it once.
    pub(crate) async fn answer(&self, message: Message) {
        // An error means that the process ends.
        drop(self.out.send(message).await);
    }
}

/// Hears messages.
pub(crate) struct Hears {
    lines: Lines<BufReader<Stdin>>,
}

impl Hears {
    pub(crate) fn start() -> Hears {
        Hears { lines: BufReader::new(tokio::io::stdin()).lines() }
    }

    /// The next one. `None`: nobody speaks any more.
    pub(crate) async fn next(&mut self) -> Option<Message> {
        loop {
            let line = self.lines.next_line().await.ok()??;
            match serde_json::from_str(&line) {
                Ok(message) => return Some(message),
                Err(error) => tracing::warn!(%error, "a line is no message: it is passed over"),
            }
        }
    }
}
