//! Which language a message is in, and its text in a form in which spellings compare.

/// A language that the built-in responder speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Language {
    /// English; also where nothing speaks for another.
    English,
    /// French.
    French,
}

/// Words that only one of the languages has, among the most frequent ones of each.
const FRENCH_WORDS: &[&str] = &[
    "je",
    "tu",
    "il",
    "elle",
    "nous",
    "vous",
    "le",
    "la",
    "les",
    "un",
    "une",
    "des",
    "du",
    "de",
    "et",
    "ou",
    "est",
    "sont",
    "suis",
    "es",
    "quel",
    "quelle",
    "quels",
    "quelles",
    "qui",
    "que",
    "quoi",
    "combien",
    "comment",
    "pourquoi",
    "sur",
    "avec",
    "pour",
    "dans",
    "bonjour",
    "bonsoir",
    "salut",
    "merci",
    "revoir",
    "aide",
    "heure",
    "jour",
    "date",
    "noeud",
    "noeuds",
    "chef",
    "fois",
    "moins",
    "font",
    "fait",
    "ce",
    "ca",
    "c",
    "qu",
    "j",
    "l",
    "d",
    "mon",
    "ma",
    "mes",
    "ton",
    "ta",
    "pas",
    "plait",
    "sommes",
    "repete",
    "dis",
    "bonne",
    "nuit",
    "divise",
    "racine",
    "calcule",
    "coucou",
    "aujourd",
    "hui",
    "demain",
    "puissance",
    "cent",
    "vaut",
    "allume",
    "eteins",
    "ferme",
    "ouvre",
    "mets",
    "regle",
    "baisse",
    "monte",
    "tout",
    "tous",
    "toutes",
    "lumiere",
    "lumieres",
    "volet",
    "volets",
    "moi",
    "rappelle",
    "rappel",
    "rappels",
    "annule",
    "supprime",
    "minuteur",
    "liste",
];
const ENGLISH_WORDS: &[&str] = &[
    "i",
    "you",
    "he",
    "she",
    "we",
    "they",
    "the",
    "an",
    "and",
    "or",
    "is",
    "are",
    "am",
    "what",
    "which",
    "who",
    "where",
    "how",
    "why",
    "many",
    "much",
    "with",
    "for",
    "in",
    "on",
    "hello",
    "hi",
    "hey",
    "thanks",
    "thank",
    "bye",
    "goodbye",
    "help",
    "time",
    "day",
    "date",
    "node",
    "nodes",
    "leader",
    "times",
    "minus",
    "my",
    "your",
    "not",
    "do",
    "does",
    "it",
    "repeat",
    "say",
    "good",
    "night",
    "morning",
    "please",
    "divided",
    "percent",
    "of",
    "today",
    "to",
    "square",
    "root",
    "turn",
    "switch",
    "off",
    "open",
    "close",
    "set",
    "all",
    "light",
    "lights",
    "remind",
    "reminder",
    "reminders",
    "cancel",
    "delete",
    "timer",
    "have",
];

impl Language {
    /// The language of a message; `None` where nothing in it tells.
    pub fn detect(text: &str) -> Option<Self> {
        let lower = text.to_lowercase();
        let folded = fold(text);
        let words: Vec<&str> = folded
            .split(|c: char| !c.is_alphanumeric())
            .filter(|word| !word.is_empty())
            .collect();
        let accents = lower.chars().filter(|c| "àâçéèêëîïôœùûü«»".contains(*c)).count();
        let count = |known: &[&str]| words.iter().filter(|word| known.contains(word)).count();
        let (french, english) = (2 * count(FRENCH_WORDS) + 3 * accents, 2 * count(ENGLISH_WORDS));
        match french.cmp(&english) {
            std::cmp::Ordering::Greater => Some(Self::French),
            std::cmp::Ordering::Less => Some(Self::English),
            std::cmp::Ordering::Equal => None,
        }
    }

    /// What stands between whole and fraction.
    pub fn decimal_mark(self) -> char {
        match self {
            Self::English => '.',
            Self::French => ',',
        }
    }

    /// The one of two texts that is in this language.
    pub fn pick<T>(self, english: T, french: T) -> T {
        match self {
            Self::English => english,
            Self::French => french,
        }
    }
}

/// Lower case, accents taken off, ligatures and typographic signs written plainly.
pub fn fold(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars().flat_map(char::to_lowercase) {
        match c {
            'à' | 'á' | 'â' | 'ä' | 'ã' => out.push('a'),
            'ç' => out.push('c'),
            'è' | 'é' | 'ê' | 'ë' => out.push('e'),
            'ì' | 'í' | 'î' | 'ï' => out.push('i'),
            'ñ' => out.push('n'),
            'ò' | 'ó' | 'ô' | 'ö' | 'õ' => out.push('o'),
            'ù' | 'ú' | 'û' | 'ü' => out.push('u'),
            'œ' => out.push_str("oe"),
            'æ' => out.push_str("ae"),
            '’' | '‘' | 'ʼ' => out.push('\''),
            '«' | '»' | '“' | '”' => out.push('"'),
            // Accents that come as characters of their own.
            '\u{300}'..='\u{36f}' => {}
            other => out.push(other),
        }
    }
    out
}

/// The words of a folded text with single spaces between, without punctuation.
pub fn words_only(folded: &str) -> String {
    folded
        .split(|c: char| !c.is_alphanumeric())
        .filter(|word| !word.is_empty())
        .collect::<Vec<_>>()
        .join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn languages_are_told_apart() {
        for (text, expected) in [
            ("What time is it?", Some(Language::English)),
            ("which node am I on?", Some(Language::English)),
            ("Quelle heure est-il ?", Some(Language::French)),
            ("sur quel nœud suis-je ?", Some(Language::French)),
            ("Qui est le leader ?", Some(Language::French)),
            ("aide", Some(Language::French)),
            ("help", Some(Language::English)),
            ("où ça ?", Some(Language::French)),
            ("Allume tout", Some(Language::French)),
            ("rappelle-moi dans dix minutes", Some(Language::French)),
            ("annule tous les rappels", Some(Language::French)),
            ("turn off everything", Some(Language::English)),
            ("cancel all reminders", Some(Language::English)),
            ("2+2", None),
            ("", None),
            ("🙂", None),
        ] {
            assert_eq!(Language::detect(text), expected, "{text}");
        }
    }

    #[test]
    fn spellings_compare() {
        assert_eq!(fold("Nœud « ÉTÉ » e\u{301}"), "noeud \" ete \" e");
        assert_eq!(words_only(&fold("Qu’est-ce que c’est ?")), "qu est ce que c est");
    }
}
