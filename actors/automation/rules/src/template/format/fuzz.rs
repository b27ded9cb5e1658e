//! Hostile formats.

use jarvis_fuzz::fuzz;
use minijinja::value::{Tuple, Value};

use super::*;
use crate::template::arguments::Arguments;
use crate::template::tests::house;

#[test]
fn fuzz_formats() {
    let words = [
        "%d",
        "%s",
        "%5.1f",
        "%(a)s",
        "%-08x",
        "%#o",
        "%+e",
        "% g",
        "%*d",
        "%.*f",
        "%%",
        "%c",
        "%r",
        "{}",
        "{0}",
        "{a}",
        "{:>8}",
        "{:*^+#010,.3f}",
        "{!r:5}",
        "{0[1]}",
        "{a.b}",
        "{:{}}",
        "{{",
        "}}",
        "%99999999999999999999d",
        "{:1000}",
        "\u{1F600}",
    ];
    let list = Value::from(vec![Value::from(1), Value::from("é")]);
    let values = [
        Value::from(42),
        Value::from(-1.5e300),
        Value::from("text"),
        list.clone(),
        Value::from(()),
        Value::from(f64::NAN),
        Value::from(i64::MIN),
        Value::from(true),
    ];
    let tuple = Value::from(Tuple::from(values.to_vec()));
    let mapping = Value::from_pairs([("a", Value::from(7)), ("b", list)]);
    let named = [
        ("a".to_owned(), Value::from(2.5)),
        ("b".to_owned(), mapping.clone()),
    ];
    fuzz!()
        .seeds([
            "%02d:%02d %s",
            "%(a)5.1f%% %(b)s",
            "%*d %-*.*f|%+.3e %#x %c",
            "{:>8} {!r} {0:,}",
            "{a:{b}} {0[1]} {:010.2f} {{}}",
        ])
        .words(words)
        .text()
        .runs(3_000)
        .memory(2 * 1024 * 1024, 8 * 1024)
        .run(|bytes| {
            let pattern = std::str::from_utf8(bytes).expect("asked for");
            let session = Session::new(house());
            let given = [
                Given::Ordered(&values),
                Given::Named(&named),
                Given::One(&tuple),
                Given::One(&mapping),
                Given::One(&values[0]),
            ];
            let mut ends: Vec<Option<usize>> = Vec::new();
            for given in &given {
                let made = format_printf(pattern, given, &session);
                // What could not be read when it was loaded cannot be filled.
                assert!(made.is_err() || check_printf(pattern).is_ok());
                ends.push(made.ok().map(|made| made.len()));
            }
            let made = Arguments::of(&values).and_then(|args| format_braces(pattern, &args, &session));
            assert!(made.is_err() || check_braces(pattern).is_ok());
            ends.push(made.ok().map(|made| made.len()));
            assert!(ends.iter().flatten().all(|len| *len <= limits::TEXT));
            ends.iter()
                .map(|len| len.map(|len| len.min(20)))
                .collect::<Vec<_>>()
        });
}
