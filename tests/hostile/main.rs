//! Hostile clients, each in a process of its own, against the built server: what they cost those who behave, and the server.
//!
//! For each attack there is a fresh server with a data directory, and one client that behaves. Its calls are timed before, during
//! and after the attack. All the while there are health checks, by gRPC and over HTTP, and newcomers (a new process of a service,
//! which does what it does first), each on a connection of its own; and what the server was to remember for the client is asked for
//! again. None of this may be refused. The server's memory stays below a bound.
//!
//! Where `taskset` is there, the server has the last core for itself and one serving thread; the attacker has the first, and the
//! client the second where there are three, else it shares the attacker's. Where it may, the harness puts server and client before
//! the attacker and all else that the machine does (`renice`). The time for which the client was ready to run and had no core is not
//! the server's, so it is taken off each call and shown apart, where the system tells it (`/proc/self/schedstat`).
//!
//! The times are printed; that p99 at most doubles is only marked where it does not hold, as it is about the machine, too.
//! `HOSTILE_SECONDS` says how long each attack lasts, half a one by default; `HOSTILE_ONLY` names attacks by parts of their names,
//! with commas between.

mod attacks;
mod client;
mod frames;
#[path = "../support/process.rs"]
mod process;

use std::{
    env,
    fs::{self, File},
    net::SocketAddr,
    os::unix::fs::FileExt as _,
    path::PathBuf,
    process::{Child, Command, ExitCode, Stdio},
    thread,
    time::{Duration, Instant},
};

use self::{
    attacks::{ATTACKS, Attack, Run},
    client::Behaved,
    process::Server,
};

/// How much memory a server may have under any of it.
const RESIDENT_MAX: u64 = 512 << 20;
/// How long a call of the client that behaves may take, on whatever machine.
const PATIENCE: Duration = Duration::from_secs(20);
/// Health checks and newcomers come this often.
const CHECK_INTERVAL: Duration = Duration::from_millis(100);
/// The administrators' token of servers that ask who somebody is.
const ADMIN_TOKEN: &str = "0123456789abcdef0123456789abcdef";

fn main() -> ExitCode {
    let arguments: Vec<String> = env::args().skip(1).collect();
    if let [flag, name, address, token, seconds] = arguments.as_slice()
        && flag == "--attack"
    {
        let attack = ATTACKS.iter().find(|attack| attack.name == name).expect("an attack of ours");
        let (address, length) = (address.parse().unwrap(), Duration::from_secs_f64(seconds.parse().unwrap()));
        match attack.run {
            Run::Grpc(run) | Run::Http(run) => run(address, length),
            Run::WithToken(run) => run(address, token, length),
        }
        return ExitCode::SUCCESS;
    }
    // Asked for by the name of a test that is not here.
    if arguments.iter().any(|argument| !argument.starts_with('-') && !"hostile".contains(argument.as_str())) {
        return ExitCode::SUCCESS;
    }
    let machine = Machine::prepare();
    let seconds = env::var("HOSTILE_SECONDS").ok().and_then(|text| text.parse().ok()).unwrap_or(0.5);
    let only = env::var("HOSTILE_ONLY").unwrap_or_default();
    let is_wanted = |attack: &&Attack| only.split(',').any(|part| attack.name.contains(part));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    println!(
        "{:<28} {:>10} {:>10} {:>10} {:>13} {:>12} {:>9} {:>15} {:>17} {:>12}",
        "attack",
        "p99 before",
        "during",
        "after",
        "during/before",
        "client waits",
        "RSS",
        "checks refused",
        "newcomers refused",
        "forgotten"
    );
    let stands = |attack: &&Attack| runtime.block_on(stands(attack, &machine, seconds));
    let failed: Vec<&str> =
        ATTACKS.iter().filter(is_wanted).filter(|attack| !stands(attack)).map(|attack| attack.name).collect();
    if failed.is_empty() {
        return ExitCode::SUCCESS;
    }
    eprintln!("the server does not stand {}", failed.join(", "));
    ExitCode::FAILURE
}

