//! Events → a tree, within bounds.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry as Slot;

use saphyr_parser::{Event, Marker, Parser, ScalarStyle, Tag};

use super::{Content, Entry, Node, Scalar, Wrong};
use crate::model::Position;

/// The bounds of one file.
pub(crate) mod limits {
    /// Longest text, in bytes.
    pub(crate) const BYTES: usize = 4 * 1024 * 1024;
    /// Deepest node.
    pub(crate) const DEPTH: usize = 64;
    /// Nodes, with every alias counted as often as it is used.
    pub(crate) const NODES: usize = 200_000;
    /// Bytes of all scalars, with every alias counted as often as it is used.
    pub(crate) const SCALAR_BYTES: usize = 8 * 1024 * 1024;
    /// Longest scalar, in bytes.
    pub(crate) const SCALAR: usize = 64 * 1024;
    /// Documents a file.
    pub(crate) const DOCUMENTS: usize = 64;
}

/// Reads a text: its documents, in order.
pub(crate) fn parse(text: &str) -> Result<Vec<Node>, Wrong> {
    let start = Position { line: 1, column: 1 };
    if text.len() > limits::BYTES {
        let what = format!(
            "the file has {} bytes, and {} are taken",
            text.len(),
            limits::BYTES
        );
        return Err(Wrong::new(start, what, "split it into several files"));
    }
    if let Some(position) = find_control(text) {
        let instead = "remove it, or write it as an escape within double quotes";
        return Err(Wrong::new(
            position,
            "a control character stands in the text",
            instead,
        ));
    }
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let mut builder = Builder::default();
    for event in Parser::new_from_str(text) {
        match event {
            Ok((event, span)) => builder.take(event, span.start)?,
            Err(error) => {
                let (what, instead) = explain(error.info());
                return Err(Wrong::new(at(*error.marker()), what, instead));
            }
        }
    }
    Ok(builder.documents)
}

/// Characters that YAML does not allow, which a parser might pass on.
fn find_control(text: &str) -> Option<Position> {
    let odd = |c: char| c.is_control() && !matches!(c, '\t' | '\n' | '\r' | '\u{85}');
    let at = text.find(odd)?;
    let before = &text[..at];
    let line = before.matches('\n').count() + 1;
    let column = before.chars().rev().take_while(|c| *c != '\n').count() + 1;
    Some(Position {
        line: line as u32,
        column: column as u32,
    })
}

/// What the parser's message means for who wrote the file.
fn explain(info: &str) -> (String, &'static str) {
    let instead = if info.contains("mapping values are not allowed") {
        "put a text that holds `: ` in quotes, and check that the line is indented as the one before"
    } else if info.contains("tab") {
        "indent with spaces"
    } else if info.contains("did not find expected") || info.contains("block") || info.contains("simple key")
    {
        "check that the lines of a list or mapping are indented alike, and that brackets and quotes are closed"
    } else if info.contains("recursion limit") {
        "lists and mappings stand too deep in one another"
    } else if info.contains("unknown anchor") || info.contains("alias") {
        "define it before, as `&name`"
    } else if info.contains("cannot start any token") {
        "put texts that begin with one of @ ` % & * ! in quotes"
    } else {
        ""
    };
    (format!("this is not YAML: {info}"), instead)
}

fn at(marker: Marker) -> Position {
    Position {
        line: u32::try_from(marker.line().max(1)).unwrap_or(u32::MAX),
        column: u32::try_from(marker.col() + 1).unwrap_or(u32::MAX),
    }
}

/// What an alias costs each time that it is used.
#[derive(Debug, Clone, Copy, Default)]
struct Size {
    nodes: usize,
    bytes: usize,
    depth: usize,
}

#[derive(Default)]
struct Builder {
    documents: Vec<Node>,
    open: Vec<Open>,
    anchors: BTreeMap<usize, (Node, Size)>,
    spent: Size,
}

/// A list or mapping that has not ended.
struct Open {
    position: Position,
    anchor: usize,
    tag: Option<String>,
    before: Size,
    deepest: usize,
    kind: OpenKind,
}

enum OpenKind {
    List(Vec<Node>),
    Mapping {
        entries: Vec<Entry>,
        known: BTreeMap<String, Position>,
        merged: Vec<Entry>,
        key: Option<Node>,
    },
}

