//! Whatever a network does to the messages: the bytes come out as they went in, and it comes to an end.

use proptest::prelude::*;

use super::*;

/// What happens to the next message, of whichever side.
#[derive(Clone, Copy, Debug)]
enum Fate {
    Arrives,
    Lost,
    Twice,
    /// After so many others.
    Late(usize),
}

fn fates() -> impl Strategy<Value = Vec<Fate>> {
    let fate = prop_oneof![
        6 => Just(Fate::Arrives),
        2 => Just(Fate::Lost),
        1 => Just(Fate::Twice),
        2 => (1_usize..6).prop_map(Fate::Late),
    ];
    proptest::collection::vec(fate, 0..200)
}

enum Message {
    Data(Chunk),
    Upto(u64),
}

struct Link {
    outgoing: Outgoing,
    incoming: Incoming,
    on_the_way: Vec<Message>,
    fates: std::vec::IntoIter<Fate>,
    received: Vec<u8>,
    ended: bool,
}

impl Link {
    fn post(&mut self, message: Message) {
        let copy = || match &message {
            Message::Data(chunk) => Message::Data(chunk.clone()),
            Message::Upto(upto) => Message::Upto(*upto),
        };
        match self.fates.next().unwrap_or(Fate::Arrives) {
            Fate::Lost => {}
            Fate::Arrives => self.on_the_way.push(message),
            Fate::Twice => {
                self.on_the_way.push(copy());
                self.on_the_way.push(message);
            }
            Fate::Late(others) => {
                let place = self.on_the_way.len().saturating_sub(others);
                self.on_the_way.insert(place, message);
            }
        }
    }

    fn step(&mut self, now: Duration) {
        for chunk in self.outgoing.send(now) {
            self.post(Message::Data(chunk));
        }
        for message in std::mem::take(&mut self.on_the_way) {
            match message {
                Message::Upto(upto) => self.outgoing.acknowledge(upto, now),
                Message::Data(chunk) => {
                    let arrived = self.incoming.take(chunk);
                    assert!(!self.ended || arrived == Arrived::default(), "nothing comes behind the end");
                    self.ended |= arrived.ends;
                    arrived.bytes.iter().for_each(|bytes| self.received.extend_from_slice(bytes));
                    self.post(Message::Upto(self.incoming.upto()));
                }
            }
        }
    }
}

proptest! {
    #[test]
    fn what_goes_in_comes_out(
        pieces in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..2_000), 0..20),
        repeats in 1_usize..60,
        fates in fates(),
    ) {
        let mut link = Link {
            outgoing: Outgoing::default(),
            incoming: Incoming::default(),
            on_the_way: Vec::new(),
            fates: fates.into_iter(),
            received: Vec::new(),
            ended: false,
        };
        let (mut now, mut sent) = (Duration::ZERO, Vec::new());
        for piece in pieces {
            let piece = piece.repeat(repeats);
            let given = &piece[..piece.len().min(link.outgoing.room())];
            link.outgoing.give(given);
            sent.extend_from_slice(given);
            link.step(now);
            now += Duration::from_millis(7);
        }
        link.outgoing.close();
        // Each fate that is not good costs one repetition at the most.
        for _ in 0..1_000 {
            link.step(now);
            if link.outgoing.is_done() {
                break;
            }
            now = link.outgoing.due().unwrap_or(now).max(now + Duration::from_millis(1));
        }
        prop_assert!(link.outgoing.is_done() && link.ended);
        prop_assert!(link.received == sent);
    }
}

#[test]
fn what_is_lost_is_sent_again_later_and_later() {
    let mut outgoing = Outgoing::default();
    outgoing.give(b"a");
    assert_eq!(outgoing.send(Duration::ZERO).len(), 1);
    assert_eq!(outgoing.due(), Some(AGAIN_FIRST));
    assert!(outgoing.send(AGAIN_FIRST - Duration::from_millis(1)).is_empty());
    assert_eq!(outgoing.send(AGAIN_FIRST)[0].bytes, "a");
    assert_eq!(outgoing.due(), Some(AGAIN_FIRST * 3));
    outgoing.acknowledge(1, AGAIN_FIRST * 2);
    assert_eq!(outgoing.due(), None);
}

#[test]
fn who_sends_more_than_the_window_is_not_believed() {
    let mut incoming = Incoming::default();
    let chunk = Chunk { place: WINDOW_BYTES as u64, bytes: "x".into(), ends: false };
    assert_eq!(incoming.take(chunk), Arrived::default());
    assert!(incoming.early.is_empty());
}
