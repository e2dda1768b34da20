//! Compiles etcd's protocol and the one between our tiers with protox, so that no protoc is needed.

use std::error::Error;
use std::path::PathBuf;

use prost::Message;

fn main() -> Result<(), Box<dyn Error>> {
    let etcd = ["kv.proto", "auth.proto", "rpc.proto", "v3lock.proto", "v3election.proto"];
    let tiers = ["raft.proto", "journal.proto", "memstore.proto", "snapshots.proto", "admin.proto"];
    println!("cargo:rerun-if-changed=etcd");
    println!("cargo:rerun-if-changed=mainstem");
    let descriptors = protox::compile(etcd.iter().chain(&tiers), ["etcd", "mainstem"])?;
    let out = PathBuf::from(std::env::var("OUT_DIR")?);
    std::fs::write(out.join("descriptors.bin"), descriptors.encode_to_vec())?;
    tonic_prost_build::configure()
        // Keys and values stay slices of what came from the socket.
        .bytes(".")
        .compile_fds(descriptors)?;
    Ok(())
}
