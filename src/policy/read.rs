//! From the tree to the policy as written: every wrong value becomes a diagnostic and reading goes on.

use std::collections::HashMap;

use schemars::{Schema, SchemaGenerator, json_schema};

use super::{
    diag::{Diagnostic, Diagnostics, line_of, looks_secret, masked, nearest, show},
    env::{Env, Unexpanded, expand},
    node::{Node, Span, Value},
};

/// Reads one file and collects what is wrong with it.
pub(super) struct Reader<'a> {
    pub(super) file: &'a str,
    pub(super) source: &'a str,
    pub(super) env: &'a Env<'a>,
    /// All keys and values of the file: hidden, unless they are open.
    closed: Vec<Span>,
    /// What may be shown: keys, and values that were read as something public.
    open: Vec<Span>,
    /// Secrets met so far: whatever holds one of them is masked as a whole.
    secrets: Vec<String>,
    found: Vec<Diagnostic>,
}

/// A value, and where it stands.
#[derive(Clone, Debug)]
pub(super) struct At<T> {
    pub(super) value: T,
    pub(super) span: Span,
    pub(super) path: String,
}

/// What can be read from a node. Whatever is wrong goes to the reader.
pub(super) trait Read: Sized {
    fn read(node: &Node, path: &str, reader: &mut Reader<'_>) -> Option<Self>;
    fn schema(generator: &mut SchemaGenerator) -> Schema;
}

/// What is written as a single value.
pub(super) trait Scalar: Sized {
    /// Completes 'expected ...'.
    const EXPECTED: &'static str;
    /// Names to suggest from, where there is a fixed set.
    const NAMES: &'static [&'static str] = &[];
    /// The value must not be shown.
    const SECRET: bool = false;
    /// `Err` completes '`text` ...'.
    fn parse(text: &str) -> Result<Self, String>;
    fn schema() -> Schema;
}

/// A message, and more on request.
pub(super) struct Said<'r, 'a> {
    reader: &'r mut Reader<'a>,
    index: usize,
}

impl Said<'_, '_> {
    pub(super) fn expected(self, text: impl Into<String>) -> Self {
        self.reader.found[self.index].expected = Some(text.into());
        self
    }

    pub(super) fn help(self, text: impl Into<String>) -> Self {
        self.reader.found[self.index].help = Some(text.into());
        self
    }

    /// Suggests the nearest of `names`, or lists them if they are few.
    pub(super) fn did_you_mean<'n>(
        self,
        name: &str,
        names: impl IntoIterator<Item = &'n str> + Clone,
    ) -> Self {
        if let Some(near) = nearest(name, names.clone()) {
            return self.help(format!("did you mean `{near}`?"));
        }
        let names: Vec<&str> = names.into_iter().collect();
        match names.len() {
            1..=12 => self.help(format!("there is {}", quoted(&names))),
            _ => self,
        }
    }
}

fn quoted(names: &[&str]) -> String {
    names.iter().map(|name| format!("`{}`", show(name))).collect::<Vec<_>>().join(", ")
}

impl<'a> Reader<'a> {
    pub(super) fn new(file: &'a str, source: &'a str, env: &'a Env<'a>) -> Self {
        Self { file, source, env, closed: vec![], open: vec![], secrets: vec![], found: vec![] }
    }

    pub(super) fn error(
        &mut self,
        span: Span,
        path: &str,
        message: impl Into<String>,
    ) -> Said<'_, 'a> {
        self.found.push(Diagnostic {
            file: self.file.into(),
            line: span.line,
            column: span.column,
            path: path.into(),
            message: message.into(),
            expected: None,
            help: None,
            // Byte range for now; `finish` puts the text here when all secrets are known.
            text: format!("{} {}", span.start, span.end),
            width: 1,
        });
        Said { index: self.found.len() - 1, reader: self }
    }

    /// An error at a value that was read.
    pub(super) fn wrong<T>(&mut self, at: &At<T>, message: impl Into<String>) -> Said<'_, 'a> {
        self.error(at.span, &at.path, message)
    }

