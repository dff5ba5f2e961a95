//! Puts the inputs to start from where libFuzzer looks for them.

use std::{env, fs, path::Path};

/// Writes the seeds into the folder that FUZZ_SEEDS names, if it names one.
pub fn plant(seeds: &[Vec<u8>]) {
    let Some(folder) = env::var_os("FUZZ_SEEDS") else { return };
    for (index, seed) in seeds.iter().enumerate() {
        fs::write(Path::new(&folder).join(format!("seed-{index}")), seed).expect("the folder of FUZZ_SEEDS is there");
    }
}
