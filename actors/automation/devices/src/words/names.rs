//! Finds what people mean among areas, devices and entities.

use std::collections::BTreeSet;

use super::lexicon::{DOORS, Kind, Phrase, kind};
use crate::component::Component;
use crate::entity::Entity;
use crate::registry::View;
use crate::text::{fold, words};

/// How alike two names must be to be taken for the same, from 0 to 1: one slip of the pen in seven letters.
const LIKENESS: f64 = 0.85;

/// How many things are named in a question back.
pub(super) const NAMED: usize = 5;

/// What was meant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Meant {
    /// This one, or these of one name.
    Entities(Vec<String>),
    /// These, which are all of a kind in an area; without an area, in the home.
    All {
        /// The entities, by id.
        ids: Vec<String>,
        /// The area's name.
        area: Option<String>,
    },
    /// One of these.
    Several(Vec<String>),
    /// An area that has nothing that fits.
    Nothing(String),
}

/// Whether an entity is reached by its exact name only when it is to be done: who guesses wrong lets somebody in, or wakes up
/// the neighbours.
pub(super) fn is_guarded(entity: &Entity) -> bool {
    match entity.component {
        Component::Lock | Component::AlarmControlPanel | Component::Siren | Component::Valve => true,
        Component::Cover => entity
            .config
            .text("device_class")
            .is_some_and(|class| DOORS.contains(&class)),
        _ => false,
    }
}

/// Finds what `said` means among the entities that `fits` lets through. `preferred` says which kinds a room stands for, the
/// first that it has.
pub(super) fn find(
    said: &[&str],
    view: &View,
    fits: &dyn Fn(&Entity) -> bool,
    preferred: &[Component],
    question: bool,
) -> Option<Meant> {
    let phrase = Phrase::of(said);
    let fitting: Vec<&Entity> = view
        .all_described()
        .into_iter()
        .map(|entity| &**entity)
        .filter(|entity| fits(entity) && entity.config.get("entity_category").is_none())
        .collect();
    if phrase.is_empty() && !phrase.all {
        return None;
    }
    if !phrase.is_empty()
        && let Some(found) = by_name(&phrase, &fitting, view, question)
    {
        return Some(found);
    }
    if let Some(found) = by_area(&phrase, &fitting, view, preferred, question) {
        return Some(found);
    }
    by_part(&phrase, &fitting, view, question)
}

/// All names of an entity.
fn names(entity: &Entity, view: &View) -> Vec<String> {
    let mut out = vec![
        view.name(&entity.id).unwrap_or(&entity.name).to_owned(),
        entity.name.clone(),
    ];
    out.extend(entity.own_name.clone());
    out.extend(
        view.assigned(&entity.id)
            .into_iter()
            .flat_map(|said| said.aliases.iter().cloned()),
    );
    if let Some(device) = entity.device.as_deref().filter(|_| entity.own_name.is_none()) {
        out.extend(view.device_name(device).map(str::to_owned));
        let said = view.people.of_device(device);
        out.extend(said.into_iter().flat_map(|said| said.aliases.iter().cloned()));
    }
    out.sort_unstable();
    out.dedup();
    out
}

fn phrase(name: &str) -> Phrase {
    let folded = fold(name);
    Phrase::of(&words(&folded))
}

fn kind_of(entity: &Entity, kind: &Kind) -> bool {
    let class = entity.config.text("device_class").unwrap_or("");
    let classed = kind.classes.is_empty() || kind.classes.contains(&class);
    kind.components.contains(&entity.component) && classed
}

/// The words without those that say what kind of thing the entity is.
fn bare(words: &[String], entity: &Entity) -> Vec<String> {
    let says_kind = |word: &String| kind(word).is_some_and(|kind| kind_of(entity, kind));
    let rest: Vec<String> = words.iter().filter(|word| !says_kind(word)).cloned().collect();
    if rest.is_empty() { words.to_vec() } else { rest }
}

/// A way in which a name may be what was said.
type Way<'w> = dyn Fn(&Phrase, &Entity) -> bool + 'w;

/// By the whole name: as it is written, then by what its words mean, then with or without the word for its kind.
fn by_name(said: &Phrase, fitting: &[&Entity], view: &View, question: bool) -> Option<Meant> {
    let ways: [&Way<'_>; 3] = [
        &|name, _| name.plain == said.plain,
        &|name, _| name.meant == said.meant,
        &|name, entity| !name.is_empty() && bare(&name.meant, entity) == bare(&said.meant, entity),
    ];
    for (at, way) in ways.into_iter().enumerate() {
        // A room's name alone means what is in it, not the one lamp that is called after it.
        if at == 2 && area(&said.meant, view).is_some() {
            return None;
        }
        let found: Vec<String> = fitting
            .iter()
            .filter(|entity| at < 2 || question || !is_guarded(entity))
            .filter(|entity| names(entity, view).iter().any(|name| way(&phrase(name), entity)))
            .map(|entity| entity.id.clone())
            .collect();
        match found.len() {
            0 => {}
            1 => return Some(Meant::Entities(found)),
            _ if at == 0 => return Some(one_name(found, view)),
            _ => return Some(Meant::Several(found)),
        }
    }
    None
}

/// Several of one name are asked about, unless one of them is plainly what people see: the light among a device's entities.
fn one_name(found: Vec<String>, view: &View) -> Meant {
    let whole: Vec<String> = found
        .iter()
        .filter(|id| {
            view.described(id)
                .is_some_and(|entity| entity.own_name.is_none() || entity.device.is_none())
        })
        .cloned()
        .collect();
    if whole.len() == 1 {
        Meant::Entities(whole)
    } else {
        Meant::Several(found)
    }
}

