//! Replies about time and date, in the configured time zone.

use jiff::Timestamp;
use jiff::civil::Weekday;

use super::Facts;
use super::language::Language;

const ENGLISH_MONTHS: [&str; 12] = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
];
const FRENCH_MONTHS: [&str; 12] = [
    "janvier",
    "février",
    "mars",
    "avril",
    "mai",
    "juin",
    "juillet",
    "août",
    "septembre",
    "octobre",
    "novembre",
    "décembre",
];

pub(super) fn time(language: Language, facts: &Facts) -> String {
    let now = now(facts);
    let zone = now.strftime("%Z");
    let (hour, minute) = (now.hour(), now.minute());
    language.pick(
        format!("It is {hour:02}:{minute:02} ({zone})."),
        format!("Il est {hour:02} h {minute:02} ({zone})."),
    )
}

pub(super) fn date(language: Language, facts: &Facts) -> String {
    let now = now(facts);
    let (day, year) = (now.day(), now.year());
    let month = usize::from(now.month().unsigned_abs()).saturating_sub(1).min(11);
    let weekday = day_name(now.weekday(), language);
    let first = if day == 1 {
        "1er".to_owned()
    } else {
        day.to_string()
    };
    language.pick(
        format!("Today is {weekday}, {day} {} {year}.", ENGLISH_MONTHS[month]),
        format!(
            "Nous sommes le {weekday} {first} {} {year}.",
            FRENCH_MONTHS[month]
        ),
    )
}

pub(super) fn weekday(language: Language, facts: &Facts) -> String {
    let name = day_name(now(facts).weekday(), language);
    language.pick(format!("Today is {name}."), format!("Nous sommes {name}."))
}

fn now(facts: &Facts) -> jiff::Zoned {
    // A clock beyond year 9999 is wrong anyway; its epoch shows that plainly.
    let at = i64::try_from(facts.now_ms)
        .ok()
        .and_then(|ms| Timestamp::from_millisecond(ms).ok())
        .unwrap_or_default();
    at.to_zoned(facts.time_zone.clone())
}

fn day_name(day: Weekday, language: Language) -> &'static str {
    let (english, french) = match day {
        Weekday::Monday => ("Monday", "lundi"),
        Weekday::Tuesday => ("Tuesday", "mardi"),
        Weekday::Wednesday => ("Wednesday", "mercredi"),
        Weekday::Thursday => ("Thursday", "jeudi"),
        Weekday::Friday => ("Friday", "vendredi"),
        Weekday::Saturday => ("Saturday", "samedi"),
        Weekday::Sunday => ("Sunday", "dimanche"),
    };
    language.pick(english, french)
}
