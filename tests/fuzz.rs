//! The fuzz targets for a moment, on inputs that are the same each time: those that `make fuzz` starts from, and changes
//! of them.

#[path = "../fuzz/src/lib.rs"]
#[allow(missing_docs, unreachable_pub, reason = "a crate of its own, and here a part of this test")]
mod targets;

use rand::{Rng as _, SeedableRng as _, rngs::StdRng};
use targets::{requests, tokens};

#[test]
fn no_token_breaks_its_reader() {
    changes_of(&tokens::seeds(), 20_000, tokens::run);
}

#[test]
fn no_run_of_requests_breaks_the_engine() {
    changes_of(&requests::seeds(), 2_000, requests::run);
}

fn changes_of(seeds: &[Vec<u8>], changes: usize, target: fn(&[u8])) {
    seeds.iter().for_each(|seed| target(seed));
    let mut random = StdRng::seed_from_u64(1);
    for _ in 0..changes {
        let one = &seeds[random.random_range(..seeds.len())];
        let other = &seeds[random.random_range(..seeds.len())];
        let mut input = one.clone();
        for _ in 0..random.random_range(1..8) {
            change(&mut input, other, &mut random);
        }
        target(&input);
    }
}

fn change(input: &mut Vec<u8>, other: &[u8], random: &mut StdRng) {
    let interesting = [0, 1, 0x7f, 0x80, 0xff, b'#', random.random()];
    let at = random.random_range(..=input.len());
    let to = random.random_range(at..=input.len()).min(at + 32);
    let from = random.random_range(..=other.len());
    match random.random_range(0..5) {
        0 => input.truncate(at),
        1 => drop(input.drain(at..to)),
        2 => input.insert(at, interesting[random.random_range(..interesting.len())]),
        3 => drop(input.splice(at..at, other[from..].iter().copied())),
        _ => {
            if let Some(byte) = input.get_mut(at) {
                *byte = interesting[random.random_range(..interesting.len())];
            }
        }
    }
}
