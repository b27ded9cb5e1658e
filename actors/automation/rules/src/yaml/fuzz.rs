//! Hostile texts.

use jarvis_fuzz::fuzz;

use super::*;

fn count(node: &Node) -> usize {
    1 + match &node.content {
        Content::List(items) => items.iter().map(count).sum(),
        Content::Mapping(entries) => entries.iter().map(|entry| count(&entry.value)).sum(),
        _ => 0,
    }
}

#[test]
fn fuzz_yaml() {
    fuzz!()
        .seeds([
            "a: &x [1, 'two', \"th\\u00e9ree\"]\nb: {c: *x, <<: {d: |\n  text\n }}\n",
            "- a: >-\n    folded\n    text\n  b: !secret c\n- *x\n",
            "---\n? complex\n: [x, {y: z}]\n...\n%YAML 1.2\n---\n- ~\n",
            "a: &a [x, x]\nb: &b [*a, *a]\nc: &c [*b, *b]\n",
            "- {a: 1, a: *b, <<: *c}\n- &b [*b, {{ x }}]\n- - - - - - - - - *b\n",
        ])
        .words([
            "- ", ": ", "&a ", "*a", "<<: ", "|\n", ">\n", "!x ", "[", "{", "]", "}", "\n  ", "\t", "# ",
            "---\n", "\u{feff}", "'", "\"", "\r\n",
        ])
        .text()
        .runs(3_000)
        .memory(2 * 1024 * 1024, 4 * 1024)
        .run(|bytes| {
            let text = std::str::from_utf8(bytes).expect("asked for");
            match parse(text) {
                Ok(documents) => {
                    let nodes: usize = documents.iter().map(count).sum();
                    assert!(nodes <= build::limits::NODES + build::limits::COPIED_NODES);
                    let lines = text
                        .matches(['\n', '\r', '\u{85}', '\u{2028}', '\u{2029}'])
                        .count() as u32
                        + 2;
                    for document in &documents {
                        assert!(
                            document.position.line <= lines,
                            "{:?} of {lines}",
                            document.position
                        );
                    }
                    nodes.ilog2_or_zero()
                }
                Err(wrong) => {
                    assert!(!wrong.what.is_empty());
                    99
                }
            }
        });
}

/// How large, about.
trait About {
    fn ilog2_or_zero(self) -> u32;
}

impl About for usize {
    fn ilog2_or_zero(self) -> u32 {
        self.checked_ilog2().unwrap_or(0)
    }
}
