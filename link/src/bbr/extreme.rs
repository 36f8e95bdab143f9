//! The most, or the least, of what was measured lately.

/// Of this cycle and the one before.
#[derive(Clone, Copy, Debug)]
pub(super) struct Extreme<T> {
    pick: fn(T, T) -> T,
    before: Option<T>,
    now: Option<T>,
}

// === impl Extreme ===

impl<T: Copy + Ord> Extreme<T> {
    /// Of which the most counts.
    pub(super) fn most() -> Self {
        Self::new(T::max)
    }

    /// Of which the least counts.
    pub(super) fn least() -> Self {
        Self::new(T::min)
    }

    fn new(pick: fn(T, T) -> T) -> Self {
        Self {
            pick,
            before: None,
            now: None,
        }
    }

    /// Takes up a value of this cycle.
    pub(super) fn add(&mut self, value: T) {
        self.now = Some(self.now.map_or(value, |now| (self.pick)(now, value)));
    }

    /// Begins another cycle. Forgets what was before this cycle, if anything is known of this one.
    pub(super) fn turn(&mut self) {
        if let Some(now) = self.now.take() {
            self.before = Some(now);
        }
    }

    /// None if nothing was measured.
    pub(super) fn get(&self) -> Option<T> {
        match (self.before, self.now) {
            (Some(before), Some(now)) => Some((self.pick)(before, now)),
            (before, now) => before.or(now),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_of_two_cycles() {
        let mut most = Extreme::most();
        let mut seen = vec![most.get()];
        for value in [7, 9, 3, 5] {
            most.add(value);
            seen.push(most.get());
            most.turn();
        }

        assert_eq!(seen, [None, Some(7), Some(9), Some(9), Some(5)]);
    }

    #[test]
    fn a_cycle_in_which_nothing_was_measured_does_not_count() {
        let mut least = Extreme::least();
        least.add(4);
        least.turn();
        least.turn();
        least.turn();

        assert_eq!(least.get(), Some(4));
    }
}
