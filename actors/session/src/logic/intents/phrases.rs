//! What the built-in responder understands: phrases and what they mean. Folded, words only.

use super::language::Language::{self, English, French};

/// What a message asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Intent {
    /// Which node serves this conversation.
    WhichNode,
    /// Who leads.
    Leader,
    /// How many nodes are up.
    HowMany,
    /// How the cluster is.
    Cluster,
    /// The time of day.
    Time,
    /// The date, with the day of the week.
    Date,
    /// Only the day of the week.
    Weekday,
    /// What can be asked.
    Help,
    /// Hello.
    Greeting,
    /// Thanks.
    Thanks,
    /// Goodbye.
    Goodbye,
    /// Who Jarvis is.
    WhoAreYou,
    /// How Jarvis is.
    HowAreYou,
    /// The message before, again.
    Repeat,
}

impl Intent {
    /// Whether a language model has nothing to add: it knows neither this cluster nor the time.
    pub fn is_certain(self) -> bool {
        !matches!(self, Self::Greeting | Self::Thanks | Self::Goodbye | Self::WhoAreYou | Self::HowAreYou | Self::Repeat)
    }
}

/// All phrases.
pub const PHRASES: &[(Language, Intent, &[&str])] = &[
    (
        English,
        Intent::WhichNode,
        &[
            "which node am i on", "what node am i on", "which node is this", "what node is this", "where am i",
            "which node are you on", "what node are you on", "which node are you running on", "where are you running",
            "where do you run", "which node do you run on", "which node serves me", "which node owns this session",
            "who owns this session", "which server am i on", "where is my session", "which node is this session on",
            "which machine am i on", "where are you", "which node answers me", "which node am i talking to",
        ],
    ),
    (
        French,
        Intent::WhichNode,
        &[
            "sur quel noeud suis je", "sur quel noeud je suis", "je suis sur quel noeud", "quel noeud est ce",
            "c est quel noeud", "quel est ce noeud", "ou suis je", "sur quel noeud es tu", "sur quel noeud tournes tu",
            "tu tournes ou", "ou tournes tu", "ou es tu", "ou tourne ma session", "quel noeud me repond",
            "quel noeud me sert", "sur quel serveur suis je", "sur quelle machine suis je", "sur quel noeud sommes nous",
            "sur quel noeud est ma session", "sur quel noeud etes vous", "t es sur quel noeud", "tu es sur quel noeud",
        ],
    ),
    (
        English,
        Intent::Leader,
        &[
            "who is the leader", "who s the leader", "which node is the leader", "what node is the leader",
            "which node leads", "who leads", "who leads the cluster", "who is leader", "leader", "current leader",
            "who is the raft leader", "which node is leading", "who is in charge", "who is the boss",
            "which one is the leader", "who is the current leader", "who is leading",
        ],
    ),
    (
        French,
        Intent::Leader,
        &[
            "qui est le chef", "qui est le leader", "quel noeud est le leader", "quel noeud est le chef",
            "qui dirige", "qui dirige le cluster", "c est qui le chef", "c est qui le leader", "qui est leader",
            "quel est le leader", "quel est le chef", "qui commande", "qui est le meneur", "quel noeud dirige",
            "quel noeud est leader", "qui mene", "le leader", "le chef", "qui est le maitre", "qui est chef",
        ],
    ),
    (
        English,
        Intent::HowMany,
        &[
            "how many nodes are up", "how many nodes are there", "how many nodes", "how many nodes are running",
            "how many nodes are alive", "how many nodes are online", "how many nodes do we have",
            "how many nodes are in the cluster", "how many nodes does the cluster have", "which nodes are up",
            "which nodes are down", "list nodes", "list the nodes", "nodes", "are all nodes up", "how many are up",
            "how many nodes are down", "is any node down", "how many servers are up", "which nodes are there",
        ],
    ),
    (
        French,
        Intent::HowMany,
        &[
            "combien de noeuds", "combien de noeuds sont actifs", "combien de noeuds sont en ligne",
            "combien de noeuds sont debout", "combien de noeuds fonctionnent", "combien de noeuds tournent",
            "combien y a t il de noeuds", "il y a combien de noeuds", "combien de noeuds avons nous",
            "combien de noeuds dans le cluster", "quels noeuds sont actifs", "quels noeuds sont en ligne",
            "liste des noeuds", "liste les noeuds", "noeuds", "les noeuds", "combien de noeuds y a t il",
            "combien de noeuds marchent", "combien de noeuds sont vivants", "quels sont les noeuds",
            "tous les noeuds sont ils actifs", "combien de noeuds sont en marche",
        ],
    ),
    (
        English,
        Intent::Cluster,
        &[
            "how is the cluster", "cluster status", "status", "status of the cluster", "cluster", "is the cluster ok",
            "is the cluster healthy", "is everything ok", "how is the cluster doing", "cluster health",
        ],
    ),
    (
        French,
        Intent::Cluster,
        &[
            "comment va le cluster", "etat du cluster", "statut", "statut du cluster", "etat", "le cluster va bien",
            "est ce que le cluster va bien", "quel est l etat du cluster", "tout va bien", "sante du cluster",
        ],
    ),
    (
        English,
        Intent::Time,
        &[
            "what time is it", "what s the time", "what is the time", "whats the time", "time", "the time",
            "tell me the time", "do you have the time", "what is the current time", "current time", "do you know what time it is",
            "can you tell me the time", "what time it is",
        ],
    ),
    (
        French,
        Intent::Time,
        &[
            "quelle heure est il", "il est quelle heure", "quelle heure il est", "l heure", "heure", "donne moi l heure",
            "tu as l heure", "t as l heure", "as tu l heure", "avez vous l heure", "vous avez l heure", "dis moi l heure",
            "quelle est l heure", "c est quelle heure", "quelle heure",
        ],
    ),
    (
        English,
        Intent::Date,
        &[
            "what is the date", "what s the date", "what date is it", "date", "today s date", "the date", "what is today s date",
            "what s today s date", "what is the date today", "which date is it", "tell me the date", "what is the current date",
            "what year is it", "what month is it", "what is today",
        ],
    ),
    (
        French,
        Intent::Date,
        &[
            "quelle est la date", "quelle date sommes nous", "on est quelle date", "la date", "quel jour sommes nous",
            "on est le combien", "nous sommes le combien", "le combien sommes nous", "quelle est la date d aujourd hui",
            "date du jour", "la date d aujourd hui", "quelle date est il", "en quelle annee sommes nous", "donne moi la date",
            "quelle date", "quel mois sommes nous", "quelle est la date du jour", "c est quelle date",
        ],
    ),
    (
        English,
        Intent::Weekday,
        &[
            "what day is it", "which day is it", "what day is today", "what day of the week is it", "day of the week",
            "which day of the week is it", "what is the day", "what weekday is it", "what s the day",
        ],
    ),
    (
        French,
        Intent::Weekday,
        &[
            "quel jour est ce", "quel jour on est", "on est quel jour", "quel jour est on", "c est quel jour",
            "quel jour de la semaine", "quel jour est il", "quel jour de la semaine sommes nous", "nous sommes quel jour",
            "quel jour", "quel est le jour",
        ],
    ),
    (
        English,
        Intent::Help,
        &[
            "help", "help me", "what can you do", "what can i ask", "what do you know", "what can i say", "commands",
            "how does this work", "what are you able to do", "what can i ask you",
        ],
    ),
    (
        French,
        Intent::Help,
        &[
            "aide", "aide moi", "a l aide", "que sais tu faire", "que peux tu faire", "qu est ce que tu sais faire",
            "qu est ce que tu peux faire", "tu sais faire quoi", "tu peux faire quoi", "comment ca marche",
            "que puis je demander", "que puis je te demander", "commandes", "que savez vous faire", "besoin d aide",
        ],
    ),
    (
        English,
        Intent::Greeting,
        &["hello", "hi", "hey", "hello there", "hi there", "good morning", "good evening", "good afternoon", "howdy", "greetings", "yo"],
    ),
    (French, Intent::Greeting, &["bonjour", "salut", "bonsoir", "coucou", "allo", "bonjour a toi", "hello toi"]),
    (
        English,
        Intent::Thanks,
        &["thanks", "thank you", "thank you very much", "thanks a lot", "many thanks", "cheers", "thx", "thank you so much", "great thanks", "ok thanks"],
    ),
    (
        French,
        Intent::Thanks,
        &["merci", "merci beaucoup", "merci bien", "mille mercis", "je te remercie", "je vous remercie", "ok merci", "super merci", "un grand merci"],
    ),
    (
        English,
        Intent::Goodbye,
        &["goodbye", "good bye", "bye", "bye bye", "see you", "see you later", "good night", "see you soon", "farewell", "see you tomorrow"],
    ),
    (
        French,
        Intent::Goodbye,
        &["au revoir", "a bientot", "a plus", "a plus tard", "bonne nuit", "adieu", "a demain", "bonne soiree", "bonne journee", "ciao"],
    ),
    (
        English,
        Intent::WhoAreYou,
        &["who are you", "what are you", "what is your name", "what s your name", "are you a robot", "are you human", "introduce yourself", "who is jarvis", "what is jarvis"],
    ),
    (
        French,
        Intent::WhoAreYou,
        &["qui es tu", "qui etes vous", "tu es qui", "t es qui", "comment t appelles tu", "comment tu t appelles", "quel est ton nom", "es tu un robot", "presente toi", "qui est jarvis", "c est quoi jarvis"],
    ),
    (English, Intent::HowAreYou, &["how are you", "how are you doing", "how do you do", "are you ok", "what s up", "how is it going"]),
    (French, Intent::HowAreYou, &["comment vas tu", "comment allez vous", "ca va", "comment ca va", "tu vas bien", "vous allez bien", "quoi de neuf"]),
    (
        English,
        Intent::Repeat,
        &["repeat what i said", "what did i say", "repeat", "repeat that", "repeat my last message", "what did i just say", "say that again", "repeat after me", "can you repeat what i said"],
    ),
    (
        French,
        Intent::Repeat,
        &["repete ce que j ai dit", "qu est ce que j ai dit", "qu ai je dit", "repete", "j ai dit quoi", "repetez ce que j ai dit", "redis ce que j ai dit", "peux tu repeter ce que j ai dit", "repete mon dernier message"],
    ),
];