    /// An error of the YAML itself: there are no values yet, so only keys can be shown.
    pub(super) fn syntax(&mut self, mut span: Span, why: &str) {
        let before: usize =
            self.source.split_inclusive('\n').take(span.line.saturating_sub(1)).map(str::len).sum();
        let line =
            self.source.get(before..).and_then(|rest| rest.lines().next()).unwrap_or_default();
        let key = line.find(':').map_or(0, |colon| colon + 1);
        let inside =
            line.char_indices().nth(span.column.saturating_sub(1)).map_or(line.len(), |(at, _)| at);
        (span.start, span.end) = (before + inside, before + inside);
        self.closed.push(Span { start: before + key, end: before + line.len(), ..span });
        if looks_secret(line) {
            self.closed.push(Span { start: before, end: before + key, ..span });
        }
        let why = why.split(" at line ").next().unwrap_or_default();
        let message = if looks_secret(why) {
            "the YAML is broken here".into()
        } else {
            format!("the YAML is broken here: {why}")
        };
        self.error(span, "", message);
    }

    /// How many errors there are by now.
    pub(super) fn count(&self) -> usize {
        self.found.len()
    }

    /// Hides every value until it is read as something public.
    pub(super) fn close(&mut self, node: &Node) {
        match &node.value {
            Value::Null => {}
            Value::Plain | Value::Text(_) => self.closed.push(node.span),
            Value::List(items) => items.iter().for_each(|item| self.close(item)),
            Value::Map(entries) => entries.iter().for_each(|(key, value)| {
                self.closed.push(key.span);
                self.close(value);
            }),
        }
    }

    /// Whether something was told about exactly this place.
    pub(super) fn told_at(&self, path: &str) -> bool {
        self.found.iter().any(|one| one.path == path)
    }

    /// Whether something inside this part was told already.
    pub(super) fn told_under(&self, path: &str) -> bool {
        self.found
            .iter()
            .any(|one| one.path.strip_prefix(path).is_some_and(|rest| rest.starts_with(['.', '['])))
    }

    /// A value as the file has it, for messages: never what a variable stood for.
    pub(super) fn quote<T>(&self, at: &At<T>) -> String {
        self.raw(at.span)
    }

    fn raw(&self, span: Span) -> String {
        let raw = self.source.get(span.start..span.end).unwrap_or_default();
        let raw = raw.trim();
        let inner = raw
            .strip_prefix('"')
            .and_then(|raw| raw.strip_suffix('"'))
            .or_else(|| raw.strip_prefix('\'').and_then(|raw| raw.strip_suffix('\'')));
        show(inner.unwrap_or(raw))
    }

    /// `None`: nothing was wrong.
    pub(super) fn finish(mut self) -> Option<Diagnostics> {
        let found = std::mem::take(&mut self.found);
        let found: Vec<Diagnostic> = found.into_iter().map(|one| self.complete(one)).collect();
        (!found.is_empty()).then(|| Diagnostics::new(found))
    }

    /// The whole file as it may be shown: comments are left out, and what was not read as something
    /// public is stars.
    pub(super) fn shown(&self) -> String {
        // Marked once, byte by byte: a file may have many thousands of values.
        let marked = |spans: &[Span]| {
            let mut marks = vec![false; self.source.len()];
            for span in spans {
                marks.get_mut(span.start..span.end).unwrap_or_default().fill(true);
            }
            marks
        };
        let (values, shown) = (marked(&self.closed), marked(&self.open));
        let is = |marks: &[bool], at: usize| marks.get(at).copied().unwrap_or_default();
        let value = |at: usize| is(&values, at);
        let open = |at: usize| is(&shown, at) || !value(at);
        let (mut text, mut start) = (String::with_capacity(self.source.len()), 0);
        for line in self.source.split_inclusive('\n') {
            let bare = line.trim_end_matches(['\n', '\r']);
            let shown = masked(bare, start, value, open);
            // A line that was a comment alone is none.
            if !shown.is_empty() || bare.trim().is_empty() {
                text.push_str(&shown);
                text.push('\n');
            }
            start += line.len();
        }
        self.mask(&mut text);
        text
    }

    /// Puts the line's text in, masked.
    fn complete(&self, mut one: Diagnostic) -> Diagnostic {
        let range = one.text.split_once(' ').map(|(a, b)| (a.parse(), b.parse()));
        let Some((Ok(start), Ok(end))) = range else { return one };
        let span = Span { start, end, line: one.line, column: one.column };
        let within =
            |spans: &[Span], at: usize| spans.iter().any(|span| span.start <= at && at < span.end);
        let open = |at: usize| within(&self.open, at) || !within(&self.closed, at);
        (one.text, one.width) = line_of(self.source, span, |at| within(&self.closed, at), open);
        for part in
            [Some(&mut one.message), Some(&mut one.path), Some(&mut one.text), one.help.as_mut()]
                .into_iter()
                .flatten()
        {
            self.mask(part);
        }
        one
    }

