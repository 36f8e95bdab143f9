use tombolo_catalog::{Headcount, Place};

use super::*;

#[test]
fn a_peer_is_told_all_then_what_changed() {
    let (web, api) = (service("web"), service("api"));
    let first = AllHeadcounts::from([(web.clone(), ready(1)), (api.clone(), ready(2))]);
    let second = AllHeadcounts::from([(web.clone(), ready(3)), (api.clone(), ready(2))]);
    let third = AllHeadcounts::from([(api.clone(), ready(2))]);

    assert_eq!(changes(&AllHeadcounts::new(), &first).len(), 2);
    assert_eq!(changes(&first, &second), [told(&web, Some(ready(3)))]);
    assert_eq!(changes(&second, &third), [told(&web, None)]);
    assert_eq!(changes(&third, &third), []);
}

#[test]
fn what_was_told_is_remembered_until_it_is_withdrawn() {
    let memory = Told::default();
    let web = service("web");

    memory.remember(told(&web, Some(ready(1))));
    memory.remember(told(&web, Some(ready(2))));
    assert_eq!(memory.get(&web), Some(ready(2)));

    memory.remember(told(&web, None));
    assert_eq!(memory.get(&web), None);
}

#[test]
fn a_peer_fills_no_more_memory_than_it_is_given() {
    let memory = Told::default();
    let first = service("s0");
    for number in 0..=SERVICES {
        memory.remember(told(&service(&format!("s{number}")), Some(ready(1))));
    }

    assert_eq!(memory.get(&service(&format!("s{SERVICES}"))), None);
    memory.remember(told(&first, Some(ready(7))));
    assert_eq!(memory.get(&first), Some(ready(7)));
}

fn told(service: &ServiceName, headcounts: Option<Arc<Headcounts>>) -> ServiceHeadcounts {
    ServiceHeadcounts {
        service: service.clone(),
        headcounts: headcounts.map(|headcounts| (*headcounts).clone()),
    }
}

fn ready(count: u32) -> Arc<Headcounts> {
    let count = Headcount {
        ready: count,
        total: count,
    };
    Arc::new([(Place::default(), count)].into())
}

fn service(name: &str) -> ServiceName {
    ServiceName::new("demo", name)
}
