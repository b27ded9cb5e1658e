//! What is common to reading every construct: where it stands, what is wrong with it, which keys it knows.

use std::collections::BTreeSet;
use std::fmt::Display;

use super::{Problem, limits};
use crate::model::Position;
use crate::template::{TemplateError, Templates};
use crate::yaml::{Content, Entry, Node, Scalar};

/// Something was wrong, and it has been told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Told;

/// What was read, or that there is a problem.
pub(super) type Read<T> = Result<T, Told>;

/// Reads the nodes of one file.
pub(super) struct Reader<'f> {
    file: &'f str,
    templates: &'f Templates,
    automation: Option<String>,
    path: Vec<String>,
    problems: Vec<Problem>,
    untold: usize,
    refusals: BTreeSet<Position>,
    pub(super) actions: usize,
    pub(super) nesting: usize,
}

impl<'f> Reader<'f> {
    pub(super) fn new(file: &'f str, templates: &'f Templates) -> Self {
        Self {
            file,
            templates,
            automation: None,
            path: Vec::new(),
            problems: Vec::new(),
            untold: 0,
            refusals: BTreeSet::new(),
            actions: 0,
            nesting: 0,
        }
    }

    /// The file's name.
    pub(super) fn file(&self) -> &'f str {
        self.file
    }

    /// Begins an automation, by the name that messages call it.
    pub(super) fn begin(&mut self, name: Option<String>) {
        self.automation = name;
        self.path.clear();
        self.refusals.clear();
        self.actions = 0;
        self.nesting = 0;
    }

    /// All that was wrong.
    pub(super) fn finish(mut self) -> Vec<Problem> {
        if self.untold > 0 {
            self.problems.push(Problem {
                file: self.file.to_owned(),
                position: Position {
                    line: u32::MAX,
                    column: 1,
                },
                path: String::new(),
                what: format!("{} more problems are not told", self.untold),
                instead: "mend the first ones".to_owned(),
                automation: None,
            });
        }
        self.problems
    }

    /// Tells of a problem.
    pub(super) fn wrong(
        &mut self,
        at: Position,
        what: impl Into<String>,
        instead: impl Into<String>,
    ) -> Told {
        if self.problems.len() >= limits::PROBLEMS {
            self.untold += 1;
            return Told;
        }
        self.problems.push(Problem {
            file: self.file.to_owned(),
            position: at,
            path: self.path.concat(),
            what: one_line(what.into()),
            instead: one_line(instead.into()),
            automation: self.automation.clone(),
        });
        Told
    }

    /// Reads something below a key.
    pub(super) fn below<T>(&mut self, key: &str, read: impl FnOnce(&mut Self) -> T) -> T {
        let dot = if self.path.is_empty() { "" } else { "." };
        self.path.push(format!("{dot}{key}"));
        let read = read(self);
        self.path.pop();
        read
    }

    /// Reads the items of a list; something that is no list is a list of one. All are read, so that all problems are told.
    pub(super) fn each<T>(
        &mut self,
        node: &Node,
        most: usize,
        what: &str,
        mut read: impl FnMut(&mut Self, &Node) -> Read<T>,
    ) -> Read<Vec<T>> {
        let items = match &node.content {
            Content::List(items) => items.as_slice(),
            _ if node.is_null() => &[],
            _ => return Ok(vec![read(self, node)?]),
        };
        self.most(node.position, items.len(), most, what)?;
        let mut all = Ok(Vec::with_capacity(items.len()));
        for (index, item) in items.iter().enumerate() {
            self.path.push(format!("[{index}]"));
            match (read(self, item), &mut all) {
                (Ok(item), Ok(all)) => all.push(item),
                (Ok(_), Err(_)) => {}
                (Err(told), _) => all = Err(told),
            }
            self.path.pop();
        }
        all
    }

    /// Refuses more than so many.
    pub(super) fn most(&mut self, at: Position, have: usize, most: usize, what: &str) -> Read<()> {
        if have > most {
            return Err(self.wrong(
                at,
                format!("there are {have} {what}, and {most} are taken"),
                "split them",
            ));
        }
        Ok(())
    }

    /// The fields of a mapping, none of which is unknown.
    pub(super) fn fields<'n>(&mut self, node: &'n Node, what: &str, known: &[&str]) -> Read<Fields<'n>> {
        let entries = self.entries(node, what)?;
        let mut told = Ok(());
        for entry in entries {
            if !known.contains(&entry.key.as_str()) {
                let instead = nearest(&entry.key, known.iter().copied());
                told = Err(self.wrong(
                    entry.position,
                    format!("{what} has no `{}`", shorten(&entry.key)),
                    instead,
                ));
            }
        }
        told?;
        Ok(Fields { node, entries })
    }

    /// The entries of a mapping.
    pub(super) fn entries<'n>(&mut self, node: &'n Node, what: &str) -> Read<&'n [Entry]> {
        match &node.content {
            // What should have been merged is not there, and everything may be missing.
            Content::Mapping(entries) if entries.iter().any(is_merge) => Err(Told),
            Content::Mapping(entries) => Ok(entries),
            _ => {
                refused(node)?;
                Err(self.wrong(
                    node.position,
                    format!("{what} is a mapping, and this is {}", node.kind()),
                    "write `key: value` lines",
                ))
            }
        }
    }

    /// Tells of all that was refused within a node when the text was read. What reads the node afterwards relies on it.
    pub(super) fn sound(&mut self, node: &Node) -> Read<()> {
        let mut told = Ok(());
        match &node.content {
            Content::Scalar(_) => {}
            Content::List(items) => {
                for (index, item) in items.iter().enumerate() {
                    self.path.push(format!("[{index}]"));
                    told = self.sound(item).and(told);
                    self.path.pop();
                }
            }
            Content::Mapping(entries) => {
                for entry in entries {
                    let sound = match entry.twice {
                        Some(first) => Err(self.twice(entry, first, "keep one of them")),
                        None => self.below(&shorten(&entry.key), |reader| reader.sound(&entry.value)),
                    };
                    told = sound.and(told);
                }
            }
            Content::Refused { what, instead } => {
                told = Err(Told);
                // What aliases repeat is told once.
                if self.refusals.insert(node.position) {
                    self.wrong(node.position, what.as_ref(), *instead);
                }
            }
        }
        told
    }

    /// Tells of a key that stands a second time.
    pub(super) fn twice(&mut self, entry: &Entry, first: Position, instead: &str) -> Told {
        let what = format!(
            "the key `{}` stands twice; first in line {}",
            shorten(&entry.key),
            first.line
        );
        if self.refusals.insert(entry.position) {
            self.wrong(entry.position, what, instead);
        }
        Told
    }

    /// A scalar that is not nothing.
    pub(super) fn scalar<'n>(&mut self, node: &'n Node, wanted: &str) -> Read<&'n Scalar> {
        refused(node)?;
        match node.scalar() {
            Some(scalar) if !scalar.is_null() => Ok(scalar),
            _ => Err(self.wrong(
                node.position,
                format!("this is {}", node.kind()),
                format!("write {wanted}"),
            )),
        }
    }

    /// A text, as it was written; numbers and truth values too.
    pub(super) fn text(&mut self, node: &Node, wanted: &str) -> Read<String> {
        let scalar = self.scalar(node, wanted)?;
        Ok(scalar.text.clone())
    }

    /// A text in which no template may stand.
    pub(super) fn plain(&mut self, node: &Node, wanted: &str) -> Read<String> {
        let text = self.text(node, wanted)?;
        if is_template(&text) {
            return Err(self.wrong(
                node.position,
                "no template may stand here",
                format!("write {wanted}"),
            ));
        }
        if text.len() > limits::NAME * 2 {
            let what = format!(
                "this has {} bytes, and {} are taken",
                text.len(),
                limits::NAME * 2
            );
            return Err(self.wrong(node.position, what, format!("write {wanted}")));
        }
        Ok(text)
    }

    /// A truth value.
    pub(super) fn truth(&mut self, node: &Node) -> Read<bool> {
        const WANTED: &str = "`true` or `false`";
        let scalar = self.scalar(node, WANTED)?;
        // Home Assistant's own reading of a truth value takes texts as well.
        let unquoted = Scalar {
            quoted: false,
            ..scalar.clone()
        };
        match unquoted.truth() {
            Some(truth) => Ok(truth),
            None => {
                let what = if is_template(&scalar.text) {
                    "no template may stand here".to_owned()
                } else {
                    format!("`{}` is no truth value", shorten(&scalar.text))
                };
                Err(self.wrong(node.position, what, format!("write {WANTED}")))
            }
        }
    }

    /// One of some words.
    pub(super) fn word<T: Copy>(&mut self, node: &Node, words: &[(&str, T)]) -> Read<T> {
        let text = self.text(node, "a word")?;
        if let Some((_, value)) = words.iter().find(|(word, _)| *word == text) {
            return Ok(*value);
        }
        let what = format!("`{}` is not known here", shorten(&text));
        Err(self.wrong(
            node.position,
            what,
            nearest(&text, words.iter().map(|(word, _)| *word)),
        ))
    }

    /// Checks a template where it stands.
    pub(super) fn check(&mut self, node: &Node, scalar: &Scalar) -> Read<()> {
        match self.templates.check(&scalar.text) {
            Ok(()) => Ok(()),
            Err(TemplateError { line, what }) => {
                let extra = line.saturating_sub(1);
                let at = Position {
                    line: node.position.line.saturating_add(extra),
                    column: if extra == 0 { node.position.column } else { 1 },
                };
                Err(self.wrong(at, format!("the template is wrong: {what}"), ""))
            }
        }
    }
}

