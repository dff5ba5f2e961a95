//! A server under test: a process of its own on a core of its own, and the CPU time that it has used.

use std::{
    fs,
    net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream},
    path::Path,
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use crate::Result;

/// Longest wait for a server to listen.
const START_MAX: Duration = Duration::from_secs(10);

/// A running server, ended when dropped.
pub(crate) struct Server {
    child: Child,
    /// Where it listens.
    pub(crate) address: SocketAddr,
}

impl Server {
    /// Starts `program` with `arguments` and an address of its own, and waits until it listens; `cores` as `taskset -c`
    /// takes them.
    pub(crate) fn start(program: &Path, arguments: &[&str], cores: &str) -> Result<Self> {
        let address = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?;
        let child = Command::new("taskset")
            .args(["-c", cores])
            .arg(program)
            .args(arguments)
            .args(["--address", &address.to_string()])
            .stdout(Stdio::null())
            .spawn()?;
        let mut server = Self { child, address };
        let started = Instant::now();
        while TcpStream::connect(address).is_err() {
            if let Some(status) = server.child.try_wait()? {
                return Err(format!("{} ended at once: {status}", program.display()).into());
            }
            if started.elapsed() > START_MAX {
                return Err(format!("{} does not listen on {address}", program.display()).into());
            }
            thread::sleep(Duration::from_millis(20));
        }
        Ok(server)
    }

    /// Its process.
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may have ended by itself; either way it is gone.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// CPU time that a process has used, of all its threads, in user and kernel.
pub(crate) fn cpu_time(pid: u32) -> Result<Duration> {
    /// Linux counts in this unit on every architecture, whatever its own tick.
    const TICK: Duration = Duration::from_millis(10);
    let stat = fs::read_to_string(format!("/proc/{pid}/stat"))?;
    // The second field is the program's name in parentheses, which may hold anything; utime and stime are 14 and 15.
    let after_name = stat.rsplit_once(')').ok_or("no such process")?.1;
    let ticks: u32 = after_name.split_whitespace().skip(11).take(2).map(|field| field.parse().unwrap_or(0)).sum();
    Ok(TICK * ticks)
}
