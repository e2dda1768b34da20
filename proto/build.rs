//! Compiles etcd's protocol with protox, so that no protoc is needed.

use std::error::Error;

fn main() -> Result<(), Box<dyn Error>> {
    let files = ["kv.proto", "auth.proto", "rpc.proto", "v3lock.proto", "v3election.proto"];
    println!("cargo:rerun-if-changed=etcd");
    let descriptors = protox::compile(files, ["etcd"])?;
    tonic_prost_build::configure()
        // Keys and values stay slices of what came from the socket.
        .bytes(".")
        .compile_fds(descriptors)?;
    Ok(())
}
