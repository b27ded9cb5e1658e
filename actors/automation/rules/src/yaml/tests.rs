//! What YAML means, and what of it is refused.

use serde_json::{Value, json};

use super::build::limits;
use super::*;

fn value(node: &Node) -> Value {
    match &node.content {
        Content::Scalar(scalar) => scalar.value(),
        Content::List(items) => items.iter().map(value).collect(),
        Content::Mapping(entries) => Value::Object(
            entries
                .iter()
                .map(|entry| (entry.key.clone(), value(&entry.value)))
                .collect(),
        ),
        Content::Refused { what, .. } => json!({ "refused": what }),
    }
}

fn read(text: &str) -> Value {
    let documents = parse(text).expect("YAML");
    assert_eq!(documents.len(), 1, "{text:?}");
    value(&documents[0])
}

/// What was refused in a text that could be read, with its places.
fn refused_nodes(text: &str) -> Vec<String> {
    fn look(node: &Node, found: &mut Vec<String>) {
        let Position { line, column } = node.position;
        match &node.content {
            Content::Scalar(_) => {}
            Content::List(items) => items.iter().for_each(|item| look(item, found)),
            Content::Mapping(entries) => {
                for entry in entries {
                    if let Some(first) = entry.twice {
                        let Position { line, column } = entry.position;
                        found.push(format!(
                            "{line}:{column}: `{}` twice, first in {}",
                            entry.key, first.line
                        ));
                    }
                    look(&entry.value, found);
                }
            }
            Content::Refused { what, .. } => found.push(format!("{line}:{column}: {what}")),
        }
    }
    let mut found = Vec::new();
    for document in parse(text).expect("YAML") {
        look(&document, &mut found);
    }
    found
}

fn refused(text: &str) -> String {
    let wrong = parse(text).expect_err("refused");
    let Position { line, column } = wrong.position;
    format!("{line}:{column}: {}; {}", wrong.what, wrong.instead)
}

#[test]
fn scalars_mean_what_home_assistant_takes_them_for() {
    for (text, wanted) in [
        ("on", json!(true)),
        ("Off", json!(false)),
        ("yes", json!(true)),
        ("NO", json!(false)),
        ("true", json!(true)),
        ("'on'", json!("on")),
        ("\"5\"", json!("5")),
        ("5", json!(5)),
        ("-7", json!(-7)),
        ("+7", json!(7)),
        ("1_000", json!(1000)),
        ("0x1F", json!(31)),
        ("-0x10", json!(-16)),
        ("0o17", json!(15)),
        ("2.5", json!(2.5)),
        (".5", json!(0.5)),
        ("1e3", json!(1000.0)),
        ("1.2.3", json!("1.2.3")),
        ("07:30", json!("07:30")),
        ("2024-01-05", json!("2024-01-05")),
        ("--5", json!("--5")),
        ("e5", json!("e5")),
        ("5e", json!("5e")),
        ("~", json!(null)),
        ("null", json!(null)),
        ("Null", json!(null)),
        ("nan", json!("nan")),
        ("é ✉ 😀", json!("é ✉ 😀")),
        ("!!str 5", json!("5")),
        ("!!int 5", json!(5)),
        ("|\n  a\n  b\n", json!("a\nb\n")),
        (">-\n  a\n  b\n", json!("a b")),
        ("\"a\\tb\\u00e9\"", json!("a\tbé")),
        ("/5", json!("/5")),
    ] {
        assert_eq!(read(text), wanted, "{text:?}");
    }
}

#[test]
fn line_ends_and_marks_of_order_make_no_difference() {
    let wanted = json!({ "a": [1, "two"], "b": { "c": "x" } });
    let text = "a:\n  - 1\n  - two\nb:\n  c: x\n";
    assert_eq!(read(text), wanted);
    assert_eq!(read(&text.replace('\n', "\r\n")), wanted);
    assert_eq!(read(&format!("\u{feff}{text}")), wanted);
    assert_eq!(read(&format!("---\n{text}...\n")), wanted);
    assert_eq!(read("a: [1, two]\nb: {c: x} # a comment"), wanted);
}

