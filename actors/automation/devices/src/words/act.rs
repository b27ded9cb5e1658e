//! Something is to be done.

use serde_json::{Map, Value, json};

use super::lexicon::COLOURS;
use super::names::{Meant, NAMED, find, is_guarded};
use super::number::number;
use super::{Command, Language, Understood};
use crate::component::Component;
use crate::entity::Entity;
use crate::registry::View;
use crate::service::{Target, services};
use crate::text::short;

/// What is to be done.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Action {
    On,
    Off,
    Toggle,
    Open,
    Close,
    Stop,
    Lock,
    Unlock,
    Press,
    Brighter,
    Darker,
    Degrees(f64),
    Percent(f64),
    Colour(&'static str),
}

/// How an order begins, and what it is. The longest that fits counts.
const BEGINNINGS: &[(&str, Action)] = &[
    ("turn on", Action::On),
    ("switch on", Action::On),
    ("put on", Action::On),
    ("start", Action::On),
    ("enable", Action::On),
    ("allume", Action::On),
    ("allumer", Action::On),
    ("allumez", Action::On),
    ("active", Action::On),
    ("activer", Action::On),
    ("activez", Action::On),
    ("activate", Action::On),
    ("demarre", Action::On),
    ("lance", Action::On),
    ("turn off", Action::Off),
    ("switch off", Action::Off),
    ("shut off", Action::Off),
    ("disable", Action::Off),
    ("eteins", Action::Off),
    ("eteint", Action::Off),
    ("eteindre", Action::Off),
    ("eteignez", Action::Off),
    ("coupe", Action::Off),
    ("coupez", Action::Off),
    ("desactive", Action::Off),
    ("desactivez", Action::Off),
    ("toggle", Action::Toggle),
    ("open", Action::Open),
    ("raise", Action::Open),
    ("ouvre", Action::Open),
    ("ouvrir", Action::Open),
    ("ouvrez", Action::Open),
    ("leve", Action::Open),
    ("remonte", Action::Open),
    ("monte", Action::Open),
    ("close", Action::Close),
    ("shut", Action::Close),
    ("lower", Action::Close),
    ("ferme", Action::Close),
    ("fermer", Action::Close),
    ("fermez", Action::Close),
    ("baisse", Action::Close),
    ("descends", Action::Close),
    ("stop", Action::Stop),
    ("arrete", Action::Stop),
    ("arretez", Action::Stop),
    ("stoppe", Action::Stop),
    ("lock", Action::Lock),
    ("verrouille", Action::Lock),
    ("verrouillez", Action::Lock),
    ("unlock", Action::Unlock),
    ("deverrouille", Action::Unlock),
    ("deverrouillez", Action::Unlock),
    ("press", Action::Press),
    ("appuie sur", Action::Press),
    ("appuyez sur", Action::Press),
    ("run", Action::On),
    ("dim", Action::Darker),
    ("tamise", Action::Darker),
    ("brighten", Action::Brighter),
];

/// How an order begins that says at its end what is to be.
const SETTING: &[&str] = &[
    "set", "put", "turn", "make", "change", "dim", "brighten", "mets", "met", "mettre", "mettez", "regle",
    "regler", "reglez", "passe", "baisse", "monte", "ouvre", "ferme", "open", "close", "tamise", "augmente",
];

/// Percent of brightness that "brighter" and "darker" are.
const STEP_PERCENT: i64 = 25;

pub(super) fn understand(said: &[&str], folded: &str, language: Language, view: &View) -> Option<Understood> {
    if let Some((action, rest)) = setting(said, folded)
        && let Some(done) = act(action, &rest, language, view)
    {
        return Some(done);
    }
    let (action, rest) = beginning(said)?;
    act(action, &rest, language, view)
}

/// "Turn off X", "turn X off".
fn beginning<'w>(said: &[&'w str]) -> Option<(Action, Vec<&'w str>)> {
    let longest = BEGINNINGS
        .iter()
        .filter(|(begin, _)| {
            let begin: Vec<&str> = begin.split(' ').collect();
            said.len() > begin.len() && said.starts_with(&begin)
        })
        .max_by_key(|(begin, _)| begin.len());
    if let Some((begin, action)) = longest {
        return Some((*action, said[begin.split(' ').count()..].to_vec()));
    }
    let (first, last) = (said.first()?, said.last()?);
    let action = match (*first, *last) {
        ("turn" | "switch" | "put", "on") => Action::On,
        ("turn" | "switch" | "shut", "off") => Action::Off,
        _ => return None,
    };
    (said.len() > 2).then(|| (action, said[1..said.len() - 1].to_vec()))
}

