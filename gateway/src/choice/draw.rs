//! Chance that can be asked again.

use std::hash::Hasher;

use siphasher::sip::SipHasher13;

/// A client's luck: the same question has the same answer, other questions have others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Draw(u64);

// === impl Draw ===

impl Draw {
    /// All its answers follow from `seed`.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// A number from 0 (included) to 1 (excluded).
    pub(super) fn uniform(self, question: &str) -> f64 {
        unit(self.hash(question, ""))
    }

    /// The place of a candidate in this client's order, the least first: over many clients each
    /// is first as often as its weight is of the sum. None without a weight.
    ///
    /// Weighted rendezvous hashing: an exponential variable with the weight for its rate, of which
    /// the least of all is a candidate's with just that probability.
    pub(super) fn share(self, question: &str, candidate: &str, weight: f64) -> Option<f64> {
        let chance = 1.0 - unit(self.hash(question, candidate));
        (weight > 0.0).then(|| -chance.ln() / weight)
    }

    // Replicas of neighbouring versions must agree on clients with affinity, so the hash is one
    // that no release changes.
    fn hash(self, question: &str, candidate: &str) -> u64 {
        let mut hasher = SipHasher13::new_with_keys(self.0, 0);
        hasher.write(question.as_bytes());
        hasher.write_u8(0);
        hasher.write(candidate.as_bytes());
        hasher.finish()
    }
}

/// Of 64 bits those that a float between 0 and 1 can hold.
fn unit(bits: u64) -> f64 {
    const BITS: u32 = 53;
    let scale = 1.0 / f64::from(2.0_f32).powi(53);
    #[allow(
        clippy::cast_precision_loss,
        reason = "53 bits are what it holds exactly"
    )]
    let number = (bits >> (u64::BITS - BITS)) as f64;
    number * scale
}