/// Whether the server stands one attack.
async fn stands(attack: &Attack, machine: &Machine, seconds: f64) -> bool {
    let (name, folder) = (attack.name, Folder::new());
    let has_tokens = matches!(attack.run, Run::WithToken(_));
    let server = machine.start_server(&folder, has_tokens);
    let (behaved, attackers) = match has_tokens {
        true => (Some(client::token(&server, "shop").await), client::token(&server, "attacker").await),
        false => (None, String::new()),
    };
    let mut client = Behaved::connect(&server, behaved).await;
    client.leave_marks().await;
    let length = Duration::from_secs_f64(seconds);
    // The first calls make what later ones have.
    measure(&mut client, &server, until(length / 4)).await;
    let before = measure(&mut client, &server, until(length)).await;
    let target = if matches!(attack.run, Run::Http(_)) { server.http_address() } else { server.address() };
    let mut attacker = machine.start_attacker(name, target, &attackers, seconds);
    let during = measure(&mut client, &server, || attacker.is_running()).await;
    let forgotten = client.forgotten().await;
    let after = measure(&mut client, &server, until(length)).await;
    let [p99_before, p99_during, p99_after] = [&before, &during, &after].map(|seen| p99(&seen.times));
    let ratio = p99_during.as_secs_f64() / p99_before.as_secs_f64();
    println!(
        "{name:<28} {p99_before:>10.2?} {p99_during:>10.2?} {p99_after:>10.2?} {ratio:>12.1}{} {:>12.2?} {:>5} MiB {:>15} {:>17} {:>12}",
        if ratio > 2.0 { "*" } else { " " },
        p99(&during.waits),
        during.resident >> 20,
        format!("{} of {}", during.checks_refused, during.checks),
        format!("{} of {}", during.newcomers_refused, during.newcomers),
        if forgotten.is_empty() { "nothing".to_owned() } else { forgotten.join(", ") },
    );
    let slowest = [&before, &during, &after].iter().flat_map(|seen| &seen.times).max().copied();
    let is_left_alone = |seen: &Seen| seen.checks_refused + seen.newcomers_refused == 0;
    let stands = [&before, &during, &after].into_iter().all(is_left_alone)
        && forgotten.is_empty()
        && slowest.is_some_and(|slowest| slowest < PATIENCE)
        && during.resident < RESIDENT_MAX;
    if !stands {
        eprintln!("{name}: refused afterwards: {after:?}; first refusals: {:?}", during.refusals);
    }
    stands
}

// ---- What the client sees ------------------------------------------------------------------------------------------

/// What the client that behaves saw for a while.
#[derive(Default)]
struct Seen {
    /// How long each call took, without what the client waited for a core.
    times: Vec<Duration>,
    /// How long it waited for a core at each call.
    waits: Vec<Duration>,
    checks: u32,
    checks_refused: u32,
    newcomers: u32,
    newcomers_refused: u32,
    /// Some of what was refused.
    refusals: Vec<String>,
    resident: u64,
}

impl std::fmt::Debug for Seen {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { checks_refused, newcomers_refused, refusals, resident, .. } = self;
        write!(f, "{checks_refused} checks, {newcomers_refused} newcomers, {refusals:?}, {resident} bytes")
    }
}

