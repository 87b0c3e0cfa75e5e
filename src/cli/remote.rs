//! Subcommands that ask a running proxy: where it is, what it says, and how that is told.

use std::{
    fmt::Write as _,
    io::{IsTerminal, Write},
    process::ExitCode,
    time::Duration,
};

use anyhow::Context;
use bytes::Bytes;
use clap::Args;
use http::{HeaderValue, Method, Request, StatusCode, Uri, header};
use http_body_util::{BodyExt, Full, Limited};
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::TokioExecutor,
};
use serde_json::Value;

use super::USAGE;

/// Nothing of that is there.
const NOTHING: u8 = 3;
/// The token is missing or wrong.
const REFUSED: u8 = 4;

/// The longest that an answer may take.
const PATIENCE: Duration = Duration::from_secs(30);
/// The largest that one may be, in bytes.
const LARGEST: usize = 64 << 20;

/// Where the proxy is.
#[derive(Debug, Args)]
pub(super) struct Remote {
    /// The proxy's admin listener.
    #[arg(
        long,
        value_name = "URL",
        env = "TOLLWAY_ADMIN",
        default_value = "http://127.0.0.1:8081",
        global = true
    )]
    admin: String,
    /// The admin token; better given by the environment, as others can read a command line.
    #[arg(
        long,
        value_name = "TOKEN",
        env = "TOLLWAY_ADMIN_TOKEN",
        hide_env_values = true,
        global = true
    )]
    token: Option<String>,
    /// The answer as JSON, in place of a table.
    #[arg(long, global = true)]
    pub(super) json: bool,
}

/// What the API calls its errors.
const KINDS: [&str; 7] = [
    "bad_request",
    "unauthorized",
    "not_found",
    "method_not_allowed",
    "too_large",
    "conflict",
    "unavailable",
];

/// Names and values of a query.
#[derive(Debug, Default)]
pub(super) struct Asked {
    query: String,
    wanted: Option<&'static str>,
}

impl Asked {
    /// With this pair, if there is a value.
    pub(super) fn with(mut self, name: &str, value: Option<impl AsRef<str>>) -> Self {
        if let Some(value) = value {
            let sign = if self.query.is_empty() { '?' } else { '&' };
            let _ = write!(self.query, "{sign}{name}={}", encoded(value.as_ref()));
        }
        self
    }

    /// Somebody is asked for by name: an answer without any row in this list has nothing of that.
    pub(super) fn wanting(mut self, list: Option<&'static str>) -> Self {
        self.wanted = list;
        self
    }
}

/// A text as a part of a path or a query.
pub(super) fn encoded(text: &str) -> String {
    let mut encoded = String::new();
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-_.~".contains(&byte) {
            encoded.push(char::from(byte));
        } else {
            let _ = write!(encoded, "%{byte:02X}");
        }
    }
    encoded
}

impl Remote {
    /// Asks, and tells the answer as `told` has it, or as JSON.
    pub(super) fn get(
        &self,
        path: &str,
        asked: &Asked,
        told: impl FnOnce(&Value) -> String,
    ) -> anyhow::Result<ExitCode> {
        let path = format!("{path}{}", asked.query);
        let mut nothing = false;
        let code = self.ask(Method::GET, &path, None, |answer| {
            nothing = asked.wanted.is_some_and(|list| rows(answer, list).is_empty());
            told(answer)
        })?;
        if nothing {
            eprintln!("tollway: nothing of that is there");
            return Ok(ExitCode::from(NOTHING));
        }
        Ok(code)
    }

    /// The same with something to do.
    pub(super) fn post(
        &self,
        path: &str,
        body: &Value,
        told: impl FnOnce(&Value) -> String,
    ) -> anyhow::Result<ExitCode> {
        self.ask(Method::POST, path, Some(body), told)
    }

    /// Takes away what is asked for.
    pub(super) fn delete(
        &self,
        path: &str,
        asked: &Asked,
        told: impl FnOnce(&Value) -> String,
    ) -> anyhow::Result<ExitCode> {
        self.ask(Method::DELETE, &format!("{path}{}", asked.query), None, told)
    }

