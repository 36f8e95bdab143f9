use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use serde_json::Value;
use tokio::{runtime::Handle, time};

use super::*;
use crate::fake_api::{FakeApi, Lost, Mode, Passage};

const SECOND: Duration = Duration::from_secs(1);
const TIMING: Timing = Timing {
    duration: Duration::from_secs(5),
    renew: SECOND,
    retry: Duration::from_millis(500),
};

#[tokio::test(start_paused = true)]
async fn one_holds_it_and_another_waits_until_it_is_given_up() {
    let api = FakeApi::new("leases");
    let (one, other) = (Candidate::new(&api, "one"), Candidate::new(&api, "other"));
    one.wins(SECOND).await;
    time::sleep(60 * SECOND).await;
    assert!(one.holds() && !other.holds());
    assert_eq!(other.claims.borrow().holder(), Some("one"));

    one.tasks.shutdown(60 * SECOND).await;
    assert!(!one.holds());
    assert_eq!(spec(&api)["holderIdentity"], "");
    other.wins(2 * TIMING.retry).await;
    assert_eq!(spec(&api)["leaseTransitions"], 1);
}

#[tokio::test(start_paused = true)]
async fn dropping_the_handle_gives_it_up() {
    let api = FakeApi::new("leases");
    let mut one = Candidate::new(&api, "one");
    one.wins(SECOND).await;

    drop(one.kept.take());
    time::sleep(SECOND).await;

    assert!(!one.holds());
    assert_eq!(spec(&api)["holderIdentity"], "");
    let requests = api.requests().len();
    time::sleep(60 * SECOND).await;
    assert_eq!(
        api.requests().len(),
        requests,
        "and nothing is done any more"
    );
}

#[tokio::test(start_paused = true)]
async fn what_another_holds_is_not_released() {
    let api = FakeApi::new("leases");
    let (one, other) = (Candidate::new(&api, "one"), Candidate::new(&api, "other"));
    one.wins(SECOND).await;

    other.tasks.shutdown(60 * SECOND).await;

    assert_eq!(spec(&api)["holderIdentity"], "one");
}

#[tokio::test(start_paused = true)]
async fn a_holder_that_dies_is_followed_when_its_lease_has_expired_and_no_sooner() {
    let api = FakeApi::new("leases");
    let one = Candidate::new(&api, "one");
    one.wins(SECOND).await;
    let other = Candidate::new(&api, "other");
    time::sleep(10 * SECOND).await;

    one.cut_off.store(true, Ordering::Relaxed);
    let start = Instant::now();
    other.wins(60 * SECOND).await;

    let after = start.elapsed();
    assert!(after >= TIMING.duration - TIMING.renew, "{after:?}");
    assert!(after <= TIMING.duration + 2 * TIMING.retry, "{after:?}");
    assert!(!one.holds(), "its claim ended before");
}

