//! Reminders: "remind me in ten minutes to turn the oven off", « rappelle-moi demain à 8 heures d'appeler maman ».

use jiff::civil::{Date, Time, Weekday};
use jiff::tz::TimeZone;
use jiff::{Span, Timestamp, ToSpan, Zoned};

use super::Language;
use super::number::number;
use crate::limits::MAX_SPOKEN_CHARS;
use crate::text::fold;

/// Longest time that a reminder waits, in milliseconds: a year and a day.
const LONGEST_MS: i64 = 366 * 86_400_000;

/// When a day is named and no time of it.
const MORNING: (i8, i8) = (9, 0);

/// When it is due.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Due {
    /// After so many milliseconds.
    After(i64),
    /// At this moment, Unix milliseconds.
    At(i64),
}

/// A reminder that was asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reminder {
    /// When.
    pub due: Due,
    /// Of what; empty: nothing was said.
    pub text: String,
    /// What to say once it is set.
    pub confirmation: String,
}

impl Reminder {
    /// The moment at which it is due, Unix milliseconds.
    pub fn at_ms(&self, now_ms: i64) -> i64 {
        match self.due {
            Due::After(ms) => now_ms.saturating_add(ms),
            Due::At(ms) => ms,
        }
    }
}

/// How a request for a reminder begins or ends.
const REMIND: &[&[&str]] = &[
    &["remind", "me"],
    &["set", "a", "reminder"],
    &["set", "reminder"],
    &["rappelle", "moi"],
    &["rappelez", "moi"],
    &["fais", "moi", "penser"],
    &["mets", "un", "rappel"],
    &["mets", "moi", "un", "rappel"],
];

/// How a request for a timer begins.
const TIMER: &[&[&str]] = &[
    &["set", "a", "timer"],
    &["set", "timer"],
    &["start", "a", "timer"],
    &["timer"],
    &["wake", "me", "up"],
    &["wake", "me"],
    &["mets", "un", "minuteur"],
    &["mets", "une", "minuterie"],
    &["lance", "un", "minuteur"],
    &["minuteur"],
    &["minuterie"],
    &["reveille", "moi"],
    &["reveillez", "moi"],
];

/// Said out of politeness.
const FILLERS: &[&str] = &[
    "please", "jarvis", "hey", "ok", "stp", "svp", "s'il", "te", "vous", "plait", "can", "could", "you",
    "peux", "tu", "merci", "thanks",
];

/// A word as it was said, and in the form that compares.
#[derive(Debug, Clone)]
struct Word<'t> {
    text: &'t str,
    plain: String,
    at: usize,
}

/// Understands a request for a reminder. None: it is about something else, or says no time.
pub fn remind(text: &str, language: Language, now_ms: i64, zone: &TimeZone) -> Option<Reminder> {
    if text.chars().count() > MAX_SPOKEN_CHARS {
        return None;
    }
    let all = split(text);
    let (head, timer) = beginning(&all)?;
    let now = Timestamp::from_millisecond(now_ms).ok()?.to_zoned(zone.clone());
    let rest: Vec<Word<'_>> = all
        .into_iter()
        .enumerate()
        .filter(|(at, _)| !head.contains(at))
        .map(|(_, word)| word)
        .collect();
    let plain: Vec<&str> = rest.iter().map(|word| word.plain.as_str()).collect();
    // The first time that is said counts; what is said behind it may name another.
    let (due, from, to) = (0..plain.len()).find_map(|at| {
        let (due, used) = time(&plain[at..], &now, timer)?;
        Some((due, at, at + used))
    })?;
    let text = subject(text, &rest, from, to);
    let at_ms = match due {
        Due::After(ms) => now_ms.checked_add(ms)?,
        Due::At(ms) => ms,
    };
    if at_ms <= now_ms || at_ms - now_ms > LONGEST_MS {
        return None;
    }
    let confirmation = confirm(due, at_ms, &text, language, &now)?;
    Some(Reminder {
        due,
        text,
        confirmation,
    })
}

