//! Whether this replica may write.

use tokio::sync::watch;
use tokio::time::Instant;
use tombolo_runtime::lease::Claim;

/// The claim to the operator's Lease, as this replica sees it.
#[derive(Clone, Debug)]
pub struct Leadership {
    claims: watch::Receiver<Claim>,
    me: String,
}

// === impl Leadership ===

impl Leadership {
    /// Of the replica `me`.
    #[must_use]
    pub fn new(claims: watch::Receiver<Claim>, me: &str) -> Self {
        Self {
            claims,
            me: me.to_owned(),
        }
    }

    /// To be asked before each write: a claim expires without a word.
    #[must_use]
    pub fn is_held(&self) -> bool {
        self.claims.borrow().is_held_by(&self.me, Instant::now())
    }

    /// Waits until it is held, or until it no longer is.
    pub async fn becomes(&mut self, held: bool) {
        while self.is_held() != held {
            let expiry = self.claims.borrow_and_update().expiry();
            tokio::select! {
                changed = self.claims.changed() => if changed.is_err() {
                    // The Lease is no longer kept, so it is lost for good.
                    if self.is_held() == held { return; }
                    std::future::pending::<()>().await;
                },
                () = tokio::time::sleep_until(expiry), if expiry > Instant::now() => {}
            }
        }
    }
}
