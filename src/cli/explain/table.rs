use std::fmt::{self, Write};

use tollway_core::Candidate;

use crate::telemetry::Decision;

/// A decision for people.
pub(super) struct Table<'a>(pub(super) &'a Decision);

/// What stands where nothing is known.
const UNKNOWN: &str = "-";

impl fmt::Display for Table<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let plan = &self.0.plan;
        let of = if plan.first_token { "to the first token" } else { "to the end" };
        let mut line = |name: &str, said: Option<String>| match said {
            Some(said) => writeln!(f, "{name:<11} {said}"),
            None => Ok(()),
        };
        let chosen = self.0.chosen();
        line("target", chosen.map(|chosen| printable(&named(chosen))))?;
        line("reason", Some(printable(&self.0.reason())))?;
        line("route", Some(printable(&format!("{}, by {}", plan.route, plan.strategy))))?;
        line("rule", plan.rule.as_deref().map(printable))?;
        line("arm", self.0.arm().map(|arm| printable(arm)))?;
        line(
            "complexity",
            plan.complexity.map(|complexity| match &self.0.judgement {
                Some(because) => printable(because),
                None => complexity.to_owned(),
            }),
        )?;
        line("cost", chosen.and_then(|it| it.cost).map(|cost| format!("about {cost} USD")))?;
        let latency = chosen.and_then(|chosen| chosen.latency);
        line("latency", latency.map(|it| format!("95 of 100 within {} ms {of}", it.as_millis())))?;
        line("confidence", Some(plan.confidence.to_string()))?;
        let header = ["", "target", "score", "USD", "ms", "samples", "why here"].map(str::to_owned);
        let mut rows = vec![header];
        rows.extend(plan.candidates.iter().zip(1..).map(|(one, nth)| row(one, nth)));
        f.write_char('\n')?;
        columns(f, &rows)?;
        if !plan.rejected.is_empty() {
            f.write_str("\npassed over\n")?;
            let rejected = plan.rejected.iter().map(|one| {
                let target = format!("{}, key {}", one.target, one.target.key());
                [String::new(), printable(&target), one.reason.to_owned()]
            });
            columns(f, &rejected.collect::<Vec<_>>())?;
        }
        Ok(())
    }
}

fn named(one: &Candidate) -> String {
    match &**one.target.key() {
        "default" => one.target.to_string(),
        key => format!("{}, key {key}", one.target),
    }
}

fn row(one: &Candidate, nth: usize) -> [String; 7] {
    let known = |text: Option<String>| text.unwrap_or_else(|| UNKNOWN.to_owned());
    [
        nth.to_string(),
        printable(&named(one)),
        known(one.score.map(|score| score.to_string())),
        known(one.cost.map(|cost| cost.to_string())),
        known(one.latency.map(|latency| latency.as_millis().to_string())),
        one.samples.to_string(),
        one.reason.to_owned(),
    ]
}

/// Names of models come from the request: none may write lines or colours of its own.
fn printable(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { '?' } else { c }).collect()
}

fn columns<const N: usize>(f: &mut fmt::Formatter<'_>, rows: &[[String; N]]) -> fmt::Result {
    let mut widths = [0; N];
    for row in rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.chars().count());
        }
    }
    for row in rows {
        let mut line = String::new();
        for (cell, width) in row.iter().zip(widths) {
            write!(line, "{cell:<width$}  ")?;
        }
        writeln!(f, "{}", line.trim_end())?;
    }
    Ok(())
}
