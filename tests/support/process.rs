//! The built server as a process, with its log.

use std::{
    io::{BufRead as _, BufReader},
    net::{SocketAddr, TcpListener},
    process::{Child, Command, Stdio},
    sync::mpsc::{self, Receiver},
    thread,
    time::Duration,
};

/// Lines of the log that wait to be looked at; a server that logs more waits.
const LOG_LINES_MAX: usize = 4_096;
/// How long a line of the log is waited for.
const LOG_WAIT_MAX: Duration = Duration::from_secs(30);

/// A server of our own, which ends with this.
pub(crate) struct Server {
    process: Child,
    address: SocketAddr,
    /// What it said when it began to serve.
    serving: String,
    log: Receiver<String>,
}

#[allow(dead_code, reason = "each test needs a part of it")]
impl Server {
    /// Starts the built binary on a free port, with a clock that stands still, and waits until it serves.
    pub(crate) fn start(flags: &[&str]) -> Self {
        Self::run(&[&["--manual-clock"], flags].concat())
    }

    /// As [`Server::start`], with the system's clock, so that what it stores outlives it.
    pub(crate) fn start_lasting(flags: &[&str]) -> Self {
        Self::run(flags)
    }

    /// As [`Server::start`], where another server was before.
    pub(crate) fn start_at(address: SocketAddr, flags: &[&str]) -> Self {
        Self::run_at(address, &[&["--manual-clock"], flags].concat())
    }

    fn run(flags: &[&str]) -> Self {
        let address = TcpListener::bind("127.0.0.1:0").and_then(|free| free.local_addr()).expect("a free port");
        Self::run_at(address, flags)
    }

    fn run_at(address: SocketAddr, flags: &[&str]) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_fuseboard"));
        command.args(["serve", "--address", &address.to_string()]);
        if !flags.iter().any(|flag| flag.starts_with("--http-address")) {
            command.arg("--http-address=off");
        }
        command.args(flags).env("NO_COLOR", "1").stderr(Stdio::piped());
        let mut process = command.spawn().expect("the built server");
        let stderr = process.stderr.take().expect("it is piped");
        let (lines, log) = mpsc::sync_channel(LOG_LINES_MAX);
        // Ends with the process.
        thread::spawn(move || {
            BufReader::new(stderr).lines().map_while(Result::ok).try_for_each(|line| lines.send(line))
        });
        let mut server = Self { process, address, serving: String::new(), log };
        server.serving = server.wait_for_log("serving");
        server
    }

    /// What the built binary says when it does not start.
    pub(crate) fn refused(flags: &[&str]) -> String {
        let mut command = Command::new(env!("CARGO_BIN_EXE_fuseboard"));
        let port = ["serve", "--manual-clock", "--address=127.0.0.1:0", "--http-address=off"];
        let output = command.args(port).args(flags).env("NO_COLOR", "1").output().expect("the built server");
        assert!(!output.status.success(), "it served, and ended");
        String::from_utf8_lossy(&output.stderr).into_owned()
    }

    /// Its process id.
    pub(crate) fn id(&self) -> u32 {
        self.process.id()
    }

    pub(crate) const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Sends SIGTERM, and waits until it has ended well.
    pub(crate) fn stop(&mut self) {
        let kill = Command::new("kill").args(["-TERM", &self.process.id().to_string()]).status();
        assert!(kill.is_ok_and(|status| status.success()), "the signal is not sent");
        assert!(self.process.wait().is_ok_and(|status| status.success()), "it does not end well");
    }

    /// Its resident memory.
    pub(crate) fn resident_bytes(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.process.id())).unwrap_or_default();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let kib: Option<u64> = line.and_then(|line| line.trim().trim_end_matches(" kB").parse().ok());
        kib.unwrap_or_default() * 1_024
    }

    /// Where its HTTP port is, of one that was asked to have it.
    pub(crate) fn http_address(&self) -> SocketAddr {
        let told = self.serving.split("http=").nth(1).and_then(|rest| rest.split(' ').next());
        told.and_then(|address| address.parse().ok()).expect("it says where its HTTP port is")
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Waits for a line that contains this, and gives it.
    pub(crate) fn wait_for_log(&self, part: &str) -> String {
        while let Ok(line) = self.log.recv_timeout(LOG_WAIT_MAX) {
            if line.contains(part) {
                return line;
            }
        }
        panic!("the server does not log {part:?}");
    }

    /// Sends SIGHUP.
    pub(crate) fn hang_up(&mut self) {
        let kill = Command::new("kill").args(["-HUP", &self.process.id().to_string()]).status();
        assert!(kill.is_ok_and(|status| status.success()), "the signal is not sent");
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