/// "Set X to 21 degrees", « mets X à 50 % », "make X red".
fn setting<'w>(said: &[&'w str], folded: &str) -> Option<(Action, Vec<&'w str>)> {
    let first = said.first()?;
    if !SETTING.contains(first) {
        return None;
    }
    let mut rest = &said[1..];
    if matches!(
        (*first, rest.first()),
        ("turn", Some(&"on" | &"off" | &"up" | &"down"))
    ) {
        rest = &rest[1..];
    }
    if let Some((colour, before)) = rest.split_last()
        && let Some((_, name)) = COLOURS.iter().find(|(word, _)| word == colour)
    {
        return Some((Action::Colour(name), before.to_vec()));
    }
    let is_degrees = |word: &str| matches!(word, "degree" | "degrees" | "degre" | "degres" | "c" | "celsius");
    let is_percent = |word: &str| matches!(word, "percent" | "pourcent" | "pourcents" | "cent");
    let signed_percent = folded.contains('%');
    let signed_degrees = folded.contains('°');
    let (mut found, mut at) = (None, 0);
    while at < rest.len() {
        let percent = rest[at] == "cent" && at > 0 && rest[at - 1] == "pour";
        match number(&rest[at..]).filter(|_| !percent) {
            Some((value, used)) => {
                found = Some((value, at, used));
                at += used;
            }
            None => at += 1,
        }
    }
    let (mut value, mut from, mut used) = found?;
    // What stands behind the point was cut off as a word of its own.
    if from > 0 && used == 1 {
        let joined = format!("{}.{}", rest[from - 1], rest[from]);
        let said_so = folded.contains(&joined) || folded.contains(&joined.replace('.', ","));
        if let (true, Ok(whole)) = (said_so, joined.parse::<f64>()) {
            (value, from, used) = (whole, from - 1, 2);
        }
    }
    let after = &rest[from + used..];
    let (unit, taken) = match after {
        [word, ..] if is_degrees(word) => (Some(true), 1),
        ["pour", "cent", ..] => (Some(false), 2),
        [word, ..] if is_percent(word) => (Some(false), 1),
        _ if signed_percent => (Some(false), 0),
        _ if signed_degrees => (Some(true), 0),
        _ => (None, 0),
    };
    let mut before: Vec<&str> = rest[..from].to_vec();
    while before
        .last()
        .is_some_and(|word| matches!(*word, "to" | "at" | "a" | "sur" | "by" | "de"))
    {
        before.pop();
    }
    before.extend(&after[taken..]);
    let action = match unit {
        Some(true) => Action::Degrees(value),
        Some(false) => Action::Percent(value),
        // "Set the living room to 21".
        None if (5.0..=35.0).contains(&value) => Action::Degrees(value),
        None => return None,
    };
    Some((action, before))
}

/// Which kinds an action is for, those that a room stands for first.
fn kinds(action: Action) -> &'static [Component] {
    match action {
        Action::On | Action::Off | Action::Toggle => &[
            Component::Light,
            Component::Switch,
            Component::Fan,
            Component::Climate,
            Component::Humidifier,
            Component::Vacuum,
            Component::Scene,
            Component::Siren,
        ],
        Action::Open | Action::Close | Action::Stop => &[
            Component::Cover,
            Component::Valve,
            Component::Fan,
            Component::Switch,
            Component::Vacuum,
            Component::Siren,
        ],
        Action::Lock | Action::Unlock => &[Component::Lock],
        Action::Press => &[Component::Button, Component::Scene],
        Action::Brighter | Action::Darker | Action::Colour(_) => &[Component::Light],
        Action::Degrees(_) => &[Component::Climate],
        Action::Percent(_) => &[
            Component::Light,
            Component::Cover,
            Component::Fan,
            Component::Humidifier,
        ],
    }
}

