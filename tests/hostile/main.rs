//! Hostile clients, each in a process of its own, against the built server: what they cost those who behave, and the server.
//!
//! For each attack there is a fresh server and one client that behaves. Its calls are timed before, during and after; each has to
//! be answered, the server's memory stays below a bound, and afterwards all is as it was. The times are printed and not judged:
//! attacker, server and client share the machine. `HOSTILE_SECONDS` says how long each attack lasts, half a one by default.

mod attacks;
mod frames;
#[path = "../support/process.rs"]
mod process;

use std::{
    env,
    process::{Child, Command, ExitCode, Stdio},
    time::{Duration, Instant},
};

use fuseboard::pb::{AcquireRequest, breaker_service_client::BreakerServiceClient};
use tonic::transport::Channel;

use self::{attacks::ATTACKS, process::Server};

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
    let seconds = env::var("HOSTILE_SECONDS").ok().and_then(|text| text.parse().ok()).unwrap_or(0.5);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    println!(
        "{:<22} {:>10} {:>10} {:>10} {:>13} {:>9}",
        "attack", "p99 before", "during", "after", "during/before", "RSS"
    );
    let failed: Vec<&str> = ATTACKS
        .iter()
        .filter(|attack| !runtime.block_on(stands(attack.name, seconds)))
        .map(|attack| attack.name)
        .collect();
    if failed.is_empty() {
        return ExitCode::SUCCESS;
    }
    eprintln!("the server does not stand {}", failed.join(", "));
    ExitCode::FAILURE
}

/// Whether the server stands one attack.
async fn stands(name: &str, seconds: f64) -> bool {
    let server = Server::start(&["--max-connections=20000"]);
    let mut client = BreakerServiceClient::connect(server.url()).await.unwrap();
    let length = Duration::from_secs_f64(seconds);
    let before = p99(&mut client, length).await;
    let mut attacker = Attacker::start(name, &server, seconds);
    let (mut during, mut resident) = (Duration::ZERO, 0);
    while attacker.is_running() {
        during = during.max(p99(&mut client, length / 2).await);
        resident = resident.max(server.resident_bytes());
    }
    let after = p99(&mut client, length).await;
    let ratio = during.as_secs_f64() / before.as_secs_f64();
    println!("{name:<22} {before:>10.2?} {during:>10.2?} {after:>10.2?} {ratio:>13.1} {:>5} MiB", resident >> 20);
    // A new client, too: nobody was locked out for good.
    let anew = match BreakerServiceClient::connect(server.url()).await {
        Ok(mut anew) => call(&mut anew).await.is_some(),
        Err(_) => false,
    };
    let stands = anew && [before, during, after].iter().all(|time| *time < PATIENCE) && resident < RESIDENT_MAX;
    if !stands {
        eprintln!("{name}: a new client is served: {anew}; memory {resident} of at most {RESIDENT_MAX}");
    }
    stands
}

struct Attacker(Child);

impl Attacker {
    fn start(name: &str, server: &Server, seconds: f64) -> Self {
        let mut command = Command::new(env::current_exe().unwrap());
        command.args(["--attack", name, &server.address().to_string(), &seconds.to_string()]);
        Self(command.stdout(Stdio::null()).spawn().unwrap())
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
