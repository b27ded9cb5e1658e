//! What nodes wrote: panics, warnings; kept where something failed.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use crate::cluster::NodeProcess;
use crate::laws::Broken;
use crate::measure::watcher;

/// A node's log, and the one before it.
fn logs_of(node: &NodeProcess) -> impl Iterator<Item = PathBuf> {
    let names = ["jarvis.log.1", "jarvis.log"].map(|name| node.data.join(name));
    names.into_iter().filter(|path| path.is_file())
}

/// No input and no fault makes a node panic.
pub(super) fn panics(nodes: &[NodeProcess]) -> Result<Vec<Broken>> {
    let mut found = Vec::new();
    for node in nodes {
        for log in logs_of(node) {
            let text = std::fs::read(&log).with_context(|| format!("{} cannot be read", log.display()))?;
            found.extend(panics_in(&node.name, &String::from_utf8_lossy(&text)));
        }
    }
    Ok(found)
}

fn panics_in(node: &str, text: &str) -> Vec<Broken> {
    let lines: Vec<&str> = text.lines().collect();
    let at = lines
        .iter()
        .enumerate()
        .filter(|(_, line)| line.contains("panicked at"));
    at.map(|(n, line)| Broken {
        law: "nothing panics",
        session: node.to_owned(),
        what: format!("{line} {}", lines.get(n + 1).copied().unwrap_or_default()),
    })
    .collect()
}

/// What was warned of, and how often, by all together.
pub(super) fn warnings(nodes: &[NodeProcess]) -> Result<BTreeMap<String, u64>> {
    let mut all = BTreeMap::new();
    for node in nodes {
        for log in logs_of(node) {
            for (what, count) in watcher::warnings(&log, 0)? {
                *all.entry(what).or_default() += count;
            }
        }
    }
    Ok(all)
}

/// Copies them to where they stay.
pub(super) fn keep_all(nodes: &[NodeProcess], folder: &Path) -> Result<PathBuf> {
    std::fs::create_dir_all(folder)?;
    for node in nodes {
        for log in logs_of(node) {
            let name = log
                .file_name()
                .context("a log has a name")?
                .to_string_lossy()
                .into_owned();
            std::fs::copy(&log, folder.join(format!("{}-{name}", node.name)))?;
        }
    }
    Ok(folder.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_is_told_with_what_it_said() {
        let text = "T INFO x\nthread 'main' panicked at src/a.rs:3:5:\nindex out of bounds\nT INFO y\n";
        let found = panics_in("node1", text);
        assert_eq!(found.len(), 1);
        assert!(
            found[0].what.ends_with("src/a.rs:3:5: index out of bounds"),
            "{found:?}"
        );
        assert!(panics_in("node1", "all is well").is_empty());
    }
}
