//! A store in memory behind a gate, and servers on it that can be killed.

use std::{
    collections::VecDeque,
    fmt,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use fuseboard::{
    breaker::Timestamp,
    engine::{AuditEntry, Event},
    store::{Answer, Commit, Committed, Follower, Health, Memory, Merge, Record, Refused, Root, Store, Together},
};
use futures_util::FutureExt as _;
use parking_lot::Mutex;
use tokio::sync::{oneshot, watch};

/// One server's way to a store that outlives it. What was let through is there for the next server.
pub(crate) struct Gated {
    memory: Memory,
    gate: Mutex<Gate>,
    health: watch::Sender<Health>,
    /// Until the server is killed: then nothing is let through any more, and it hears of nothing.
    lives: Arc<AtomicBool>,
}

#[derive(Default)]
struct Gate {
    is_shut: bool,
    waiting: VecDeque<Waiting>,
}

struct Waiting {
    what: Write,
    /// Of each commit, and of the merge where there is one.
    answers: Vec<oneshot::Sender<Result<(), Refused>>>,
}

/// What is written at once.
struct Write {
    commits: Vec<Commit>,
    merge: Option<Merge>,
}

/// A server that hears of commits as long as it lives.
struct Living {
    follower: Arc<dyn Follower>,
    lives: Arc<AtomicBool>,
}

impl Follower for Living {
    fn committed(&self, committed: &Committed) {
        if self.lives.load(Ordering::Acquire) {
            self.follower.committed(committed);
        }
    }
}

impl Gated {
    pub(crate) fn new(memory: &Memory) -> Self {
        Self {
            memory: memory.clone(),
            gate: Mutex::default(),
            health: watch::Sender::default(),
            lives: Arc::new(AtomicBool::new(true)),
        }
    }

    pub(crate) fn shut(&self) {
        self.gate.lock().is_shut = true;
    }

    /// Lets all through that waits, and what comes.
    pub(crate) fn open(&self) {
        while self.let_one() {}
        self.gate.lock().is_shut = false;
    }

    /// Lets one through. False where none waits.
    pub(crate) fn let_one(&self) -> bool {
        let Some(next) = self.gate.lock().waiting.pop_front() else { return false };
        for (answer, sender) in self.write(next.what).into_iter().zip(next.answers) {
            // Whoever asked may have gone.
            let _ = sender.send(answer);
        }
        true
    }

    pub(crate) fn waiting(&self) -> usize {
        self.gate.lock().waiting.len()
    }

    /// The store says that it cannot write, and does not.
    pub(crate) fn fail(&self) {
        self.shut();
        self.health.send_replace(Health::Failing { why: "no space left".to_owned() });
    }

    pub(crate) fn recover(&self) {
        self.health.send_replace(Health::Well);
        self.open();
    }

    pub(crate) fn kill(&self) {
        self.lives.store(false, Ordering::Release);
        self.gate.lock().is_shut = true;
    }

    pub(crate) fn is_dead(&self) -> bool {
        !self.lives.load(Ordering::Acquire)
    }

    fn write(&self, what: Write) -> Vec<Result<(), Refused>> {
        let is_merged = what.merge.is_some();
        let answers = match what.merge {
            Some(merge) => {
                let together = self.memory.write_together(what.commits, merge);
                together.commits.into_iter().chain([together.merge]).collect()
            }
            None => what.commits.into_iter().map(|commit| self.memory.commit(commit)).collect::<Vec<_>>(),
        };
        let answers = answers.into_iter().map(|answer| answer.now_or_never().expect("memory answers at once"));
        let answers: Vec<_> = answers.collect();
        assert!(!is_merged || answers.last() == Some(&Ok(())), "a merge is not refused");
        answers
    }

    fn send(&self, commits: Vec<Commit>, merge: Option<Merge>) -> Vec<Answer<'static, ()>> {
        let count = commits.len() + usize::from(merge.is_some());
        let what = Write { commits, merge };
        let mut gate = self.gate.lock();
        if !gate.is_shut {
            let answers = self.write(what).into_iter();
            return answers.map(|answer| Box::pin(std::future::ready(answer)) as Answer<'static, ()>).collect();
        }
        let (answers, answered): (Vec<_>, Vec<_>) = (0..count).map(|_| oneshot::channel()).unzip();
        gate.waiting.push_back(Waiting { what, answers });
        let answered = answered.into_iter().map(|answered| {
            let answer = async move {
                match answered.await {
                    Ok(answer) => answer,
                    // A killed server hears nothing.
                    Err(_) => std::future::pending().await,
                }
            };
            Box::pin(answer) as Answer<'static, ()>
        });
        answered.collect()
    }
}

impl fmt::Debug for Gated {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Gated").finish_non_exhaustive()
    }
}

impl Store for Gated {
    fn name(&self) -> &'static str {
        "gated"
    }

    fn is_lasting(&self) -> bool {
        true
    }

    fn epoch(&self) -> u64 {
        self.memory.epoch()
    }

    fn now(&self) -> Timestamp {
        self.memory.now()
    }

    fn health(&self) -> watch::Receiver<Health> {
        self.health.subscribe()
    }

    fn follow(&self, follower: Arc<dyn Follower>) {
        self.memory.follow(Arc::new(Living { follower, lives: Arc::clone(&self.lives) }));
    }

    fn root(&self) -> Answer<'_, Root> {
        self.memory.root()
    }

    fn load<'a>(&'a self, key: &'a str) -> Answer<'a, Option<Record>> {
        self.memory.load(key)
    }

    fn scan<'a>(&'a self, after: &'a str, max: usize) -> Answer<'a, Vec<Record>> {
        self.memory.scan(after, max)
    }

    fn events(&self, after: u64, max: usize) -> Answer<'_, Vec<Arc<Event>>> {
        self.memory.events(after, max)
    }

    fn audit(&self, before: u64, max: usize) -> Answer<'_, Vec<AuditEntry>> {
        self.memory.audit(before, max)
    }

    fn commit(&self, commit: Commit) -> Answer<'static, ()> {
        self.send(vec![commit], None).swap_remove(0)
    }

    fn merge(&self, merge: Merge) -> Answer<'static, ()> {
        self.send(Vec::new(), Some(merge)).swap_remove(0)
    }

    fn write_together(&self, commits: Vec<Commit>, merge: Merge) -> Together {
        let mut answers = self.send(commits, Some(merge));
        let merge = answers.pop().expect("one of the merge");
        Together { commits: answers, merge }
    }
}
