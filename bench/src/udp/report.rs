//! What the server tells of the datagrams of one load.

/// Since the first one came.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Report {
    /// How many came.
    pub(super) arrived: u64,
    /// How many were sent, as far as those that came say.
    pub(super) sent: u64,
    /// By the server's clock.
    pub(super) micros: u64,
}

// === impl Report ===

impl Report {
    pub(super) const LENGTH: usize = 24;

    pub(super) fn write(self) -> Vec<u8> {
        [self.arrived, self.sent, self.micros]
            .map(u64::to_be_bytes)
            .concat()
    }

    pub(super) fn read(octets: &[u8]) -> Option<Self> {
        let (arrived, rest) = octets.split_first_chunk()?;
        let (sent, rest) = rest.split_first_chunk()?;
        let (micros, _) = rest.split_first_chunk()?;
        Some(Self {
            arrived: u64::from_be_bytes(*arrived),
            sent: u64::from_be_bytes(*sent),
            micros: u64::from_be_bytes(*micros),
        })
    }

    /// The later one of two, as reports may overtake each other.
    pub(super) fn later(self, other: Self) -> Self {
        match self.micros >= other.micros {
            true => self,
            false => other,
        }
    }

    /// What came between an earlier one and this one.
    pub(super) fn since(self, earlier: Self) -> Self {
        Self {
            arrived: self.arrived.saturating_sub(earlier.arrived),
            sent: self.sent.saturating_sub(earlier.sent),
            micros: self.micros.saturating_sub(earlier.micros),
        }
    }

    /// Those that were sent, and did not come. One that is late, sent before an earlier report,
    /// counts for one that is on its way still.
    pub(super) fn lost(self) -> u64 {
        self.sent.saturating_sub(self.arrived)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const EARLIER: Report = Report {
        arrived: 90,
        sent: 100,
        micros: 1_000,
    };
    const LATER: Report = Report {
        arrived: 185,
        sent: 200,
        micros: 3_000,
    };

    #[test]
    fn a_report_is_read_as_it_was_written() {
        let octets = LATER.write();

        assert_eq!(octets.len(), Report::LENGTH);
        assert_eq!(Report::read(&octets), Some(LATER));
        assert_eq!(Report::read(&octets[1..]), None);
    }

    #[test]
    fn what_was_lost_is_of_the_time_between_two_reports() {
        let between = LATER.since(EARLIER);

        assert_eq!((between.sent, between.lost()), (100, 5));
        assert_eq!(between.micros, 2_000);
    }

    #[test]
    fn a_report_that_was_overtaken_changes_nothing() {
        assert_eq!(LATER.later(EARLIER), LATER);
        assert_eq!(EARLIER.later(LATER), LATER);
    }
}
