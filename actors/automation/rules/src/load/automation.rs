//! Files, and the automations in them.

use super::limits;
use super::reader::{Fields, Read, Reader, refused, shorten};
use crate::model::{Automation, CatchUp, Mode, Policy};
use crate::yaml::{Content, Node};

/// What an automation may have.
const KNOWN: [&str; 20] = [
    "id",
    "alias",
    "description",
    "mode",
    "max",
    "max_exceeded",
    "initial_state",
    "enabled",
    "variables",
    "trigger_variables",
    "triggers",
    "trigger",
    "conditions",
    "condition",
    "actions",
    "action",
    "jarvis",
    "trace",
    "category",
    "hide_entity",
];

impl Reader<'_> {
    /// The nodes of a document that are automations: a list, one alone, or what stands under `automation:` in a
    /// configuration.
    pub(super) fn automations<'n>(&mut self, document: &'n Node) -> Vec<&'n Node> {
        self.begin(None);
        match &document.content {
            Content::List(items) => items.iter().collect(),
            Content::Mapping(_) if is_automation(document) => vec![document],
            Content::Mapping(entries) => {
                let mut found = Vec::new();
                let mut any = false;
                for entry in entries {
                    // `automation kitchen:` is how a configuration has several lists.
                    let is_list = entry.key.split_whitespace().next() == Some("automation");
                    if let Some(first) = entry.twice {
                        let instead = if is_list {
                            "put both lists below one of them, or write `automation more:`; both were read"
                        } else {
                            "keep one of them"
                        };
                        self.twice(entry, first, instead);
                    }
                    if entry.key == "<<" && !entry.quoted {
                        let _ = self.sound(&entry.value);
                    }
                    if !is_list {
                        continue;
                    }
                    any = true;
                    match &entry.value.content {
                        Content::List(items) => found.extend(items),
                        Content::Mapping(_) => found.push(&entry.value),
                        Content::Refused { .. } => {
                            let _ = self.below("automation", |reader| reader.sound(&entry.value));
                        }
                        Content::Scalar(_) if entry.value.is_null() => {}
                        Content::Scalar(_) => {
                            let instead = "write a list of automations below it";
                            let what = "no automation stands here";
                            let _ = self.wrong(entry.value.position, what, instead);
                        }
                    }
                }
                if !any {
                    let unknown = entries.first().map_or("", |entry| entry.key.as_str());
                    let what = format!(
                        "no automation stands here; the file begins with `{}`",
                        shorten(unknown)
                    );
                    let _ = self.wrong(
                        document.position,
                        what,
                        "write a list of automations, each with `alias`, `triggers` and `actions`",
                    );
                }
                found
            }
            Content::Refused { .. } => {
                let _ = self.sound(document);
                Vec::new()
            }
            Content::Scalar(_) if document.is_null() => Vec::new(),
            Content::Scalar(_) => {
                let instead = "write a list of automations, each with `alias`, `triggers` and `actions`";
                let _ = self.wrong(
                    document.position,
                    "the file holds a text and no automation",
                    instead,
                );
                Vec::new()
            }
        }
    }

    /// One automation.
    pub(super) fn automation(&mut self, node: &Node) -> Read<Automation> {
        let name = ["alias", "id"].iter().find_map(|key| node.get(key)?.scalar());
        self.begin(name.map(|name| shorten(&name.text)));
        if let Some(blueprint) = node.get("use_blueprint") {
            let instead = "write the automation out that the blueprint makes, with `triggers` and `actions`";
            return Err(self.wrong(blueprint.position, "blueprints are not supported", instead));
        }
        if let Some(blueprint) = node.get("blueprint") {
            let instead = "write the automation out, with the inputs put in";
            return Err(self.wrong(
                blueprint.position,
                "this is a blueprint, not an automation",
                instead,
            ));
        }
        let sound = self.sound(node);
        let fields = self.fields(node, "an automation", &KNOWN)?;
        let alias = fields.read(self, "alias", Self::alias);
        let id = self.id(&fields);
        let description = fields.read(self, "description", |reader, node| {
            let text = reader.text(node, "a text")?;
            reader.most(
                node.position,
                text.len(),
                limits::DESCRIPTION,
                "bytes of description",
            )?;
            Ok(text)
        });
        let mode = fields.read(self, "mode", |reader, node| {
            let words = [
                ("single", Mode::Single),
                ("restart", Mode::Restart),
                ("queued", Mode::Queued),
                ("parallel", Mode::Parallel),
            ];
            reader.word(node, &words)
        });
        let max = fields.read(self, "max", Self::max);
        let max_exceeded = fields.read(self, "max_exceeded", |reader, node| {
            let words = [
                "silent", "critical", "fatal", "error", "warning", "warn", "info", "debug", "notset",
            ];
            reader.word(&lower(node), &words.map(|word| (word, ())))
        });
        let initial_state = fields.read(self, "initial_state", Self::truth);
        let enabled = fields.read(self, "enabled", Self::truth);
        let policy = fields.read(self, "jarvis", Self::policy);
        let trigger_variables = fields.read(self, "trigger_variables", Self::variables);
        let variables = fields.read(self, "variables", Self::variables);
        let triggers = self.part(&fields, ("triggers", "trigger"), Self::triggers);
        let conditions = self.part(&fields, ("conditions", "condition"), Self::conditions);
        let actions = self.part(&fields, ("actions", "action"), Self::actions);
        // All parts were read before the first problem ends it, so that all problems are told at once.
        let (id, alias, _) = (id?, alias?, max_exceeded?);
        sound?;
        let (Some(triggers), Some(actions)) = (triggers?, actions?) else {
            let instead = "write `triggers:` and `actions:`";
            let missing = if fields.get("actions").or(fields.get("action")).is_some() {
                "`triggers` is missing"
            } else {
                "`actions` is missing"
            };
            return Err(self.wrong(node.position, missing, instead));
        };
        let mode = mode?.unwrap_or_default();
        let max = max?;
        if let (Some(_), Mode::Single | Mode::Restart, Some(at)) = (max, mode, fields.get("max")) {
            return Err(self.wrong(
                at.position,
                "`max` is for `mode: queued` and `mode: parallel`",
                "leave it out",
            ));
        }
        Ok(Automation {
            alias: alias.unwrap_or_else(|| id.clone()),
            id,
            description: description?.unwrap_or_default(),
            file: self.file().to_owned(),
            position: node.position,
            mode,
            max: max.unwrap_or(match mode {
                Mode::Single | Mode::Restart => 1,
                Mode::Queued | Mode::Parallel => 10,
            }),
            enabled: initial_state?.unwrap_or(true) && enabled?.unwrap_or(true),
            policy: policy?.unwrap_or_default(),
            trigger_variables: trigger_variables?.unwrap_or_default(),
            variables: variables?.unwrap_or_default(),
            triggers,
            conditions: conditions?.unwrap_or_default(),
            actions,
        })
    }

    /// A part that has a new and an old name.
    fn part<T>(
        &mut self,
        fields: &Fields<'_>,
        (new, old): (&'static str, &'static str),
        read: impl FnOnce(&mut Self, &Node) -> Read<T>,
    ) -> Read<Option<T>> {
        match fields.either(self, new, old)? {
            Some((key, node)) => self.below(key, |reader| read(reader, node)).map(Some),
            None => Ok(None),
        }
    }

    /// `id`, else made of the alias.
    fn id(&mut self, fields: &Fields<'_>) -> Read<String> {
        const WANTED: &str = "an id of letters, digits, `_` and `-`";
        if let Some(id) = fields.read(self, "id", |reader, node| {
            let id = reader.plain(node, WANTED)?;
            let fine = id
                .chars()
                .all(|c| !c.is_control() && !c.is_whitespace() && c != '/');
            if fine && !id.is_empty() && id.len() <= limits::NAME {
                return Ok(id);
            }
            let what = format!("`{}` cannot be an id", shorten(&id));
            Err(reader.wrong(node.position, what, format!("write {WANTED}")))
        })? {
            return Ok(id);
        }
        if let Some(alias) = fields.get("alias") {
            refused(alias)?;
        }
        let Some(alias) = fields.some("alias").and_then(Node::scalar) else {
            let instead = "write an `id` that stays the same: runs and traces go by it";
            return Err(self.wrong(fields.node.position, "it has neither `id` nor `alias`", instead));
        };
        match slug(&alias.text) {
            id if id.is_empty() => {
                let instead = "write an `id` as well";
                let what = "no id can be made of the alias";
                Err(self.wrong(fields.node.position, what, instead))
            }
            id => Ok(id),
        }
    }

    /// `alias`.
    pub(super) fn alias(&mut self, node: &Node) -> Read<String> {
        let alias = self.text(node, "a name for people")?;
        self.most(node.position, alias.len(), limits::NAME * 2, "bytes of `alias`")?;
        Ok(alias)
    }

    fn max(&mut self, node: &Node) -> Read<u16> {
        let text = self.plain(node, "a number")?;
        match text.trim().parse::<u16>() {
            Ok(max) if (1..=limits::MAX_RUNS).contains(&max) => Ok(max),
            _ => {
                let what = format!("`{}` is no number of runs", shorten(&text));
                let instead = format!("write a number from 1 to {}", limits::MAX_RUNS);
                Err(self.wrong(node.position, what, instead))
            }
        }
    }

    /// `jarvis: { catch_up: …, at_most_late: … }`.
    pub(super) fn policy(&mut self, node: &Node) -> Read<Policy> {
        let fields = self.fields(node, "`jarvis`", &["catch_up", "at_most_late"])?;
        let catch_up = fields.read(self, "catch_up", |reader, node| {
            let words = [
                ("catch_up", CatchUp::CatchUp),
                ("skip", CatchUp::Skip),
                ("recheck", CatchUp::Recheck),
            ];
            reader.word(node, &words)
        })?;
        let at_most_late = fields.read(self, "at_most_late", Self::fixed_span)?;
        let usual = Policy::default();
        Ok(Policy {
            catch_up: catch_up.unwrap_or(usual.catch_up),
            at_most_late_ms: at_most_late.unwrap_or(usual.at_most_late_ms),
        })
    }
}

/// Whether a mapping is an automation, rather than a configuration that holds some.
fn is_automation(node: &Node) -> bool {
    let own = [
        "triggers",
        "trigger",
        "actions",
        "action",
        "use_blueprint",
        "blueprint",
        "alias",
    ];
    own.iter().any(|key| node.get(key).is_some())
}

/// The same word in lower case.
fn lower(node: &Node) -> Node {
    let mut node = node.clone();
    if let Content::Scalar(scalar) = &mut node.content {
        scalar.text = scalar.text.to_lowercase();
    }
    node
}

/// An id made of a name: lower case, other characters than letters and digits as `_`.
fn slug(name: &str) -> String {
    let mut slug = String::new();
    for c in name.chars().flat_map(char::to_lowercase) {
        if c.is_alphanumeric() {
            slug.push(c);
        } else if !slug.ends_with('_') && !slug.is_empty() {
            slug.push('_');
        }
        if slug.len() + 4 > limits::NAME {
            break;
        }
    }
    slug.trim_end_matches('_').to_owned()
}
