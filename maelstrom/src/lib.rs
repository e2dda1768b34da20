//! The same tiers under Jepsen's checkers.
