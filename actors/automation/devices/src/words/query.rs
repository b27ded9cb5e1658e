//! Questions: "is the garage door closed?", « quelle est la température dans le salon ? ».

use jarvis_rules::facts::Facts;
use serde_json::Value;

use super::act::{listed, which};
use super::names::{Meant, find};
use super::{Language, Understood};
use crate::component::Component;
use crate::entity::Entity;
use crate::registry::{UNAVAILABLE, UNKNOWN, View};

/// States that may be asked for, by word.
const STATES: &[(&str, &str)] = &[
    ("on", "on"),
    ("off", "off"),
    ("open", "open"),
    ("opened", "open"),
    ("closed", "closed"),
    ("shut", "closed"),
    ("locked", "locked"),
    ("unlocked", "unlocked"),
    ("allume", "on"),
    ("allumee", "on"),
    ("allumes", "on"),
    ("allumees", "on"),
    ("eteint", "off"),
    ("eteinte", "off"),
    ("eteints", "off"),
    ("eteintes", "off"),
    ("ouvert", "open"),
    ("ouverte", "open"),
    ("ouverts", "open"),
    ("ouvertes", "open"),
    ("ferme", "closed"),
    ("fermee", "closed"),
    ("fermes", "closed"),
    ("fermees", "closed"),
    ("verrouille", "locked"),
    ("verrouillee", "locked"),
    ("deverrouille", "unlocked"),
    ("deverrouillee", "unlocked"),
];

/// Words that a question about a temperature may consist of beside the place.
const TEMPERATURE: &[&[&str]] = &[
    &["what", "is", "the", "temperature"],
    &["what", "s", "the", "temperature"],
    &["what", "temperature", "is", "it"],
    &["how", "warm", "is", "it"],
    &["how", "hot", "is", "it"],
    &["how", "cold", "is", "it"],
    &["how", "warm", "is"],
    &["how", "cold", "is"],
    &["temperature"],
    &["quelle", "est", "la", "temperature"],
    &["quelle", "temperature", "fait", "il"],
    &["quelle", "temperature", "il", "fait"],
    &["combien", "fait", "il"],
    &["il", "fait", "combien"],
];

pub(super) fn answer(said: &[&str], language: Language, view: &View) -> Option<Understood> {
    if let Some(place) = TEMPERATURE
        .iter()
        .filter(|begin| said.starts_with(begin))
        .map(|begin| &said[begin.len()..])
        .min_by_key(|rest| rest.len())
    {
        return temperature(place, language, view);
    }
    let (thing, state) = asked_state(said)?;
    let fits = |entity: &Entity| can_be(entity, state);
    let preferred: &[Component] = match state {
        "on" | "off" => &[Component::Light, Component::Switch, Component::Fan],
        "locked" | "unlocked" => &[Component::Lock],
        _ => &[Component::Cover, Component::BinarySensor],
    };
    match find(&thing, view, &fits, preferred, true)? {
        Meant::Entities(ids) => Some(Understood::Tell(one(&ids, state, language, view))),
        Meant::All { ids, .. } if ids.len() == 1 => Some(Understood::Tell(one(&ids, state, language, view))),
        Meant::All { ids, .. } => Some(Understood::Tell(many(&ids, state, language, view))),
        Meant::Several(ids) => Some(Understood::Ask(which(&ids, language, view))),
        Meant::Nothing(area) => Some(Understood::Tell(language.pick(
            format!("{area}: I know of nothing there that could be so."),
            format!("{area} : je n'y connais rien qui puisse l'être."),
        ))),
    }
}

/// "Is X closed", « est-ce que X est fermé », « X est-il fermé ».
fn asked_state<'w>(said: &[&'w str]) -> Option<(Vec<&'w str>, &'static str)> {
    let named = |word: &str| {
        STATES
            .iter()
            .find(|(known, _)| *known == word)
            .map(|(_, state)| *state)
    };
    let ask = |thing: &[&'w str], state| (!thing.is_empty()).then(|| (thing.to_vec(), state));
    let (last, before) = said.split_last()?;
    if let Some(state) = named(last) {
        return match before {
            ["is" | "are", thing @ ..] => ask(thing, state),
            ["est", "ce", "que", thing @ .., "est" | "sont"] => ask(thing, state),
            ["est", "ce", "qu", thing @ .., "est" | "sont"] => ask(thing, state),
            [thing @ .., "est" | "sont", "il" | "elle" | "ils" | "elles"] => ask(thing, state),
            _ => None,
        };
    }
    // "Are the lights on in the kitchen".
    if !matches!(said, ["is" | "are", ..]) {
        return None;
    }
    let at = said
        .iter()
        .rposition(|word| named(word).is_some())
        .filter(|at| matches!(said.get(at + 1), Some(&"in")))?;
    let thing: Vec<&str> = said[1..at].iter().chain(&said[at + 1..]).copied().collect();
    ask(&thing, named(said[at])?)
}

fn can_be(entity: &Entity, state: &str) -> bool {
    match state {
        "on" | "off" => matches!(
            entity.component,
            Component::Light
                | Component::Switch
                | Component::Fan
                | Component::BinarySensor
                | Component::Climate
                | Component::Humidifier
                | Component::Siren
        ),
        "locked" | "unlocked" => entity.component == Component::Lock,
        _ => {
            let class = entity.config.text("device_class");
            let opens = matches!(class, Some("door" | "garage_door" | "window" | "opening"));
            matches!(entity.component, Component::Cover | Component::Valve)
                || entity.component == Component::BinarySensor && opens
        }
    }
}

/// What is known of an entity, in the words of the question; none: it is not known.
fn known(id: &str, asked: &str, view: &View) -> Option<&'static str> {
    let state = view.entity(id)?;
    let opening = matches!(asked, "open" | "closed");
    Some(match state.state.as_str() {
        UNAVAILABLE | UNKNOWN => return None,
        "on" if opening => "open",
        "off" if opening => "closed",
        "on" => "on",
        "off" => "off",
        "open" | "opening" | "closing" if opening => "open",
        "closed" => "closed",
        "locked" => "locked",
        "unlocked" | "open" => "unlocked",
        // A thermostat that heats or cools is on.
        _ if matches!(asked, "on" | "off") => "on",
        _ => return None,
    })
}

