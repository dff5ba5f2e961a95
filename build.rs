//! Compiles `proto/` with protox, so that a build needs no protoc.

use std::{env, fs, path::PathBuf};

use prost::Message as _;

const PROTOS: [&str; 3] = [
    "fuseboard/v1/breaker_service.proto",
    "fuseboard/v1/admin_service.proto",
    "fuseboard/testing/v1/clock_service.proto",
];

fn main() -> Result<(), Box<dyn std::error::Error>> {
    println!("cargo::rerun-if-changed=proto");
    let descriptors = protox::compile(PROTOS, ["proto"])?;
    let out_dir = PathBuf::from(env::var("OUT_DIR")?);
    fs::write(out_dir.join("fuseboard.bin"), descriptors.encode_to_vec())?;
    tonic_prost_build::configure()
        .bytes(".fuseboard.v1.SessionReport.permit")
        .bytes(".fuseboard.v1.SessionAcquired.permit")
        .compile_fds(descriptors)?;
    Ok(())
}
