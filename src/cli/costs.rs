use std::process::ExitCode;

use clap::{Args, ValueEnum};
use serde_json::Value;

use super::remote::{Asked, Remote, cell, csv, printable, rows, table};

#[derive(Debug, Args)]
pub(super) struct CostsArgs {
    #[command(flatten)]
    remote: Remote,
    /// One row for each.
    #[arg(long, value_enum, default_value_t = By::User)]
    by: By,
    /// From this day (2026-11-22) or month (2026-11) on [default: the present month].
    #[arg(long, value_name = "DATE")]
    from: Option<String>,
    /// To this day or month, with it.
    #[arg(long, value_name = "DATE")]
    to: Option<String>,
    /// Comma-separated values, without the projection.
    #[arg(long, conflicts_with = "json")]
    csv: bool,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum By {
    All,
    User,
    Key,
    Provider,
    Model,
    Tag,
    Day,
    Month,
}

const FIELDS: [&str; 9] = [
    "name",
    "requests",
    "estimated",
    "unpriced",
    "input_tokens",
    "cached_tokens",
    "output_tokens",
    "reasoning_tokens",
    "cost_usd",
];

pub(super) fn run(args: &CostsArgs) -> anyhow::Result<ExitCode> {
    let by = args.by.to_possible_value();
    let query = Asked::default()
        .with("by", by.as_ref().map(|by| by.get_name()))
        .with("from", args.from.as_deref())
        .with("to", args.to.as_deref());
    args.remote.get("/costs", &query, |answer| match args.csv {
        true => {
            let cells = |row: &Value| FIELDS.iter().map(|field| raw(&row[*field])).collect();
            csv(&FIELDS, &rows(answer, "rows").iter().map(cells).collect::<Vec<_>>())
        }
        false => shown(answer),
    })
}

fn raw(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), printable)
}

fn shown(answer: &Value) -> String {
    let by = cell(&answer["by"]);
    let row = |name: String, row: &Value| {
        let [requests, input, cached, output, cost] =
            ["requests", "input_tokens", "cached_tokens", "output_tokens", "cost_usd"]
                .map(|field| cell(&row[field]));
        [name, requests, input, cached, output, cost]
    };
    let mut all: Vec<_> = rows(answer, "rows")
        .iter()
        .filter(|row| row["name"] != "")
        .map(|one| row(cell(&one["name"]), one))
        .collect();
    all.push(row("total".into(), &answer["total"]));
    let head = [&*by, "requests", "input", "cached", "output", "USD"];
    let mut text = format!("{} to {}\n\n", cell(&answer["from"]), cell(&answer["to"]));
    text += &table(head, &all);
    let unpriced = answer["total"]["unpriced"].as_u64().unwrap_or_default();
    if unpriced > 0 {
        text += &format!("\n{unpriced} requests have no known price and are not in the USD.\n");
    }
    let projection = &answer["projection"];
    let [month, spent, expected, confidence, since] =
        ["month", "spent_usd", "expected_usd", "confidence", "since"]
            .map(|field| cell(&projection[field]));
    text += &format!(
        "\n{month}: {spent} USD spent, about {expected} USD by the end of the month \
         (confidence {confidence}: known since {since})\n"
    );
    text
}
