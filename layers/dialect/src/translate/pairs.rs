//! Every cell of the table of forms, against files that were read by people: what goes in stands
//! in `tests/samples/pairs/FORM/`, what has to come out in `tests/samples/pairs/FROM-TO/`.
//! `UPDATE=1` writes the latter anew; read the difference before you commit it.

use std::{fs, path::PathBuf};

use super::{Asked, Fit, Form, Stream, Strictness, crossing::cells, reply, request};

const LENIENT: Strictness = Strictness { refuse_meaning: false, refuse_harmless: false };

fn pairs() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/samples/pairs")
}

pub(super) fn input(form: Form, name: &str) -> Vec<u8> {
    let path = pairs().join(form.as_str()).join(name);
    fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn compare((from, to): (Form, Form), name: &str, found: &str) {
    let path = pairs().join(format!("{from}-{to}")).join(name);
    let bless = std::env::var_os("UPDATE").is_some();
    if bless {
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, found).unwrap();
    }
    let expected = fs::read_to_string(&path).unwrap_or_default();
    assert_eq!(found, expected, "{}", path.display());
}

fn pretty(json: &[u8]) -> String {
    let value: serde_json::Value = serde_json::from_slice(json).unwrap();
    serde_json::to_string_pretty(&value).unwrap() + "\n"
}

fn asked(form: Form, body: Vec<u8>) -> Asked {
    let mut asked = Asked::new(form, "M", body);
    asked.wants_usage = true;
    asked.nonce = 0x5eed;
    asked.now = 1_795_000_000;
    asked
}

/// A target that takes all that its form has, and demands what some of its models demand.
fn fit(to: Form) -> Fit {
    let mut fit = Fit::new(to);
    fit.needs_signature = true;
    fit
}

#[test]
fn requests() {
    for cell in cells() {
        for name in ["tools", "schema"] {
            let file = format!("{name}.request.json");
            let asked = asked(cell.0, input(cell.0, &file));
            let sent = request(&asked, "target-model", &fit(cell.1), LENIENT).unwrap();
            let dropped = sent.dropped.as_ref().map_or("", |names| names.to_str().unwrap());
            let text = format!("// dropped: {dropped}\n{}", pretty(&sent.body));
            compare(cell, &format!("{name}.request.jsonc"), &text);
        }
    }
}

#[test]
fn replies() {
    for (client, provider) in cells() {
        let asked = asked(client, input(client, "tools.request.json"));
        let told = reply(&input(provider, "reply.json"), provider, &asked).unwrap();
        compare((provider, client), "reply.json", &pretty(&told));
    }
}

#[test]
fn streams() {
    for (client, provider) in cells() {
        let asked = asked(client, input(client, "tools.request.json"));
        let body = input(provider, "stream.sse");
        let whole = streamed(&asked, provider, [&body[..]]);
        compare((provider, client), "stream.sse", &whole);
        // However it is cut.
        assert_eq!(streamed(&asked, provider, body.chunks(1)), whole);
        for cut in (1..body.len()).step_by(17) {
            let (before, after) = body.split_at(cut);
            assert_eq!(streamed(&asked, provider, [before, after]), whole, "{cut}");
        }
    }
}

fn streamed<'a>(
    asked: &Asked,
    provider: Form,
    chunks: impl IntoIterator<Item = &'a [u8]>,
) -> String {
    let mut stream = Stream::new(provider, asked);
    let mut out = Vec::new();
    for chunk in chunks {
        stream.feed(chunk, &mut out);
    }
    stream.finish(&mut out);
    String::from_utf8(out).unwrap()
}

#[test]
fn a_stream_that_breaks_off_is_not_ended() {
    for (client, provider) in cells() {
        let asked = asked(client, input(client, "tools.request.json"));
        let body = input(provider, "stream.sse");
        let end = body.len() * 2 / 3;
        let told = streamed(&asked, provider, [&body[..end]]);
        for end in ["[DONE]", "message_stop", "response.completed", "finishReason\":\"STOP"] {
            assert!(!told.contains(end), "{provider} to {client}: {told}");
        }
    }
}
