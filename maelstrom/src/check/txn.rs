//! Transactions on keys: each act reads a key, or writes a value to it that nobody else writes there.

use std::fmt::{self, Display};

use super::{graph::Graph, history, realtime};

/// What a transaction does with one key.
pub trait Act: Clone + Display {
    /// As it is asked for: nothing is read yet.
    fn read(key: i64) -> Self;

    fn write(key: i64, value: i64) -> Self;

    fn key(&self) -> i64;

    /// `None`: it reads.
    fn written(&self) -> Option<i64>;
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Txn<A>(pub Vec<A>);

pub type Operation<A> = history::Operation<Txn<A>, Txn<A>>;

impl<A: Display> Display for Txn<A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (position, act) in self.0.iter().enumerate() {
            let between = if position == 0 { "" } else { ", " };
            write!(f, "{between}{act}")?;
        }
        Ok(())
    }
}

/// Draws which of these transactions, all of which took place, were over when others began.
pub(super) fn draw_real_time<A>(
    graph: &mut Graph,
    history: &[Operation<A>],
    committed: impl IntoIterator<Item = usize>,
) {
    let nodes: Vec<usize> = committed.into_iter().collect();
    let spans: Vec<_> = nodes.iter().map(|at| (history[*at].invoked, history[*at].answered())).collect();
    for (before, after) in realtime::edges(&spans) {
        graph.add_real_time(nodes[before], nodes[after]);
    }
}

#[cfg(test)]
pub(crate) mod planted {
    //! Transactions by hand.

    use std::time::Duration;

    use super::*;
    use crate::check::history::planted::ok;
    use crate::check::history::{Outcome, Phase};

    /// The acts of a text such as `w 1 2, r 1 2`, each read by `act` from its words.
    pub(crate) fn txn<A>(text: &str, act: impl Fn(&[&str]) -> A) -> Txn<A> {
        Txn(text.split(", ").map(|text| act(&text.split(' ').collect::<Vec<_>>())).collect())
    }

    /// What was asked for to be answered so.
    fn asked<A: Act>(answer: &Txn<A>) -> Txn<A> {
        let asked = |act: &A| act.written().map_or_else(|| A::read(act.key()), |_| act.clone());
        Txn(answer.0.iter().map(asked).collect())
    }

    /// A transaction that was answered so.
    pub(crate) fn did<A: Act>(client: u32, from: u64, to: u64, answer: Txn<A>) -> Operation<A> {
        ok(client, from, to, asked(&answer), answer)
    }

    /// Transactions that were done one after the other, each widened by its `slack` in front and behind.
    pub(crate) fn widened<A: Act>(done: Vec<Txn<A>>, slack: &[u64], unknown: &[bool]) -> Vec<Operation<A>> {
        let operation = |(place, answer): (usize, Txn<A>)| {
            let middle = 100 + 10 * place as u64;
            let (call, invoked) = (asked(&answer), Duration::from_secs(middle - slack[place]));
            let outcome = match unknown[place] {
                true => Outcome::Info { why: "no answer".to_owned() },
                false => Outcome::Ok { at: Duration::from_secs(middle + slack[place]), answer },
            };
            Operation { client: 1, call, invoked, outcome, phase: Phase::Main }
        };
        done.into_iter().enumerate().map(operation).collect()
    }
}