/// Words that may stand around a phrase without changing it.
pub const FILLERS: &[&str] = &[
    "please", "jarvis", "hey", "ok", "okay", "now", "right", "currently", "today", "just", "so", "and", "then", "well",
    "at", "the", "moment", "s", "il", "te", "vous", "plait", "svp", "stp", "dis", "maintenant", "actuellement",
    "aujourd", "hui", "donc", "alors", "et", "bon", "en", "ce", "tell", "me", "could", "you", "can", "do", "know",
    "est", "que", "peux", "tu", "moi", "mon", "ami", "my", "friend", "everyone", "tous", "exactly", "exactement", "pls",
    "there", "sais", "hello", "hi", "bonjour", "salut",
];

/// Phrases that are offered where nothing was understood, in the order in which they are good examples.
pub fn examples(language: Language) -> &'static [&'static str] {
    match language {
        English => &[
            "which node am I on?", "who is the leader?", "how many nodes are up?", "what time is it?", "what is the date?",
            "what day is it?", "12 * (3 + 4)", "20% of 50", "square root of 2", "repeat what I said", "who are you?", "help",
        ],
        French => &[
            "sur quel nœud suis-je ?", "qui est le leader ?", "combien de nœuds sont actifs ?", "quelle heure est-il ?",
            "quelle est la date ?", "quel jour est-ce ?", "12 fois 4", "20 % de 50", "racine carrée de 2",
            "répète ce que j'ai dit", "qui es-tu ?", "aide",
        ],
    }
}
