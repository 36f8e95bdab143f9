use super::*;

#[test]
fn the_first_change_is_due_at_once_and_once() {
    let (mut queue, now) = queue();
    queue.add(now, "a");
    queue.add(now, "a");

    assert_eq!(queue.poll(now), Some("a"));
    assert_eq!(queue.poll(now), None);
}

#[test]
fn a_change_under_way_makes_one_more_look_after_the_spacing() {
    let (mut queue, now) = queue();
    queue.add(now, "a");
    queue.poll(now);
    queue.add(now, "a");
    queue.add(now, "a");
    assert_eq!(queue.poll(now + SPACING), None, "no key is under way twice");

    queue.done(now, "a", true);

    assert_eq!(queue.poll(now), None);
    assert_eq!(queue.poll_timeout(), Some(now + SPACING));
    assert_eq!(queue.poll(now + SPACING), Some("a"));
    queue.done(now + SPACING, "a", true);
    assert_eq!(queue.poll_timeout(), None);
}

#[test]
fn failures_wait_longer_each_time_up_to_a_limit_and_a_success_forgets_them() {
    let (mut queue, mut now) = queue();
    queue.add(now, "a");
    let mut waits = Vec::new();
    for _ in 0..12 {
        queue.poll(now);
        queue.done(now, "a", false);
        let due = queue.poll_timeout().unwrap();
        waits.push(due - now);
        now = due;
    }
    assert_eq!(waits[..3], [FIRST_RETRY, FIRST_RETRY * 2, FIRST_RETRY * 4]);
    assert_eq!(waits[11], LAST_RETRY);

    queue.poll(now);
    queue.done(now, "a", true);
    queue.add(now, "a");
    queue.poll(now);
    queue.done(now, "a", false);

    assert_eq!(queue.poll_timeout(), Some(now + FIRST_RETRY));
}

#[test]
fn a_change_cuts_the_wait_after_a_failure_short() {
    let (mut queue, now) = queue();
    for _ in 0..5 {
        queue.add(now, "a");
        queue.poll(now);
        queue.done(now, "a", false);
    }
    queue.add(now, "a");

    assert_eq!(queue.poll(now), Some("a"));
}

#[test]
fn keys_take_turns_in_the_order_in_which_they_became_due() {
    let (mut queue, now) = queue();
    queue.add(now, "b");
    queue.add(now + SPACING, "a");

    assert_eq!(queue.len(), 2);
    assert_eq!(queue.poll(now + SPACING), Some("b"));
    assert_eq!(queue.poll(now + SPACING), Some("a"));
    assert!(queue.is_empty());
}

fn queue() -> (Queue<&'static str>, Instant) {
    (Queue::default(), Instant::now())
}