/// The service that does it, and its data; none: the kind cannot.
fn service(action: Action, component: Component) -> Option<(&'static str, Map<String, Value>)> {
    let (name, data) = match (action, component) {
        (Action::On, Component::Vacuum) => ("start", Value::Null),
        (Action::Off | Action::Stop, Component::Vacuum) => ("return_to_base", Value::Null),
        (Action::On, _) => ("turn_on", Value::Null),
        (Action::Off, _) => ("turn_off", Value::Null),
        (Action::Toggle, _) => ("toggle", Value::Null),
        (Action::Open, Component::Cover) => ("open_cover", Value::Null),
        (Action::Close, Component::Cover) => ("close_cover", Value::Null),
        (Action::Stop, Component::Cover) => ("stop_cover", Value::Null),
        (Action::Open, Component::Valve) => ("open_valve", Value::Null),
        (Action::Close, Component::Valve) => ("close_valve", Value::Null),
        (Action::Stop, Component::Valve) => ("stop_valve", Value::Null),
        (Action::Stop, Component::Fan | Component::Switch | Component::Siren) => ("turn_off", Value::Null),
        (Action::Lock, _) => ("lock", Value::Null),
        (Action::Unlock, _) => ("unlock", Value::Null),
        (Action::Press, Component::Scene) => ("turn_on", Value::Null),
        (Action::Press, _) => ("press", Value::Null),
        (Action::Brighter, _) => ("turn_on", json!({ "brightness_step_pct": STEP_PERCENT })),
        (Action::Darker, _) => ("turn_on", json!({ "brightness_step_pct": -STEP_PERCENT })),
        (Action::Degrees(value), _) => ("set_temperature", json!({ "temperature": value })),
        (Action::Colour(name), _) => ("turn_on", json!({ "color_name": name })),
        (Action::Percent(value), Component::Light) => ("turn_on", json!({ "brightness_pct": value })),
        (Action::Percent(value), Component::Cover) => ("set_cover_position", json!({ "position": value })),
        (Action::Percent(value), Component::Fan) => ("set_percentage", json!({ "percentage": value })),
        (Action::Percent(value), _) => ("set_humidity", json!({ "humidity": value })),
        _ => return None,
    };
    let known = services(component).iter().any(|(known, _)| *known == name);
    let data = data.as_object().cloned().unwrap_or_default();
    known.then_some((name, data))
}

fn act(action: Action, said: &[&str], language: Language, view: &View) -> Option<Understood> {
    let wanted = kinds(action);
    let fits =
        |entity: &Entity| wanted.contains(&entity.component) && service(action, entity.component).is_some();
    // A room alone means its lamps where it is switched, its shutters where it is opened.
    let rooms = if wanted.len() > 5 {
        &wanted[..3]
    } else {
        &wanted[..1]
    };
    let found = find(said, view, &fits, rooms, false)?;
    let (ids, area) = match found {
        Meant::Entities(ids) => (ids, None),
        Meant::All { ids, area } => (ids, Some(area)),
        Meant::Several(ids) => return Some(Understood::Ask(which(&ids, language, view))),
        Meant::Nothing(area) => return Some(Understood::Tell(nothing(action, &area, language))),
    };
    if let Action::Percent(value) = action
        && !(0.0..=100.0).contains(&value)
    {
        return Some(Understood::Tell(language.pick(
            format!("{} is not between 0 and 100 percent.", short(value)),
            format!("{} n'est pas entre 0 et 100 pour cent.", short(value)),
        )));
    }
    let unreachable: Vec<&String> = ids.iter().filter(|id| !view.is_reachable(id)).collect();
    if unreachable.len() == ids.len() {
        return Some(Understood::Tell(gone(&ids, language, view)));
    }
    let mut commands: Vec<Command> = Vec::new();
    for component in wanted {
        let of: Vec<String> = ids
            .iter()
            .filter(|id| Component::of_entity(id) == Some(*component))
            .cloned()
            .collect();
        let Some((name, data)) = service(action, *component).filter(|_| !of.is_empty()) else {
            continue;
        };
        let confirmation = confirm(action, &of, area.as_ref(), language, view);
        commands.push(Command {
            service: format!("{}.{name}", component.name()),
            target: Target::entities(of),
            data,
            confirmation,
        });
    }
    (!commands.is_empty()).then_some(Understood::Do(commands))
}

fn name<'v>(id: &'v str, view: &'v View) -> &'v str {
    view.name(id).unwrap_or(id)
}

