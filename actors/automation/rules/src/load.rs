//! Files of automations → [`Automation`]s, and what is wrong with those that cannot be had.
//!
//! ```text
//!  text ──yaml──► nodes with line and column ──fields──► Automation
//!                        │                        │
//!                        └────── Problem ◄────────┘   file, line, column, path, what is wrong, what to write instead
//! ```
//!
//! One wrong automation does not keep the others of its file from loading.

mod action;
mod automation;
mod condition;
mod data;
mod limits;
mod problem;
mod reader;
mod span;
mod trigger;

use std::collections::BTreeMap;

pub use self::problem::Problem;
use self::reader::Reader;
pub use self::span::{span_text, time_of_day};
use crate::model::{Automation, Position};
use crate::template::Templates;
use crate::yaml;

/// What came of reading files.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Loaded {
    /// Those that can run, in the order of files and lines.
    pub automations: Vec<Automation>,
    /// What is wrong, in the order of files and lines.
    pub problems: Vec<Problem>,
}

/// Reads files: their names, which only messages speak of, and their texts.
pub fn load(files: &[(&str, &str)]) -> Loaded {
    let templates = Templates::new();
    let mut loaded = Loaded::default();
    for (file, text) in files {
        let (automations, problems) = load_file(file, text, &templates);
        loaded.automations.extend(automations);
        loaded.problems.extend(problems);
    }
    refuse_twins(&mut loaded);
    loaded.problems.sort();
    loaded
}

fn load_file(file: &str, text: &str, templates: &Templates) -> (Vec<Automation>, Vec<Problem>) {
    let mut reader = Reader::new(file, templates);
    let documents = match yaml::parse(text) {
        Ok(documents) => documents,
        Err(wrong) => {
            let _ = reader.wrong(wrong.position, wrong.what, wrong.instead);
            return (Vec::new(), reader.finish());
        }
    };
    let nodes: Vec<_> = documents
        .iter()
        .flat_map(|document| reader.automations(document))
        .collect();
    if let Some(node) = nodes.get(limits::AUTOMATIONS) {
        let what = format!(
            "there are {} automations, and {} are taken",
            nodes.len(),
            limits::AUTOMATIONS
        );
        let _ = reader.wrong(node.position, what, "split the file");
    }
    let automations = nodes
        .iter()
        .take(limits::AUTOMATIONS)
        .filter_map(|node| reader.automation(node).ok())
        .collect();
    (automations, reader.finish())
}

/// Keeps the first automation of each id, and tells of the others.
fn refuse_twins(loaded: &mut Loaded) {
    let mut known: BTreeMap<String, (String, Position)> = BTreeMap::new();
    let problems = &mut loaded.problems;
    loaded.automations.retain(|automation| {
        let Some((file, first)) = known.get(&automation.id) else {
            let place = (automation.file.clone(), automation.position);
            known.insert(automation.id.clone(), place);
            return true;
        };
        problems.push(Problem {
            file: automation.file.clone(),
            position: automation.position,
            path: "id".to_owned(),
            what: format!(
                "the id `{}` is that of the automation in {file}:{}",
                automation.id, first.line
            ),
            instead: "write another `id`; where there is none, it is made of the alias".to_owned(),
            automation: Some(automation.alias.clone()),
        });
        false
    });
}

#[cfg(test)]
mod fuzz;
#[cfg(test)]
mod tests;
