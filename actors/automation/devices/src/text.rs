//! Text as Home Assistant writes it: ids of names, values of JSON as Python prints them; and a form in which spellings compare.

use serde_json::Value;

use crate::limits::{MAX_NAME_BYTES, QUOTED_CHARS};

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

/// A name as the latter half of an entity id, as Home Assistant makes it: lower case letters, digits and single underscores.
/// Other scripts are written in Latin letters (`Кухня` is `kukhnia`), signs too where they are read (`°` is `deg`); pictures
/// are left out. Where nothing is left, `unknown`. At most 256 bytes.
pub fn slug(name: &str) -> String {
    let mut latin = String::with_capacity(name.len());
    if name.is_ascii() {
        latin.push_str(name);
    } else {
        let apart = icu_normalizer::DecomposingNormalizerBorrowed::new_nfkd();
        for c in apart.normalize_iter(name.chars()) {
            match c {
                // An apostrophe that was written parts words; one that stands for a letter (`ь`) is a part of its word.
                '\'' => latin.push(' '),
                // Marks on letters, like those that the table leaves out.
                '\u{5c1}' | '\u{653}' | '\u{670}' | '\u{309a}' => {}
                // Signs of mathematics and drawing part words.
                '\u{2200}'..='\u{25ff}' => latin.push(' '),
                // A picture says nothing that somebody would type.
                '\u{2600}'..='\u{2bff}' | '\u{10000}'.. => {}
                c => {
                    let read = deunicode::deunicode_char(c).unwrap_or_default();
                    latin.extend(read.chars().filter(|c| *c != '\''));
                }
            }
        }
    }
    let mut out = String::with_capacity(latin.len());
    let mut rest = latin.bytes().peekable();
    while let Some(byte) = rest.next() {
        if byte.is_ascii_alphanumeric() {
            out.push(byte.to_ascii_lowercase().into());
            // The thousands of a number are not parted.
            let thousands = |next: &u8| byte.is_ascii_digit() && *next == b',';
            if rest.peek().is_some_and(thousands) {
                rest.next();
                if !rest.peek().is_some_and(u8::is_ascii_digit) {
                    out.push('_');
                }
            }
        } else if !out.is_empty() && !out.ends_with('_') {
            out.push('_');
        }
    }
    out.truncate(MAX_NAME_BYTES);
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
        Value::Number(number) => jarvis_rules::template::printed(number),
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
            ("don't", "don_t"),
            ("l’entrée", "lentree"),
            ("1,000 W, 2,5", "1000_w_25"),
            ("7, 8,", "7_8"),
            ("_x__y_", "x_y"),
            ("", "unknown"),
            ("--", "unknown"),
        ] {
            assert_eq!(slug(name), id, "{name}");
        }
        assert!(slug(&"厨房 ".repeat(200)).len() <= MAX_NAME_BYTES);
    }

    #[test]
    fn names_in_other_scripts_are_written_in_latin_letters() {
        for (name, id) in [
            ("Кухня", "kukhnia"),
            ("Ёлка", "elka"),
            ("Объём, подъезд", "obem_podezd"),
            ("Вітальня Київ", "vitalnia_kiiv"),
            ("厨房灯", "chu_fang_deng"),
            ("客廳 2", "ke_ting_2"),
            ("キッチン", "kitutin"),
            ("スピーカー", "suhika"),
            ("거실 조명", "geosil_jomyeong"),
            ("Λάμπα", "lampa"),
            ("Ψυγείο χώρος", "psugeio_khoros"),
            ("مطبخ", "mtbkh"),
            ("آشپزخانه", "shpzkhnh"),
            ("מטבח", "mtbkh"),
            ("ห้องครัว", "h_ngkhraw"),
            ("Nhiệt độ", "nhiet_do"),
            ("İstanbul ışık", "istanbul_isik"),
            ("№5", "no5"),
            ("5 °C ½ µm €", "5_degc_1_2_mm_eur"),
            ("PM2.5 µg/m³", "pm2_5_mg_m3"),
            ("25℃", "25degc"),
            ("ＡＢ１２", "ab12"),
            ("Living Room 💡", "living_room"),
            ("😀", "unknown"),
            ("∅", "unknown"),
            ("a≥b ☀", "a_b"),
            ("x→y", "x_y"),
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
