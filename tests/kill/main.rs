//! The kill loop: the server is killed again and again, on one directory, and has to know what it has told.
//!
//! Services and operators use the built binary while watchers follow it, until SIGKILL ends it at a random instant; then
//! it is started again on the same directory, and a ledger of all that it told is held against what it tells now:
//!
//! - every event that anybody was told is in the log with the same content, and the log has no gap and no repeat;
//! - each watcher goes on with the token it has: it misses nothing, hears nothing twice, and gets no resync;
//! - every write that was answered is in force; one that was not may be or not;
//! - a breaker that was told to be in a generation has the state and the deadline it was told, generations never go back,
//!   half-open rounds go on with the probes that are out, and never with more than the policy permits;
//! - permits of closed breakers are stale; probes are good for one report;
//! - a batch counts exactly once when it is sent again: it is a duplicate only where everything that it tells of has counted,
//!   and one that was answered 1.5 s before the kill (the second that statistics may lose, and slack for a busy machine) is;
//! - the server's time does not go back.
//!
//! A second run has the server end itself at one operation of its store after the other, before or after it is done, so
//! that every point of a commit is one where it dies.
//!
//! `KILLS` and `KILL_POINTS` say how often (50 and 20), `KILL_SEED` with which seed. `make kill` runs it at length.

#![expect(clippy::disallowed_methods, reason = "plays in real time")]

use std::{
    env,
    error::Error,
    fs, iter,
    path::{Path, PathBuf},
    process::ExitCode,
    sync::{Arc, Mutex, MutexGuard},
    time::{Duration, Instant},
};

use rand::{Rng as _, SeedableRng as _, rngs::StdRng};
use tokio::{task::JoinSet, time};

use crate::{
    dying::Fate,
    ledger::Ledger,
    server::{Death, Server},
    watchers::Watchers,
    world::Life,
};

mod check;
mod dying;
mod figures;
mod ledger;
mod load;
mod server;
mod watchers;
mod world;

type Result<T> = std::result::Result<T, Box<dyn Error + Send + Sync>>;

/// Without `KILLS` and `KILL_POINTS`.
const KILLS: u64 = 50;
const POINTS: u64 = 20;
/// Operations of the store among which points are drawn where not all of them are tried.
const OPERATIONS: u64 = 200;
/// A server that does not come to its operation is killed then.
const OPERATION_MAX: Duration = Duration::from_secs(3);
/// Clients whose server is gone end sooner.
const END_MAX: Duration = Duration::from_secs(20);
/// So many violations are enough.
const VIOLATIONS_MAX: usize = 20;

fn main() -> ExitCode {
    let arguments: Vec<String> = env::args().skip(1).collect();
    if let [verb, home, last, is_done] = &arguments[..]
        && verb == "serve"
    {
        let fate = Fate::new(last.parse().unwrap_or_default(), is_done == "true");
        return match dying::serve(Path::new(home), fate) {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => {
                eprintln!("{error}");
                ExitCode::FAILURE
            }
        };
    }
    // Asked for by the name of a test that is not here.
    if arguments.iter().any(|argument| !argument.starts_with('-') && !"kill".contains(argument.as_str())) {
        return ExitCode::SUCCESS;
    }
    match tokio::runtime::Runtime::new().expect("threads can be had").block_on(run()) {
        Ok(0) => ExitCode::SUCCESS,
        Ok(violations) => {
            eprintln!("{violations} violations");
            ExitCode::FAILURE
        }
        Err(error) => {
            eprintln!("kill: {error}");
            ExitCode::FAILURE
        }
    }
}

fn number(variable: &str) -> Result<Option<u64>> {
    Ok(env::var(variable).ok().map(|text| text.parse()).transpose()?)
}

async fn run() -> Result<usize> {
    let seed = number("KILL_SEED")?.unwrap_or_else(|| rand::rng().random_range(0..1_000_000));
    let (kills, points) = (number("KILLS")?.unwrap_or(KILLS), number("KILL_POINTS")?.unwrap_or(POINTS));
    println!("seed {seed}");
    let mut rng = StdRng::seed_from_u64(seed);
    let by_chance: Vec<Death> = iter::repeat_with(|| death(&mut rng)).take(kills as usize).collect();
    let mut violations = play("killed by chance", seed, by_chance).await?;
    // Both sides of each operation where there are points enough, else a sample.
    let mut at_points: Vec<Death> = if points >= OPERATIONS {
        (0..points).map(|point| Death::Operation(point / 2 + 1, point % 2 == 1)).collect()
    } else {
        iter::repeat_with(|| Death::Operation(rng.random_range(1..=OPERATIONS), rng.random()))
            .take(points as usize)
            .collect()
    };
    at_points.sort_by_key(|death| if let Death::Operation(number, _) = death { *number } else { 0 });
    violations += play("dying at an operation of the store", seed, at_points).await?;
    Ok(violations)
}

/// A death by chance: mostly soon after the server is used, sometimes while it starts, sometimes late enough for
/// statistics to have to be kept.
fn death(rng: &mut StdRng) -> Death {
    let ms = |rng: &mut StdRng, least, most| Duration::from_millis(rng.random_range(least..most));
    match rng.random_range(0..100) {
        0..8 => Death::Starting(ms(rng, 0, 80)),
        8..14 => Death::Serving(ms(rng, 1_700, 2_500)),
        _ => Death::Serving(ms(rng, 5, 300)),
    }
}

