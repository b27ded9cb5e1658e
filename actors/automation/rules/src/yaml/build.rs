//! Events → a tree, within bounds.

use std::borrow::Cow;
use std::collections::btree_map::Entry as Slot;
use std::collections::{BTreeMap, BTreeSet};

use saphyr_parser::{Event, Marker, Parser, ScalarStyle, Tag};

use super::{Content, Entry, Node, Scalar, Wrong};
use crate::model::Position;

/// The bounds of one file.
pub(crate) mod limits {
    /// Longest text, in bytes.
    pub(crate) const BYTES: usize = 4 * 1024 * 1024;
    /// Deepest node.
    pub(crate) const DEPTH: usize = 64;
    /// Nodes that are written, an alias being one.
    pub(crate) const NODES: usize = 200_000;
    /// Nodes that aliases stand for, counted as often as they are used, and those that are kept for them.
    pub(crate) const COPIED_NODES: usize = 100_000;
    /// Bytes of the scalars among these.
    pub(crate) const COPIED_BYTES: usize = 4 * 1024 * 1024;
    /// Longest scalar, in bytes.
    pub(crate) const SCALAR: usize = 64 * 1024;
    /// Documents a file.
    pub(crate) const DOCUMENTS: usize = 64;
}

/// Reads a text: its documents, in order. What is wrong with one node refuses that node, as long as the parser can go on.
///
/// # Errors
/// What is no YAML, or beyond the bounds of a file.
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
            // The parser has taken the alias for read when it says so, and goes on after it; a test holds it to that.
            Err(error) if error.info().contains("unknown anchor") => {
                let what = "this alias is not defined";
                let refused = refused(what, "define it before, as `&name`, or write it out");
                builder.found(refused, at(*error.marker()))?;
            }
            Err(error) => {
                let position = at(*error.marker());
                let line = text.lines().nth(position.line as usize - 1);
                let (what, instead) = explain(error.info(), line.unwrap_or_default());
                return Err(Wrong::new(position, what, instead));
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

/// What the parser's message about a line means for who wrote the file.
fn explain(info: &str, line: &str) -> (String, &'static str) {
    let unquoted = |mark| {
        line.split_once(": ")
            .is_some_and(|(_, value)| value.trim_start().starts_with(mark))
    };
    let instead = if unquoted("{{") || unquoted("{%") {
        "put the template in quotes"
    } else if info.contains("mapping values are not allowed") {
        "put a text that holds `: ` in quotes, and check that the line is indented as the one before"
    } else if info.contains("tab") {
        "indent with spaces"
    } else if info.contains("did not find expected") || info.contains("block") || info.contains("simple key")
    {
        "check that the lines of a list or mapping are indented alike, and that brackets and quotes are closed"
    } else if info.contains("recursion limit") {
        "lists and mappings stand too deep in one another"
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
    written: usize,
    copied: Size,
    skipped: Option<Skipped>,
}

/// A list or mapping that stands too deep: its events are counted and passed over.
struct Skipped {
    position: Position,
    open: usize,
}

/// A list or mapping that has not ended.
struct Open {
    position: Position,
    anchor: usize,
    tag: Option<String>,
    size: Size,
    kind: OpenKind,
}

enum OpenKind {
    List(Vec<Node>),
    Mapping {
        entries: Vec<Entry>,
        known: BTreeMap<String, Position>,
        merged: Vec<Entry>,
        key: Option<Node>,
        refused: Option<Node>,
    },
}

impl Builder {
    fn take(&mut self, event: Event<'_>, marker: Marker) -> Result<(), Wrong> {
        let position = at(marker);
        if self.skipped.is_some() {
            return self.skip(&event, position);
        }
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
                    refused: None,
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
        self.spend(position)?;
        let scalar = |quoted| {
            Content::Scalar(Scalar {
                text: text.to_owned(),
                quoted,
            })
        };
        let quoted = style != ScalarStyle::Plain;
        let content = match tag {
            _ if text.len() > limits::SCALAR => {
                let what = format!(
                    "a text has {} bytes, and {} are taken",
                    text.len(),
                    limits::SCALAR
                );
                refused(what, "keep long texts elsewhere")
            }
            Some(tag) if tag.is_yaml_core_schema() && tag.suffix == "str" => scalar(true),
            Some(tag) if tag.is_yaml_core_schema() && is_scalar_tag(&tag.suffix) => scalar(quoted),
            Some(tag) => refused_tag(&tag.to_string()),
            None => scalar(quoted),
        };
        let size = Size {
            nodes: 1,
            bytes: match &content {
                Content::Scalar(scalar) => scalar.text.len(),
                _ => 0,
            },
            depth: 0,
        };
        self.put(Node { position, content }, anchor, size)
    }

    fn open(
        &mut self,
        position: Position,
        anchor: usize,
        tag: Option<&Tag>,
        kind: OpenKind,
    ) -> Result<(), Wrong> {
        self.spend(position)?;
        if self.open.len() >= limits::DEPTH {
            self.keep_refused(anchor, too_deep, position);
            self.skipped = Some(Skipped { position, open: 1 });
            return Ok(());
        }
        let tag =
            tag.filter(|tag| !(tag.is_yaml_core_schema() && matches!(tag.suffix.as_str(), "map" | "seq")));
        self.open.push(Open {
            position,
            anchor,
            tag: tag.map(ToString::to_string),
            size: Size {
                nodes: 1,
                ..Size::default()
            },
            kind,
        });
        Ok(())
    }

    /// Passes over what stands too deep; nothing is kept of it but that its anchors were there.
    fn skip(&mut self, event: &Event<'_>, position: Position) -> Result<(), Wrong> {
        let anchor = match event {
            Event::Scalar(_, _, anchor, _) => *anchor,
            Event::SequenceStart(anchor, _) | Event::MappingStart(anchor, _) => *anchor,
            _ => 0,
        };
        self.keep_refused(anchor, too_deep, position);
        let Some(skipped) = &mut self.skipped else {
            return Ok(());
        };
        match event {
            Event::SequenceStart(..) | Event::MappingStart(..) => skipped.open += 1,
            Event::SequenceEnd | Event::MappingEnd => skipped.open -= 1,
            _ => {}
        }
        if skipped.open > 0 {
            return self.spend(position);
        }
        let position = skipped.position;
        self.skipped = None;
        self.found(too_deep(), position)
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
        let mut node = Node {
            position: open.position,
            content: Content::List(Vec::new()),
        };
        match open.kind {
            _ if open.tag.is_some() => node.content = refused_tag(open.tag.as_deref().unwrap_or_default()),
            OpenKind::Mapping {
                refused: Some(refused),
                ..
            } => node = refused,
            OpenKind::List(items) => node.content = Content::List(items),
            OpenKind::Mapping {
                mut entries,
                known,
                merged,
                ..
            } => {
                let mut have: BTreeSet<String> = known.into_keys().collect();
                for entry in merged {
                    // What was wrong with a mapping is wrong with those that it is merged into.
                    if entry.twice.is_some() || have.insert(entry.key.clone()) {
                        entries.push(entry);
                    }
                }
                node.content = Content::Mapping(entries);
            }
        }
        let size = Size {
            depth: open.size.depth + 1,
            ..open.size
        };
        self.put(node, open.anchor, size)
    }

    fn alias(&mut self, anchor: usize, position: Position) -> Result<(), Wrong> {
        let Some((_, size)) = self.anchors.get(&anchor) else {
            let content = if self.open.iter().any(|open| open.anchor == anchor) {
                refused(
                    "this alias stands for something that it stands in itself",
                    "write it out",
                )
            } else {
                refused(
                    "this alias is not defined in its document",
                    "define it below the same `---`, or write it out",
                )
            };
            return self.found(content, position);
        };
        let size = *size;
        if self.open.len() + size.depth > limits::DEPTH {
            return self.found(too_deep(), position);
        }
        // Counted before it is copied: what would explode is never made.
        if !self.copy(size) {
            return self.found(too_many_copies(), position);
        }
        self.spend(position)?;
        let node = self.anchors[&anchor].0.clone();
        self.put(node, 0, size)
    }

    /// Takes a node that is refused by itself.
    fn found(&mut self, content: Content, position: Position) -> Result<(), Wrong> {
        self.spend(position)?;
        if self.skipped.is_some() {
            return Ok(());
        }
        let size = Size {
            nodes: 1,
            ..Size::default()
        };
        self.put(Node { position, content }, 0, size)
    }

    /// Counts what is written; there may not be more, whatever stands in it.
    fn spend(&mut self, position: Position) -> Result<(), Wrong> {
        self.written += 1;
        if self.written > limits::NODES {
            let what = format!("the file holds more than {} values", limits::NODES);
            return Err(Wrong::new(position, what, "split it into several files"));
        }
        Ok(())
    }

    /// Counts a copy, unless it would be one too many.
    fn copy(&mut self, size: Size) -> bool {
        let nodes = self.copied.nodes + size.nodes;
        let bytes = self.copied.bytes + size.bytes;
        let fits = nodes <= limits::COPIED_NODES && bytes <= limits::COPIED_BYTES;
        if fits {
            self.copied.nodes = nodes;
            self.copied.bytes = bytes;
        }
        fits
    }

    /// Keeps for aliases that what they stand for was refused.
    fn keep_refused(&mut self, anchor: usize, why: fn() -> Content, position: Position) {
        if anchor != 0 {
            let size = Size {
                nodes: 1,
                ..Size::default()
            };
            let content = why();
            self.anchors.insert(anchor, (Node { position, content }, size));
        }
    }

    /// Puts a node where it belongs, and keeps a copy of it for its aliases.
    fn put(&mut self, node: Node, anchor: usize, size: Size) -> Result<(), Wrong> {
        if anchor != 0 {
            // What is kept for aliases counts as well: anchors may stand in one another.
            if self.copy(size) {
                self.anchors.insert(anchor, (node.clone(), size));
            } else {
                self.keep_refused(anchor, too_many_copies, node.position);
            }
        }
        let Some(open) = self.open.last_mut() else {
            if self.documents.len() >= limits::DOCUMENTS {
                let what = format!("the file holds more than {} documents", limits::DOCUMENTS);
                return Err(Wrong::new(node.position, what, "remove `---` lines"));
            }
            self.documents.push(node);
            return Ok(());
        };
        open.size.nodes += size.nodes;
        open.size.bytes += size.bytes;
        open.size.depth = open.size.depth.max(size.depth);
        match &mut open.kind {
            OpenKind::List(items) => items.push(node),
            OpenKind::Mapping {
                entries,
                known,
                merged,
                key,
                refused,
            } => match key.take() {
                None => *key = Some(node),
                Some(name) => {
                    let wrong = add(entries, known, merged, name, node);
                    *refused = refused.take().or(wrong);
                }
            },
        }
        Ok(())
    }
}

/// Adds a key and its value to a mapping, or tells why there can be no such mapping.
fn add(
    entries: &mut Vec<Entry>,
    known: &mut BTreeMap<String, Position>,
    merged: &mut Vec<Entry>,
    name: Node,
    value: Node,
) -> Option<Node> {
    let scalar = match name.content {
        Content::Scalar(scalar) => scalar,
        Content::Refused { .. } => return Some(name),
        Content::List(_) | Content::Mapping(_) => {
            let what = format!("a key is {}, and only texts are taken", name.kind());
            let instead = "put a template or list that begins a value in quotes";
            return Some(Node {
                position: name.position,
                content: refused(what, instead),
            });
        }
    };
    let mut twice = None;
    let mut value = value;
    if scalar.text == "<<" && !scalar.quoted {
        match merge(merged, value) {
            Ok(()) => return None,
            Err(wrong) => value = wrong,
        }
    } else {
        match known.entry(scalar.text.clone()) {
            Slot::Occupied(first) => twice = Some(*first.get()),
            Slot::Vacant(slot) => {
                slot.insert(name.position);
            }
        }
    }
    entries.push(Entry {
        key: scalar.text,
        quoted: scalar.quoted,
        position: name.position,
        twice,
        value,
    });
    None
}

/// `<<: *defaults`, or a list of these: earlier ones come before later ones, and what is written out before all.
fn merge(merged: &mut Vec<Entry>, value: Node) -> Result<(), Node> {
    let wrong = |node: Node, what: &'static str| match node.content {
        Content::Refused { .. } => node,
        _ => Node {
            position: node.position,
            content: refused(what, "write an alias of a mapping: `<<: *name`"),
        },
    };
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
            _ => Err(wrong(item, "`<<` takes mappings")),
        }),
        _ => Err(wrong(value, "`<<` takes a mapping")),
    }
}

fn too_deep() -> Content {
    let what = format!(
        "lists and mappings stand deeper in one another than {}",
        limits::DEPTH
    );
    refused(what, "make several automations of it")
}

fn too_many_copies() -> Content {
    let what = format!(
        "the aliases of this file stand for more than {} values, or {} bytes of them",
        limits::COPIED_NODES,
        limits::COPIED_BYTES
    );
    refused(what, "use fewer aliases, or split the file")
}

fn is_scalar_tag(suffix: &str) -> bool {
    matches!(suffix, "int" | "float" | "bool" | "null")
}

fn refused(what: impl Into<Cow<'static, str>>, instead: &'static str) -> Content {
    Content::Refused {
        what: what.into(),
        instead,
    }
}

fn refused_tag(tag: &str) -> Content {
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
    refused(format!("the tag `{tag}` is not supported"), instead)
}
