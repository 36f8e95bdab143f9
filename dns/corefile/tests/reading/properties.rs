#[path = "../../fuzz/check.rs"]
mod check;

use proptest::prelude::*;

/// Words of which Corefiles are made, and what separates them.
fn text() -> impl Strategy<Value = String> {
    let word = prop_oneof![
        Just("."),
        Just("clusterset.local:1053"),
        Just("10.0.0.0/22"),
        Just("tls://."),
        Just("{"),
        Just("}"),
        Just("{\n"),
        Just("\n}\n"),
        Just("(s)"),
        Just("import s"),
        Just("import loop"),
        Just("{$X}"),
        Just("{%X%}"),
        Just("{$"),
        Just("\"a b\""),
        Just("\""),
        Just("# c\n"),
        Just("\n"),
        Just("a.org,"),
        Just("\nforward . 9.9.9.9"),
        Just("\ncache 30"),
        Just("\nsuccess 5 5"),
        Just("\nrewrite name regex"),
        Just("(.*)"),
        Just("\nacl"),
        Just("\nblock net *"),
        Just("\nhosts"),
        Just("\nmulticluster clusterset.local"),
        Just("\nlog"),
        Just("\u{fc}"),
        Just("\r\n"),
        Just("5s"),
        Just("\n/etc/resolv.conf"),
    ];
    let separator = prop_oneof![4 => Just(" "), 2 => Just("\n"), 1 => Just("")];
    prop::collection::vec((word, separator), 0..40).prop_map(|words| {
        words
            .into_iter()
            .map(|(word, separator)| format!("{word}{separator}"))
            .collect()
    })
}

proptest! {
    #[test]
    fn whatever_is_made_of_the_words_of_corefiles_has_a_meaning_or_an_error_in_place(text in text()) {
        check::read(&text);
    }

    #[test]
    fn any_text_has_a_meaning_or_an_error_in_place(text in ".{0,200}") {
        check::read(&text);
    }
}
