//! Words and what they stand for.

use crate::component::Component;

/// Said out of politeness, at either end.
const FILLERS: &[&str] = &[
    "please",
    "jarvis",
    "hey",
    "ok",
    "okay",
    "now",
    "can",
    "could",
    "would",
    "you",
    "s",
    "il",
    "te",
    "vous",
    "plait",
    "svp",
    "stp",
    "maintenant",
    "peux",
    "tu",
    "pourrais",
    "pourriez",
    "pouvez",
    "dis",
    "just",
    "donc",
    "alors",
    "merci",
    "thanks",
    "thank",
    "veuillez",
    "suite",
    "de",
    "moi",
    "nous",
    "for",
    "me",
];

/// Said before a thing without telling which.
pub(super) const SMALL: &[&str] = &[
    "the", "a", "an", "my", "our", "of", "in", "at", "on", "to", "le", "la", "les", "l", "un", "une", "du",
    "de", "des", "d", "dans", "au", "aux", "a", "mon", "ma", "mes", "notre", "nos", "en", "sur", "ce",
    "cette", "this", "that", "from", "for", "is", "are", "room",
];

/// All of a kind.
const ALL: &[&str] = &[
    "all",
    "every",
    "everything",
    "tout",
    "tous",
    "toute",
    "toutes",
    "everywhere",
    "partout",
];

/// Words of one meaning, in both languages; the first stands for all of them. Longer ones first where one begins another.
const SAME: &[&[&str]] = &[
    &[
        "livingroom",
        "living room",
        "sitting room",
        "lounge",
        "salon",
        "sejour",
        "piece a vivre",
    ],
    &["kitchen", "cuisine"],
    &[
        "bathroom",
        "bath room",
        "salle de bains",
        "salle de bain",
        "salle d eau",
    ],
    &["bedroom", "bed room", "chambre a coucher", "chambre"],
    &["diningroom", "dining room", "salle a manger"],
    &["hallway", "hall", "corridor", "couloir", "entrance", "entree"],
    &["office", "study", "bureau"],
    &["garden", "jardin"],
    &["terrace", "terrasse", "patio"],
    &["basement", "cellar", "sous sol", "cave"],
    &["attic", "loft", "grenier"],
    &["laundry", "laundry room", "buanderie"],
    &["toilet", "toilettes", "toilette", "wc"],
    &["upstairs", "a l etage", "etage"],
    &["downstairs", "rez de chaussee"],
    &["outside", "outdoors", "dehors", "exterieur"],
    &[
        "light",
        "lamp",
        "lumiere",
        "lampe",
        "eclairage",
        "bulb",
        "ampoule",
    ],
    &["ceiling", "plafond", "plafonnier"],
    &["bedside", "chevet"],
    &["desk", "bureau de travail"],
    &["shutter", "blind", "curtain", "shade", "volet", "store", "rideau"],
    &["door", "porte"],
    &["gate", "portail"],
    &["window", "fenetre"],
    &["front", "devant"],
    &["back", "arriere"],
    &["left", "gauche"],
    &["right", "droite"],
    &[
        "heating",
        "heater",
        "thermostat",
        "radiator",
        "chauffage",
        "radiateur",
        "climatisation",
        "clim",
        "air conditioning",
    ],
    &["fan", "ventilateur"],
    &["socket", "plug", "outlet", "switch", "prise", "interrupteur"],
    &["vacuum", "hoover", "vacuum cleaner", "aspirateur", "robot"],
    &["lock", "serrure", "verrou"],
    &["alarm", "alarme"],
    &["siren", "sirene"],
    &["valve", "vanne"],
    &["humidifier", "humidificateur"],
    &["scene", "ambiance"],
    &["button", "bouton"],
    &["washing machine", "machine a laver", "lave linge"],
    &["dishwasher", "lave vaisselle"],
    &["coffee machine", "coffee maker", "machine a cafe", "cafetiere"],
    &["television", "tv", "tele", "televiseur"],
];

/// Words without what is said around them.
pub(super) fn without_fillers<'w, 's>(all: &'s [&'w str]) -> &'s [&'w str] {
    let is_filler = |word: &&str| FILLERS.contains(word);
    // At once, not all.
    let all = all.strip_suffix(&["tout", "de", "suite"]).unwrap_or(all);
    let from = all.iter().position(|word| !is_filler(word)).unwrap_or(all.len());
    let rest = &all[from..];
    let to = rest
        .iter()
        .rposition(|word| !is_filler(word))
        .map_or(0, |at| at + 1);
    &rest[..to]
}

/// A phrase in a form in which ways to say the same compare: small words away, words in the singular, one word for all of a
/// meaning.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Phrase {
    /// As it was said, but small words and endings.
    pub plain: Vec<String>,
    /// With one word for each meaning.
    pub meant: Vec<String>,
    /// Whether all of a kind were said.
    pub all: bool,
    /// Whether something was said in the plural.
    pub plural: bool,
}

impl Phrase {
    /// Of words.
    pub(super) fn of(said: &[&str]) -> Self {
        let mut out = Self::default();
        let kept: Vec<&str> = said
            .iter()
            .copied()
            .filter(|word| {
                let all = ALL.contains(word);
                out.all |= all;
                !all
            })
            .collect();
        let plain = |word: &&&str| !SMALL.contains(*word);
        out.plain = kept.iter().filter(plain).map(|word| singular(word)).collect();
        out.plural = kept.iter().any(|word| is_plural(word));
        out.meant = meanings(&kept);
        out.plain.sort_unstable();
        out.meant.sort_unstable();
        out.plain.dedup();
        out.meant.dedup();
        out
    }