/// Names, a few of them.
pub(super) fn listed(ids: &[String], language: Language, view: &View) -> String {
    let names: Vec<&str> = ids.iter().take(NAMED).map(|id| name(id, view)).collect();
    let rest = ids.len().saturating_sub(NAMED);
    let mut out = names.join(", ");
    if rest > 0 {
        out.push_str(&language.pick(format!(" and {rest} more"), format!(" et {rest} autres")));
    }
    out
}

/// Asks which of several is meant.
pub(super) fn which(ids: &[String], language: Language, view: &View) -> String {
    let guarded = ids
        .iter()
        .any(|id| view.described(id).is_some_and(|entity| is_guarded(entity)));
    let names = listed(ids, language, view);
    if guarded {
        return language.pick(
            format!("For this I need the exact name: {names}?"),
            format!("Pour cela, il me faut le nom exact : {names} ?"),
        );
    }
    language.pick(
        format!("Which one do you mean: {names}?"),
        format!("Lequel voulez-vous dire : {names} ?"),
    )
}

fn gone(ids: &[String], language: Language, view: &View) -> String {
    let names = listed(ids, language, view);
    language.pick(
        format!("I cannot reach {names} at the moment."),
        format!("Je n'arrive pas à joindre {names} pour le moment."),
    )
}

fn nothing(action: Action, area: &str, language: Language) -> String {
    let what = match action {
        Action::Open | Action::Close | Action::Stop => {
            language.pick("opens and closes", "s'ouvre ou se ferme")
        }
        Action::Degrees(_) => language.pick("heats", "chauffe"),
        Action::Lock | Action::Unlock => language.pick("has a lock", "se verrouille"),
        _ => language.pick("can be switched like this", "se commande ainsi"),
    };
    language.pick(
        format!("{area}: I know of nothing there that {what}."),
        format!("{area} : je n'y connais rien qui {what}."),
    )
}

/// What is said once it is done. Names stand as people wrote them, so that no article has to fit them.
fn confirm(
    action: Action,
    ids: &[String],
    area: Option<&Option<String>>,
    language: Language,
    view: &View,
) -> String {
    let (english, french) = match action {
        Action::On => ("Turning on".to_owned(), "J'allume".to_owned()),
        Action::Off => ("Turning off".to_owned(), "J'éteins".to_owned()),
        Action::Toggle => ("Switching".to_owned(), "Je bascule".to_owned()),
        Action::Open => ("Opening".to_owned(), "J'ouvre".to_owned()),
        Action::Close => ("Closing".to_owned(), "Je ferme".to_owned()),
        Action::Stop => ("Stopping".to_owned(), "J'arrête".to_owned()),
        Action::Lock => ("Locking".to_owned(), "Je verrouille".to_owned()),
        Action::Unlock => ("Unlocking".to_owned(), "Je déverrouille".to_owned()),
        Action::Press => ("Pressing".to_owned(), "J'actionne".to_owned()),
        Action::Brighter => ("Brightening".to_owned(), "J'éclaircis".to_owned()),
        Action::Darker => ("Dimming".to_owned(), "Je tamise".to_owned()),
        Action::Degrees(_) | Action::Percent(_) | Action::Colour(_) => {
            ("Setting".to_owned(), "Je règle".to_owned())
        }
    };
    let value = match action {
        Action::Degrees(value) => language.pick(
            format!(" to {} °C", short(value)),
            format!(" à {} °C", short(value).replace('.', ",")),
        ),
        Action::Percent(value) => {
            language.pick(format!(" to {}%", short(value)), format!(" à {} %", short(value)))
        }
        Action::Colour(colour) => {
            let french = COLOURS
                .iter()
                .rev()
                .find(|(word, name)| *name == colour && *word != colour);
            language.pick(
                format!(" to {colour}"),
                format!(" en {}", french.map_or(colour, |(word, _)| word)),
            )
        }
        _ => String::new(),
    };
    let what = listed(ids, language, view);
    let lead = area
        .and_then(Option::as_ref)
        .map(|area| language.pick(format!("{area}: "), format!("{area} : ")));
    let verb = language.pick(english, french);
    match lead {
        Some(lead) => {
            let mut begin = verb;
            if let Some(first) = begin.get_mut(..1) {
                first.make_ascii_lowercase();
            }
            format!("{lead}{begin} {what}{value}.")
        }
        None => format!("{verb} {what}{value}."),
    }
}
