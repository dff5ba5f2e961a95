//! Random calls, a store that comes and goes, and servers that die, against what was told.

use std::collections::{HashMap, HashSet};

use fuseboard::breaker::{Outcome, PermitKind};
use parking_lot::Mutex;

use super::{dice::Dice, *};

const KEYS: [&str; 3] = ["a", "b", "c"];
const PROBES: u32 = 2;
const STEPS: usize = 400;

/// What callers and watchers were told.
#[derive(Default)]
struct Heard {
    /// Permits that somebody has, and how often their reports counted.
    permits: Vec<(&'static str, Permit, u32)>,
    /// Probes that somebody has and did not report.
    probes: HashSet<(&'static str, Permit)>,
    highest: HashMap<&'static str, u64>,
    /// What servers that are dead have told: nothing later is below it.
    floors: HashMap<&'static str, u64>,
    log: Vec<(u64, &'static str, String)>,
}

impl Heard {
    fn generation(&mut self, key: &'static str, generation: u64) {
        let floor = self.floors.get(key).copied().unwrap_or_default();
        assert!(generation >= floor, "{key}: generation {generation} after {floor} was told");
        let highest = self.highest.entry(key).or_default();
        *highest = (*highest).max(generation);
    }
}

type Shared = Arc<Mutex<Heard>>;

fn start_acquire(server: &Server, key: &'static str, heard: &Shared) {
    let (engine, heard) = (server.engine.clone(), Arc::clone(heard));
    let lives = Arc::downgrade(&server.gate);
    tokio::spawn(async move {
        let acquired = acquire(&engine, key).await;
        if lives.upgrade().is_none_or(|gate| gate.is_dead()) {
            return;
        }
        let mut heard = heard.lock();
        heard.generation(key, acquired.generation);
        if let Decision::Permitted(permit) = acquired.decision {
            heard.permits.push((key, permit, 0));
            if permit.kind == PermitKind::Probe {
                heard.probes.insert((key, permit));
            }
        }
    });
}

fn start_report(server: &Server, index: usize, outcome: Outcome, heard: &Shared) {
    let (key, permit, _) = heard.lock().permits[index];
    heard.lock().probes.remove(&(key, permit));
    let (engine, heard) = (server.engine.clone(), Arc::clone(heard));
    let lives = Arc::downgrade(&server.gate);
    tokio::spawn(async move {
        let answer = report(&engine, key, &permit, outcome).await;
        if lives.upgrade().is_none_or(|gate| gate.is_dead()) {
            return;
        }
        let Ok(answer) = answer else { return };
        let mut heard = heard.lock();
        if answer.generation > 0 {
            heard.generation(key, answer.generation);
        }
        let counted = &mut heard.permits[index].2;
        *counted += u32::from(answer.reported == Reported::Counted);
        assert!(*counted <= 1, "{key}: {permit:?} has counted twice");
    });
}

/// The log only grows, and has no gap; probes out are within the policy.
fn check(server: &Server, heard: &Shared) {
    let mut heard = heard.lock();
    let log = told(&server.engine);
    assert_eq!(log[..heard.log.len().min(log.len())], heard.log[..], "what was told of is there");
    assert!(log.iter().map(|(sequence, ..)| *sequence).eq(1..=log.len() as u64));
    heard.log = log;
    let now = server.engine.now();
    heard.probes.retain(|(_, permit)| permit.expire > now);
    for key in KEYS {
        let out = heard.probes.iter().filter(|(of, _)| *of == key).count();
        assert!(out <= PROBES as usize, "{key}: {out} probes are out");
        if let Some(entry) = server.engine.entry(key, None) {
            heard.generation(key, entry.status.generation);
        }
    }
}

async fn run(seed: u64) {
    let policy = PolicySpec { failure_threshold: Some(2), open_duration: Some(seconds(5)), ..probing(PROBES) };
    let (memory, setup, mut server) = Server::under(policy).await;
    let (heard, mut dice) = (Shared::default(), Dice(seed));
    let mut crashes = 0;
    for _ in 0..STEPS {
        let key = KEYS[dice.below(KEYS.len())];
        match dice.below(24) {
            0..=6 => start_acquire(&server, key, &heard),
            7..=12 => {
                let held = heard.lock().permits.len();
                if held > 0 {
                    // One of the last, as the others are over.
                    let index = held - 1 - dice.below(held.min(6));
                    let outcome = [Outcome::Success, Outcome::Failure, Outcome::Failure][dice.below(3)];
                    start_report(&server, index, outcome, &heard);
                }
            }
            13 => server.advance(Duration::from_millis(1 + dice.below(6000) as u64)).await,
            14 => {
                let engine = server.engine.clone();
                tokio::spawn(async move { drop(engine.reset(key, OPERATOR).await) });
            }
            15 | 16 => server.gate.shut(),
            17 | 18 => drop(server.gate.let_one()),
            19 => server.gate.recover(),
            20 if dice.below(3) == 0 => server.gate.fail(),
            21 => pass(Duration::from_millis(300)).await,
            22 => pass(Duration::from_millis(1100)).await,
            23 if dice.below(2) == 0 => {
                quiet().await;
                check(&server, &heard);
                server = server.crash(&memory, &setup).await;
                crashes += 1;
                let mut heard = heard.lock();
                heard.floors = heard.highest.clone();
            }
            _ => {}
        }
        if dice.below(3) > 0 {
            quiet().await;
        }
        // No two permits of one instant, of two servers.
        server.engine.advance(Duration::from_nanos(1)).unwrap();
        check(&server, &heard);
    }
    server.gate.recover();
    pass(seconds(2)).await;
    check(&server, &heard);
    let heard = heard.lock();
    assert!(crashes > 0 && heard.log.len() > 5, "{crashes} crashes, {} events", heard.log.len());
}

#[tokio::test(start_paused = true)]
async fn whatever_fails_and_dies_what_was_told_holds() {
    for seed in 0..40 {
        println!("seed {seed}");
        run(seed).await;
    }
}
