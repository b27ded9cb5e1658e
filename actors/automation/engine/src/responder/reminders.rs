//! What people ask of the reminders that they set, and what they are told of them. Pure.

use std::collections::BTreeSet;

use jarvis_session::logic::intents::language::{Language, fold, words_only};
use jiff::tz::TimeZone;
use jiff::{Timestamp, Zoned};

use crate::wire::Reminder;

/// Longest message that is looked at, in words.
const MOST_WORDS: usize = 24;
/// Most words of what a reminder is about that stand before "reminder" itself.
const MOST_WORDS_BEFORE: usize = 4;
/// Most reminders that are named in a question back.
const NAMED: usize = 5;

/// What stands before the words of a reminder when it is said.
const LEADS: [&str; 2] = ["Reminder: ", "Rappel : "];

const NOUNS: &[&str] = &[
    "reminder",
    "reminders",
    "timer",
    "timers",
    "rappel",
    "rappels",
    "minuteur",
    "minuteurs",
];
const PLURALS: &[&str] = &["reminders", "timers", "rappels", "minuteurs"];
const CANCEL: &[&str] = &[
    "cancel",
    "delete",
    "remove",
    "forget",
    "clear",
    "drop",
    "stop",
    "annule",
    "annuler",
    "annulez",
    "supprime",
    "supprimer",
    "supprimez",
    "efface",
    "effacer",
    "oublie",
    "enleve",
    "arrete",
];
const ALL: &[&str] = &["all", "every", "tous", "tout", "toutes"];
/// Words that name nothing.
const SMALL: &[&str] = &[
    "the",
    "my",
    "a",
    "an",
    "of",
    "that",
    "this",
    "about",
    "to",
    "for",
    "at",
    "on",
    "called",
    "named",
    "le",
    "la",
    "les",
    "l",
    "mon",
    "ma",
    "mes",
    "ce",
    "cet",
    "cette",
    "un",
    "une",
    "de",
    "du",
    "des",
    "d",
    "pour",
    "sur",
    "que",
    "qu",
    "qui",
    "concernant",
    "me",
];
/// Said out of politeness.
const FILLERS: &[&str] = &[
    "please", "jarvis", "hey", "ok", "stp", "svp", "can", "could", "you", "peux", "tu", "pouvez", "vous",
    "s", "il", "te", "plait", "merci", "thanks",
];
/// Words of which a question for the reminders is made, beside them.
const ASKING: &[&str] = &[
    "what",
    "which",
    "are",
    "is",
    "my",
    "list",
    "show",
    "me",
    "tell",
    "give",
    "all",
    "the",
    "do",
    "i",
    "have",
    "any",
    "of",
    "how",
    "many",
    "open",
    "pending",
    "there",
    "set",
    "left",
    "did",
    "quels",
    "quelles",
    "quel",
    "sont",
    "mes",
    "les",
    "liste",
    "lister",
    "montre",
    "montrer",
    "affiche",
    "afficher",
    "donne",
    "dis",
    "moi",
    "ai",
    "je",
    "j",
    "y",
    "a",
    "t",
    "il",
    "des",
    "un",
    "tous",
    "est",
    "ce",
    "que",
    "qu",
    "combien",
    "de",
    "en",
    "cours",
    "attente",
    "prevus",
    "programmes",
];

/// What is asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Asked {
    /// To be told of them.
    List,
    /// To be rid of some.
    Cancel {
        /// Words of what it is about; none: of anything.
        about: Vec<String>,
        /// All of those.
        all: bool,
    },
}

/// Understands what is asked of the reminders. None: it is about something else.
pub(super) fn asked(text: &str) -> Option<Asked> {
    let plain = words_only(&fold(text));
    let all: Vec<&str> = plain.split(' ').collect();
    if all.len() > MOST_WORDS {
        return None;
    }
    let polite = |word: &&str| FILLERS.contains(word);
    let first = all.iter().position(|word| !polite(word))?;
    let last = all.iter().rposition(|word| !polite(word))?;
    let said = &all[first..=last];
    let noun = said.iter().position(|word| NOUNS.contains(word))?;
    if CANCEL.contains(&said[0]) {
        return cancel(said, noun);
    }
    let rest = said.iter().enumerate().filter(|(at, _)| *at != noun);
    let asks = rest.map(|(_, word)| word).all(|word| ASKING.contains(word));
    // A noun alone is a question where it is of several.
    let several = PLURALS.contains(&said[noun]);
    (asks && (said.len() > 2 || several)).then_some(Asked::List)
}

fn cancel(said: &[&str], noun: usize) -> Option<Asked> {
    let before = &said[1..noun];
    let after = &said[noun + 1..];
    let all = before.iter().any(|word| ALL.contains(word));
    let names = |word: &&&str| !SMALL.contains(*word) && !ALL.contains(*word);
    let mut about: Vec<String> = before
        .iter()
        .filter(names)
        .map(|word| (*word).to_owned())
        .collect();
    if about.len() > MOST_WORDS_BEFORE
        || before
            .iter()
            .any(|word| ["and", "set", "et", "mets"].contains(word))
    {
        return None;
    }
    about.extend(after.iter().filter(names).map(|word| (*word).to_owned()));
    let all = all || (about.is_empty() && PLURALS.contains(&said[noun]));
    Some(Asked::Cancel { about, all })
}