    fn ask(
        &self,
        method: Method,
        path: &str,
        body: Option<&Value>,
        told: impl FnOnce(&Value) -> String,
    ) -> anyhow::Result<ExitCode> {
        let request = match self.request(method, path, body) {
            Ok(request) => request,
            Err(wrong) => {
                eprintln!("tollway: {wrong}");
                return Ok(ExitCode::from(USAGE));
            }
        };
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let (status, text) = runtime.block_on(answer(request)).with_context(|| {
            format!("{}: no answer (is the proxy there? --admin says where)", self.admin)
        })?;
        let answer: Value = serde_json::from_slice(&text)
            .with_context(|| format!("{}: no admin API of Tollway ({status})", self.admin))?;
        if status.is_success() {
            let table = told(&answer);
            let shown = if self.json { format!("{answer:#}\n") } else { table };
            std::io::stdout().write_all(shown.as_bytes())?;
            return Ok(ExitCode::SUCCESS);
        }
        let kind = &answer["error"]["type"];
        let ours = kind.as_str().is_some_and(|kind| KINDS.contains(&kind));
        anyhow::ensure!(
            ours || answer["errors"].is_array(),
            "{}: no admin API of Tollway ({status}); if clients are served there, it is the wrong \
             port: the policy's `admin.listen` is the right one",
            self.admin
        );
        if self.json {
            std::io::stdout().write_all(format!("{answer:#}\n").as_bytes())?;
        } else {
            eprint!("{}", refusal(&answer, status));
        }
        Ok(match status {
            StatusCode::UNAUTHORIZED => ExitCode::from(REFUSED),
            StatusCode::NOT_FOUND => ExitCode::from(NOTHING),
            StatusCode::BAD_REQUEST | StatusCode::UNPROCESSABLE_ENTITY => ExitCode::from(USAGE),
            _ => ExitCode::FAILURE,
        })
    }

    fn request(
        &self,
        method: Method,
        path: &str,
        body: Option<&Value>,
    ) -> anyhow::Result<Request<Full<Bytes>>> {
        let base = self.admin.trim_end_matches('/');
        let base = if base.contains("://") { base.to_owned() } else { format!("http://{base}") };
        let uri: Uri = format!("{base}/admin/v1{path}")
            .parse()
            .with_context(|| format!("--admin: `{}` is no URL", self.admin))?;
        anyhow::ensure!(
            uri.scheme_str() == Some("http"),
            "--admin: `{}`: the admin listener speaks plain http; reach it by a tunnel",
            self.admin
        );
        let text = body.map(Value::to_string).unwrap_or_default();
        let mut request = Request::builder().method(method).uri(uri);
        if body.is_some() {
            request = request.header(header::CONTENT_TYPE, "application/json");
        }
        if let Some(token) = &self.token {
            let value = HeaderValue::from_str(&format!("Bearer {token}"));
            let mut value = value.context("--token holds what no header may hold")?;
            value.set_sensitive(true);
            request = request.header(header::AUTHORIZATION, value);
        }
        Ok(request.body(Full::new(text.into()))?)
    }
}

async fn answer(request: Request<Full<Bytes>>) -> anyhow::Result<(StatusCode, Bytes)> {
    let client = Client::builder(TokioExecutor::new()).build(HttpConnector::new());
    let asked = async {
        let reply = client.request(request).await?;
        let status = reply.status();
        let body = Limited::new(reply.into_body(), LARGEST).collect().await;
        let body = body.map_err(|error| anyhow::anyhow!("{error}"))?;
        Ok((status, body.to_bytes()))
    };
    tokio::time::timeout(PATIENCE, asked)
        .await
        .unwrap_or_else(|_| Err(anyhow::anyhow!("nothing for {} s", PATIENCE.as_secs())))
}

/// What went wrong, in words: the API's error, or the mistakes of a policy.
fn refusal(answer: &Value, status: StatusCode) -> String {
    if let Some(errors) = answer["errors"].as_array() {
        let shown = |error: &Value| match error["shown"].as_str() {
            Some(shown) => printable_lines(shown),
            None => format!("tollway: {}\n", cell(&error["message"])),
        };
        return errors.iter().map(shown).collect();
    }
    match answer["error"]["message"].as_str() {
        Some(message) => format!("tollway: {}\n", printable(message)),
        None => format!("tollway: {status}\n"),
    }
}

/// A text of several lines, of which none may write colours of its own.
pub(super) fn printable_lines(text: &str) -> String {
    text.lines().map(|line| printable(line) + "\n").collect()
}

/// Names come from requests: none may write lines or colours of its own.
pub(super) fn printable(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { '?' } else { c }).collect()
}

/// A value as a cell of a table; `-`: there is none.
pub(super) fn cell(value: &Value) -> String {
    match value {
        Value::Null => "-".into(),
        Value::String(text) if text.is_empty() => "-".into(),
        Value::String(text) => printable(text),
        Value::Bool(true) => "yes".into(),
        Value::Bool(false) => "no".into(),
        Value::Array(all) => all.iter().map(cell).collect::<Vec<_>>().join(", "),
        other => other.to_string(),
    }
}

