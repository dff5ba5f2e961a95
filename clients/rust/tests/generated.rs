//! `src/gen` is what the proto says. `make gen` writes it anew; this test compares.

use std::{env, fs, path::Path};

const PROTOS: [&str; 3] = [
    "fuseboard/v1/breaker_service.proto",
    "fuseboard/v1/admin_service.proto",
    "fuseboard/testing/v1/clock_service.proto",
];

#[test]
fn the_generated_code_is_current() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"));
    let made = Path::new(env!("CARGO_TARGET_TMPDIR")).join("gen");
    fs::create_dir_all(&made).expect("a folder");
    let descriptors = protox::compile(PROTOS, [folder.join("../../proto")]).expect("the proto compiles");
    tonic_prost_build::configure()
        .build_server(false)
        .out_dir(&made)
        .compile_fds(descriptors)
        .expect("code is generated");
    for file in ["fuseboard.v1.rs", "fuseboard.testing.v1.rs"] {
        let current = fs::read_to_string(made.join(file)).expect("was made");
        let committed = folder.join("src/gen").join(file);
        if env::var_os("FUSEBOARD_GEN").is_some() {
            fs::create_dir_all(folder.join("src/gen")).expect("a folder");
            fs::write(&committed, &current).expect("is written");
        }
        let committed = fs::read_to_string(committed).unwrap_or_default();
        assert!(committed == current, "src/gen/{file} is not current: run make gen");
    }
}