/// What a reminder says when it is due.
pub(super) fn said_then(about: &str, language: Language) -> String {
    let [english, french] = LEADS;
    match about.trim() {
        "" => language
            .pick("Reminder: the time is up.", "Rappel : c'est l'heure.")
            .to_owned(),
        about => format!("{}{about}", language.pick(english, french)),
    }
}

/// What a reminder is about.
fn about(reminder: &Reminder) -> &str {
    let text = &reminder.text;
    LEADS
        .iter()
        .find_map(|lead| text.strip_prefix(lead))
        .unwrap_or(text)
}

/// Those that are about all of these words, the first due first.
pub(super) fn matching<'r>(reminders: &[&'r Reminder], words: &[String]) -> Vec<&'r Reminder> {
    let fits = |reminder: &&&Reminder| {
        let of = words_only(&fold(about(reminder)));
        let of: BTreeSet<&str> = of.split(' ').collect();
        words.iter().all(|word| of.contains(word.as_str()))
    };
    let mut found: Vec<&Reminder> = reminders.iter().filter(fits).copied().collect();
    found.sort_by(|one, other| (one.due_ms, &one.id).cmp(&(other.due_ms, &other.id)));
    found
}

/// Now, by the home's clock.
pub(super) struct Clock<'z> {
    pub(super) now_ms: i64,
    pub(super) zone: &'z TimeZone,
}

impl Clock<'_> {
    fn at(&self, ms: i64) -> Zoned {
        let at = Timestamp::from_millisecond(ms).unwrap_or_default();
        at.to_zoned(self.zone.clone())
    }

    /// "call mum, tomorrow at 08:00".
    fn line(&self, reminder: &Reminder, language: Language) -> String {
        let (now, at) = (self.at(self.now_ms), self.at(reminder.due_ms));
        let days = now.date().until(at.date()).map_or(0, |span| span.get_days());
        let (hour, minute) = (at.hour(), at.minute());
        let (day, time) = language.pick(
            (
                match days {
                    0 => "today".to_owned(),
                    1 => "tomorrow".to_owned(),
                    _ => format!("on {}", at.strftime("%Y-%m-%d")),
                },
                format!("at {hour:02}:{minute:02}"),
            ),
            (
                match days {
                    0 => "aujourd'hui".to_owned(),
                    1 => "demain".to_owned(),
                    _ => format!("le {}", at.strftime("%d/%m/%Y")),
                },
                format!("à {hour:02} h {minute:02}"),
            ),
        );
        format!("{}, {day} {time}", about(reminder).trim_end_matches('.'))
    }
}

/// All of them.
pub(super) fn list(mine: &[&Reminder], clock: &Clock<'_>, language: Language) -> String {
    let lines: Vec<String> = mine
        .iter()
        .map(|one| format!("- {}", clock.line(one, language)))
        .collect();
    let lead = match lines.len() {
        0 => return none(&[], language),
        1 => language.pick(
            "You have one reminder:".to_owned(),
            "Vous avez un rappel :".to_owned(),
        ),
        many => language.pick(
            format!("You have {many} reminders:"),
            format!("Vous avez {many} rappels :"),
        ),
    };
    format!("{lead}\n{}", lines.join("\n"))
}

/// There is none about this.
pub(super) fn none(words: &[String], language: Language) -> String {
    if words.is_empty() {
        return language
            .pick("You have no reminders.", "Vous n'avez aucun rappel.")
            .to_owned();
    }
    let words = words.join(" ");
    language.pick(
        format!("You have no reminder about \"{words}\"."),
        format!("Vous n'avez aucun rappel sur « {words} »."),
    )
}

/// Asks which of several is meant.
pub(super) fn which(found: &[&Reminder], clock: &Clock<'_>, language: Language) -> String {
    let lines: Vec<String> = found
        .iter()
        .take(NAMED)
        .map(|one| clock.line(one, language))
        .collect();
    let more = if found.len() > NAMED { " …" } else { "" };
    let lines = lines.join("; ");
    language.pick(
        format!("Which one do you mean: {lines}{more}?"),
        format!("Lequel voulez-vous dire : {lines}{more} ?"),
    )
}