    /// Whether it says nothing.
    pub(super) fn is_empty(&self) -> bool {
        self.plain.is_empty()
    }
}

/// One word for each meaning.
fn meanings(said: &[&str]) -> Vec<String> {
    let words: Vec<String> = said.iter().map(|word| singular(word)).collect();
    let mut out = Vec::new();
    let mut at = 0;
    while at < words.len() {
        let longest = SAME
            .iter()
            .flat_map(|same| same.iter().map(move |phrase| (same[0], *phrase)))
            .filter_map(|(stands, phrase)| {
                let length = begins(&words[at..], phrase)?;
                Some((length, stands))
            })
            .max_by_key(|(length, _)| *length);
        match longest {
            Some((length, stands)) => {
                out.push(stands.to_owned());
                at += length;
            }
            None => {
                if !SMALL.contains(&said[at]) {
                    out.push(words[at].clone());
                }
                at += 1;
            }
        }
    }
    out
}

/// How many words a phrase takes up at the beginning of these; none: they begin otherwise.
fn begins(words: &[String], phrase: &str) -> Option<usize> {
    let mut length = 0;
    for part in phrase.split(' ') {
        if words.get(length).is_none_or(|word| *word != singular(part)) {
            return None;
        }
        length += 1;
    }
    Some(length)
}

fn is_plural(word: &str) -> bool {
    word.len() > 3
        && (word.ends_with('s') || word.ends_with("aux") || word.ends_with("eaux"))
        && !word.ends_with("ss")
}

/// A word without the ending of the plural. It need not be a word, only the same for both.
pub(super) fn singular(word: &str) -> String {
    if word.len() > 4 && word.ends_with("eaux") {
        return word[..word.len() - 1].to_owned();
    }
    let cut = word.len() > 3 && word.ends_with('s') && !word.ends_with("ss");
    if cut {
        word[..word.len() - 1].to_owned()
    } else {
        word.to_owned()
    }
}

/// What a word of kind stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Kind {
    /// The one word.
    pub word: &'static str,
    /// Which entities.
    pub components: &'static [Component],
    /// Of which class; empty: of any.
    pub classes: &'static [&'static str],
}

/// Classes of covers that let people in.
pub(super) const DOORS: &[&str] = &["door", "garage", "gate"];

/// The kinds that have a word.
pub(super) const KINDS: &[Kind] = &[
    Kind {
        word: "light",
        components: &[Component::Light],
        classes: &[],
    },
    Kind {
        word: "shutter",
        components: &[Component::Cover],
        classes: &["", "shutter", "blind", "curtain", "shade", "awning", "damper"],
    },
    Kind {
        word: "door",
        components: &[Component::Cover, Component::BinarySensor, Component::Lock],
        classes: &["", "door", "garage", "gate", "garage_door"],
    },
    Kind {
        word: "gate",
        components: &[Component::Cover],
        classes: &["gate"],
    },
    Kind {
        word: "window",
        components: &[Component::Cover, Component::BinarySensor],
        classes: &["window"],
    },
    Kind {
        word: "heating",
        components: &[Component::Climate],
        classes: &[],
    },
    Kind {
        word: "fan",
        components: &[Component::Fan],
        classes: &[],
    },
    Kind {
        word: "socket",
        components: &[Component::Switch],
        classes: &[],
    },
    Kind {
        word: "vacuum",
        components: &[Component::Vacuum],
        classes: &[],
    },
    Kind {
        word: "lock",
        components: &[Component::Lock],
        classes: &[],
    },
    Kind {
        word: "alarm",
        components: &[Component::AlarmControlPanel],
        classes: &[],
    },
    Kind {
        word: "siren",
        components: &[Component::Siren],
        classes: &[],
    },
    Kind {
        word: "valve",
        components: &[Component::Valve],
        classes: &[],
    },
    Kind {
        word: "humidifier",
        components: &[Component::Humidifier],
        classes: &[],
    },
    Kind {
        word: "scene",
        components: &[Component::Scene],
        classes: &[],
    },
    Kind {
        word: "button",
        components: &[Component::Button],
        classes: &[],
    },
];

/// The kind of a word.
pub(super) fn kind(word: &str) -> Option<&'static Kind> {
    KINDS.iter().find(|kind| kind.word == word)
}

/// Colours by their names in either language, and the name that services take.
pub(super) const COLOURS: &[(&str, &str)] = &[
    ("red", "red"),
    ("rouge", "red"),
    ("green", "green"),
    ("vert", "green"),
    ("verte", "green"),
    ("blue", "blue"),
    ("bleu", "blue"),
    ("bleue", "blue"),
    ("yellow", "yellow"),
    ("jaune", "yellow"),
    ("orange", "orange"),
    ("pink", "pink"),
    ("rose", "pink"),
    ("purple", "purple"),
    ("violet", "purple"),
    ("violette", "purple"),
    ("cyan", "cyan"),
    ("turquoise", "turquoise"),
    ("white", "white"),
    ("blanc", "white"),
    ("blanche", "white"),
    ("magenta", "magenta"),
    ("gold", "gold"),
    ("dore", "gold"),
];
