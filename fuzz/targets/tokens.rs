#![no_main]

mod plant;

libfuzzer_sys::fuzz_target!(
    init: plant::plant(&fuseboard_fuzz::tokens::seeds()),
    |data: &[u8]| fuseboard_fuzz::tokens::run(data)
);
