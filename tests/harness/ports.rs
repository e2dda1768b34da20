//! Ports for programs that are started with one. No two answers are the same, and no connection takes one away: the
//! system gives outgoing connections others.

use std::net::{Ipv4Addr, TcpListener};
use std::ops::Range;
use std::sync::atomic::{AtomicU32, Ordering};

use anyhow::{Context, Result};

/// Below what Linux gives to whoever asks for any port (`ip_local_port_range` begins at 32,768).
const PORTS: Range<u32> = 15_000..32_000;

/// How many ports a process has asked for.
static ASKED: AtomicU32 = AtomicU32::new(0);

/// A port of the loopback that nothing listens on. It is given once in this process; other test programs begin
/// elsewhere, each by its number.
///
/// # Errors
/// When all are taken.
pub fn free_port() -> Result<u16> {
    let count = PORTS.end - PORTS.start;
    let first = std::process::id().wrapping_mul(997);
    let mut tried = (0..count).map(|_| {
        let at = first.wrapping_add(ASKED.fetch_add(1, Ordering::Relaxed));
        u16::try_from(PORTS.start + at % count).expect("a port is below 65,536")
    });
    tried
        .find(|port| TcpListener::bind((Ipv4Addr::LOCALHOST, *port)).is_ok())
        .with_context(|| format!("programs listen on all ports of {PORTS:?}: end some"))
}
