//! What the built-in responder understands, and what it says to it, in English and French.
//!
//! Pure: the same message and the same [`Facts`] give the same reply on every node.

pub mod arithmetic;
mod cluster;
pub mod language;
pub mod phrases;
mod time;

use jiff::tz::TimeZone;

use language::{Language, fold, words_only};
use phrases::{FILLERS, Intent, PHRASES};

/// Longest message that is compared with the phrases, in characters: none of them is nearly as long.
const MAX_PHRASE_CHARS: usize = 160;

/// How alike a message and a phrase must be to be taken for the same, from 0 to 1: one slip of the pen in seven letters.
const LIKENESS: f64 = 0.85;

/// How many suggestions stand behind "I did not understand".
const SUGGESTIONS: usize = 3;

/// How much of a message is given back to its author, in characters.
const ECHO_CHARS: usize = 200;

/// What is known when a reply is written.
#[derive(Debug, Clone)]
pub struct Facts {
    /// Wall time, Unix milliseconds.
    pub now_ms: u64,
    /// Whose time of day counts.
    pub time_zone: TimeZone,
    /// The node that writes the reply, which owns the session.
    pub owner: String,
    /// The node through which the message came, where known.
    pub gateway: Option<String>,
    /// The leader, where one is known.
    pub leader: Option<String>,
    /// All nodes, by id.
    pub nodes: Vec<NodeFact>,
    /// What the user said before this message.
    pub said_before: Option<String>,
}

/// A node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodeFact {
    /// Its name.
    pub name: String,
    /// Whether it answers.
    pub up: bool,
}

/// What was made of a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Understanding {
    /// The reply.
    pub text: String,
    /// Whether the reply is right whatever else could answer.
    pub certain: bool,
}

/// Understands `message`.
pub fn understand(message: &str, facts: &Facts) -> Understanding {
    let folded = fold(message);
    let detected = Language::detect(message);
    let language = detected.unwrap_or(Language::English);
    if let Some(text) = arithmetic::answer(&folded, language) {
        return Understanding { text, certain: true };
    }
    let words = words_only(&folded);
    if let Some((language, intent, exact)) = recognise(&words, detected) {
        return Understanding {
            text: say(intent, language, facts),
            certain: exact && intent.is_certain(),
        };
    }
    Understanding {
        text: not_understood(message, &words, language),
        certain: false,
    }
}

/// Says that no language model can be reached, in the language of `message`, before `reply`.
pub fn without_model(message: &str, reply: &str) -> String {
    let note = Language::detect(message).unwrap_or(Language::English).pick(
        "The language model cannot be reached at the moment, so this is what I can say by myself.",
        "Le modèle de langue est injoignable pour le moment ; voici ce que je peux dire seul.",
    );
    format!("{note}\n\n{reply}")
}

/// Said behind a reply that grew too long.
pub fn cut_note(message: &str) -> &'static str {
    Language::detect(message).unwrap_or(Language::English).pick(
        "\n\n[The reply was cut off here: it is too long.]",
        "\n\n[La réponse est coupée ici : elle est trop longue.]",
    )
}

/// The phrase that `words` are, and whether to the letter.
fn recognise(words: &str, detected: Option<Language>) -> Option<(Language, Intent, bool)> {
    if words.is_empty() || words.len() > MAX_PHRASE_CHARS {
        return None;
    }
    let bare = without_fillers(words);
    let all = || {
        PHRASES
            .iter()
            .flat_map(|(l, intent, phrases)| phrases.iter().map(move |phrase| (*l, *intent, *phrase)))
    };
    let same = |(_, _, phrase): &(Language, Intent, &str)| *phrase == words;
    let around = |(_, _, phrase): &(Language, Intent, &str)| {
        is_around(words, phrase) || (!bare.is_empty() && *phrase == bare)
    };
    // A phrase of the detected language goes first: "date" is a word of both.
    let prefer = |found: &(Language, Intent, &str)| detected.is_none_or(|language| language == found.0);
    for exact in [&same as &dyn Fn(&(Language, Intent, &str)) -> bool, &around] {
        if let Some((language, intent, _)) = all()
            .find(|p| exact(p) && prefer(p))
            .or_else(|| all().find(|p| exact(p)))
        {
            return Some((language, intent, true));
        }
    }
    let likeness = |phrase: &str| {
        strsim::normalized_damerau_levenshtein(phrase, words)
            .max(strsim::normalized_damerau_levenshtein(phrase, &bare))
    };
    all()
        .map(|(language, intent, phrase)| (likeness(phrase), language, intent))
        .filter(|(likeness, _, _)| *likeness >= LIKENESS)
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .map(|(_, language, intent)| (language, intent, false))
}

