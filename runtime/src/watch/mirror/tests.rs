use kube::runtime::watcher::Event;

use super::*;

#[test]
fn nothing_is_told_before_a_list_is_complete() {
    let mut world = World::default();

    world.hear(Event::Init);
    world.hear(Event::InitApply(kept("a", 3, "one")));
    world.hear(Event::InitApply(kept("b", 9, "two")));
    assert_eq!(world.told, [] as [&str; 0]);

    assert!(world.hear(Event::InitDone));
    assert_eq!(world.told, ["reset a=one b=two"]);
    assert_eq!(world.mirror.newest(), 9);
}

#[test]
fn an_empty_first_list_is_news() {
    let mut world = World::default();

    world.hear(Event::Init);
    assert!(world.hear(Event::InitDone));

    assert_eq!(world.told, ["reset"]);
    assert_eq!(world.mirror.newest(), 0);
}

#[test]
fn only_what_changed_is_told() {
    let mut world = World::listed([kept("a", 1, "one")]);

    assert!(
        !world.hear(Event::Apply(kept("a", 2, "one"))),
        "the same projection"
    );
    assert!(world.hear(Event::Apply(kept("a", 3, "new"))));
    assert!(world.hear(Event::Apply(kept("b", 4, "two"))));
    assert!(world.hear(Event::Delete(kept("a", 5, "new"))));
    assert!(!world.hear(Event::Delete(kept("a", 6, "new"))), "not there");

    assert_eq!(world.told, ["apply a=new", "apply b=two", "delete a"]);
    assert_eq!(world.mirror.newest(), 6);
}

#[test]
fn what_the_projection_wants_none_of_is_not_there() {
    let mut world = World::listed([kept("a", 1, "one"), heard("b", 2, Content::Unwanted)]);

    assert!(!world.hear(Event::Apply(heard("b", 3, Content::Unwanted))));
    assert!(world.hear(Event::Apply(heard("a", 4, Content::Unwanted))));

    assert_eq!(world.told, ["delete a"]);
    assert!(world.mirror.objects().is_empty());
}

#[test]
fn what_is_not_understood_stays_as_it_was_last_understood() {
    let mut world = World::listed([kept("a", 1, "one"), kept("b", 1, "two")]);

    assert!(!world.hear(Event::Apply(heard("a", 2, Content::Unknown))));
    world.hear(Event::Init);
    world.hear(Event::InitApply(heard("a", 2, Content::Unknown)));
    world.hear(Event::InitApply(heard("new", 3, Content::Unknown)));
    world.hear(Event::InitDone);

    assert_eq!(world.told, ["reset a=one"]);
}

#[test]
fn a_later_list_replaces_and_an_equal_one_is_no_news() {
    let mut world = World::listed([kept("a", 1, "one"), kept("b", 7, "two")]);
    let shared = Arc::clone(&world.mirror.objects()[&Key::new("ns", "a")]);

    world.hear(Event::Init);
    world.hear(Event::InitApply(kept("b", 7, "two")));
    world.hear(Event::InitApply(kept("a", 1, "one")));
    assert!(!world.hear(Event::InitDone));

    world.hear(Event::Init);
    world.hear(Event::InitApply(kept("a", 1, "one")));
    assert!(world.hear(Event::InitDone));
    assert_eq!(world.told, ["reset a=one"]);
    assert_eq!(
        world.mirror.newest(),
        1,
        "of what there is, not of what there was"
    );
    assert!(
        Arc::ptr_eq(&shared, &world.mirror.objects()[&Key::new("ns", "a")]),
        "one copy"
    );
}

#[test]
fn of_an_object_that_a_list_has_twice_the_later_counts() {
    let mut world = World::default();

    world.hear(Event::Init);
    for (name, value) in [("b", "old"), ("a", "one"), ("b", "new")] {
        world.hear(Event::InitApply(kept(name, 1, value)));
    }
    world.hear(Event::InitDone);

    assert_eq!(world.told, ["reset a=one b=new"]);
}

#[test]
fn a_list_that_breaks_off_leaves_no_trace() {
    let mut world = World::listed([kept("a", 1, "one")]);

    world.hear(Event::Init);
    world.hear(Event::InitApply(kept("half", 5, "told")));
    world.hear(Event::Init);
    world.hear(Event::InitApply(kept("a", 1, "one")));
    assert!(!world.hear(Event::InitDone));

    assert_eq!(world.told, [] as [&str; 0]);
}

#[derive(Default)]
struct World {
    mirror: Mirror<&'static str>,
    told: Told,
}

impl World {
    /// After a first list, of which nothing is recorded.
    fn listed<const N: usize>(objects: [Heard<&'static str>; N]) -> Self {
        let mut world = Self::default();
        world.hear(Event::Init);
        for object in objects {
            world.hear(Event::InitApply(object));
        }
        world.hear(Event::InitDone);
        world.told.0.clear();
        world
    }

    fn hear(&mut self, event: Event<Heard<&'static str>>) -> bool {
        let told_before = self.told.0.len();
        let is_news = self.mirror.handle(event, &mut self.told);
        assert_eq!(is_news, self.told.0.len() > told_before);
        is_news
    }
}

#[derive(Debug, Default)]
struct Told(Vec<String>);

impl Index<&'static str> for Told {
    fn apply(&mut self, key: &Key, value: &Arc<&'static str>) {
        self.0.push(format!("apply {}={value}", key.name));
    }

    fn delete(&mut self, key: &Key) {
        self.0.push(format!("delete {}", key.name));
    }

    fn reset(&mut self, all: &BTreeMap<Key, Arc<&'static str>>) {
        let all = all
            .iter()
            .map(|(key, value)| format!(" {}={value}", key.name));
        self.0.push(format!("reset{}", all.collect::<String>()));
    }
}

impl<const N: usize> PartialEq<[&str; N]> for Told {
    fn eq(&self, other: &[&str; N]) -> bool {
        self.0 == *other
    }
}

fn kept(name: &str, version: u64, value: &'static str) -> Heard<&'static str> {
    heard(name, version, Content::Kept(value))
}

fn heard(name: &str, version: u64, content: Content<&'static str>) -> Heard<&'static str> {
    Heard {
        key: Key::new("ns", name),
        version,
        content,
    }
}
