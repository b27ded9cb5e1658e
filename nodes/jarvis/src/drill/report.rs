//! The report of a drill: JSON for programs, one HTML file without anything from elsewhere for people.

use std::fmt::Write;
use std::path::{Path, PathBuf};

use super::verdict::Verdict;
use crate::fail::Failure;

const WIDTH: f64 = 720.0;
const HEIGHT: f64 = 220.0;
const BARS: usize = 40;
/// What to do where a report cannot be written.
const NEXT: &str = "choose another folder with --report";

/// Makes the folder of the reports, if it is not there.
pub(super) fn make_folder(folder: &Path) -> Result<(), Failure> {
    std::fs::create_dir_all(folder).map_err(|error| {
        let what = format!(
            "no drill was begun: there is no folder {} for its report",
            folder.display()
        );
        Failure::new(what, error).next(NEXT)
    })
}

/// Writes both files; gives the HTML one's path.
pub(super) fn write(verdict: &Verdict, folder: &Path) -> Result<PathBuf, Failure> {
    let failed = |path: &Path| {
        let what = format!("the report {} was not written", path.display());
        move |error: std::io::Error| Failure::new(what, error).next(NEXT)
    };
    let at = jiff::Timestamp::from_millisecond(verdict.began_at_ms as i64).unwrap_or_default();
    let stem = format!("{}-{}", verdict.name, at.strftime("%Y%m%dT%H%M%SZ"));
    let (json, html) = (
        folder.join(format!("{stem}.json")),
        folder.join(format!("{stem}.html")),
    );
    let text = serde_json::to_string_pretty(&verdict.to_json()).unwrap_or_default();
    std::fs::write(&json, text + "\n").map_err(failed(&json))?;
    std::fs::write(&html, page(verdict, &at.to_string())).map_err(failed(&html))?;
    Ok(html)
}

fn page(verdict: &Verdict, at: &str) -> String {
    let colour = if verdict.passed() { "#1a7f37" } else { "#b42318" };
    let mut rows = String::new();
    for round in &verdict.rounds {
        let gaps: Vec<String> = round.gaps_ms.iter().map(|gap| format!("{gap:.0}")).collect();
        let leader = if round.leader { " (leader)" } else { "" };
        let _ = write!(
            rows,
            "<tr><td>{}</td><td>{}</td><td>{}{leader}</td><td>{}</td></tr>",
            round.number,
            escape(round.kind),
            escape(&round.victim),
            gaps.join(", ")
        );
    }
    format!(
        "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\"><meta name=\"viewport\" content=\"width=device-width\">\
         <title>{name}</title><style>body{{font:16px/1.5 system-ui,sans-serif;max-width:760px;margin:2rem auto;padding:0 1rem}}\
         h1 span{{color:{colour}}}table{{border-collapse:collapse;width:100%}}td,th{{text-align:left;padding:.25rem .5rem;\
         border-bottom:1px solid #ddd}}pre{{background:#f6f6f6;padding:1rem;overflow:auto}}svg{{width:100%;height:auto}}</style>\
         <h1>{name}: <span>{result}</span></h1><p>{at}</p><pre>{summary}</pre>\
         <h2>Gaps as clients saw them</h2>{histogram}\
         <h2>Rules</h2><table><tr><th>Rule</th><th>Found</th><th></th></tr>{rules}</table>\
         <h2>Rounds</h2><table><tr><th>Round</th><th>What</th><th>Node</th><th>Gaps, ms</th></tr>{rows}</table>{broken}</html>\n",
        name = escape(&verdict.name),
        result = if verdict.passed() { "passed" } else { "failed" },
        summary = escape(&verdict.describe()),
        rules = rules(verdict),
        histogram = histogram(&verdict.gaps_ms),
        broken = match verdict.broken().as_str() {
            "" => String::new(),
            text => format!("<h2>Broken</h2><pre>{}</pre>", escape(text)),
        },
    )
}

fn rules(verdict: &Verdict) -> String {
    let rows = verdict.rules().into_iter().map(|rule| {
        let held = if rule.held { "held" } else { "<b>BROKEN</b>" };
        format!(
            "<tr><td>{}</td><td>{}</td><td>{held}</td></tr>",
            escape(&rule.rule),
            escape(&rule.found)
        )
    });
    rows.collect()
}

/// Bars of equal width from 0 to the longest gap.
fn histogram(gaps_ms: &[f64]) -> String {
    let Some(longest) = gaps_ms.last().copied().filter(|longest| *longest > 0.0) else {
        return "<p>No gap was measured.</p>".to_owned();
    };
    let mut counts = [0usize; BARS];
    for gap in gaps_ms {
        let bar = ((gap / longest) * BARS as f64) as usize;
        counts[bar.min(BARS - 1)] += 1;
    }
    let most = counts.iter().copied().max().unwrap_or(1).max(1);
    let (bar_width, plot) = (WIDTH / BARS as f64, HEIGHT - 24.0);
    let mut svg =
        format!("<svg viewBox=\"0 0 {WIDTH} {HEIGHT}\" role=\"img\" aria-label=\"Histogram of gaps\">");
    for (index, count) in counts.iter().enumerate().filter(|(_, count)| **count > 0) {
        let height = plot * (*count as f64) / (most as f64);
        let (from, to) = (
            longest * index as f64 / BARS as f64,
            longest * (index + 1) as f64 / BARS as f64,
        );
        let _ = write!(
            svg,
            "<rect x=\"{:.1}\" y=\"{:.1}\" width=\"{:.1}\" height=\"{height:.1}\" fill=\"#3b6ea5\"><title>{count} gaps from \
             {from:.0} to {to:.0} ms</title></rect>",
            index as f64 * bar_width + 1.0,
            plot - height,
            bar_width - 2.0,
        );
    }
    let _ = write!(
        svg,
        "<line x1=\"0\" y1=\"{plot}\" x2=\"{WIDTH}\" y2=\"{plot}\" stroke=\"#999\"/><text x=\"0\" y=\"{y}\" font-size=\"13\">0 ms\
         </text><text x=\"{WIDTH}\" y=\"{y}\" font-size=\"13\" text-anchor=\"end\">{longest:.0} ms</text></svg>",
        y = HEIGHT - 6.0,
    );
    svg
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
        .replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_histogram_counts_every_gap_once() {
        let svg = histogram(&[100.0, 110.0, 400.0, 400.0]);
        let counted: usize = svg
            .match_indices(" gaps from")
            .map(|(end, _)| {
                svg[..end]
                    .rsplit('>')
                    .next()
                    .and_then(|n| n.parse::<usize>().ok())
                    .expect("a count")
            })
            .sum();
        assert_eq!(counted, 4);
        assert!(svg.contains("400 ms") && !svg.contains("http"), "{svg}");
        assert!(histogram(&[]).contains("No gap"));
    }
}