/// Times calls one after the other, a millisecond between them, and has health checks and newcomers come, as long as it goes on.
#[expect(clippy::disallowed_methods, reason = "what is measured is real time")]
async fn measure(client: &mut Behaved, server: &Server, mut goes_on: impl FnMut() -> bool) -> Seen {
    let (mut seen, mut next_check, waiting) = (Seen::default(), Instant::now() + CHECK_INTERVAL, Waiting::of_us());
    while goes_on() || seen.times.is_empty() {
        let (began, waited) = (Instant::now(), waiting.total());
        // A call that was not answered is as long as the patience.
        let answered = client.call().await;
        let waits = waiting.total().saturating_sub(waited);
        seen.times.push(if answered { began.elapsed().saturating_sub(waits) } else { PATIENCE });
        seen.waits.push(waits);
        if Instant::now() > next_check {
            for refused in client.check(server).await {
                seen.checks += 1;
                seen.checks_refused += u32::from(refused.is_some());
                seen.refusals.extend(refused);
            }
            for refused in client.newcomer(server).await {
                seen.newcomers += 1;
                seen.newcomers_refused += u32::from(refused.is_some());
                seen.refusals.extend(refused);
            }
            seen.refusals.truncate(4);
            seen.resident = seen.resident.max(server.resident_bytes());
            next_check = Instant::now() + CHECK_INTERVAL;
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    seen.resident = seen.resident.max(server.resident_bytes());
    seen
}

/// The time within which 99 of 100 were over.
fn p99(times: &[Duration]) -> Duration {
    let mut times = times.to_vec();
    times.sort_unstable();
    times[times.len() * 99 / 100]
}

#[expect(clippy::disallowed_methods, reason = "what is measured is real time")]
fn until(length: Duration) -> impl FnMut() -> bool {
    let until = Instant::now() + length;
    move || Instant::now() < until
}

/// How long our thread has been ready to run and had no core.
struct Waiting(Option<File>);

impl Waiting {
    fn of_us() -> Self {
        Self(File::open("/proc/thread-self/schedstat").ok())
    }

    /// In all; nothing where the system does not tell.
    fn total(&self) -> Duration {
        let mut text = [0; 64];
        let length = self.0.as_ref().and_then(|file| file.read_at(&mut text, 0).ok()).unwrap_or_default();
        let nanos = std::str::from_utf8(&text[..length]).ok().and_then(|text| text.split(' ').nth(1)?.parse().ok());
        Duration::from_nanos(nanos.unwrap_or_default())
    }
}

// ---- The machine ---------------------------------------------------------------------------------------------------

/// Who has which core, and who comes first.
struct Machine {
    cores: usize,
    client_core: usize,
    is_pinned: bool,
    comes_first: bool,
}

impl Machine {
    fn prepare() -> Self {
        let cores = thread::available_parallelism().map_or(1, usize::from);
        let client_core = if cores > 2 { 1 } else { 0 };
        let is_pinned = cores > 1 && pin(std::process::id(), client_core);
        let comes_first = is_done("renice", &["-n", "-15", "-p", &std::process::id().to_string()]);
        println!(
            "{cores} cores; pinned: {is_pinned}; the client has core {client_core}, the attacker 0, the server {}; \
             server and client come first: {comes_first}",
            cores - 1
        );
        Self { cores, client_core, is_pinned, comes_first }
    }

    /// A server that finds one core, and has a place of its own.
    fn start_server(&self, folder: &Folder, has_tokens: bool) -> Server {
        let mut flags = vec![
            "--max-connections=20000".to_owned(),
            "--http-address=127.0.0.1:0".to_owned(),
            folder.flag("data-dir"),
        ];
        if has_tokens {
            fs::write(folder.0.join("admin-token-file"), ADMIN_TOKEN).unwrap();
            flags.push(folder.flag("admin-token-file"));
            // Reached in the time of an attack.
            flags.extend(["--max-request-ids=20000", "--max-breakers=20000"].map(str::to_owned));
        }
        // It inherits what we have.
        if self.is_pinned {
            pin(std::process::id(), self.cores - 1);
        }
        let server = Server::start_lasting(&flags.iter().map(String::as_str).collect::<Vec<_>>());
        if self.is_pinned {
            pin(std::process::id(), self.client_core);
        }
        server
    }

    fn start_attacker(&self, name: &str, target: SocketAddr, token: &str, seconds: f64) -> Attacker {
        let mut command = Command::new(env::current_exe().unwrap());
        if self.comes_first {
            command = Command::new("nice");
            command.args(["-n", "15"]).arg(env::current_exe().unwrap());
        }
        command.args(["--attack", name, &target.to_string(), token, &seconds.to_string()]);
        let process = command.stdout(Stdio::null()).spawn().unwrap();
        if self.is_pinned {
            pin(process.id(), 0);
        }
        Attacker(process)
    }
}

/// Has all threads of a process run on one core, where the system can.
fn pin(process: u32, core: usize) -> bool {
    is_done("taskset", &["--all-tasks", "--cpu-list", "--pid", &core.to_string(), &process.to_string()])
}

fn is_done(program: &str, arguments: &[&str]) -> bool {
    let mut command = Command::new(program);
    command.args(arguments).stdout(Stdio::null()).stderr(Stdio::null());
    command.status().is_ok_and(|status| status.success())
}

/// A folder for one server, which goes with this.
struct Folder(PathBuf);

impl Folder {
    fn new() -> Self {
        let path = env::temp_dir().join(format!("fuseboard-hostile-{}", std::process::id()));
        fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    /// A flag whose value is a path in here.
    fn flag(&self, name: &str) -> String {
        format!("--{name}={}", self.0.join(name).display())
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

struct Attacker(Child);

impl Attacker {
    fn is_running(&mut self) -> bool {
        self.0.try_wait().unwrap().is_none()
    }
}

impl Drop for Attacker {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