/// Plays so many lives on a directory, and one more in which everything is looked at.
async fn play(title: &str, seed: u64, deaths: Vec<Death>) -> Result<usize> {
    let started = Instant::now();
    let home = home(seed, title)?;
    let mut game = Game {
        home: home.clone(),
        ledger: Arc::new(Mutex::new(Ledger::new(seed))),
        watchers: Watchers::new(),
        seed,
        checked: 0,
        killed: None,
    };
    for death in deaths {
        game.live(death).await?;
        if game.ledger().violations >= VIOLATIONS_MAX {
            break;
        }
    }
    game.last_life().await?;
    let ledger = game.ledger();
    println!("==> {title}: {:.1} s", started.elapsed().as_secs_f64());
    ledger.figures.print();
    if ledger.violations == 0 {
        fs::remove_dir_all(&home)?;
    } else {
        println!("{} violations; the directory is {}", ledger.violations, home.display());
    }
    Ok(ledger.violations)
}

/// A directory that is not there yet.
fn home(seed: u64, title: &str) -> Result<PathBuf> {
    let name = format!("kill-{seed}-{}", title.split(' ').next().unwrap_or_default());
    let home = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    if home.exists() {
        fs::remove_dir_all(&home)?;
    }
    Ok(home)
}

/// All lives of the server on one directory.
struct Game {
    home: PathBuf,
    ledger: Arc<Mutex<Ledger>>,
    watchers: Watchers,
    seed: u64,
    /// Events up to this one were checked.
    checked: u64,
    /// When the server was killed last.
    killed: Option<Instant>,
}

impl Game {
    fn ledger(&self) -> MutexGuard<'_, Ledger> {
        self.ledger.lock().expect("nobody panics inside")
    }

    /// One life of the server, with all who use it, to its end.
    async fn live(&mut self, death: Death) -> Result<()> {
        self.begin();
        let mut server = Server::start(&self.home, death)?;
        if let Death::Starting(patience) = death {
            time::sleep(patience).await;
            self.ledger().figures.unborn += 1;
            return self.end(&mut server, JoinSet::new(), JoinSet::new()).await;
        }
        let Some(life) = self.connect(&mut server, death).await? else {
            return self.end(&mut server, JoinSet::new(), JoinSet::new()).await;
        };
        let (mut following, mut using) = (JoinSet::new(), JoinSet::new());
        if let Some(newest) = check::look(&life, self.checked, self.killed).await {
            self.checked = newest;
            following = self.watchers.follow(&life);
            if check::go_on(&life).await.is_some() && load::prepare(&life).await {
                using = load::start(&life, self.seed << 20 | self.ledger().life << 8);
            }
        }
        match death {
            Death::Serving(patience) => time::sleep(patience).await,
            _ if server.ended(OPERATION_MAX).await => self.ledger().figures.at_operations += 1,
            _ => {}
        }
        self.killed = Some(Instant::now());
        // The server first: its clients are to be cut off in the middle.
        server.kill().await?;
        life.end();
        self.end(&mut server, following, using).await
    }

    fn begin(&self) {
        let mut ledger = self.ledger();
        ledger.life += 1;
        ledger.figures.lives += 1;
    }

    /// A connection to a server that serves. `None`: it has died before.
    async fn connect(&self, server: &mut Server, death: Death) -> Result<Option<Life>> {
        let is_to_die = matches!(death, Death::Operation(..));
        match server.serving().await? {
            Some((address, took)) => {
                self.ledger().figures.serving.push(took);
                match Life::connect(&address, Arc::clone(&self.ledger)).await {
                    Ok(life) => return Ok(Some(life)),
                    Err(error) if !is_to_die => return Err(error),
                    Err(_) => {}
                }
            }
            None if !is_to_die => return Err(format!("the server ended at its start:\n{}", server.log()).into()),
            None => {}
        }
        self.ledger().figures.unborn += 1;
        Ok(None)
    }

    /// The server is gone, and then its clients.
    async fn end(&self, server: &mut Server, following: JoinSet<()>, using: JoinSet<()>) -> Result<()> {
        server.kill().await?;
        let ended = async {
            for mut tasks in [following, using] {
                while let Some(ended) = tasks.join_next().await {
                    ended?;
                }
            }
            Result::Ok(())
        };
        match time::timeout(END_MAX, ended).await {
            Ok(ended) => ended?,
            Err(_) => self.ledger().violation("clients of a server that is gone do not end"),
        }
        let log = server.log();
        if log.contains("panicked") {
            self.ledger().violation(format!("the server panicked:\n{log}"));
        }
        Ok(())
    }

    /// Starts it once more, and looks at all there is.
    async fn last_life(&mut self) -> Result<()> {
        self.begin();
        let death = Death::Serving(Duration::ZERO);
        let mut server = Server::start(&self.home, death)?;
        let life = self.connect(&mut server, death).await?.ok_or("the server is gone")?;
        let looked = check::look(&life, 0, self.killed).await;
        let following = self.watchers.follow(&life);
        if looked.is_none() || check::go_on(&life).await.is_none() {
            self.ledger().violation("the last life ended by itself");
        }
        self.watchers.catch_up(&life).await;
        life.end();
        self.watchers.check(&mut self.ledger());
        self.end(&mut server, following, JoinSet::new()).await
    }
}
