//! Hostile clients, each in a process of its own, against the built server: what they cost those who behave, and the server.
//!
//! For each attack there is a fresh server and one client that behaves. Its calls are timed before, during and after; each has to
//! be answered, and so has every health check, by gRPC and over HTTP, each on a connection of its own. The server's memory stays
//! below a bound, and afterwards all is as it was.
//!
//! Where `taskset` is there, the server has the last core for itself, and the attacker the first; the client has the second where
//! there are three, else it shares the attacker's. The times are printed; that p99 at most doubles is only marked where it does not
//! hold, as it is about the machine, too. `HOSTILE_SECONDS` says how long each attack lasts, half a one by default.

mod attacks;
mod frames;
#[path = "../support/process.rs"]
mod process;

use std::{
    env,
    net::SocketAddr,
    process::{Child, Command, ExitCode, Stdio},
    thread,
    time::{Duration, Instant},
};

use fuseboard::pb::{AcquireRequest, breaker_service_client::BreakerServiceClient};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};
use tonic::transport::Channel;
use tonic_health::pb::{HealthCheckRequest, health_client::HealthClient};

use self::{
    attacks::{ATTACKS, Port},
    process::Server,
};

/// How much memory a server may have under any of it.
const RESIDENT_MAX: u64 = 512 << 20;
/// How long a call of the client that behaves may take, on whatever machine.
const PATIENCE: Duration = Duration::from_secs(20);

fn main() -> ExitCode {
    let arguments: Vec<String> = env::args().skip(1).collect();
    if let [flag, name, address, seconds] = arguments.as_slice()
        && flag == "--attack"
    {
        let attack = ATTACKS.iter().find(|attack| attack.name == name).expect("an attack of ours");
        (attack.run)(address.parse().unwrap(), Duration::from_secs_f64(seconds.parse().unwrap()));
        return ExitCode::SUCCESS;
    }
    // Asked for by the name of a test that is not here.
    if arguments.iter().any(|argument| !argument.starts_with('-') && !"hostile".contains(argument.as_str())) {
        return ExitCode::SUCCESS;
    }
    let cores = thread::available_parallelism().map_or(1, usize::from);
    let client_core = if cores > 2 { 1 } else { 0 };
    let is_pinned = cores > 1 && pin(std::process::id(), client_core);
    println!(
        "{cores} cores; pinned: {is_pinned}; the client has core {client_core}, the attacker 0, the server {}",
        cores - 1
    );
    let seconds = env::var("HOSTILE_SECONDS").ok().and_then(|text| text.parse().ok()).unwrap_or(0.5);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    println!(
        "{:<24} {:>10} {:>10} {:>10} {:>13} {:>9} {:>14}",
        "attack", "p99 before", "during", "after", "during/before", "RSS", "checks refused"
    );
    let failed: Vec<&str> = ATTACKS
        .iter()
        .filter(|attack| !runtime.block_on(stands(attack.name, attack.port, seconds)))
        .map(|attack| attack.name)
        .collect();
    if failed.is_empty() {
        return ExitCode::SUCCESS;
    }
    eprintln!("the server does not stand {}", failed.join(", "));
    ExitCode::FAILURE
}

/// Whether the server stands one attack.
async fn stands(name: &str, port: Port, seconds: f64) -> bool {
    let server = Server::start(&["--max-connections=20000", "--http-address=127.0.0.1:0"]);
    pin(server.id(), thread::available_parallelism().map_or(0, |cores| usize::from(cores) - 1));
    let mut client = BreakerServiceClient::connect(server.url()).await.unwrap();
    let length = Duration::from_secs_f64(seconds);
    let before = p99(&mut client, length).await;
    let target = if port == Port::Http { server.http_address() } else { server.address() };
    let mut attacker = Attacker::start(name, target, seconds);
    let (mut during, mut resident, mut checks, mut refused) = (Duration::ZERO, 0, 0, 0);
    while attacker.is_running() {
        during = during.max(p99(&mut client, length / 2).await);
        resident = resident.max(server.resident_bytes());
        for answered in [is_serving(&server).await, is_live(&server).await] {
            checks += 1;
            refused += u32::from(!answered);
        }
    }
    let after = p99(&mut client, length).await;
    let ratio = during.as_secs_f64() / before.as_secs_f64();
    let mark = if ratio > 2.0 { "*" } else { " " };
    let checks = format!("{refused} of {checks}");
    let resident_mib = resident >> 20;
    println!(
        "{name:<24} {before:>10.2?} {during:>10.2?} {after:>10.2?} {ratio:>12.1}{mark} {resident_mib:>5} MiB {checks:>14}"
    );
    // A new client, too: nobody was locked out for good.
    let anew = match BreakerServiceClient::connect(server.url()).await {
        Ok(mut anew) => call(&mut anew).await.is_some(),
        Err(_) => false,
    };
    let stands =
        anew && refused == 0 && [before, during, after].iter().all(|time| *time < PATIENCE) && resident < RESIDENT_MAX;
    if !stands {
        eprintln!("{name}: a new client is served: {anew}; memory {resident} of at most {RESIDENT_MAX}");
    }
    stands
}

struct Attacker(Child);

impl Attacker {
    fn start(name: &str, target: SocketAddr, seconds: f64) -> Self {
        let mut command = Command::new(env::current_exe().unwrap());
        command.args(["--attack", name, &target.to_string(), &seconds.to_string()]);
        let process = command.stdout(Stdio::null()).spawn().unwrap();
        pin(process.id(), 0);
        Self(process)
    }

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

/// Has all threads of a process run on one core, where the system can.
fn pin(process: u32, core: usize) -> bool {
    let mut command = Command::new("taskset");
    command.args(["--all-tasks", "--cpu-list", "--pid", &core.to_string(), &process.to_string()]);
    command.stdout(Stdio::null()).stderr(Stdio::null()).status().is_ok_and(|status| status.success())
}

/// A health check by a client that comes for it.
async fn is_serving(server: &Server) -> bool {
    let check = async {
        let channel = Channel::from_shared(server.url()).ok()?.connect().await.ok()?;
        HealthClient::new(channel).check(HealthCheckRequest::default()).await.ok()
    };
    tokio::time::timeout(PATIENCE, check).await.is_ok_and(|answer| answer.is_some())
}

/// A liveness probe by a client that comes for it.
async fn is_live(server: &Server) -> bool {
    let probe = async {
        let mut stream = TcpStream::connect(server.http_address()).await.ok()?;
        stream.write_all(b"GET /livez HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n").await.ok()?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.ok()?;
        answer.starts_with("HTTP/1.1 200").then_some(())
    };
    tokio::time::timeout(PATIENCE, probe).await.is_ok_and(|answer| answer.is_some())
}

/// The time within which 99 of 100 calls were answered; a call that was not is as long as the patience.
#[expect(clippy::disallowed_methods, reason = "what is measured is real time")]
async fn p99(client: &mut BreakerServiceClient<Channel>, length: Duration) -> Duration {
    let until = Instant::now() + length;
    let mut times = Vec::new();
    while Instant::now() < until {
        times.push(call(client).await.unwrap_or(PATIENCE));
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    times.sort_unstable();
    times[times.len() * 99 / 100]
}

#[expect(clippy::disallowed_methods, reason = "what is measured is real time")]
async fn call(client: &mut BreakerServiceClient<Channel>) -> Option<Duration> {
    let began = Instant::now();
    let request = AcquireRequest { breaker: "payments".to_owned(), ..AcquireRequest::default() };
    let answered = tokio::time::timeout(PATIENCE, client.acquire(request)).await;
    answered.ok()?.ok().map(|_| began.elapsed())
}