/// The fields of a mapping.
#[derive(Debug, Clone, Copy)]
pub(super) struct Fields<'n> {
    /// The mapping.
    pub(super) node: &'n Node,
    entries: &'n [Entry],
}

impl<'n> Fields<'n> {
    /// What stands under that key; `key:` with nothing after it is something.
    pub(super) fn get(&self, key: &str) -> Option<&'n Node> {
        self.entries
            .iter()
            .find(|entry| entry.key == key)
            .map(|entry| &entry.value)
    }

    /// What stands under that key, unless it is nothing.
    pub(super) fn some(&self, key: &str) -> Option<&'n Node> {
        self.get(key).filter(|node| !node.is_null())
    }

    /// What stands under one of two names of the same.
    pub(super) fn either(
        &self,
        reader: &mut Reader<'_>,
        new: &'static str,
        old: &'static str,
    ) -> Read<Option<(&'static str, &'n Node)>> {
        match (self.get(new), self.get(old)) {
            (Some(_), Some(twice)) => {
                let what = format!("`{new}` and `{old}` are the same, and both stand here");
                Err(reader.wrong(twice.position, what, format!("keep `{new}`")))
            }
            (Some(node), None) => Ok(Some((new, node))),
            (None, Some(node)) => Ok(Some((old, node))),
            (None, None) => Ok(None),
        }
    }

    /// What has to stand under that key.
    pub(super) fn must(&self, reader: &mut Reader<'_>, key: &str, what: &str) -> Read<&'n Node> {
        match self.some(key) {
            Some(node) => Ok(node),
            None => Err(reader.wrong(
                self.node.position,
                format!("`{key}` is missing"),
                format!("write `{key}: {what}`"),
            )),
        }
    }

    /// Reads what stands under a key, if something does.
    pub(super) fn read<'f, T>(
        &self,
        reader: &mut Reader<'f>,
        key: &str,
        read: impl FnOnce(&mut Reader<'f>, &'n Node) -> Read<T>,
    ) -> Read<Option<T>> {
        match self.some(key) {
            Some(node) => reader.below(key, |reader| read(reader, node)).map(Some),
            None => Ok(None),
        }
    }
}