/// These are no more.
pub(super) fn cancelled(gone: &[&Reminder], clock: &Clock<'_>, language: Language) -> String {
    match gone {
        [one] => {
            let line = clock.line(one, language);
            language.pick(
                format!("I have cancelled the reminder: {line}."),
                format!("J'ai annulé le rappel : {line}."),
            )
        }
        many => language.pick(
            format!("I have cancelled {} reminders.", many.len()),
            format!("J'ai annulé {} rappels.", many.len()),
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cancel_of(about: &[&str], all: bool) -> Option<Asked> {
        let about = about.iter().map(|word| (*word).to_owned()).collect();
        Some(Asked::Cancel { about, all })
    }

    #[test]
    fn questions_for_reminders() {
        for text in [
            "what reminders do I have?",
            "Which reminders are there",
            "list my reminders",
            "Jarvis, show me all my reminders please",
            "do I have any reminders?",
            "what are my reminders",
            "reminders",
            "my timers",
            "Quels sont mes rappels ?",
            "quels rappels ai-je ?",
            "Est-ce que j'ai des rappels ?",
            "montre-moi mes rappels, s'il te plaît",
            "liste les rappels en cours",
            "mes rappels",
        ] {
            assert_eq!(asked(text), Some(Asked::List), "{text}");
        }
    }

    #[test]
    fn reminders_that_are_to_go() {
        for (text, expected) in [
            ("cancel all reminders", cancel_of(&[], true)),
            ("Please cancel all of my reminders", cancel_of(&[], true)),
            ("cancel my reminders", cancel_of(&[], true)),
            ("cancel the timer", cancel_of(&[], false)),
            ("cancel the reminder about the oven", cancel_of(&["oven"], false)),
            (
                "delete the reminder to call Mum",
                cancel_of(&["call", "mum"], false),
            ),
            ("cancel the oven reminder", cancel_of(&["oven"], false)),
            ("cancel all reminders about mum", cancel_of(&["mum"], true)),
            ("annule tous les rappels", cancel_of(&[], true)),
            ("Annule tous mes rappels, s'il te plaît.", cancel_of(&[], true)),
            ("annule le rappel sur le four", cancel_of(&["four"], false)),
            (
                "supprime le rappel d'appeler Maman",
                cancel_of(&["appeler", "maman"], false),
            ),
            ("annule le minuteur", cancel_of(&[], false)),
        ] {
            assert_eq!(asked(text), expected, "{text}");
        }
    }

    #[test]
    fn what_is_something_else() {
        for text in [
            "",
            "!",
            "what time is it?",
            "timer",
            "my reminder",
            "what is a reminder in French grammar?",
            "tell me about timers",
            "cancel my gym subscription and set a reminder",
            "cancel the trip",
            "turn off the kitchen",
            &"reminders ".repeat(30),
        ] {
            assert_eq!(asked(text), None, "{text}");
        }
    }

    fn reminder(id: &str, text: &str, due_ms: i64) -> Reminder {
        Reminder {
            id: id.to_owned(),
            session: "s".to_owned(),
            text: text.to_owned(),
            due_ms,
            asked_ms: 0,
        }
    }

    #[test]
    fn reminders_are_named_with_their_time() {
        let zone = TimeZone::fixed(jiff::tz::offset(1));
        // 1970-01-01, 01:00.
        let clock = Clock {
            now_ms: 0,
            zone: &zone,
        };
        let hour = 3_600_000;
        let all = [
            reminder("a", &said_then("call mum", Language::English), 24 * hour + 60_000),
            reminder("b", &said_then("sortir le four", Language::French), hour),
            reminder("c", &said_then("", Language::English), 50 * hour),
        ];
        let all: Vec<&Reminder> = all.iter().collect();
        let sorted = matching(&all, &[]);
        assert_eq!(
            list(&sorted, &clock, Language::English),
            "You have 3 reminders:\n- sortir le four, today at 02:00\n- call mum, tomorrow at 01:01\n- the time is up, on \
             1970-01-03 at 03:00"
        );
        let words = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>();
        let found = matching(&all, &words(&["four"]));
        assert_eq!(
            list(&found, &clock, Language::French),
            "Vous avez un rappel :\n- sortir le four, aujourd'hui à 02 h 00"
        );
        assert_eq!(
            cancelled(&found, &clock, Language::French),
            "J'ai annulé le rappel : sortir le four, aujourd'hui à 02 h 00."
        );
        assert_eq!(
            cancelled(&all, &clock, Language::English),
            "I have cancelled 3 reminders."
        );
        assert_eq!(matching(&all, &words(&["mum", "dad"])), Vec::<&Reminder>::new());
        assert_eq!(
            none(&words(&["mum", "dad"]), Language::English),
            "You have no reminder about \"mum dad\"."
        );
        assert_eq!(
            which(&sorted[..2], &clock, Language::English),
            "Which one do you mean: sortir le four, today at 02:00; call mum, tomorrow at 01:01?"
        );
        assert_eq!(list(&[], &clock, Language::French), "Vous n'avez aucun rappel.");
    }

    #[test]
    fn a_reminder_of_nothing_says_that_it_is_time() {
        assert_eq!(said_then(" ", Language::French), "Rappel : c'est l'heure.");
        assert_eq!(said_then("drink", Language::English), "Reminder: drink");
    }
}