#[tokio::test(start_paused = true)]
async fn without_an_api_server_a_claim_lasts_until_it_expires_and_readers_hear_of_it() {
    for away in [Mode::Down, Mode::Hung, Mode::Status(403), Mode::Status(500)] {
        let api = FakeApi::new("leases");
        let one = Candidate::new(&api, "one");
        one.wins(SECOND).await;
        time::sleep(10 * SECOND).await;
        let mut claims = one.claims.clone();

        api.set(away);
        let expiry = claims.borrow_and_update().expiry();
        time::sleep_until(expiry - Duration::from_millis(10)).await;
        let expiry = claims.borrow_and_update().expiry();
        assert!(one.holds(), "{away:?}");

        time::timeout_at(
            expiry + SECOND,
            claims.wait_for(|claim| claim.holder().is_none()),
        )
        .await
        .unwrap_or_else(|_| panic!("{away:?}"))
        .unwrap();
        assert!(Instant::now() >= expiry, "{away:?}");

        api.set(Mode::Up);
        one.wins(TIMING.renew + TIMING.retry).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_claim_is_counted_from_before_the_renewal_was_sent() {
    let api = FakeApi::new("leases");
    let slow = || Passage {
        after: Duration::from_millis(900),
        ..Passage::default()
    };
    let start = Instant::now();
    let one = Candidate::over(&api, "one", slow);
    one.wins(2 * SECOND).await;

    let looked_and_sent = start + Duration::from_millis(900);
    assert_eq!(
        one.claims.borrow().expiry(),
        looked_and_sent + TIMING.duration
    );
}

#[tokio::test(start_paused = true)]
async fn a_renewal_is_one_request() {
    let api = FakeApi::new("leases");
    let one = Candidate::new(&api, "one");
    one.wins(SECOND).await;
    let before = api.requests().len();

    time::sleep(60 * SECOND).await;

    let requests = api.requests().len() - before;
    assert!((58..=60).contains(&requests), "{requests}");
}

#[tokio::test(start_paused = true)]
async fn a_process_that_starts_again_under_its_name_holds_it_at_once() {
    let api = FakeApi::new("leases");
    let one = Candidate::new(&api, "one");
    one.wins(SECOND).await;
    one.cut_off.store(true, Ordering::Relaxed);

    let again = Candidate::new(&api, "one");

    again.wins(Duration::from_millis(100)).await;
    assert_eq!(spec(&api)["leaseTransitions"], 0);
}

#[tokio::test(start_paused = true)]
async fn a_lease_that_is_deleted_is_made_again() {
    let api = FakeApi::new("leases");
    let one = Candidate::new(&api, "one");
    one.wins(SECOND).await;

    api.delete("system", "leader");
    time::sleep(3 * SECOND).await;

    assert_eq!(spec(&api)["holderIdentity"], "one");
    assert!(one.holds());
}

#[tokio::test(start_paused = true)]
async fn a_namespace_that_is_not_there_is_asked_for_in_measure() {
    let api = FakeApi::new("leases");
    api.set(Mode::Status(404));
    let _one = Candidate::new(&api, "one");

    time::sleep(60 * SECOND).await;

    // A look and a try each time.
    let most = 2 * (60 * SECOND).as_millis() / TIMING.retry.as_millis() + 2;
    assert!(
        api.requests().len() as u128 <= most,
        "{}",
        api.requests().len()
    );
}

#[tokio::test(start_paused = true)]
async fn a_lease_goes_with_its_owner() {
    let api = FakeApi::new("leases");
    let owner = OwnerReference {
        api_version: "tombolo.io/v1alpha1".to_owned(),
        kind: "Peer".to_owned(),
        name: "west".to_owned(),
        uid: "1-2-3".to_owned(),
        ..OwnerReference::default()
    };
    let tasks = Tasks::new(Handle::current());
    let lease = Lease::new(api.client(), "system", "leader", "one")
        .timing(TIMING)
        .owned_by(owner);
    let _kept = lease.keep(&tasks);

    time::sleep(10 * SECOND).await;

    let object = api.object("system", "leader").unwrap();
    assert_eq!(object["metadata"]["ownerReferences"][0]["uid"], "1-2-3");
}

/// Three candidates, each with a bad way to the API server: slow, losing requests and answers,
/// cut off for a while, and letting what was sent arrive late.
#[tokio::test(start_paused = true)]
async fn never_two_holders() {
    const SEEDS: u64 = 12;
    const STEPS: u64 = 2000;
    let (mut held, mut changes) = (0, 0);
    for seed in 0..SEEDS {
        let api = FakeApi::new("leases");
        let dice = Dice::new(seed);
        let names = ["one", "two", "three"];
        let candidates = names.map(|name| Candidate::over(&api, name, dice.bad_passage()));
        let mut last = None;
        for _ in 0..STEPS {
            time::sleep(Duration::from_millis(100)).await;
            for candidate in &candidates {
                if dice.roll(200) == 0 {
                    let cut_off = candidate.cut_off.load(Ordering::Relaxed);
                    candidate
                        .cut_off
                        .store(!cut_off && dice.roll(2) == 0, Ordering::Relaxed);
                }
            }
            let holders: Vec<_> = candidates
                .iter()
                .filter(|candidate| candidate.holds())
                .collect();
            assert!(holders.len() <= 1, "seed {seed}: two holders");
            if let Some(holder) = holders.first() {
                held += 1;
                changes += u64::from(last.replace(&holder.name) != Some(&holder.name));
            }
        }
    }
    // What was put to the test did happen.
    assert!(held > SEEDS * STEPS / 3, "{held}");
    assert!(changes > SEEDS * 3, "{changes}");
}

struct Candidate {
    name: String,
    claims: watch::Receiver<Claim>,
    kept: Option<Kept>,
    tasks: Tasks,
    cut_off: Arc<AtomicBool>,
}

impl Candidate {
    fn new(api: &FakeApi, name: &str) -> Self {
        Self::over(api, name, Passage::default)
    }

    fn over(
        api: &FakeApi,
        name: &str,
        passage: impl Fn() -> Passage + Send + Sync + 'static,
    ) -> Self {
        let cut_off = Arc::<AtomicBool>::default();
        let is_cut_off = Arc::clone(&cut_off);
        let client = api.client_over(move || {
            if is_cut_off.load(Ordering::Relaxed) {
                return Passage {
                    lost: Some(Lost::Request),
                    ..Passage::default()
                };
            }
            passage()
        });
        let tasks = Tasks::new(Handle::current());
        let kept = Lease::new(client, "system", "leader", name)
            .timing(TIMING)
            .keep(&tasks);
        let claims = kept.claims();
        Self {
            name: name.to_owned(),
            claims,
            kept: Some(kept),
            tasks,
            cut_off,
        }
    }

    fn holds(&self) -> bool {
        self.claims.borrow().is_held_by(&self.name, Instant::now())
    }

    async fn wins(&self, within: Duration) {
        let mut claims = self.claims.clone();
        let won = claims.wait_for(|claim| claim.is_held_by(&self.name, Instant::now()));
        let won = time::timeout(within, won).await;
        assert!(matches!(won, Ok(Ok(_))), "{} within {within:?}", self.name);
    }
}

/// The same throws for the same seed.
#[derive(Clone)]
struct Dice(Arc<AtomicU64>);

impl Dice {
    fn new(seed: u64) -> Self {
        Self(Arc::new(AtomicU64::new(seed)))
    }

    /// Less than `sides`. SplitMix64 (Steele, Lea, Flood 2014).
    fn roll(&self, sides: u64) -> u64 {
        let step = 0x9E37_79B9_7F4A_7C15;
        let state = self.0.fetch_add(step, Ordering::Relaxed).wrapping_add(step);
        let mixed = (state ^ (state >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        (mixed ^ (mixed >> 31)) % sides
    }

    fn bad_passage(&self) -> impl Fn() -> Passage + Send + Sync + 'static {
        let dice = self.clone();
        move || Passage {
            before: Duration::from_millis(dice.roll(5) * dice.roll(700)),
            after: Duration::from_millis(dice.roll(3) * dice.roll(500)),
            lost: match dice.roll(12) {
                0 => Some(Lost::Request),
                1 => Some(Lost::Answer),
                _ => None,
            },
        }
    }
}

fn spec(api: &FakeApi) -> Value {
    api.object("system", "leader").unwrap()["spec"].clone()
}