    /// The last resort: no known secret leaves, wherever it was repeated.
    fn mask(&self, text: &mut String) {
        for secret in &self.secrets {
            if text.contains(secret.as_str()) {
                *text = text.replace(secret.as_str(), &"*".repeat(secret.chars().count()));
            }
        }
    }

    /// Allows a value's text to be shown, unless it looks like a credential.
    fn allow(&mut self, span: Span) {
        let text = self.source.get(span.start..span.end).unwrap_or_default();
        if !looks_secret(text) {
            self.open.push(span);
        }
    }

    /// The text of a single value, variables replaced.
    pub(super) fn scalar(
        &mut self,
        node: &Node,
        path: &str,
        expected: &str,
        secret: bool,
    ) -> Option<String> {
        let raw = match &node.value {
            Value::Text(text) => text.clone(),
            Value::Plain => self.source.get(node.span.start..node.span.end)?.to_owned(),
            Value::Null => {
                self.error(node.span, path, "there is no value here").expected(expected);
                return None;
            }
            _ => {
                let kind = node.kind();
                self.error(node.span, path, format!("{kind} where a single value belongs"))
                    .expected(expected);
                return None;
            }
        };
        if secret {
            // What is written as `${NAME:-default}` may hold a secret as default.
            let default = raw.split_once(":-").map(|(_, rest)| rest.trim_end_matches('}'));
            self.hide(default.unwrap_or(&raw));
            if default.is_none() && raw.starts_with("${") {
                self.allow(node.span);
            }
        } else {
            self.allow(node.span);
        }
        match expand(&raw, self.env) {
            Ok(text) => Some(text),
            Err(why) => {
                let _ = match why {
                    Unexpanded::Open => self.error(node.span, path, "`${` is never closed"),
                    Unexpanded::Name => self.error(node.span, path, "`${...}` holds no name of a variable"),
                    Unexpanded::Unset(name) => self.error(
                        node.span,
                        path,
                        format!("the environment variable `{}` is not set", show(&name)),
                    ),
                }
                .help("set the variable, or give a default: `${NAME:-default}`; a plain `${` is written `$${`");
                None
            }
        }
    }

    /// Remembers a secret for masking. Short ones would mask half the file.
    pub(super) fn hide(&mut self, secret: &str) {
        let reference = secret.starts_with("${") || secret.starts_with("file:");
        if secret.len() >= 4 && !reference && !self.secrets.iter().any(|known| known == secret) {
            self.secrets.push(secret.to_owned());
        }
    }

    /// The entries of a section, duplicates told. A section that is empty has none.
    pub(super) fn entries<'n>(
        &mut self,
        node: &'n Node,
        path: &str,
        expected: &str,
    ) -> Option<Vec<(&'n str, Span, &'n Node)>> {
        let entries = match &node.value {
            Value::Null => return Some(vec![]),
            Value::Map(entries) => entries,
            _ => {
                let kind = node.kind();
                self.error(node.span, path, format!("{kind} where a section with keys belongs"))
                    .expected(expected);
                return None;
            }
        };
        let mut seen: HashMap<&str, usize> = HashMap::new();
        let mut all = Vec::with_capacity(entries.len());
        for (key, value) in entries {
            self.allow(key.span);
            if let Some(line) = seen.insert(&key.name, key.span.line) {
                let message = format!("the key `{}` stands here twice", show(&key.name));
                self.error(key.span, &join(path, &key.name), message)
                    .help(format!("it stands in line {line} already; keep one"));
                continue;
            }
            all.push((key.name.as_str(), key.span, value));
        }
        Some(all)
    }

    /// Tells a key that a section does not know, and gives the one that may be meant.
    pub(super) fn unknown_key<'k>(
        &mut self,
        key: &str,
        span: Span,
        path: &str,
        keys: &[&'k str],
    ) -> Option<&'k str> {
        let message = format!("unknown key `{}`", show(key));
        let said = self.error(span, &join(path, key), message);
        let near = nearest(key, keys.iter().copied());
        match near {
            Some(near) => said.help(format!("did you mean `{near}`?")),
            None => said.expected(format!("one of {}", quoted(keys))),
        };
        near
    }
}