#[test]
fn places_are_of_lines_and_characters() {
    let documents = parse("# é\nkéy: {a: 1,\n  b: [x]}\n").expect("YAML");
    let entries = documents[0].mapping().expect("a mapping");
    assert_eq!(entries[0].position, Position { line: 2, column: 1 });
    assert_eq!(entries[0].value.position, Position { line: 2, column: 6 });
    let inner = entries[0].value.mapping().expect("a mapping");
    assert_eq!(inner[1].position, Position { line: 3, column: 3 });
}

#[test]
fn aliases_and_merges_are_written_out() {
    let text = "base: &b {x: 1, y: 2}\nmore: &m {y: 3, z: 4}\none: {<<: *b, x: 9}\nboth: {<<: [*b, *m], w: 0}\nsame: *b\n";
    let read = read(text);
    assert_eq!(read["one"], json!({ "x": 9, "y": 2 }));
    assert_eq!(read["both"], json!({ "w": 0, "x": 1, "y": 2, "z": 4 }));
    assert_eq!(read["same"], json!({ "x": 1, "y": 2 }));
}

#[test]
fn tags_are_refused_where_they_stand_and_nowhere_else() {
    let read = read("a: !secret x\nb: !include y.yaml\nc: !mine [1]\nd: fine\n");
    assert_eq!(
        read["a"],
        json!({ "refused": "the tag `!secret` is not supported" })
    );
    assert_eq!(
        read["c"],
        json!({ "refused": "the tag `!mine` is not supported" })
    );
    assert_eq!(read["d"], json!("fine"));
}

#[test]
fn what_is_no_yaml_is_refused_with_its_place() {
    for (text, wanted) in [
        ("a: [1, 2\n", "this is not YAML"),
        ("a: \"x\n", "this is not YAML"),
        ("a: b: c\n", "1:"),
        ("a: \u{7}\n", "1:4: a control character stands in the text"),
        ("a: @x\n", "this is not YAML"),
        ("a: !e!x 1\n", "this is not YAML"),
        ("a: 1\nb: {{ f('x', 'y') }}\n", "2:"),
        ("a: 1\nb: {{ f('x', 'y') }}\n", "put the template in quotes"),
        ("a: {% if x %}\n", "put the template in quotes"),
    ] {
        let told = refused(text);
        assert!(told.contains(wanted), "{text:?}: {told}");
    }
}

