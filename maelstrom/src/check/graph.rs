//! Which transaction must have happened before which other, and why: Adya's dependency graph with real time.

use std::collections::{BTreeSet, VecDeque};

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Relation {
    /// Wrote the version before the other's.
    WriteWrite,
    /// Wrote what the other read.
    WriteRead,
    /// Read the version that the other replaced.
    ReadWrite,
    /// Was answered before the other was invoked.
    RealTime,
}

/// A set of relations.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Relations(u8);

impl Relations {
    pub const WRITES: Self = Self(0b0001);
    pub const READS: Self = Self(0b0010);
    pub const ANTI: Self = Self(0b0100);
    pub const TIME: Self = Self(0b1000);

    pub const fn and(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    pub fn holds(self, relation: Relation) -> bool {
        let one = match relation {
            Relation::WriteWrite => Self::WRITES,
            Relation::WriteRead => Self::READS,
            Relation::ReadWrite => Self::ANTI,
            Relation::RealTime => Self::TIME,
        };
        self.0 & one.0 != 0
    }
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Edge {
    pub to: usize,
    pub relation: Relation,
    /// The versions concerned, in words; none in real time.
    pub key: Option<i64>,
    pub versions: (Option<i64>, Option<i64>),
}

/// Nodes are the positions of transactions in a history.
#[derive(Clone, Debug, Default)]
pub struct Graph {
    edges: Vec<BTreeSet<Edge>>,
}

/// A step of a cycle: from a node by an edge.
pub type Step<'a> = (usize, &'a Edge);

impl Graph {
    pub fn with_nodes(count: usize) -> Self {
        Self { edges: vec![BTreeSet::new(); count] }
    }

    /// A transaction depends on itself in no interesting way.
    pub fn add(&mut self, from: usize, edge: Edge) {
        if from != edge.to {
            self.edges[from].insert(edge);
        }
    }

    pub fn add_real_time(&mut self, from: usize, to: usize) {
        self.add(from, Edge { to, relation: Relation::RealTime, key: None, versions: (None, None) });
    }

    pub fn edges_of(&self, node: usize) -> impl Iterator<Item = &Edge> {
        self.edges[node].iter()
    }

    /// The sets of more than one node in which each is reached from each, by these relations and inside of `among`.
    pub fn components(&self, relations: Relations, among: impl Fn(usize) -> bool) -> Vec<Vec<usize>> {
        let mut search = Tarjan::new(self.edges.len());
        for node in (0..self.edges.len()).filter(|node| among(*node)) {
            let next = |node: usize| -> Vec<usize> {
                let allowed =
                    self.edges[node].iter().filter(|edge| relations.holds(edge.relation) && among(edge.to));
                allowed.map(|edge| edge.to).collect()
            };
            search.visit(node, &next);
        }
        search.components
    }

    /// The shortest way from one node to another, which may be itself.
    pub fn path(
        &self,
        from: usize,
        to: usize,
        relations: Relations,
        among: impl Fn(usize) -> bool,
    ) -> Option<Vec<Step<'_>>> {
        let mut came: Vec<Option<Step<'_>>> = vec![None; self.edges.len()];
        let mut waiting = VecDeque::from([from]);
        while let Some(node) = waiting.pop_front() {
            let allowed =
                self.edges[node].iter().filter(|edge| relations.holds(edge.relation) && among(edge.to));
            for edge in allowed {
                if came[edge.to].is_some() {
                    continue;
                }
                came[edge.to] = Some((node, edge));
                if edge.to == to {
                    return Some(way_back(&came, from, to));
                }
                waiting.push_back(edge.to);
            }
        }
        None
    }
}

fn way_back<'a>(came: &[Option<Step<'a>>], from: usize, to: usize) -> Vec<Step<'a>> {
    let mut steps = Vec::new();
    let mut at = to;
    loop {
        let step = came[at].expect("each node on the way was come to");
        steps.push(step);
        at = step.0;
        if at == from {
            steps.reverse();
            return steps;
        }
    }
}