/// The words of a text: cut at spaces, apostrophes and hyphens, without the punctuation around them.
fn split(text: &str) -> Vec<Word<'_>> {
    let mut out = Vec::new();
    let mut from = 0;
    let ends = text.char_indices().chain([(text.len(), ' ')]);
    for (at, c) in ends {
        if !(c.is_whitespace() || matches!(c, '\'' | '’' | '-' | '‑' | ',' | ';' | '"' | '«' | '»')) {
            continue;
        }
        let piece = &text[from..at];
        let inner = piece.trim_matches(|c: char| matches!(c, '.' | '!' | '?' | ':' | '(' | ')'));
        if !inner.is_empty() {
            let offset = piece.find(inner).unwrap_or(0);
            out.push(Word {
                text: inner,
                plain: fold(inner),
                at: from + offset,
            });
        }
        from = at + c.len_utf8().min(text.len() - at);
    }
    out
}

/// Where the request itself stands, and whether it is for a timer.
fn beginning(all: &[Word<'_>]) -> Option<(std::ops::Range<usize>, bool)> {
    let plain: Vec<&str> = all.iter().map(|word| word.plain.as_str()).collect();
    let find = |heads: &[&[&str]]| {
        (0..plain.len()).find_map(|at| {
            let longest = heads
                .iter()
                .filter(|head| plain[at..].starts_with(head))
                .map(|head| head.len())
                .max()?;
            Some(at..at + longest)
        })
    };
    if let Some(head) = find(REMIND) {
        return Some((head, false));
    }
    if let Some(head) = find(TIMER) {
        // "Set a ten minute timer" and the like begin otherwise; what stands before must be politeness.
        let polite = plain[..head.start].iter().all(|word| FILLERS.contains(word));
        if polite {
            return Some((head, true));
        }
    }
    // "Set a 5 minute timer".
    let at = plain
        .iter()
        .position(|word| matches!(*word, "timer" | "minuteur"))?;
    matches!(plain.first(), Some(&"set" | &"start" | &"mets")).then_some((at..at + 1, true))
}

/// A time at the beginning of these words, and how many of them it is.
fn time(words: &[&str], now: &Zoned, timer: bool) -> Option<(Due, usize)> {
    match words {
        ["in" | "dans", rest @ ..] => duration(rest).map(|(ms, used)| (Due::After(ms), used + 1)),
        ["for" | "de" | "pour", rest @ ..] if timer => {
            duration(rest).map(|(ms, used)| (Due::After(ms), used + 1))
        }
        _ => {
            if timer {
                // "A 5 minute timer" has an article before the number.
                let article = usize::from(matches!(words.first(), Some(&"a" | &"un")));
                let bare = duration(words).or_else(|| {
                    let (ms, used) = duration(words.get(article..)?)?;
                    Some((ms, used + article))
                });
                if let Some((ms, used)) = bare {
                    return Some((Due::After(ms), used));
                }
            }
            clock(words, now)
        }
    }
}

/// "Ten minutes", "2 hours 30 minutes", « une heure et demie », "half an hour".
fn duration(words: &[&str]) -> Option<(i64, usize)> {
    let fixed: &[(&[&str], i64)] = &[
        (&["half", "an", "hour"], 1_800_000),
        (&["a", "half", "hour"], 1_800_000),
        (&["une", "demi", "heure"], 1_800_000),
        (&["a", "quarter", "of", "an", "hour"], 900_000),
        (&["un", "quart", "d", "heure"], 900_000),
        (&["trois", "quarts", "d", "heure"], 2_700_000),
    ];
    if let Some((phrase, ms)) = fixed.iter().find(|(phrase, _)| words.starts_with(phrase)) {
        return Some((*ms, phrase.len()));
    }
    let (mut total, mut at) = (0.0, 0);
    let mut last = f64::INFINITY;
    while at < words.len() {
        let joined = usize::from(at > 0 && matches!(words[at], "and" | "et"));
        let from = at + joined;
        let half = words[from..]
            .iter()
            .take_while(|word| matches!(**word, "a" | "demie" | "half" | "demi"))
            .count();
        if joined == 1
            && half > 0
            && words[from..from + half].iter().any(|word| *word != "a")
            && last.is_finite()
        {
            total += last / 2.0;
            at = from + half;
            continue;
        }
        let Some((amount, size, used)) = amount(&words[from..]) else {
            break;
        };
        if size >= last {
            break;
        }
        total += amount * size;
        last = size;
        at = from + used;
    }
    // What no reminder waits for is no duration.
    let fits = at > 0 && total >= 1_000.0 && total <= LONGEST_MS as f64;
    fits.then_some((total.round() as i64, at))
}

/// A number and its unit in milliseconds, and how many words they are.
fn amount(words: &[&str]) -> Option<(f64, f64, usize)> {
    let first = words.first()?;
    // "10min", "2h".
    if let Some(end) = first.find(|c: char| c.is_alphabetic()).filter(|end| *end > 0) {
        let value = first[..end].replace(',', ".").parse::<f64>().ok()?;
        return Some((value, unit(&first[end..])?, 1));
    }
    if matches!(*first, "a" | "an") {
        return Some((1.0, unit(words.get(1)?)?, 2));
    }
    let (value, used) = number(words)?;
    let half = usize::from(words.get(used) == Some(&"half"));
    Some((value, unit(words.get(used + half)?)?, used + half + 1))
}

fn unit(word: &str) -> Option<f64> {
    Some(match word {
        "s" | "sec" | "secs" | "second" | "seconds" | "seconde" | "secondes" => 1_000.0,
        "min" | "mins" | "mn" | "minute" | "minutes" => 60_000.0,
        "h" | "hour" | "hours" | "heure" | "heures" => 3_600_000.0,
        "day" | "days" | "jour" | "jours" => 86_400_000.0,
        "week" | "weeks" | "semaine" | "semaines" => 604_800_000.0,
        _ => return None,
    })
}

/// A day and a time of day, in either order; either alone.
fn clock(words: &[&str], now: &Zoned) -> Option<(Due, usize)> {
    let (mut day, mut hour, mut at) = (None, None, 0);
    while at < words.len() {
        if day.is_none()
            && let Some((found, used)) = named_day(&words[at..], now)
        {
            day = Some(found);
            at += used;
            continue;
        }
        if hour.is_none()
            && let Some((found, used)) = time_of_day(&words[at..])
        {
            hour = Some(found);
            at += used;
            continue;
        }
        break;
    }
    if day.is_none() && hour.is_none() {
        return None;
    }
    let (date, part) = day.unwrap_or((None, None));
    let hour = match (hour, part) {
        (Some(hour), part) => hour.within(part),
        (None, Some(part)) => Hour {
            hour: part.usual,
            minute: 0,
            vague: false,
        },
        (None, None) => Hour {
            hour: MORNING.0,
            minute: MORNING.1,
            vague: false,
        },
    };
    let on = |date: Date, hour_of_day: i8| -> Option<Zoned> {
        let time = Time::new(hour_of_day, hour.minute, 0, 0).ok()?;
        date.to_datetime(time).to_zoned(now.time_zone().clone()).ok()
    };
    let today = now.date();
    let due = match date {
        Some(date) => on(date, hour.hour)?,
        None => {
            // The next of the readings that is still to come: "at 7" in the afternoon is seven in the evening.
            let readings: &[i8] = if hour.vague {
                &[hour.hour, hour.hour + 12]
            } else {
                &[hour.hour]
            };
            let tomorrow = today.checked_add(1.day()).ok()?;
            let days = [today, tomorrow];
            let all = days
                .iter()
                .flat_map(|date| readings.iter().filter_map(|hour| on(*date, *hour)));
            all.filter(|at| at > now).min()?
        }
    };
    Some((Due::At(due.timestamp().as_millisecond()), at))
}

/// A time of day.
#[derive(Debug, Clone, Copy)]
struct Hour {
    hour: i8,
    minute: i8,
    /// Whether it may be in the morning or in the afternoon.
    vague: bool,
}

/// A part of the day.
#[derive(Debug, Clone, Copy)]
struct Part {
    /// When, where no time is said.
    usual: i8,
    /// Whether times up to twelve are after noon.
    after_noon: bool,
}

/// A date where one is said, and a part of the day where one is.
type Day = (Option<Date>, Option<Part>);

impl Hour {
    fn within(self, part: Option<Part>) -> Self {
        match part {
            Some(part) if part.after_noon && self.hour < 12 => Self {
                hour: self.hour + 12,
                vague: false,
                ..self
            },
            Some(_) => Self { vague: false, ..self },
            None => self,
        }
    }
}

/// "Tomorrow", "on Monday", « ce soir », "tomorrow morning": a date where one is said, a part of the day where one is.
fn named_day(words: &[&str], now: &Zoned) -> Option<(Day, usize)> {
    let today = now.date();
    let after = |days: i64| today.checked_add(Span::new().days(days)).ok();
    let lead = usize::from(matches!(
        words.first(),
        Some(&"on" | &"le" | &"next" | &"this" | &"ce" | &"cet" | &"cette")
    ));
    let first = *words.get(lead)?;
    let evening = Part {
        usual: 19,
        after_noon: true,
    };
    let (date, own, used) = match first {
        "today" => (Some(today), None, 1),
        "aujourd" if words.get(lead + 1) == Some(&"hui") => (Some(today), None, 2),
        "tonight" => (Some(today), Some(evening), 1),
        "tomorrow" | "demain" => (after(1), None, 1),
        "apres" if words.get(lead + 1) == Some(&"demain") => (after(2), None, 2),
        _ => match weekday(first) {
            Some(day) => {
                let ahead = i64::from(today.weekday().until(day));
                (after(if ahead == 0 { 7 } else { ahead }), None, 1)
            }
            None if lead == 1 && matches!(words[0], "this" | "ce" | "cet" | "cette") => {
                let part = part(first)?;
                return Some(((Some(today), Some(part)), 2));
            }
            None => return None,
        },
    };
    let mut at = lead + used;
    let mut of_day = own;
    if of_day.is_none()
        && let Some(part) = words.get(at).and_then(|word| part(word))
    {
        of_day = Some(part);
        at += 1;
    }
    Some(((Some(date?), of_day), at))
}

fn part(word: &str) -> Option<Part> {
    Some(match word {
        "morning" | "matin" => Part {
            usual: MORNING.0,
            after_noon: false,
        },
        "afternoon" | "midi" => Part {
            usual: 14,
            after_noon: true,
        },
        "evening" | "soir" | "night" => Part {
            usual: 19,
            after_noon: true,
        },
        _ => return None,
    })
}

fn weekday(word: &str) -> Option<Weekday> {
    Some(match word {
        "monday" | "lundi" => Weekday::Monday,
        "tuesday" | "mardi" => Weekday::Tuesday,
        "wednesday" | "mercredi" => Weekday::Wednesday,
        "thursday" | "jeudi" => Weekday::Thursday,
        "friday" | "vendredi" => Weekday::Friday,
        "saturday" | "samedi" => Weekday::Saturday,
        "sunday" | "dimanche" => Weekday::Sunday,
        _ => return None,
    })
}

/// "At 7:30", "at 8 pm", « à 7h30 », « à huit heures et demie », "at noon".
fn time_of_day(words: &[&str]) -> Option<(Hour, usize)> {
    let lead = usize::from(matches!(words.first(), Some(&"at" | &"a" | &"vers" | &"by")));
    let rest = &words[lead..];
    let first = *rest.first()?;
    match first {
        "noon" | "midi" => {
            return Some((
                Hour {
                    hour: 12,
                    minute: 0,
                    vague: false,
                },
                lead + 1,
            ));
        }
        "midnight" | "minuit" => {
            return Some((
                Hour {
                    hour: 0,
                    minute: 0,
                    vague: false,
                },
                lead + 1,
            ));
        }
        _ => {}
    }
    let (hour, mut minute, mut used, mut french) = written(first).or_else(|| {
        let (value, used) = number(rest)?;
        (value.fract() == 0.0 && (0.0..24.0).contains(&value)).then_some((value as i8, None, used, false))
    })?;
    let hours = usize::from(matches!(rest.get(used), Some(&"heure" | &"heures" | &"h")));
    french |= hours > 0;
    used += hours;
    if french && minute.is_none() {
        match &rest[used..] {
            ["et", "demie", ..] => (minute, used) = (Some(30), used + 2),
            ["et", "quart", ..] => (minute, used) = (Some(15), used + 2),
            more => {
                let said =
                    number(more).filter(|(value, _)| (1.0..60.0).contains(value) && value.fract() == 0.0);
                if let Some((value, count)) = said {
                    (minute, used) = (Some(value as i8), used + count);
                }
            }
        }
    }
    let noon = match rest.get(used) {
        Some(&"am") => Some(false),
        Some(&"pm") => Some(true),
        Some(&"o") if rest.get(used + 1) == Some(&"clock") => {
            used += 2;
            None
        }
        _ => None,
    };
    used += usize::from(noon.is_some());
    // A number alone is a time only where it is said to be one.
    if lead == 0 && minute.is_none() && !french && noon.is_none() {
        return None;
    }
    let hour24 = match noon {
        Some(_) if !(1..=12).contains(&hour) => return None,
        Some(true) => hour % 12 + 12,
        Some(false) => hour % 12,
        None => hour,
    };
    let vague = noon.is_none() && !french && (1..=11).contains(&hour) && !first.starts_with('0');
    Some((
        Hour {
            hour: hour24,
            minute: minute.unwrap_or(0),
            vague,
        },
        lead + used,
    ))
}

/// "7:30", "7h30", "8pm": hour, minute, words, and whether it is in French.
fn written(word: &str) -> Option<(i8, Option<i8>, usize, bool)> {
    let digits = word.find(|c: char| !c.is_ascii_digit()).unwrap_or(word.len());
    if digits == 0 || digits > 2 {
        return None;
    }
    let hour: i8 = word[..digits]
        .parse()
        .ok()
        .filter(|hour| (0..24).contains(hour))?;
    let rest = &word[digits..];
    let minutes = |text: &str| {
        text.parse::<i8>()
            .ok()
            .filter(|minute| text.len() == 2 && (0..60).contains(minute))
    };
    match rest {
        "" => None,
        "h" => Some((hour, None, 1, true)),
        "am" if (1..=12).contains(&hour) => Some((hour % 12, Some(0), 1, true)),
        "pm" if (1..=12).contains(&hour) => Some((hour % 12 + 12, Some(0), 1, true)),
        _ if rest.starts_with(':') => Some((hour, Some(minutes(&rest[1..])?), 1, false)),
        _ if rest.starts_with('h') => Some((hour, Some(minutes(&rest[1..])?), 1, true)),
        _ => None,
    }
}

/// What it is to be about: what was said beside the time.
fn subject(text: &str, rest: &[Word<'_>], from: usize, to: usize) -> String {
    let piece = |words: &[Word<'_>]| -> String {
        let joins = |word: &Word<'_>| {
            matches!(
                word.plain.as_str(),
                "to" | "that"
                    | "about"
                    | "of"
                    | "de"
                    | "d"
                    | "que"
                    | "qu"
                    | "a"
                    | "called"
                    | "for"
                    | "pour"
                    | "named"
                    | "set"
            ) || FILLERS.contains(&word.plain.as_str())
        };
        let Some(first) = words.iter().position(|word| !joins(word)) else {
            return String::new();
        };
        let last = words
            .iter()
            .rposition(|word| !FILLERS.contains(&word.plain.as_str()))
            .unwrap_or(first);
        let end = words[last.max(first)].at + words[last.max(first)].text.len();
        text[words[first].at..end].to_owned()
    };
    let (before, after) = (piece(&rest[..from]), piece(&rest[to..]));
    match (before.is_empty(), after.is_empty()) {
        (false, false) => format!("{before} {after}"),
        (false, true) => before,
        _ => after,
    }
}

fn confirm(due: Due, at_ms: i64, text: &str, language: Language, now: &Zoned) -> Option<String> {
    let at = Timestamp::from_millisecond(at_ms)
        .ok()?
        .to_zoned(now.time_zone().clone());
    let seconds = if at.second() != 0 && matches!(due, Due::After(ms) if ms < 3_600_000) {
        at.strftime(":%S").to_string()
    } else {
        String::new()
    };
    let (hour, minute) = (at.hour(), at.minute());
    let days = now.date().until(at.date()).ok()?.get_days();
    let day = match days {
        0 => String::new(),
        1 => language.pick(" tomorrow".to_owned(), " demain".to_owned()),
        _ => {
            let date = at.date();
            language.pick(
                format!(" on {}", date.strftime("%Y-%m-%d")),
                format!(" le {}", date.strftime("%d/%m/%Y")),
            )
        }
    };
    let what = if text.is_empty() {
        String::new()
    } else {
        language.pick(format!(": {text}"), format!(" : {text}"))
    };
    Some(language.pick(
        format!("I will remind you{day} at {hour:02}:{minute:02}{seconds}{what}."),
        format!("Je vous le rappellerai{day} à {hour:02} h {minute:02}{what}."),
    ))
}