/// Whether `words` are `phrase` with nothing but fillers around it.
fn is_around(words: &str, phrase: &str) -> bool {
    let filler = |rest: &str| {
        rest.split(' ')
            .filter(|word| !word.is_empty())
            .all(|word| FILLERS.contains(&word))
    };
    words.match_indices(phrase).any(|(at, _)| {
        let (before, after) = (&words[..at], &words[at + phrase.len()..]);
        (before.is_empty() || before.ends_with(' '))
            && (after.is_empty() || after.starts_with(' '))
            && filler(before)
            && filler(after)
    })
}

fn without_fillers(words: &str) -> String {
    let mut kept: Vec<&str> = words.split(' ').collect();
    let is_filler = |word: Option<&&str>| word.is_some_and(|word| FILLERS.contains(word));
    while is_filler(kept.last()) {
        kept.pop();
    }
    let begin = kept
        .iter()
        .position(|word| !FILLERS.contains(word))
        .unwrap_or(kept.len());
    kept[begin..].join(" ")
}

fn say(intent: Intent, language: Language, facts: &Facts) -> String {
    match intent {
        Intent::WhichNode => cluster::which_node(language, facts),
        Intent::Leader => cluster::leader(language, facts),
        Intent::HowMany => cluster::how_many(language, facts),
        Intent::Cluster => cluster::overview(language, facts),
        Intent::Time => time::time(language, facts),
        Intent::Date => time::date(language, facts),
        Intent::Weekday => time::weekday(language, facts),
        Intent::Help => help(language),
        Intent::Greeting => language
            .pick("Hello! Ask me something, or say \"help\".", "Bonjour ! Posez-moi une question, ou dites « aide ».")
            .to_owned(),
        Intent::Thanks => language.pick("You are welcome.", "Avec plaisir.").to_owned(),
        Intent::Goodbye => language.pick("Goodbye!", "Au revoir !").to_owned(),
        Intent::WhoAreYou => language
            .pick(
                "I am Jarvis, the assistant of this home. I live on several machines at once, so that one of them may fail.",
                "Je suis Jarvis, l'assistant de cette maison. Je vis sur plusieurs machines à la fois, pour que l'une d'elles puisse tomber en panne.",
            )
            .to_owned(),
        Intent::HowAreYou => cluster::overview(language, facts),
        Intent::Repeat => repeat(language, facts),
    }
}

fn repeat(language: Language, facts: &Facts) -> String {
    match &facts.said_before {
        Some(before) => {
            let before = shortened(before);
            language.pick(
                format!("You said: \"{before}\""),
                format!("Vous avez dit : « {before} »"),
            )
        }
        None => language
            .pick(
                "You have not said anything before this.",
                "Vous n'avez encore rien dit avant cela.",
            )
            .to_owned(),
    }
}

fn help(language: Language) -> String {
    let examples = phrases::examples(language)
        .iter()
        .map(|example| format!("- {example}"))
        .collect::<Vec<_>>()
        .join("\n");
    let lead = language.pick(
        "I can tell you about this cluster, the time and the date, and I can calculate. For example:",
        "Je peux vous parler de ce cluster, de l'heure et de la date, et je sais calculer. Par exemple :",
    );
    format!("{lead}\n{examples}")
}

fn not_understood(message: &str, words: &str, language: Language) -> String {
    let echo = shortened(message.trim());
    let suggestions: Vec<String> = suggest(words, language)
        .into_iter()
        .map(|phrase| language.pick(format!("\"{phrase}\""), format!("« {phrase} »")))
        .collect();
    let suggestions = suggestions.join(", ");
    language.pick(
        format!("You said: \"{echo}\". I did not understand that. Try {suggestions}."),
        format!("Vous avez dit : « {echo} ». Je n'ai pas compris. Essayez {suggestions}."),
    )
}

/// The examples closest to what was said.
fn suggest(words: &str, language: Language) -> Vec<&'static str> {
    let short: String = words.chars().take(MAX_PHRASE_CHARS).collect();
    let mut ranked: Vec<(f64, &'static str)> = phrases::examples(language)
        .iter()
        .map(|example| {
            (
                strsim::jaro_winkler(&words_only(&fold(example)), &short),
                *example,
            )
        })
        .collect();
    // The sort is stable, so that equal ones keep the order of the list.
    ranked.sort_by(|a, b| b.0.total_cmp(&a.0));
    ranked
        .into_iter()
        .take(SUGGESTIONS)
        .map(|(_, example)| example)
        .collect()
}

fn shortened(text: &str) -> String {
    let mut out: String = text.chars().take(ECHO_CHARS).collect();
    if text.chars().nth(ECHO_CHARS).is_some() {
        out.push('…');
    }
    out
}

#[cfg(test)]
mod fuzz;
#[cfg(test)]
mod tests;