pub(super) fn join(path: &str, key: &str) -> String {
    let key = show(key);
    if path.is_empty() { key } else { format!("{path}.{key}") }
}

impl<T: Read> At<T> {
    pub(super) fn read(node: &Node, path: &str, reader: &mut Reader<'_>) -> Option<Self> {
        let value = T::read(node, path, reader)?;
        Some(Self { value, span: node.span, path: path.into() })
    }
}

impl<T: Scalar> Read for T {
    fn read(node: &Node, path: &str, reader: &mut Reader<'_>) -> Option<Self> {
        let text = reader.scalar(node, path, T::EXPECTED, T::SECRET)?;
        match T::parse(text.trim()) {
            Ok(value) => Some(value),
            Err(why) => {
                let raw = if T::SECRET { "****".into() } else { reader.raw(node.span) };
                let said = reader.error(node.span, path, format!("`{raw}` {why}"));
                match nearest(&raw, T::NAMES.iter().copied()) {
                    Some(near) => {
                        said.expected(T::EXPECTED).help(format!("did you mean `{near}`?"))
                    }
                    None => said.expected(T::EXPECTED),
                };
                None
            }
        }
    }

    /// Anything single can also be written with a variable in it.
    fn schema(_: &mut SchemaGenerator) -> Schema {
        let own = <T as Scalar>::schema();
        json_schema!({ "anyOf": [own, { "type": "string", "pattern": "\\$\\{[A-Za-z_]" }] })
    }
}

/// One value, or a list of them.
#[derive(Clone, Debug)]
pub(super) struct OneOrMany<T>(pub(super) Vec<At<T>>);

impl<T: Read> Read for OneOrMany<T> {
    fn read(node: &Node, path: &str, reader: &mut Reader<'_>) -> Option<Self> {
        match &node.value {
            Value::List(_) => List::read(node, path, reader).map(|list: List<T>| Self(list.0)),
            _ => At::read(node, path, reader).map(|one| Self(vec![one])),
        }
    }

    fn schema(generator: &mut SchemaGenerator) -> Schema {
        let one = T::schema(generator);
        json_schema!({ "anyOf": [one, { "type": "array", "items": one, "minItems": 1 }] })
    }
}

/// A list; what could not be read is left out (and was told).
#[derive(Clone, Debug)]
pub(super) struct List<T>(pub(super) Vec<At<T>>);

impl<T: Read> Read for List<T> {
    fn read(node: &Node, path: &str, reader: &mut Reader<'_>) -> Option<Self> {
        let items: &[Node] = match &node.value {
            Value::List(items) => items,
            Value::Null => &[],
            _ => {
                let kind = node.kind();
                reader
                    .error(node.span, path, format!("{kind} where a list belongs"))
                    .expected("a list: `[one, two]`, or a line with `- ` for each");
                return None;
            }
        };
        let read = items
            .iter()
            .enumerate()
            .filter_map(|(index, item)| At::read(item, &format!("{path}[{index}]"), reader));
        Some(Self(read.collect()))
    }

    fn schema(generator: &mut SchemaGenerator) -> Schema {
        let item = T::schema(generator);
        json_schema!({ "type": "array", "items": item })
    }
}

/// A section whose keys are names of the author's own. An entry whose value could not be read
/// stays, so that what refers to its name is not told as wrong too.
#[derive(Clone, Debug)]
pub(super) struct Named<T>(pub(super) Vec<(At<String>, Option<At<T>>)>);

impl<T: Read> Read for Named<T> {
    fn read(node: &Node, path: &str, reader: &mut Reader<'_>) -> Option<Self> {
        let entries = reader.entries(node, path, "a section: a name and its value on each line")?;
        let read = entries.into_iter().map(|(name, span, value)| {
            let path = join(path, name);
            let value = At::read(value, &path, reader);
            (At { value: name.to_owned(), span, path }, value)
        });
        Some(Self(read.collect()))
    }

    fn schema(generator: &mut SchemaGenerator) -> Schema {
        let value = T::schema(generator);
        json_schema!({ "type": "object", "additionalProperties": value })
    }
}