/// `<<: …` that could not be merged.
fn is_merge(entry: &Entry) -> bool {
    entry.key == "<<" && !entry.quoted
}

/// Ends with what was refused when the text was read; [`Reader::sound`] has told of it.
pub(super) fn refused(node: &Node) -> Read<()> {
    match &node.content {
        Content::Refused { .. } => Err(Told),
        _ => Ok(()),
    }
}

/// Whether a text holds anything that templates would act on.
pub(super) fn is_template(text: &str) -> bool {
    ["{{", "{%", "{#"].iter().any(|begin| text.contains(begin))
}

/// A message stands on one line, whatever it quotes.
fn one_line(text: String) -> String {
    if text.contains(char::is_control) {
        return text.replace(char::is_control, " ");
    }
    text
}

/// A text for a message.
pub(super) fn shorten(text: &str) -> String {
    const MOST: usize = 60;
    if text.chars().count() <= MOST {
        return text.replace(char::is_control, " ");
    }
    let start: String = text.chars().take(MOST).collect();
    format!("{}…", start.replace(char::is_control, " "))
}

/// What was meant most likely, or what there is.
pub(super) fn nearest<'k>(word: &str, known: impl Iterator<Item = &'k str> + Clone) -> String {
    const LIKE: f64 = 0.75;
    const LONGEST: usize = 64;
    let like = |key: &&str| strsim::jaro_winkler(&word.to_lowercase(), key);
    let best = known
        .clone()
        .filter(|_| word.len() <= LONGEST)
        .max_by(|a, b| like(a).total_cmp(&like(b)));
    match best {
        Some(best) if like(&best) >= LIKE => format!("did you mean `{best}`?"),
        _ => format!("it knows {}", list(known)),
    }
}

/// `a`, `b`, `c`.
pub(super) fn list<D: Display>(items: impl Iterator<Item = D>) -> String {
    let items: Vec<_> = items.map(|item| format!("`{item}`")).collect();
    items.join(", ")
}
