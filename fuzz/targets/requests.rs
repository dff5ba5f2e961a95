#![no_main]

mod plant;

libfuzzer_sys::fuzz_target!(
    init: plant::plant(&fuseboard_fuzz::requests::seeds()),
    |data: &[u8]| fuseboard_fuzz::requests::run(data)
);
