//! Text as Home Assistant writes it: ids of names, values of JSON as Python prints them; and a form in which spellings compare.

use serde_json::Value;

use crate::limits::QUOTED_CHARS;

/// Lower case, accents taken off, ligatures and typographic signs written plainly.
pub(crate) fn fold(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars().flat_map(char::to_lowercase) {
        match plain(c) {
            Some(plain) => out.push_str(plain),
            None => match c {
                '’' | '‘' | 'ʼ' => out.push('\''),
                '«' | '»' | '“' | '”' => out.push('"'),
                '\u{300}'..='\u{36f}' => {}
                other => out.push(other),
            },
        }
    }
    out
}

/// The words of a folded text.
pub(crate) fn words(folded: &str) -> Vec<&str> {
    folded
        .split(|c: char| !c.is_alphanumeric())
        .filter(|word| !word.is_empty())
        .collect()
}

/// A name as the latter half of an entity id: lower case letters, digits and single underscores. Where nothing is left,
/// `unknown`.
pub(crate) fn slug(name: &str) -> String {
    let mut out = String::with_capacity(name.len());
    for c in name.chars().flat_map(char::to_lowercase) {
        if c.is_ascii_alphanumeric() {
            out.push(c);
        } else if let Some(plain) = plain(c) {
            out.push_str(plain);
        } else if !('\u{300}'..='\u{36f}').contains(&c) && !out.is_empty() && !out.ends_with('_') {
            out.push('_');
        }
    }
    out.truncate(out.trim_end_matches('_').len());
    if out.is_empty() { "unknown".to_owned() } else { out }
}

/// Latin letters with signs on them, without.
fn plain(c: char) -> Option<&'static str> {
    Some(match c {
        'à' | 'á' | 'â' | 'ä' | 'ã' | 'å' | 'ā' | 'ă' | 'ą' => "a",
        'ç' | 'ć' | 'č' | 'ċ' => "c",
        'ď' | 'đ' | 'ð' => "d",
        'è' | 'é' | 'ê' | 'ë' | 'ē' | 'ė' | 'ę' | 'ě' => "e",
        'ğ' | 'ģ' => "g",
        'ì' | 'í' | 'î' | 'ï' | 'ī' | 'į' | 'ı' => "i",
        'ķ' => "k",
        'ĺ' | 'ļ' | 'ľ' | 'ł' => "l",
        'ñ' | 'ń' | 'ņ' | 'ň' => "n",
        'ò' | 'ó' | 'ô' | 'ö' | 'õ' | 'ø' | 'ō' | 'ő' => "o",
        'ŕ' | 'ř' => "r",
        'ś' | 'š' | 'ş' | 'ș' => "s",
        'ß' => "ss",
        'ť' | 'ţ' | 'ț' => "t",
        'ù' | 'ú' | 'û' | 'ü' | 'ū' | 'ů' | 'ű' | 'ų' => "u",
        'ý' | 'ÿ' => "y",
        'ź' | 'ż' | 'ž' => "z",
        'æ' => "ae",
        'œ' => "oe",
        'þ' => "th",
        _ => return None,
    })
}

/// A value as a template of Home Assistant prints it.
pub(crate) fn printed(value: &Value) -> String {
    match value {
        Value::Null => "None".to_owned(),
        Value::Bool(true) => "True".to_owned(),
        Value::Bool(false) => "False".to_owned(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

/// A number as JSON holds it: whole where it is written so. None: it is no number, or not a finite one.
pub(crate) fn number(text: &str) -> Option<Value> {
    let text = text.trim();
    if let Ok(whole) = text.parse::<i64>() {
        return Some(Value::from(whole));
    }
    // Rust reads "inf" and "nan" too, which JSON does not have.
    let real = text.parse::<f64>().ok().filter(|real| real.is_finite())?;
    serde_json::Number::from_f64(real).map(Value::Number)
}

/// A number without a fraction that says nothing: `21`, `21.5`.
pub(crate) fn short(value: f64) -> String {
    if value.fract() == 0.0 && value.abs() < 1e15 {
        format!("{value:.0}")
    } else {
        format!("{value}")
    }
}

/// The beginning of a text that came from outside, for messages to people.
pub(crate) fn quoted(text: &str) -> String {
    let mut out: String = text
        .chars()
        .take(QUOTED_CHARS)
        .map(|c| if c.is_control() { ' ' } else { c })
        .collect();
    if text.chars().nth(QUOTED_CHARS).is_some() {
        out.push('…');
    }
    out
}

/// The one of `known` that is most like `wanted`, where one is like enough to be offered.
pub(crate) fn nearest<'k>(wanted: &str, known: impl IntoIterator<Item = &'k str>) -> Option<&'k str> {
    known
        .into_iter()
        .map(|name| (strsim::jaro_winkler(name, wanted), name))
        .filter(|(likeness, _)| *likeness > 0.75)
        // The first of equals, so that the answer does not depend on how they are found.
        .fold(None, |best: Option<(f64, &str)>, one| match best {
            Some(best) if best.0 >= one.0 => Some(best),
            _ => Some(one),
        })
        .map(|(_, name)| name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_made_of_names() {
        for (name, id) in [
            ("Kitchen Light", "kitchen_light"),
            ("Volet de l'entrée", "volet_de_l_entree"),
            ("  Küche -- Licht 2 ", "kuche_licht_2"),
            ("0x00158d0001ab", "0x00158d0001ab"),
            ("Cœur & Ångström", "coeur_angstrom"),
            ("客厅", "unknown"),
            ("", "unknown"),
        ] {
            assert_eq!(slug(name), id, "{name}");
        }
    }

    #[test]
    fn values_print_as_in_python() {
        for (value, text) in [
            ("null", "None"),
            ("true", "True"),
            ("21.0", "21.0"),
            ("21", "21"),
            ("\"x\"", "x"),
        ] {
            assert_eq!(printed(&serde_json::from_str(value).unwrap()), text);
        }
        assert_eq!(number("21"), Some(Value::from(21)));
        assert_eq!(number(" 21.50 "), Some(Value::from(21.5)));
        assert_eq!(number("inf"), None);
        assert_eq!(number("nan"), None);
        assert_eq!((short(21.0), short(21.5)), ("21".to_owned(), "21.5".to_owned()));
    }

    #[test]
    fn the_nearest_name_is_offered() {
        let known = ["light.turn_on", "light.turn_off", "switch.turn_on"];
        assert_eq!(nearest("light.turnon", known), Some("light.turn_on"));
        assert_eq!(nearest("zzz", known), None);
    }
}
