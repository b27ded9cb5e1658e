//! The one place that writes to stdout and stderr for people: answers, tables, progress.

use std::io::{IsTerminal, Write};
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};
use serde_json::Value;

use crate::fail::Failure;

/// How answers are shown.
#[derive(Debug, Clone, Copy)]
pub struct Output {
    json: bool,
}

impl Output {
    /// JSON, or for people.
    pub fn new(json: bool) -> Self {
        Self { json }
    }

    /// Whether the answer is one JSON document.
    pub fn is_json(self) -> bool {
        self.json
    }

    /// The answer: the document, or the text that `people` makes of it.
    pub fn answer(self, document: &Value, people: impl FnOnce(&Value) -> String) {
        if self.json {
            line(&document.to_string());
        } else {
            let text = people(document);
            if !text.is_empty() {
                line(text.trim_end_matches('\n'));
            }
        }
    }

    /// A line for people only.
    pub fn note(self, text: &str) {
        if !self.json {
            line(text);
        }
    }

    /// Progress of something that takes over a second: a spinner on a terminal, else a plain line on stderr.
    pub fn progress(self, text: &str) -> Progress {
        if !self.json && std::io::stderr().is_terminal() {
            let bar = ProgressBar::new_spinner();
            bar.set_style(ProgressStyle::default_spinner());
            bar.set_message(text.to_owned());
            bar.enable_steady_tick(Duration::from_millis(100));
            return Progress {
                bar: Some(bar),
                quiet: false,
            };
        }
        let progress = Progress {
            bar: None,
            quiet: self.json,
        };
        progress.say(text);
        progress
    }

    /// A failure, on stderr.
    pub fn failure(self, failure: &Failure) {
        if self.json {
            complain(&failure.to_json().to_string());
        } else {
            complain(&failure.to_string());
        }
    }
}

/// Something that takes a while.
pub struct Progress {
    bar: Option<ProgressBar>,
    quiet: bool,
}

impl Progress {
    /// What is under way now.
    pub fn say(&self, text: &str) {
        match &self.bar {
            Some(bar) => bar.set_message(text.to_owned()),
            None if self.quiet => {}
            None => complain(text),
        }
    }

    /// It is over.
    pub fn done(self) {
        if let Some(bar) = self.bar {
            bar.finish_and_clear();
        }
    }
}

/// Writes a line to stdout. Whoever closed it (`| head`) has seen enough.
pub fn line(text: &str) {
    let mut out = std::io::stdout().lock();
    let _ = writeln!(out, "{text}").and_then(|()| out.flush());
}

/// Writes text without a line end to stdout.
pub fn part(text: &str) {
    let mut out = std::io::stdout().lock();
    let _ = write!(out, "{text}").and_then(|()| out.flush());
}

/// Text of someone else, as it may go to a terminal: without what would steer it.
pub fn printable(text: &str) -> String {
    text.chars()
        .filter(|c| !c.is_control() || matches!(c, '\n' | '\t'))
        .collect()
}

/// Writes a line to stderr.
pub fn complain(text: &str) {
    let mut out = std::io::stderr().lock();
    let _ = writeln!(out, "{text}");
}

/// Asks a person yes or no. None where there is nobody to ask.
pub fn ask(question: &str) -> Option<bool> {
    if !std::io::stdin().is_terminal() {
        return None;
    }
    part(&format!("{question} [y/N] "));
    let mut answer = String::new();
    std::io::stdin().read_line(&mut answer).ok()?;
    Some(matches!(answer.trim(), "y" | "Y" | "yes"))
}

/// Rows under a heading, columns as wide as they need to be.
pub fn table(heading: &[&str], rows: &[Vec<String>]) -> String {
    let mut widths: Vec<usize> = heading.iter().map(|h| h.chars().count()).collect();
    for row in rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.chars().count());
        }
    }
    let format = |cells: &mut dyn Iterator<Item = &str>| {
        let padded: Vec<String> = cells
            .zip(&widths)
            .map(|(cell, width)| format!("{cell}{}", " ".repeat(width - cell.chars().count())))
            .collect();
        padded.join("  ").trim_end().to_owned()
    };
    let mut out = format(&mut heading.iter().copied());
    for row in rows {
        out.push('\n');
        out.push_str(&format(&mut row.iter().map(String::as_str)));
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_steers_a_terminal_is_left_out() {
        let hostile = "a\u{1b}[2J\u{1b}]0;title\u{7}b\r\n\tc\u{8}\u{7f}\u{9b}31m é 👩‍🚀\0";
        assert_eq!(printable(hostile), "a[2J]0;titleb\n\tc31m é 👩‍🚀");
    }

    #[test]
    fn columns_are_as_wide_as_they_need_to_be() {
        let rows = vec![
            vec!["kitchen".to_owned(), "1".to_owned()],
            vec!["é".to_owned(), "22".to_owned()],
        ];
        assert_eq!(
            table(&["NAME", "ID"], &rows),
            "NAME     ID\nkitchen  1\né        22"
        );
    }
}