fn say(state: &str, language: Language) -> &'static str {
    let (english, french) = match state {
        "on" => ("on", "en marche"),
        "off" => ("off", "à l'arrêt"),
        "open" => ("open", "ouvert"),
        "closed" => ("closed", "fermé"),
        "locked" => ("locked", "verrouillé"),
        _ => ("unlocked", "déverrouillé"),
    };
    language.pick(english, french)
}

fn one(ids: &[String], asked: &str, language: Language, view: &View) -> String {
    let names = listed(ids, language, view);
    let Some(state) = ids.first().and_then(|id| known(id, asked, view)) else {
        return language.pick(
            format!("I do not know: I have no state of {names} at the moment."),
            format!("Je ne sais pas : je n'ai pas d'état de {names} pour le moment."),
        );
    };
    let said = say(state, language);
    if state == asked {
        language.pick(
            format!("Yes, {names} is {said}."),
            format!("Oui, {names} : {said}."),
        )
    } else {
        language.pick(
            format!("No, {names} is {said}."),
            format!("Non, {names} : {said}."),
        )
    }
}

fn many(ids: &[String], asked: &str, language: Language, view: &View) -> String {
    let (so, other): (Vec<String>, Vec<String>) = ids
        .iter()
        .cloned()
        .partition(|id| known(id, asked, view) == Some(asked));
    let unknown: Vec<String> = other
        .iter()
        .filter(|id| known(id, asked, view).is_none())
        .cloned()
        .collect();
    let said = say(asked, language);
    let mut out = match (so.len(), other.len()) {
        (0, all) => language.pick(
            format!("No, none of {all} is {said}."),
            format!("Non, aucun sur {all} : {said}."),
        ),
        (all, 0) => language.pick(
            format!("Yes, all {all} are {said}."),
            format!("Oui, tous les {all} : {said}."),
        ),
        (some, _) => {
            let names = listed(&so, language, view);
            let all = ids.len();
            language.pick(
                format!("{some} of {all} are {said}: {names}."),
                format!("{some} sur {all} : {said} ({names})."),
            )
        }
    };
    if !unknown.is_empty() {
        let names = listed(&unknown, language, view);
        out.push_str(&language.pick(
            format!(" I have no state of {names}."),
            format!(" Je n'ai pas d'état de {names}."),
        ));
    }
    out
}

fn temperature(place: &[&str], language: Language, view: &View) -> Option<Understood> {
    let measures = |entity: &Entity| match entity.component {
        Component::Sensor => entity.config.text("device_class") == Some("temperature"),
        Component::Climate => entity.config.get("current_temperature_topic").is_some(),
        _ => false,
    };
    let order = [Component::Sensor, Component::Climate];
    let ids = match find(place, view, &measures, &order, true)? {
        Meant::Entities(ids) | Meant::All { ids, .. } => ids,
        Meant::Several(ids) => return Some(Understood::Ask(which(&ids, language, view))),
        Meant::Nothing(area) => {
            return Some(Understood::Tell(language.pick(
                format!("{area}: I know of no thermometer there."),
                format!("{area} : je n'y connais pas de thermomètre."),
            )));
        }
    };
    let lines: Vec<String> = ids
        .iter()
        .take(super::names::NAMED)
        .map(|id| {
            let name = view.name(id).unwrap_or(id);
            let mark = |value: &str| language.pick(value.to_owned(), value.replace('.', ","));
            match reading(id, view) {
                Some((value, unit)) => format!("{name}: {} {unit}", mark(&value)),
                None => language.pick(format!("{name}: not known"), format!("{name} : inconnue")),
            }
        })
        .collect();
    Some(Understood::Tell(format!("{}.", lines.join("; "))))
}

fn reading(id: &str, view: &View) -> Option<(String, String)> {
    let state = view.entity(id)?;
    let attribute = |name: &str| state.attributes.get(name);
    if Component::of_entity(id) == Some(Component::Climate) {
        let value = attribute("current_temperature")?;
        return Some((value.to_string(), "°C".to_owned()));
    }
    crate::text::number(&state.state)?;
    let unit = attribute("unit_of_measurement")
        .and_then(Value::as_str)
        .unwrap_or("°C");
    Some((state.state.clone(), unit.to_owned()))
}
