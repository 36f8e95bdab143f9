//! The search for the highest rate that a carrier keeps.

use crate::client::Measured;

/// The first rate that is tried, in Mbit/s.
const FIRST: f64 = 100.0;
/// No rate below this one is tried, and none above the other.
const LEAST: f64 = 1.0;
const MOST: f64 = 100_000.0;
/// How much more the lowest rate that was not kept may be than the highest that was.
const CLOSE: f64 = 1.1;
/// What may be lost of a rate that is kept: twice what the lossy path loses.
const LOSS: f64 = 0.01;
/// How much of a rate must have been sent: where the client cannot, the search ends as well.
const SENT: f64 = 0.95;

/// Doubles the rate until it is not kept, and halves the distance then.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Search {
    kept: Option<f64>,
    not_kept: Option<f64>,
}

// === impl Search ===

impl Search {
    /// What is to be tried, in Mbit/s; none if the rate is known.
    pub(crate) fn next(&self) -> Option<f64> {
        let next = match (self.kept, self.not_kept) {
            (None, None) => FIRST,
            (Some(kept), None) => kept * 2.0,
            (None, Some(not_kept)) => not_kept / 2.0,
            (Some(kept), Some(not_kept)) if not_kept / kept <= CLOSE => return None,
            (Some(kept), Some(not_kept)) => (kept * not_kept).sqrt(),
        };
        (LEAST..=MOST).contains(&next).then_some(next)
    }

    pub(crate) fn tried(&mut self, megabits: f64, kept: bool) {
        match kept {
            true => self.kept = Some(megabits),
            false => self.not_kept = Some(megabits),
        }
    }
}

/// Whether a rate was sent, and nearly all of it came.
pub(crate) fn is_kept(measured: &Measured, megabits: f64) -> bool {
    let (sent, lost) = (measured.sent as f64, measured.lost as f64);
    let wanted = megabits * 1e6 / 8.0 / super::DATAGRAM as f64 * measured.seconds;
    sent > 0.0 && sent >= SENT * wanted && lost <= LOSS * sent
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_found_is_close_to_what_a_carrier_keeps() {
        for limit in [3.0, 99.0, 100.0, 1_234.0, 40_000.0] {
            let found = search(limit).unwrap();

            assert!(found <= limit && limit <= found * CLOSE, "{limit} {found}");
        }
    }

    #[test]
    fn a_search_ends_where_nothing_or_everything_is_kept() {
        assert_eq!(search(0.0), None);
        assert!(search(f64::INFINITY).is_some_and(|found| found > MOST / 2.0));
    }

    #[test]
    fn a_rate_is_kept_if_it_is_sent_and_arrives() {
        // 100 Mbit/s are 10,417 datagrams a second.
        let measured = |sent, lost| Measured {
            seconds: 1.0,
            sent,
            lost,
            ..Measured::default()
        };

        assert!(is_kept(&measured(10_400, 100), 100.0));
        assert!(!is_kept(&measured(10_400, 110), 100.0));
        assert!(!is_kept(&measured(9_000, 0), 100.0));
        assert!(!is_kept(&Measured::default(), 100.0));
    }

    fn search(limit: f64) -> Option<f64> {
        let mut search = Search::default();
        while let Some(megabits) = search.next() {
            search.tried(megabits, megabits <= limit);
        }
        search.kept
    }
}