/// The area that all of these words say: its id and name.
fn area(said: &[String], view: &View) -> Option<(String, String)> {
    areas(view)
        .into_iter()
        .find(|(_, _, phrases)| phrases.iter().any(|phrase| phrase == said))
        .map(|(id, name, _)| (id, name))
}

/// All areas with the words of their names, those that only devices suggest too.
fn areas(view: &View) -> Vec<(String, String, Vec<Vec<String>>)> {
    let mut out = Vec::new();
    let mut seen = BTreeSet::new();
    for area in view.areas() {
        let names = std::iter::once(&area.name).chain(&area.aliases);
        let phrases = names
            .map(|name| phrase(name).meant)
            .filter(|meant| !meant.is_empty())
            .collect();
        seen.insert(area.id.clone());
        out.push((area.id.clone(), area.name.clone(), phrases));
    }
    for name in view.devices().filter_map(|device| device.suggested_area.as_ref()) {
        let id = crate::text::slug(name);
        if view.area(name).is_none() && seen.insert(id.clone()) {
            out.push((id, name.clone(), vec![phrase(name).meant]));
        }
    }
    out
}

/// By an area and a kind: "the kitchen lights", "all the shutters", "the kitchen".
fn by_area(
    said: &Phrase,
    fitting: &[&Entity],
    view: &View,
    preferred: &[Component],
    question: bool,
) -> Option<Meant> {
    let kinds: Vec<&Kind> = said.meant.iter().filter_map(|word| kind(word)).collect();
    let (place, kinds) = match area(&said.meant, view) {
        Some(place) => (Some(place), Vec::new()),
        None => {
            let rest: Vec<String> = said
                .meant
                .iter()
                .filter(|word| kind(word).is_none())
                .cloned()
                .collect();
            let place = area(&rest, view);
            if place.is_none() && !rest.is_empty() {
                return None;
            }
            (place, kinds)
        }
    };
    let open: Vec<&&Entity> = fitting
        .iter()
        .filter(|entity| question || !is_guarded(entity))
        .filter(|entity| {
            place
                .as_ref()
                .is_none_or(|(id, _)| view.area_of(&entity.id).as_ref() == Some(id))
        })
        .collect();
    let of_kind: Vec<String> = if kinds.is_empty() {
        let first = preferred
            .iter()
            .find(|component| open.iter().any(|entity| entity.component == **component));
        open.iter()
            .filter(|entity| first == Some(&entity.component))
            .map(|entity| entity.id.clone())
            .collect()
    } else {
        let matching = open
            .iter()
            .filter(|entity| kinds.iter().all(|kind| kind_of(entity, kind)));
        matching.map(|entity| entity.id.clone()).collect()
    };
    let guarded = || -> Vec<String> {
        let matching = fitting
            .iter()
            .filter(|entity| is_guarded(entity) && kinds.iter().all(|kind| kind_of(entity, kind)));
        matching.map(|entity| entity.id.clone()).collect()
    };
    match (&place, of_kind.len()) {
        // What is guarded is asked about by name.
        (_, 0) if !kinds.is_empty() && !guarded().is_empty() => Some(Meant::Several(guarded())),
        (Some((_, name)), 0) => Some(Meant::Nothing(name.clone())),
        (None, 0) => None,
        (Some((_, name)), _) => Some(Meant::All {
            ids: of_kind,
            area: Some(name.clone()),
        }),
        (None, 1) => Some(Meant::Entities(of_kind)),
        (None, _) if said.all || said.plural || question => Some(Meant::All {
            ids: of_kind,
            area: None,
        }),
        (None, _) => Some(Meant::Several(of_kind)),
    }
}

/// By a part of the name, with a slip of the pen perhaps. Never for what is guarded.
fn by_part(said: &Phrase, fitting: &[&Entity], view: &View, question: bool) -> Option<Meant> {
    if said.is_empty() {
        return None;
    }
    let rooms = areas(view);
    let wanted: BTreeSet<&String> = said.meant.iter().collect();
    let within = |entity: &&&Entity| {
        let place = view.area_of(&entity.id);
        let room: BTreeSet<&String> = rooms
            .iter()
            .filter(|(id, _, _)| Some(id) == place.as_ref())
            .flat_map(|(_, _, phrases)| phrases.iter().flatten())
            .collect();
        names(entity, view).iter().any(|name| {
            let name = phrase(name);
            let own: BTreeSet<&String> = name.meant.iter().collect();
            let told = wanted
                .iter()
                .filter(|word| !kind(word).is_some_and(|kind| kind_of(entity, kind)));
            let mut telling = 0;
            let all = told.clone().all(|word| {
                telling += usize::from(own.contains(*word));
                own.contains(*word) || room.contains(*word)
            });
            all && telling > 0
        })
    };
    let found: Vec<String> = fitting
        .iter()
        .filter(within)
        .map(|entity| entity.id.clone())
        .collect();
    let alike = || -> Vec<String> {
        let text = said.plain.join(" ");
        let near = |entity: &&&Entity| {
            names(entity, view).iter().any(|name| {
                strsim::normalized_damerau_levenshtein(&phrase(name).plain.join(" "), &text) >= LIKENESS
            })
        };
        fitting
            .iter()
            .filter(near)
            .map(|entity| entity.id.clone())
            .collect()
    };
    let found = if found.is_empty() { alike() } else { found };
    let guarded = |id: &String| view.described(id).is_some_and(|entity| is_guarded(entity));
    match found.as_slice() {
        [] => None,
        [one] if question || !guarded(one) => Some(Meant::Entities(found)),
        _ => Some(Meant::Several(found)),
    }
}