/// The rows under `name`, which is a list.
pub(super) fn rows<'a>(answer: &'a Value, name: &str) -> &'a [Value] {
    answer[name].as_array().map_or(&[], |rows| rows)
}

/// Seconds as a person says them: `42s`, `3m 20s`, `5h 10m`, `12d 4h`.
pub(super) fn time(value: &Value) -> String {
    let Some(seconds) = value.as_f64() else { return "-".into() };
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "saturates")]
    let all = seconds.max(0.0).ceil() as u64;
    let units = [(86_400, 'd'), (3_600, 'h'), (60, 'm'), (1, 's')];
    let mut said = units.iter().filter_map(|(length, unit)| {
        let many = match length {
            86_400 => all / length,
            3_600 => all % 86_400 / length,
            60 => all % 3_600 / length,
            _ => all % 60,
        };
        (many > 0).then(|| format!("{many}{unit}"))
    });
    match (said.next(), said.next()) {
        (None, _) => "0s".into(),
        (Some(one), None) => one,
        (Some(one), Some(two)) => format!("{one} {two}"),
    }
}

/// A table with a head, its columns aligned; numbers to the right. Nothing in it: says so.
pub(super) fn table<const N: usize>(head: [&str; N], rows: &[[String; N]]) -> String {
    if rows.is_empty() {
        if std::io::stdout().is_terminal() {
            eprintln!("nothing there");
        }
        return String::new();
    }
    let head = head.map(str::to_owned);
    let mut widths = [0; N];
    let mut numbers = [true; N];
    for row in std::iter::once(&head).chain(rows) {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.chars().count());
        }
    }
    for row in rows {
        for (number, cell) in numbers.iter_mut().zip(row) {
            *number &= cell == "-" || cell.parse::<f64>().is_ok();
        }
    }
    let mut text = String::new();
    for row in std::iter::once(&head).chain(rows) {
        let mut line = String::new();
        for ((cell, width), number) in row.iter().zip(widths).zip(numbers) {
            let _ = match number {
                true => write!(line, "{cell:>width$}  "),
                false => write!(line, "{cell:<width$}  "),
            };
        }
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
}

/// Cells as CSV: quoted where they need it, and never a formula for a spreadsheet.
pub(super) fn csv(head: &[&str], rows: &[Vec<String>]) -> String {
    let field = |text: &str| {
        let text = match text.chars().next() {
            Some('=' | '+' | '-' | '@') if text.parse::<f64>().is_err() => format!("'{text}"),
            _ => text.to_owned(),
        };
        if text.contains([',', '"', '\n', '\r']) {
            format!("\"{}\"", text.replace('"', "\"\""))
        } else {
            text
        }
    };
    let mut all = head.join(",") + "\n";
    for row in rows {
        let fields: Vec<_> = row.iter().map(|text| field(text)).collect();
        all += &(fields.join(",") + "\n");
    }
    all
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn queries_are_encoded() {
        let asked = Asked::default().with("user", Some("a b&c/ü")).with("key", None::<&str>);
        let asked = asked.with("all", Some("true"));
        assert_eq!(asked.query, "?user=a%20b%26c%2F%C3%BC&all=true");
    }

    #[test]
    fn tables_are_aligned_and_hold_no_controls() {
        let rows = [[cell(&json!("an\u{1b}n")), cell(&json!(7))], ["b".into(), cell(&json!(1200))]];
        assert_eq!(table(["user", "used"], &rows), "user  used\nan?n     7\nb     1200\n");
        assert_eq!(table(["user"], &[]), "");
    }

    #[test]
    fn times_are_said_in_two_units() {
        for (seconds, said) in
            [(0.0, "0s"), (0.2, "1s"), (200.0, "3m 20s"), (3_600.0, "1h"), (1_051_200.0, "12d 4h")]
        {
            assert_eq!(time(&json!(seconds)), said);
        }
        assert_eq!(time(&Value::Null), "-");
    }

    #[test]
    fn csv_is_quoted_and_no_formula() {
        let rows = [vec!["a,\"b\"".to_owned(), "-1".to_owned()], vec!["=1+1".into(), "x".into()]];
        assert_eq!(csv(&["n", "m"], &rows), "n,m\n\"a,\"\"b\"\"\",-1\n'=1+1,x\n");
    }
}