impl Builder {
    fn take(&mut self, event: Event<'_>, marker: Marker) -> Result<(), Wrong> {
        let position = at(marker);
        match event {
            Event::Scalar(text, style, anchor, tag) => {
                self.scalar(&text, style, anchor, tag.as_deref(), position)
            }
            Event::SequenceStart(anchor, tag) => {
                let kind = OpenKind::List(Vec::new());
                self.open(position, anchor, tag.as_deref(), kind)
            }
            Event::MappingStart(anchor, tag) => {
                let kind = OpenKind::Mapping {
                    entries: Vec::new(),
                    known: BTreeMap::new(),
                    merged: Vec::new(),
                    key: None,
                };
                self.open(position, anchor, tag.as_deref(), kind)
            }
            Event::SequenceEnd | Event::MappingEnd => self.close(position),
            Event::Alias(anchor) => self.alias(anchor, position),
            Event::DocumentEnd => {
                self.anchors.clear();
                Ok(())
            }
            Event::Nothing | Event::StreamStart | Event::StreamEnd | Event::DocumentStart(_) => Ok(()),
        }
    }

    fn scalar(
        &mut self,
        text: &str,
        style: ScalarStyle,
        anchor: usize,
        tag: Option<&Tag>,
        position: Position,
    ) -> Result<(), Wrong> {
        if text.len() > limits::SCALAR {
            let what = format!(
                "a text has {} bytes, and {} are taken",
                text.len(),
                limits::SCALAR
            );
            return Err(Wrong::new(position, what, "keep long texts elsewhere"));
        }
        let size = Size {
            nodes: 1,
            bytes: text.len(),
            depth: 0,
        };
        self.spend(size, position)?;
        let mut scalar = Scalar {
            text: text.to_owned(),
            quoted: style != ScalarStyle::Plain,
        };
        let content = match tag {
            Some(tag) if tag.is_yaml_core_schema() && tag.suffix == "str" => {
                scalar.quoted = true;
                Content::Scalar(scalar)
            }
            Some(tag) if tag.is_yaml_core_schema() && is_scalar_tag(&tag.suffix) => Content::Scalar(scalar),
            Some(tag) => refuse(tag),
            None => Content::Scalar(scalar),
        };
        let node = Node { position, content };
        self.anchor(anchor, &node, size)?;
        self.put(node, 0)
    }

    fn open(
        &mut self,
        position: Position,
        anchor: usize,
        tag: Option<&Tag>,
        kind: OpenKind,
    ) -> Result<(), Wrong> {
        if self.open.len() >= limits::DEPTH {
            return Err(too_deep(position));
        }
        let before = self.spent;
        let size = Size {
            nodes: 1,
            ..Size::default()
        };
        self.spend(size, position)?;
        let tag =
            tag.filter(|tag| !(tag.is_yaml_core_schema() && matches!(tag.suffix.as_str(), "map" | "seq")));
        self.open.push(Open {
            position,
            anchor,
            tag: tag.map(ToString::to_string),
            before,
            deepest: 0,
            kind,
        });
        Ok(())
    }

    fn close(&mut self, position: Position) -> Result<(), Wrong> {
        // The parser pairs starts and ends; were it wrong, the file is.
        let Some(open) = self.open.pop() else {
            return Err(Wrong::new(
                position,
                "this is not YAML: something ends that did not begin",
                "",
            ));
        };
        let content = match open.kind {
            OpenKind::List(items) => Content::List(items),
            OpenKind::Mapping {
                mut entries,
                known,
                merged,
                ..
            } => {
                let mut have: BTreeMap<String, ()> = known.into_keys().map(|key| (key, ())).collect();
                for entry in merged {
                    if have.insert(entry.key.clone(), ()).is_none() {
                        entries.push(entry);
                    }
                }
                Content::Mapping(entries)
            }
        };
        let node = match &open.tag {
            Some(tag) => Node {
                position: open.position,
                content: refuse_named(tag),
            },
            None => Node {
                position: open.position,
                content,
            },
        };
        let depth = open.deepest + 1;
        let size = Size {
            nodes: self.spent.nodes - open.before.nodes,
            bytes: self.spent.bytes - open.before.bytes,
            depth,
        };
        self.anchor(open.anchor, &node, size)?;
        self.put(node, depth)
    }

    fn alias(&mut self, anchor: usize, position: Position) -> Result<(), Wrong> {
        let Some((_, size)) = self.anchors.get(&anchor) else {
            let what = "this alias stands for something that it stands in itself";
            return Err(Wrong::new(position, what, "write it out"));
        };
        let size = *size;
        // Counted before it is copied: what would explode is never made.
        self.spend(size, position)?;
        if self.open.len() + size.depth > limits::DEPTH {
            return Err(too_deep(position));
        }
        let node = self.anchors[&anchor].0.clone();
        self.put(node, size.depth)
    }

