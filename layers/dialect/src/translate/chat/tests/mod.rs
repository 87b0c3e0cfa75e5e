#![allow(clippy::unwrap_used, clippy::panic)]

mod reading;
mod roundtrip;
mod samples;
mod streams;
mod writing;

use std::{fs, path::Path};

use bytes::Bytes;
use serde_json::Value;

use super::{Reader, Writer, read_request, write_request};
use crate::{
    BadRequest,
    json::Json,
    sse,
    translate::{
        Asked, Fit, Form, Losses, StreamReader, StreamWriter, Strictness,
        hub::{Event, Request, arbitrary::Collected},
        settle,
    },
};

fn sample(name: &str) -> Vec<u8> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/samples");
    fs::read(folder.join(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
}

fn asked(wants_usage: bool) -> Asked {
    Asked {
        form: Form::Chat,
        model: "M".into(),
        stream: true,
        wants_usage,
        sse: true,
        body: Bytes::new(),
        nonce: 7,
        now: 0,
    }
}

fn request(text: &str) -> Result<Request<'_>, BadRequest> {
    read_request(Json::read(text.as_bytes()).unwrap())
}

/// Settles and writes, and tells what got lost.
fn written(
    mut request: Request<'_>,
    client: Form,
    fit: &Fit,
) -> Result<(Value, String), BadRequest> {
    let strictness = Strictness { refuse_meaning: true, refuse_harmless: false };
    let mut losses = Losses::new(client, Form::Chat, strictness);
    settle::settle(&mut request, fit, &mut losses)?;
    let out = write_request(&mut request, fit, &mut losses)?;
    let out = serde_json::from_slice(&Json::Object(out).to_vec()).unwrap();
    settle::leftovers(request, &mut losses)?;
    let lost = losses.header().map(|header| header.to_str().unwrap().to_owned());
    Ok((out, lost.unwrap_or_default()))
}

/// Reads a stream as the frame does.
fn read_stream<'c>(chunks: impl IntoIterator<Item = &'c [u8]>) -> Collected {
    let mut parser = sse::Parser::new();
    let mut reader = Reader::default();
    let mut all = Collected::default();
    for chunk in chunks {
        let mut at = 0;
        while let Some(event) = parser.next(chunk, &mut at) {
            if let Some(data) = event.data {
                reader.read(event.name, data, &mut |event| all.see(event)).unwrap();
            }
        }
    }
    if let Some(data) = parser.finish().and_then(|event| event.data) {
        let whole = data == b"[DONE]" || serde_json::from_slice::<Value>(data).is_ok();
        if whole {
            reader.read(None, data, &mut |event| all.see(event)).unwrap();
        }
    }
    reader.end(&mut |event| all.see(event));
    all
}

fn write_stream<'a>(asked: &Asked, events: impl IntoIterator<Item = Event<'a>>) -> String {
    let mut writer = Writer::new(asked);
    let mut out = Vec::new();
    events.into_iter().for_each(|event| writer.write(event, &mut out));
    String::from_utf8(out).unwrap()
}

/// The data of a stream's events but for `[DONE]`.
fn chunks(stream: &str) -> Vec<Value> {
    let data = stream.split_terminator("\n\n").map(|event| event.strip_prefix("data: ").unwrap());
    data.filter(|data| *data != "[DONE]").map(|data| serde_json::from_str(data).unwrap()).collect()
}
