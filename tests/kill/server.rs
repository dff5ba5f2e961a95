//! The server as a process that is going to be killed.

use std::{
    collections::VecDeque,
    env,
    path::{Path, PathBuf},
    process::{ExitStatus, Stdio},
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use tokio::{
    io::{AsyncBufReadExt as _, BufReader},
    process::{Child, Command},
    sync::oneshot,
    time,
};

use crate::{Result, dying::EVENTS_MAX};

/// No start takes as long as this.
const START_MAX: Duration = Duration::from_secs(30);
/// Lines of the log that are kept.
const LINES_MAX: usize = 60;

/// How a life ends.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Death {
    /// So long after its process was started.
    Starting(Duration),
    /// So long after it was looked at.
    Serving(Duration),
    /// By itself, at an operation of its store: its number from 1, and whether it is done before.
    Operation(u64, bool),
}

/// A server, killed when dropped.
pub(crate) struct Server {
    child: Child,
    started: Instant,
    serving: Option<oneshot::Receiver<String>>,
    log: Arc<Mutex<VecDeque<String>>>,
}

impl Server {
    /// Starts a server on a directory.
    pub(crate) fn start(home: &Path, death: Death) -> Result<Self> {
        let mut command = match death {
            Death::Operation(number, is_done) => {
                let mut command = Command::new(env::current_exe()?);
                command.arg("serve").arg(home).arg(number.to_string()).arg(is_done.to_string());
                command
            }
            _ => {
                let mut command = Command::new(program());
                command.args(["serve", "--address", "127.0.0.1:0", "--http-address", "off", "--data-dir"]).arg(home);
                command.args(["--event-log-events", &EVENTS_MAX.to_string()]);
                command
            }
        };
        let started = Instant::now();
        let mut child =
            command.env("NO_COLOR", "1").stdout(Stdio::null()).stderr(Stdio::piped()).kill_on_drop(true).spawn()?;
        let stderr = child.stderr.take().ok_or("no log")?;
        let log = Arc::new(Mutex::new(VecDeque::new()));
        let (sender, serving) = oneshot::channel();
        tokio::spawn(read(BufReader::new(stderr), Arc::clone(&log), sender));
        Ok(Self { child, started, serving: Some(serving), log })
    }

    /// Waits until it serves: its address, and how long it took. `None`: it has ended before.
    pub(crate) async fn serving(&mut self) -> Result<Option<(String, Duration)>> {
        let serving = self.serving.take().ok_or("asked twice")?;
        match time::timeout(START_MAX, serving).await {
            Ok(Ok(address)) => Ok(Some((address, self.started.elapsed()))),
            Ok(Err(_)) => Ok(None),
            Err(_) => Err(format!("the server does not start:\n{}", self.log()).into()),
        }
    }

    /// Kills it, where it has not ended by itself.
    pub(crate) async fn kill(&mut self) -> Result<ExitStatus> {
        // It may have ended in this moment.
        _ = self.child.start_kill();
        Ok(self.child.wait().await?)
    }

    /// Waits until it has ended by itself; true if it did.
    pub(crate) async fn ended(&mut self, patience: Duration) -> bool {
        time::timeout(patience, self.child.wait()).await.is_ok()
    }

    /// Its last lines.
    pub(crate) fn log(&self) -> String {
        let lines = self.log.lock().expect("nobody panics inside");
        lines.iter().map(|line| format!("  | {line}\n")).collect()
    }
}

/// The binary under test.
fn program() -> PathBuf {
    env::var_os("FUSEBOARD_BIN_KILLED").map_or_else(|| env!("CARGO_BIN_EXE_fuseboard").into(), PathBuf::from)
}

/// Keeps the last lines, and tells the address when the server serves.
async fn read(
    stderr: BufReader<tokio::process::ChildStderr>,
    log: Arc<Mutex<VecDeque<String>>>,
    serving: oneshot::Sender<String>,
) {
    let (mut lines, mut serving) = (stderr.lines(), Some(serving));
    while let Ok(Some(line)) = lines.next_line().await {
        let address = line.split_once("address=").and_then(|(_, rest)| rest.split(' ').next());
        if let Some(address) = address.filter(|_| line.contains("serving"))
            && let Some(serving) = serving.take()
        {
            // Who waited may have given up.
            _ = serving.send(address.to_owned());
        }
        let mut log = log.lock().expect("nobody panics inside");
        if log.len() == LINES_MAX {
            log.pop_front();
        }
        log.push_back(line);
    }
}
