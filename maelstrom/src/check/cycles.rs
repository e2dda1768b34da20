//! Cycles among transactions, and what the literature calls them.
//!
//!     G0        writes only                   G-single   one transaction read what another replaced
//!     G1c       writes and reads of them      G2-item    two or more did
//!
//! `-realtime` behind it: the cycle needs that an answer was given before another call. Each strongly connected component
//! is told once, by the simplest cycle in it.

use super::Anomaly;
use super::graph::{Graph, Relation, Relations, Step};

const INFORMED: Relations = Relations::WRITES.and(Relations::READS);

/// Of a component that is one big knot not every read is tried as the only one that was overtaken.
const ANTI_TRIED_MAX: usize = 2_000;

/// `describe` tells a transaction, by its number in the graph.
pub fn anomalies(graph: &Graph, describe: impl Fn(usize) -> String) -> Vec<Anomaly> {
    let everything = INFORMED.and(Relations::ANTI).and(Relations::TIME);
    let mut found = Vec::new();
    for component in graph.components(everything, |_| true) {
        let among = Members::of(&component);
        let cycle = simplest(graph, &component, &among).expect("a component of several nodes has a cycle");
        found.push(told(&cycle, component.len(), &describe));
    }
    found
}

struct Members(Vec<usize>);

impl Members {
    fn of(component: &[usize]) -> Self {
        let mut sorted = component.to_vec();
        sorted.sort_unstable();
        Self(sorted)
    }

    fn hold(&self, node: usize) -> bool {
        self.0.binary_search(&node).is_ok()
    }
}

fn simplest<'a>(graph: &'a Graph, component: &[usize], among: &Members) -> Option<Vec<Step<'a>>> {
    [Relations::WRITES, Relations::WRITES.and(Relations::TIME)]
        .into_iter()
        .flat_map(|writes| {
            let informed = writes.and(Relations::READS);
            [(writes, false), (informed, false), (informed, true), (informed.and(Relations::ANTI), false)]
        })
        .find_map(|(relations, one_anti)| {
            if one_anti { single(graph, component, among, relations) } else { any(graph, among, relations) }
        })
}

fn any<'a>(graph: &'a Graph, among: &Members, relations: Relations) -> Option<Vec<Step<'a>>> {
    let knots = graph.components(relations, |node| among.hold(node));
    let knot = Members::of(knots.first()?);
    let starts = knot.0.iter().take(100);
    starts
        .filter_map(|start| graph.path(*start, *start, relations, |node| knot.hold(node)))
        .min_by_key(Vec::len)
}

/// One overtaken read, closed by these relations.
fn single<'a>(
    graph: &'a Graph,
    component: &[usize],
    among: &Members,
    relations: Relations,
) -> Option<Vec<Step<'a>>> {
    let edges = component.iter().flat_map(|node| graph.edges_of(*node).map(move |edge| (*node, edge)));
    let anti = edges.filter(|(_, edge)| edge.relation == Relation::ReadWrite && among.hold(edge.to));
    anti.take(ANTI_TRIED_MAX)
        .filter_map(|(node, edge)| {
            let mut cycle = vec![(node, edge)];
            cycle.extend(graph.path(edge.to, node, relations, |node| among.hold(node))?);
            Some(cycle)
        })
        .min_by_key(Vec::len)
}

fn told(cycle: &[Step<'_>], component: usize, describe: &impl Fn(usize) -> String) -> Anomaly {
    let mut story: Vec<String> = cycle
        .iter()
        .enumerate()
        .map(|(number, (node, _))| format!("T{} = {}", number + 1, describe(*node)))
        .collect();
    for (number, (_, edge)) in cycle.iter().enumerate() {
        let next = (number + 1) % cycle.len() + 1;
        story.push(format!("T{} is before T{next}: {}", number + 1, reason(edge)));
    }
    if component > cycle.len() {
        story.push(format!("{component} transactions are entangled in such cycles; this is a short one"));
    }
    Anomaly { name: name(cycle), story }
}

fn name(cycle: &[Step<'_>]) -> String {
    let count = |relation| cycle.iter().filter(|(_, edge)| edge.relation == relation).count();
    let class = match (count(Relation::ReadWrite), count(Relation::WriteRead)) {
        (0, 0) => "G0",
        (0, _) => "G1c",
        (1, _) => "G-single",
        _ => "G2-item",
    };
    let time = if count(Relation::RealTime) > 0 { "-realtime" } else { "" };
    let keys: Vec<_> = cycle.iter().map(|(_, edge)| edge.key).collect();
    let same_key = keys.iter().all(|key| key.is_some() && *key == keys[0]);
    // Both saw the same version, and both put theirs after it.
    let lost =
        cycle.len() == 2 && same_key && count(Relation::ReadWrite) > 0 && count(Relation::WriteRead) == 0;
    format!("{class}{time}{}", if lost { " (lost update)" } else { "" })
}

fn reason(edge: &super::graph::Edge) -> String {
    let key = edge.key.unwrap_or_default();
    let version = |value: Option<i64>| value.map_or_else(|| "nothing".to_owned(), |value| value.to_string());
    let (before, after) = (version(edge.versions.0), version(edge.versions.1));
    match edge.relation {
        Relation::WriteWrite => {
            format!("of key {key} it wrote {before}, which the other followed with {after} (ww)")
        }
        Relation::WriteRead => format!("of key {key} it wrote {before}, which the other read (wr)"),
        Relation::ReadWrite => {
            format!("of key {key} it read {before}, which the other replaced with {after} (rw)")
        }
        Relation::RealTime => "it was answered before the other was invoked (real time)".to_owned(),
    }
}
