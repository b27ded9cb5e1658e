//! Hostile files of automations.

use jarvis_fuzz::fuzz;

use super::*;

const SEEDS: [&str; 11] = [
    include_str!("../../tests/corpus/lights.yaml"),
    include_str!("../../tests/corpus/climate.yaml"),
    include_str!("../../tests/corpus/control.yaml"),
    include_str!("../../tests/corpus/time.yaml"),
    include_str!("../../tests/corpus/old_spelling.yaml"),
    include_str!("../../tests/corpus/mqtt_and_web.yaml"),
    include_str!("../../tests/corpus/configuration.yaml"),
    include_str!("../../tests/refused/values.yaml"),
    include_str!("../../tests/refused/twice.yaml"),
    include_str!("../../tests/refused/two_lists.yaml"),
    include_str!("../../tests/refused/nodes.yaml"),
];

/// The pieces that a file is made of: its automations by themselves.
fn pieces(text: &str) -> impl Iterator<Item = String> + '_ {
    text.split("\n\n").map(|piece| piece.to_owned() + "\n")
}

/// How many automations somebody wrote, right or wrong.
fn written_down(text: &str) -> usize {
    let templates = Templates::new();
    let mut reader = Reader::new("f.yaml", &templates);
    let documents = yaml::parse(text).unwrap_or_default();
    documents
        .iter()
        .map(|document| reader.automations(document).len())
        .sum()
}

#[test]
fn fuzz_load() {
    let words = [
        "triggers:",
        "conditions:",
        "actions:",
        "- trigger: ",
        "- condition: ",
        "- action: ",
        "choose:",
        "repeat:",
        "if:",
        "parallel:",
        "entity_id: light.a",
        "for: ",
        "at: ",
        "{{ ",
        " }}",
        "{% if ",
        " %}",
        "- ",
        "  ",
        "\n",
        "!secret x",
        "&a ",
        "*a",
        "<<: ",
        "[",
        "]",
        "{",
        "}",
        "null",
        "on",
        "-1",
        "99999999999999999999",
        "1e309",
        "00:00:00",
    ];
    fuzz!()
        .seeds(SEEDS.iter().flat_map(|seed| pieces(seed)))
        .words(words)
        .text()
        .runs(1_500)
        .memory(4 * 1024 * 1024, 4 * 1024)
        .run(|bytes| {
            let text = std::str::from_utf8(bytes).expect("asked for");
            let loaded = load(&[("f.yaml", text)]);
            for problem in &loaded.problems {
                assert!(!problem.what.is_empty());
                assert!(!problem.to_string().contains('\n'), "{problem}");
            }
            let written = serde_json::to_vec(&loaded.automations).expect("writes");
            let read: Vec<Automation> = serde_json::from_slice(&written).expect("reads");
            assert_eq!(read, loaded.automations);
            // What is left out is told of.
            if loaded.automations.len() < written_down(text) {
                assert!(!loaded.problems.is_empty());
            }
            // The same text loads as the same.
            let first = loaded.problems.first().map(|problem| problem.what.clone());
            (loaded.automations.len(), loaded.problems.len().min(5), first)
        });
}
