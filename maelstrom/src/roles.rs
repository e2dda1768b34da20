//! Which tiers a node runs, by its place among all nodes.
//!
//!     fewer than six     every node has all three tiers, and all of them vote
//!     six and more       n0 n1 n2 │ n3 n4  │ n5 …           or as it is told
//!                        journals │ stores │
//!                        frontends beside each of them, or with --tiers-apart on n5 … alone

use clap::Args;

/// How the nodes share the work.
#[derive(Args, Clone, Copy, Debug, Default)]
pub(crate) struct Split {
    /// Number of nodes, from the first on, that hold the journal. Default: 3 of six and more.
    #[arg(long)]
    journals: Option<usize>,
    /// Number of nodes after them that hold the keys. Default: 2 of six and more.
    #[arg(long)]
    stores: Option<usize>,
    /// Run frontends only on nodes without another tier; requests to the other nodes are forwarded to them. Default: a
    /// frontend on every node.
    #[arg(long)]
    tiers_apart: bool,
}

/// The nodes by what they are for. Without memstores of their own, all nodes have everything.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Layout {
    pub(crate) journals: Vec<String>,
    pub(crate) memstores: Vec<String>,
    /// Nodes that speak the API, whatever else they run.
    pub(crate) frontends: Vec<String>,
}

/// What one of them runs, beside a frontend or without.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    All,
    Journal,
    Memstore,
    Frontend,
}

impl Split {
    /// # Errors
    /// Where a tier would be missing.
    pub(crate) fn of(self, nodes: &[String]) -> Result<Layout, String> {
        if nodes.len() < 6 && self.journals.is_none() && self.stores.is_none() && !self.tiers_apart {
            let all = || nodes.to_vec();
            return Ok(Layout { journals: all(), memstores: Vec::new(), frontends: all() });
        }
        let (journals, stores) = (self.journals.unwrap_or(3), self.stores.unwrap_or(2));
        let needed = journals.saturating_add(stores).saturating_add(usize::from(self.tiers_apart));
        if journals == 0 || stores == 0 || nodes.len() < needed {
            return Err(format!(
                "{} nodes are too few for {journals} journals, {stores} memstores and a frontend, or there are none \
                 of one kind: change --node-count, --journals or --stores",
                nodes.len()
            ));
        }
        let (journals, others) = nodes.split_at(journals);
        let (memstores, rest) = others.split_at(stores);
        let frontends = if self.tiers_apart { rest } else { nodes };
        let [journals, memstores, frontends] = [journals, memstores, frontends].map(<[String]>::to_vec);
        Ok(Layout { journals, memstores, frontends })
    }
}

impl Layout {
    pub(crate) fn role(&self, node: &String) -> Role {
        match self {
            Layout { memstores, .. } if memstores.is_empty() => Role::All,
            Layout { journals, .. } if journals.contains(node) => Role::Journal,
            Layout { memstores, .. } if memstores.contains(node) => Role::Memstore,
            Layout { .. } => Role::Frontend,
        }
    }

    /// Whether the node speaks the API.
    pub(crate) fn is_frontend(&self, node: &String) -> bool {
        self.frontends.contains(node)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn layout(count: usize, split: Split) -> Result<Layout, String> {
        split.of(&(0..count).map(|number| format!("n{number}")).collect::<Vec<_>>())
    }

    #[test]
    fn every_number_of_nodes_has_everything() {
        for count in 1..12 {
            let layout = layout(count, Split::default()).expect("there are enough");
            assert!(!layout.journals.is_empty() && !layout.frontends.is_empty());
            let role = layout.role(&"n0".to_owned());
            assert_eq!(role, if count < 6 { Role::All } else { Role::Journal });
        }
    }

    #[test]
    fn roles_go_by_place() {
        let layout = layout(7, Split::default()).expect("there are enough");
        let roles = (0..7).map(|number| layout.role(&format!("n{number}"))).collect::<Vec<_>>();
        let [journal, memstore, frontend] = [Role::Journal, Role::Memstore, Role::Frontend];
        assert_eq!(roles, [journal, journal, journal, memstore, memstore, frontend, frontend]);
        assert_eq!(layout.frontends.len(), 7);
    }

    #[test]
    fn tiers_apart_have_frontends_of_their_own() {
        let layout = layout(7, Split { tiers_apart: true, ..Split::default() }).expect("there are enough");
        assert_eq!(layout.frontends, ["n5", "n6"]);
        assert!(!layout.is_frontend(&"n0".to_owned()) && layout.is_frontend(&"n6".to_owned()));
    }

    #[test]
    fn who_is_missing_is_told() {
        let told = Split { journals: Some(3), stores: Some(2), tiers_apart: true };
        assert!(layout(5, told).expect_err("no frontend").contains("change --node-count"));
    }
}