#[test]
fn what_is_wrong_with_one_node_refuses_that_node() {
    let deep = format!("a: {}x{}\n", "[".repeat(70), "]".repeat(70));
    let deep_block = format!("a:\n{}\nb: 1\n", "- ".repeat(70));
    let long = format!("a: {}\nb: 1\n", "x".repeat(100_000));
    for (text, wanted) in [
        (
            "a: 1\na: 2\na: 3\n",
            &["2:1: `a` twice, first in 1", "3:1: `a` twice, first in 1"][..],
        ),
        ("a:\n  b: 1\n  b: 2\n", &["3:3: `b` twice, first in 2"]),
        ("a: {b: 1, 'b': 2}", &["1:11: `b` twice, first in 1"]),
        (
            "a: &a {b: 1, b: 2}\nc: {<<: *a, b: 3}\n",
            &["1:14: `b` twice, first in 1", "1:14: `b` twice, first in 1"],
        ),
        (
            "a: {{ x }}\nb: 1\n",
            &["1:5: a key is a mapping, and only texts are taken"],
        ),
        (
            "? [a]\n: b\n",
            &["1:3: a key is a list, and only texts are taken"],
        ),
        (
            "a: *nobody\nb: [*no, 1]\n",
            &["1:4: this alias is not defined", "2:5: this alias is not defined"],
        ),
        ("*nobody : 1\n", &["1:1: this alias is not defined"]),
        (
            "- *nobody\n- a: *nobody\n  b: 1\n",
            &["1:3: this alias is not defined", "2:6: this alias is not defined"],
        ),
        (
            "a: &a [*a]\n",
            &["1:8: this alias stands for something that it stands in itself"],
        ),
        ("<<: 5\na: 1\n", &["1:5: `<<` takes a mapping"]),
        ("<<: [{b: 1}, 5]\n", &["1:14: `<<` takes mappings"]),
        ("<<: *nobody\na: 1\n", &["1:5: this alias is not defined"]),
        (
            "a: !secret x\nb: !x {c: !y d}\n",
            &[
                "1:4: the tag `!secret` is not supported",
                "2:4: the tag `!x` is not supported",
            ],
        ),
        (
            &deep,
            &["1:67: lists and mappings stand deeper in one another than 64"],
        ),
        (
            &deep_block,
            &["2:127: lists and mappings stand deeper in one another than 64"],
        ),
        (&long, &["1:4: a text has 100000 bytes, and 65536 are taken"]),
    ] {
        assert_eq!(refused_nodes(text), wanted, "{text:.100}");
    }
    // What stands beside it is read.
    assert_eq!(
        read("a: *nobody\nb: [*no, 1]\nc: {d: 2}\n")["c"],
        json!({ "d": 2 })
    );
    assert_eq!(read(&deep_block)["b"], json!(1));
    assert_eq!(
        read("a: {b: 1, c: 2}\nd: &d {<<: 5, e: 1}\nf: 7\n")["f"],
        json!(7)
    );
    // An alias of what was refused is refused with it.
    let text = format!("a: {}&x 1{}\nb: *x\nc: 3\n", "[".repeat(70), "]".repeat(70));
    assert_eq!(refused_nodes(&text).len(), 2);
    assert_eq!(read(&text)["c"], json!(3));
    let text = "--- &x\na: 1\n--- \nb: *x\n";
    assert_eq!(refused_nodes(text).len(), 1, "{:?}", refused_nodes(text));
}

#[test]
fn bounds_hold() {
    let deep = "[".repeat(100_000);
    assert!(refused(&deep).contains("too deep in one another"));
    let deep = "a: ".repeat(2_000);
    assert!(parse(&deep).is_err());
    let deep: String = (0..200)
        .map(|depth| format!("{}- \n", " ".repeat(depth)))
        .collect();
    assert!(refused_nodes(&deep)[0].contains("deeper"));
    let deep = "- ".repeat(limits::BYTES / 2);
    assert!(refused(&deep).contains("more than 200000 values"));
    let wide = format!("a: [{}]\n", "x,".repeat(250_000));
    assert!(refused(&wide).contains("more than 200000 values"));
    let aliases = format!("a: &a 1\nb: [{}]\n", "*a,".repeat(250_000));
    assert!(refused(&aliases).contains("more than 200000 values"));
    let unknown = format!("b: [{}]\n", "*a,".repeat(250_000));
    assert!(refused(&unknown).contains("more than 200000 values"));
    let large = " ".repeat(5 * 1024 * 1024);
    assert!(refused(&large).contains("the file has"));
    let documents = "---\na\n".repeat(100);
    assert!(refused(&documents).contains("more than 64 documents"));
}

#[test]
fn aliases_explode_no_further_than_a_bound() {
    for text in [
        format!("a: &a [{}]\nb: [*a, *a, *a, *a]\n", "x,".repeat(50_000)),
        // What stands in anchors within anchors is counted as often as it is kept.
        format!(
            "a: {}{}{}\n",
            (0..60).map(|n| format!("&a{n} [")).collect::<String>(),
            "x,".repeat(10_000),
            "]".repeat(60)
        ) + "b: *a0\n",
        format!("a: &a [{}]\nb: [{}]\n", "x,".repeat(1_000), "*a,".repeat(1_000)),
        format!("a: &a {}\nb: [{}]\n", "x".repeat(60_000), "*a,".repeat(1_000)),
    ] {
        let text = text + "c: fine\n";
        let refused = refused_nodes(&text);
        assert!(
            refused[0].contains("aliases of this file stand for more than 100000 values, or 4194304 bytes"),
            "{:.100}: {}",
            text,
            refused[0]
        );
        assert_eq!(read(&text)["c"], json!("fine"));
    }
}
