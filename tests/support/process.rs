//! The built server as a process, with its log.

use std::{
    io::{BufRead as _, BufReader},
    net::TcpListener,
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
    address: String,
    log: Receiver<String>,
}

impl Server {
    /// Starts the built binary on a free port, with a clock that stands still, and waits until it serves.
    pub(crate) fn start(flags: &[&str]) -> Self {
        let port = TcpListener::bind("127.0.0.1:0").and_then(|free| free.local_addr()).expect("a free port").port();
        let address = format!("127.0.0.1:{port}");
        let mut process = Command::new(env!("CARGO_BIN_EXE_fuseboard"))
            .args(["serve", "--manual-clock", "--address", &address, "--http-address", "off"])
            .args(flags)
            .env("NO_COLOR", "1")
            .stderr(Stdio::piped())
            .spawn()
            .expect("the built server");
        let stderr = process.stderr.take().expect("it is piped");
        let (lines, log) = mpsc::sync_channel(LOG_LINES_MAX);
        // Ends with the process.
        thread::spawn(move || {
            BufReader::new(stderr).lines().map_while(Result::ok).try_for_each(|line| lines.send(line))
        });
        let server = Self { process, address, log };
        server.wait_for_log("serving");
        server
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Waits for a line that contains this.
    pub(crate) fn wait_for_log(&self, part: &str) {
        while let Ok(line) = self.log.recv_timeout(LOG_WAIT_MAX) {
            if line.contains(part) {
                return;
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
