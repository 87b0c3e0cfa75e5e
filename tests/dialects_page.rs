//! docs/dialects.md tells what translation keeps, refuses and drops; its tables are written from
//! the table that translation itself goes by.

use std::fmt::Write as _;

use tollway_dialect::translate::{Form, Loss, TABLE};

const PAGE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/dialects.md");

fn begin(table: &str) -> String {
    format!("<!-- {table}: written by tests/dialects_page.rs -->\n")
}

const END: &str = "<!-- end -->";

/// Every cell of client by provider: what is refused, what is dropped.
fn cells() -> String {
    let mut out = String::from("| client \\ provider |");
    for to in Form::ALL {
        let _ = write!(out, " {to} |");
    }
    out += "\n|---|---|---|---|---|\n";
    for from in Form::ALL {
        let _ = write!(out, "| **{from}** |");
        for to in Form::ALL {
            if from == to {
                out += " byte for byte |";
                continue;
            }
            let lost = |loss: Loss| {
                let rows = TABLE.iter().filter(|row| row.loss == loss);
                let names = rows.filter(|row| row.field.name(to).is_none());
                let names: Vec<String> = names
                    .filter_map(|row| row.field.name(from).map(|name| format!("`{name}`")))
                    .collect();
                if names.is_empty() { "nothing".to_owned() } else { names.join(", ") }
            };
            let (refused, dropped) = (lost(Loss::Meaning), lost(Loss::Harmless));
            let _ = write!(out, " refused: {refused}; dropped: {dropped} |");
        }
        out += "\n";
    }
    out
}

/// Every field by form.
fn fields() -> String {
    let mut out = String::from(
        "| | chat | responses | messages | generate | without a counterpart |\n|---|---|---|---|---|---|\n",
    );
    for row in &TABLE {
        let name = row.field.to_name().replace('_', " ");
        let _ = write!(out, "| {name} |");
        for form in Form::ALL {
            match row.field.name(form) {
                Some(name) => {
                    let _ = write!(out, " `{name}` |");
                }
                None => out += " |",
            }
        }
        let loss = match row.loss {
            Loss::Meaning => "refused",
            Loss::Harmless => "dropped, and told",
        };
        let _ = writeln!(out, " {loss} |");
    }
    out
}

/// `UPDATE=1` writes the page anew.
#[test]
fn the_page_tells_what_translation_does() {
    let page = std::fs::read_to_string(PAGE).unwrap();
    let mut written = page.clone();
    for (name, table) in [("cells", cells()), ("fields", fields())] {
        let begin = begin(name);
        let start = written.find(&begin).expect("the page has a place for the table") + begin.len();
        let end = start + written[start..].find(END).expect("the table has an end");
        written.replace_range(start..end, &table);
    }
    if std::env::var_os("UPDATE").is_some() {
        std::fs::write(PAGE, &written).unwrap();
        return;
    }
    assert!(
        page == written,
        "docs/dialects.md is not what it should be: run this test with UPDATE=1"
    );
}
