//! The `fuseboard` command. All of it is in [`fuseboard::cli`].

use std::{env, process::ExitCode};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    fuseboard::cli::run(env::args_os())
}
