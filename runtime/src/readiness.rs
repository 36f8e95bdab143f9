//! What holds a program back from being sent work.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use parking_lot::RwLock;
use tokio::{runtime::Handle, time};

/// A runtime that cannot run an empty task within this time serves nobody else either.
const RUNTIME_PATIENCE: Duration = Duration::from_secs(1);

/// Whether this program should be sent work: when every gate is open and it is not draining.
#[derive(Clone, Default)]
pub struct Readiness(Arc<RwLock<State>>);

#[derive(Default)]
struct State {
    gates: Vec<Gate>,
    runtimes: Vec<(&'static str, Handle)>,
    draining: bool,
}

/// One thing that a program waits for before it is ready. Closed at first; left as it is on drop.
#[derive(Clone)]
pub struct Gate {
    name: Arc<str>,
    open: Arc<AtomicBool>,
}

// === impl Readiness ===

impl Readiness {
    /// Adds a closed gate. Gates of the same name are different gates.
    #[must_use]
    pub fn gate(&self, name: &str) -> Gate {
        let gate = Gate {
            name: name.into(),
            open: Arc::default(),
        };
        self.0.write().gates.push(gate.clone());
        gate
    }

    /// Makes readiness depend on `runtime` answering, for a program that serves from another
    /// runtime than its admin server's.
    pub fn require_runtime(&self, name: &'static str, runtime: Handle) {
        self.0.write().runtimes.push((name, runtime));
    }

    /// From now on not ready, whatever the gates say.
    pub fn drain(&self) {
        self.0.write().draining = true;
    }

    /// The names of what holds this program back from being sent work; none if it is ready.
    pub async fn held_back_by(&self) -> Vec<String> {
        let draining = self.0.read().draining.then(|| "draining".to_owned());
        let obstacles = self.obstacles().await;
        draining.into_iter().chain(obstacles).collect()
    }

    /// The names of what keeps this program from serving what it has been sent. Draining is none:
    /// whoever drains serves.
    pub async fn obstacles(&self) -> Vec<String> {
        let (mut held, runtimes) = {
            let state = self.0.read();
            (state.closed(), state.runtimes.clone())
        };
        for (name, runtime) in runtimes {
            let answer = runtime.spawn(std::future::ready(()));
            if !matches!(time::timeout(RUNTIME_PATIENCE, answer).await, Ok(Ok(()))) {
                held.push(name.to_owned());
            }
        }
        held
    }
}

// === impl State ===

impl State {
    fn closed(&self) -> Vec<String> {
        let closed = self.gates.iter().filter(|gate| !gate.is_open());
        closed.map(|gate| gate.name.to_string()).collect()
    }
}

// === impl Gate ===

impl Gate {
    /// No longer holds the program back.
    pub fn open(&self) {
        if !self.open.swap(true, Ordering::Relaxed) {
            tracing::debug!(gate = %self.name, "open");
        }
    }

    /// Holds the program back.
    pub fn close(&self) {
        if self.open.swap(false, Ordering::Relaxed) {
            tracing::info!(gate = %self.name, "not ready");
        }
    }

    /// Whether it does not hold the program back.
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.open.load(Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn every_gate_must_be_open() {
        let readiness = Readiness::default();
        let exports = readiness.gate("exports");
        let peers = readiness.gate("peers");
        assert_eq!(readiness.held_back_by().await, ["exports", "peers"]);

        exports.open();
        assert_eq!(readiness.held_back_by().await, ["peers"]);

        peers.open();
        assert_eq!(readiness.held_back_by().await, [] as [&str; 0]);

        exports.close();
        assert_eq!(readiness.held_back_by().await, ["exports"]);
    }

    #[tokio::test]
    async fn a_gate_does_not_open_its_namesake() {
        let readiness = Readiness::default();
        let first = readiness.gate("pods");
        let _second = readiness.gate("pods");

        first.open();

        assert_eq!(readiness.held_back_by().await, ["pods"]);
    }

    #[tokio::test]
    async fn draining_is_not_ready_with_all_gates_open() {
        let readiness = Readiness::default();
        readiness.gate("exports").open();

        readiness.drain();

        assert_eq!(readiness.held_back_by().await, ["draining"]);
        assert_eq!(readiness.obstacles().await, [] as [&str; 0]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_runtime_that_does_not_answer_holds_back() {
        let idle = tokio::runtime::Builder::new_current_thread()
            .build()
            .unwrap();
        let readiness = Readiness::default();
        readiness.require_runtime("control", Handle::current());
        readiness.require_runtime("data-plane", idle.handle().clone());

        assert_eq!(readiness.held_back_by().await, ["data-plane"]);

        idle.shutdown_background();
    }
}
