//! What there is to know of one setting: its flag, its kind, its default, and what becomes of it here.

/// How a value is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Text,
    Bool,
    /// A number that is not negative.
    Count,
    /// A number.
    Number,
    /// Go's way: 1h30m, 250ms.
    Duration,
    /// `scheme://host:port` or `unix://path`, separated by commas.
    Urls,
    /// Those that other members and processes connect to, over the network.
    PeerUrls,
    /// `Name=true`, separated by commas.
    FeatureGates,
}

/// What a setting does in this release.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Effect {
    /// What it does in etcd.
    Honoured,
    /// It asks for what is done in any case.
    Always,
    /// Nothing, and nothing need be done: a warning says so where it is set.
    None,
    /// It asks for something that this release cannot do, and doing without would not be what was asked for. Any
    /// value but the default is refused, with this as the reason.
    Later(&'static str),
}

/// Whose setting it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Owner {
    Etcd,
    Mainstem,
}

#[derive(Debug)]
pub(super) struct Setting {
    pub(super) name: &'static str,
    pub(super) kind: Kind,
    pub(super) default: &'static str,
    pub(super) effect: Effect,
    pub(super) owner: Owner,
    pub(super) help: &'static str,
}

impl Setting {
    /// The environment variable that sets it.
    #[cfg(test)]
    pub(super) fn variable(&self) -> String {
        self.owner.variable(self.name)
    }
}

impl Owner {
    /// The environment variable of a setting by this name.
    pub(super) fn variable(self, name: &str) -> String {
        let prefix = match self {
            Owner::Etcd => "ETCD_",
            Owner::Mainstem => "MAINSTEM_",
        };
        format!("{prefix}{}", name.to_uppercase().replace('-', "_"))
    }
}
