//! Which tiers a node runs, by its place among all nodes.
//!
//!     fewer than six     every node has all three tiers, and all of them vote
//!     six and more       n0 n1 n2 │ n3 n4  │ n5 …           or as it is told
//!                        journals │ stores │ frontends

use clap::Args;

/// How the nodes share the work.
#[derive(Args, Clone, Copy, Debug, Default)]
pub(crate) struct Split {
    /// How many nodes, from the first on, hold the journal. By default 3 of six and more.
    #[arg(long)]
    journals: Option<usize>,
    /// How many nodes behind them hold the keys. By default 2 of six and more. What is left are frontends.
    #[arg(long)]
    stores: Option<usize>,
}

/// The nodes by what they are for. Without memstores of their own, all nodes have everything.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Layout {
    pub(crate) journals: Vec<String>,
    pub(crate) memstores: Vec<String>,
    pub(crate) frontends: Vec<String>,
}

/// What one of them runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    All,
    Journal,
    Memstore,
    Frontend,
}

impl Split {
    /// # Errors
    /// Where somebody would be missing.
    pub(crate) fn of(self, nodes: &[String]) -> Result<Layout, String> {
        if nodes.len() < 6 && self.journals.is_none() && self.stores.is_none() {
            let all = || nodes.to_vec();
            return Ok(Layout { journals: all(), memstores: Vec::new(), frontends: all() });
        }
        let (journals, stores) = (self.journals.unwrap_or(3), self.stores.unwrap_or(2));
        if journals == 0 || stores == 0 || nodes.len() <= journals.saturating_add(stores) {
            return Err(format!(
                "{} nodes are too few for {journals} journals, {stores} memstores and a frontend, or there are none \
                 of one kind: change --node-count, --journals or --stores",
                nodes.len()
            ));
        }
        let (journals, others) = nodes.split_at(journals);
        let (memstores, frontends) = others.split_at(stores);
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
    }

    #[test]
    fn who_is_missing_is_told() {
        let told = Split { journals: Some(3), stores: Some(2) };
        assert!(layout(5, told).expect_err("no frontend").contains("change --node-count"));
    }
}