/// Tarjan's algorithm with a stack of its own: a history is deeper than a thread's.
struct Tarjan {
    counter: usize,
    index: Vec<Option<usize>>,
    low: Vec<usize>,
    on_stack: Vec<bool>,
    stack: Vec<usize>,
    components: Vec<Vec<usize>>,
}

impl Tarjan {
    fn new(nodes: usize) -> Self {
        Self {
            counter: 0,
            index: vec![None; nodes],
            low: vec![0; nodes],
            on_stack: vec![false; nodes],
            stack: Vec::new(),
            components: Vec::new(),
        }
    }

    fn visit(&mut self, root: usize, next: &impl Fn(usize) -> Vec<usize>) {
        if self.index[root].is_some() {
            return;
        }
        let mut calls = vec![(root, self.enter(root, next))];
        while let Some((node, successors)) = calls.last_mut() {
            let node = *node;
            match successors.pop() {
                Some(to) if self.index[to].is_none() => {
                    let entered = self.enter(to, next);
                    calls.push((to, entered));
                }
                Some(to) if self.on_stack[to] => {
                    self.low[node] = self.low[node].min(self.index[to].expect("it is on the stack"));
                }
                Some(_) => {}
                None => {
                    calls.pop();
                    if let Some((parent, _)) = calls.last() {
                        self.low[*parent] = self.low[*parent].min(self.low[node]);
                    }
                    self.leave(node);
                }
            }
        }
    }

    fn enter(&mut self, node: usize, next: &impl Fn(usize) -> Vec<usize>) -> Vec<usize> {
        self.index[node] = Some(self.counter);
        self.low[node] = self.counter;
        self.counter += 1;
        self.stack.push(node);
        self.on_stack[node] = true;
        next(node)
    }

    fn leave(&mut self, node: usize) {
        if self.index[node] != Some(self.low[node]) {
            return;
        }
        let first =
            self.stack.iter().rposition(|other| *other == node).expect("a node leaves after it entered");
        let component = self.stack.split_off(first);
        for member in &component {
            self.on_stack[*member] = false;
        }
        if component.len() > 1 {
            self.components.push(component);
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const ALL: Relations = Relations::WRITES.and(Relations::READS).and(Relations::ANTI).and(Relations::TIME);

    fn graph(nodes: usize, edges: &[(usize, usize)]) -> Graph {
        let mut graph = Graph::with_nodes(nodes);
        edges.iter().for_each(|(from, to)| graph.add_real_time(*from, *to));
        graph
    }

    proptest! {
        #[test]
        fn two_nodes_share_a_component_if_each_is_reached_from_the_other(
            edges in proptest::collection::vec((0..7_usize, 0..7_usize), 0..16)
        ) {
            let graph = graph(7, &edges);
            let components = graph.components(ALL, |_| true);
            for a in 0..7 {
                for b in (0..7).filter(|b| *b != a) {
                    let shared = components.iter().any(|found| found.contains(&a) && found.contains(&b));
                    let both = graph.path(a, b, ALL, |_| true).is_some() && graph.path(b, a, ALL, |_| true).is_some();
                    prop_assert_eq!(shared, both);
                }
            }
        }
    }

    #[test]
    fn a_way_is_the_shortest_and_names_its_steps() {
        let graph = graph(5, &[(0, 1), (1, 2), (2, 3), (0, 4), (4, 3), (3, 0)]);
        let nodes = |steps: Vec<Step<'_>>| steps.iter().map(|step| step.0).collect::<Vec<_>>();
        assert_eq!(graph.path(0, 3, ALL, |_| true).map(nodes), Some(vec![0, 4]));
        assert_eq!(graph.path(0, 0, ALL, |node| node != 4).map(nodes), Some(vec![0, 1, 2, 3]));
        assert_eq!(graph.path(0, 3, Relations::WRITES, |_| true).map(nodes), None);
    }
}
