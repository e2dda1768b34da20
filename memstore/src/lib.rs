//! The state: partitions of the keyspace in memory, built from the journal.