    fn anchor(&mut self, anchor: usize, node: &Node, size: Size) -> Result<(), Wrong> {
        if anchor != 0 {
            // What is kept for aliases counts as well: anchors may stand in one another.
            self.spend(size, node.position)?;
            self.anchors.insert(anchor, (node.clone(), size));
        }
        Ok(())
    }

    fn spend(&mut self, size: Size, position: Position) -> Result<(), Wrong> {
        self.spent.nodes += size.nodes;
        self.spent.bytes += size.bytes;
        if self.spent.nodes > limits::NODES || self.spent.bytes > limits::SCALAR_BYTES {
            let what = format!(
                "the file holds more than {} values, or {} bytes of them, once aliases are written out",
                limits::NODES,
                limits::SCALAR_BYTES
            );
            return Err(Wrong::new(position, what, "split it, or use fewer aliases"));
        }
        Ok(())
    }

    fn put(&mut self, node: Node, depth: usize) -> Result<(), Wrong> {
        let Some(open) = self.open.last_mut() else {
            if self.documents.len() >= limits::DOCUMENTS {
                let what = format!("the file holds more than {} documents", limits::DOCUMENTS);
                return Err(Wrong::new(node.position, what, "remove `---` lines"));
            }
            self.documents.push(node);
            return Ok(());
        };
        open.deepest = open.deepest.max(depth);
        match &mut open.kind {
            OpenKind::List(items) => items.push(node),
            OpenKind::Mapping {
                entries,
                known,
                merged,
                key,
            } => match key.take() {
                None => *key = Some(node),
                Some(name) => return add(entries, known, merged, &name, node),
            },
        }
        Ok(())
    }
}

/// Adds a key and its value to a mapping.
fn add(
    entries: &mut Vec<Entry>,
    known: &mut BTreeMap<String, Position>,
    merged: &mut Vec<Entry>,
    name: &Node,
    value: Node,
) -> Result<(), Wrong> {
    let Some(scalar) = name.scalar() else {
        let what = format!("a key is {}, and only texts are taken", name.kind());
        return Err(Wrong::new(
            name.position,
            what,
            "put a template or list that begins a value in quotes",
        ));
    };
    if scalar.text == "<<" && !scalar.quoted {
        return merge(merged, value);
    }
    match known.entry(scalar.text.clone()) {
        Slot::Occupied(first) => {
            let what = format!(
                "the key `{}` stands twice; first in line {}",
                scalar.text,
                first.get().line
            );
            return Err(Wrong::new(name.position, what, "keep one of them"));
        }
        Slot::Vacant(slot) => {
            slot.insert(name.position);
        }
    }
    entries.push(Entry {
        key: scalar.text.clone(),
        quoted: scalar.quoted,
        position: name.position,
        value,
    });
    Ok(())
}

/// `<<: *defaults`, or a list of these: earlier ones come before later ones, and what is written out before all.
fn merge(merged: &mut Vec<Entry>, value: Node) -> Result<(), Wrong> {
    let position = value.position;
    match value.content {
        Content::Mapping(entries) => {
            merged.extend(entries);
            Ok(())
        }
        Content::List(items) => items.into_iter().try_for_each(|item| match item.content {
            Content::Mapping(entries) => {
                merged.extend(entries);
                Ok(())
            }
            _ => Err(Wrong::new(
                item.position,
                "`<<` takes mappings",
                "write an alias of a mapping",
            )),
        }),
        _ => Err(Wrong::new(
            position,
            "`<<` takes a mapping",
            "write an alias of a mapping: `<<: *name`",
        )),
    }
}

fn too_deep(position: Position) -> Wrong {
    let what = format!(
        "lists and mappings stand deeper in one another than {}",
        limits::DEPTH
    );
    Wrong::new(position, what, "")
}

fn is_scalar_tag(suffix: &str) -> bool {
    matches!(suffix, "int" | "float" | "bool" | "null")
}

fn refuse(tag: &Tag) -> Content {
    refuse_named(&tag.to_string())
}

fn refuse_named(tag: &str) -> Content {
    let name = tag
        .split(['!', ' '])
        .rfind(|part| !part.is_empty())
        .unwrap_or_default();
    let instead = match name {
        "secret" => "write the value itself, or keep the secret in Jarvis's configuration",
        "include"
        | "include_dir_list"
        | "include_dir_merge_list"
        | "include_dir_named"
        | "include_dir_merge_named" => "write out what it includes, or load that file as well",
        "input" => "blueprints are not read: write the automation that it makes",
        "env_var" => "write the value itself",
        _ => "write the value without it",
    };
    Content::Refused {
        what: format!("the tag `{tag}` is not supported"),
        instead: instead.to_owned(),
    }
}
