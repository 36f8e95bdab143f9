//! Congestion control for where there is another one underneath.

use std::any::Any;
use std::sync::Arc;
use std::time::Instant;

use quinn::congestion::{Controller, ControllerFactory};

/// Makes controllers with a window of so many bytes, whatever happens.
#[derive(Clone, Copy, Debug)]
pub(crate) struct SteadyConfig(pub(crate) u64);

#[derive(Clone, Copy, Debug)]
struct Steady {
    window: u64,
}

// === impl SteadyConfig ===

impl ControllerFactory for SteadyConfig {
    fn build(self: Arc<Self>, _now: Instant, _current_mtu: u16) -> Box<dyn Controller> {
        Box::new(Steady { window: self.0 })
    }
}

// === impl Steady ===

impl Controller for Steady {
    fn on_congestion_event(
        &mut self,
        _now: Instant,
        _sent: Instant,
        _is_persistent_congestion: bool,
        _lost_bytes: u64,
    ) {
    }

    fn on_mtu_update(&mut self, _new_mtu: u16) {}

    fn window(&self) -> u64 {
        self.window
    }

    fn clone_box(&self) -> Box<dyn Controller> {
        Box::new(*self)
    }

    fn initial_window(&self) -> u64 {
        self.window
    }

    fn into_any(self: Box<Self>) -> Box<dyn Any> {
        self
    }
}
