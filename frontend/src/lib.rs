//! The API: etcd in front, the three tiers behind, in one process or in many.
