use super::*;

#[test]
fn each_name_is_there_once_in_order() {
    let mut names = Names::default();

    for name in ["b", "a", "b", "c"] {
        names.insert(web(), name.to_owned());
    }

    assert_eq!(names.of(&web()), ["a", "b", "c"]);
    assert_eq!(names.counts().collect::<Vec<_>>(), [(&web(), 3)]);
}

#[test]
fn a_service_without_names_is_gone() {
    let mut names = Names::default();
    names.insert(web(), "a".to_owned());

    names.remove(&web(), "b");
    assert!(names.has(&web()), "another name was taken out");
    names.remove(&web(), "a");

    assert!(!names.has(&web()));
    assert!(names.of(&web()).is_empty());
    assert_eq!(names.services().count(), 0);
}

#[test]
fn only_a_namespaces_own_services_are_in_it() {
    let mut names = Names::default();
    for namespace in ["dem", "demo", "demos"] {
        names.insert(ServiceName::new(namespace, "web"), "a".to_owned());
    }

    assert_eq!(names.services_in("demo").collect::<Vec<_>>(), [&web()]);
}

fn web() -> ServiceName {
    ServiceName::new("demo", "web")
}
