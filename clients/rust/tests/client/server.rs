//! A server of a test's own, and waiting for what it does.

use std::{
    env,
    io::Read as _,
    net::{TcpListener, TcpStream},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use fuseboard_client::{Client, Options};

/// Far beyond what anything here takes; a machine may be busy.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// Keeps nothing, on a free port of the loopback. Killed when it is dropped.
pub(crate) struct Server {
    pub(crate) address: String,
    process: Child,
}

impl Server {
    pub(crate) fn start(flags: &[&str]) -> Self {
        let port = TcpListener::bind("127.0.0.1:0").expect("a free port").local_addr().expect("is bound").port();
        Self::start_at(&format!("127.0.0.1:{port}"), flags)
    }

    /// For a server that comes back.
    pub(crate) fn start_at(address: &str, flags: &[&str]) -> Self {
        let binary = env::var("FUSEBOARD_BIN").expect("FUSEBOARD_BIN is to name the fuseboard binary");
        let mut command = Command::new(binary);
        // What the developer's shell sets must not change what is tested.
        for (variable, _) in env::vars().filter(|(variable, _)| variable.starts_with("FUSEBOARD_")) {
            command.env_remove(variable);
        }
        command.args(["serve", "--ephemeral", "--http-address", "off", "--address", address]).args(flags);
        let mut process = command.stderr(Stdio::piped()).stdout(Stdio::null()).spawn().expect("FUSEBOARD_BIN starts");
        let deadline = Instant::now() + PATIENCE;
        while TcpStream::connect(address).is_err() {
            if let Ok(Some(status)) = process.try_wait() {
                let mut log = String::new();
                let _ = process.stderr.take().expect("is piped").read_to_string(&mut log);
                panic!("the server ended at its start with {status}:\n{log}");
            }
            assert!(Instant::now() < deadline, "the server does not listen");
            std::thread::sleep(Duration::from_millis(10));
        }
        // Nobody reads it from now on, and the pipe holds more than a test's log.
        Self { address: address.to_owned(), process }
    }

    /// A client of its own, with a patience that a busy machine does not exhaust.
    pub(crate) fn client(&self) -> Client {
        self.client_with(|_| {})
    }

    pub(crate) fn client_with(&self, change: impl FnOnce(&mut Options)) -> Client {
        let mut options = Options {
            caller: "test/1".into(),
            acquire_timeout: Duration::from_secs(5),
            report_timeout: Duration::from_secs(5),
            ..Options::new(&self.address)
        };
        change(&mut options);
        Client::new(options).expect("the options are valid")
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Waits until it is so.
pub(crate) async fn eventually(what: &str, mut is_so: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !is_so() {
        assert!(Instant::now() < deadline, "never: {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}
