//! Models, moderations, images and audio.

use std::time::Duration;

use bytes::Bytes;
use serde_json::{Value, json};

use super::{
    super::{
        State,
        future::{Answer, Exchange},
        text::{Generated, message_tokens},
    },
    Outcome, admit,
    error::Error,
    multipart,
    request::Ask,
    whole,
    write::{self, CREATED},
};

const JSON: &str = "application/json";
/// A PNG of one pixel.
const PIXEL: &str = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNkYPhfDwAChwGA60e6kgAAAABJRU5ErkJggg==";
/// What the list of models shows; any other name is answered too.
const MODELS: [&str; 10] = [
    "gpt-4o",
    "gpt-4o-mini",
    "gpt-4.1",
    "gpt-5.4",
    "gpt-5.4-mini",
    "text-embedding-3-small",
    "text-embedding-3-large",
    "omni-moderation-latest",
    "gpt-4o-transcribe",
    "gpt-image-1",
];

fn model_object(name: &str) -> Value {
    json!({"id": name, "object": "model", "created": CREATED, "owned_by": "simulated"})
}

/// `GET /models`
pub(super) fn models(x: &Exchange) -> Answer {
    let data: Vec<Value> = MODELS.iter().map(|name| model_object(name)).collect();
    whole(x, JSON, write::json(&json!({"object": "list", "data": data})), 0, 0)
}

/// `GET /models/{name}`
pub(super) fn model(x: &Exchange, name: &str) -> Answer {
    whole(x, JSON, write::json(&model_object(name)), 0, 0)
}

/// `POST /moderations`
pub(super) fn moderations(state: &State, x: &mut Exchange) -> Outcome {
    const CATEGORIES: [&str; 13] = [
        "harassment",
        "harassment/threatening",
        "hate",
        "hate/threatening",
        "illicit",
        "illicit/violent",
        "self-harm",
        "self-harm/instructions",
        "self-harm/intent",
        "sexual",
        "sexual/minors",
        "violence",
        "violence/graphic",
    ];
    let ask = Ask::read(&x.body)?;
    let model = ask.model().unwrap_or("omni-moderation-latest");
    let items = ask.items("input")?;
    let tokens = ask.input_tokens();
    let levels = admit(state, x, model, tokens)?;
    let each = |value: Value| -> Value {
        CATEGORIES.iter().map(|name| ((*name).to_owned(), value.clone())).collect()
    };
    let result = json!({
        "flagged": false,
        "categories": each(json!(false)),
        "category_scores": each(json!(0.00001)),
        "category_applied_input_types": each(json!(["text"])),
    });
    let results = vec![result; items.len()];
    let body = json!({"id": x.id("modr-"), "model": model, "results": results});
    Ok(whole(x, JSON, write::json(&body), 0, tokens).with_levels(&levels))
}

/// `POST /images/generations`, and edits and variations, which are forms.
pub(super) fn images(state: &State, x: &mut Exchange) -> Outcome {
    let form = multipart::parts(&x.parts.headers, &x.body).unwrap_or_default();
    let field = |name: &str| {
        let part = form.iter().find(|part| part.name == name && part.file.is_none());
        part.and_then(|part| std::str::from_utf8(part.content).ok())
    };
    let (n, tokens, as_url) = if form.is_empty() {
        let ask = Ask::read(&x.body)?;
        ask.items("prompt")?;
        let options: Value = serde_json::from_slice(&x.body).unwrap_or_default();
        (ask.choices(), ask.input_tokens(), options["response_format"] == "url")
    } else {
        let n = field("n").and_then(|n| n.parse().ok()).unwrap_or(1u32).clamp(1, 10);
        (
            n,
            message_tokens(field("prompt").map_or(0, str::len)),
            field("response_format") == Some("url"),
        )
    };
    let levels = admit(state, x, "gpt-image-1", tokens)?;
    let image = if as_url {
        json!({"url": format!("data:image/png;base64,{PIXEL}")})
    } else {
        json!({"b64_json": PIXEL})
    };
    let output = u64::from(n) * 16;
    let body = json!({
        "created": CREATED,
        "data": vec![image; n as usize],
        "usage": {
            "input_tokens": tokens,
            "input_tokens_details": {"text_tokens": tokens, "image_tokens": 0},
            "output_tokens": output,
            "total_tokens": tokens + output,
        },
    });
    Ok(whole(x, JSON, write::json(&body), 0, tokens + output).with_levels(&levels))
}

/// `POST /audio/transcriptions` and `/audio/translations`: the upload is read and counted.
pub(super) fn transcriptions(state: &State, x: &mut Exchange) -> Outcome {
    let form = multipart::parts(&x.parts.headers, &x.body).ok_or_else(|| {
        Box::new(
            Error::invalid("Expected a multipart/form-data body with a 'file' part.").param("file"),
        )
    })?;
    let field = |name: &str| {
        let part = form.iter().find(|part| part.name == name && part.file.is_none());
        part.and_then(|part| std::str::from_utf8(part.content).ok())
    };
    let Some(model) = field("model") else {
        return Err(Box::new(Error::invalid("you must provide a model parameter")));
    };
    let Some(file) = form.iter().find(|part| part.file.is_some()) else {
        return Err(Box::new(Error::invalid("Missing required parameter: 'file'.").param("file")));
    };
    let complete = x.received == x.body.len() as u64;
    let size = if complete { file.content.len() as u64 } else { x.received };
    let text = format!("Simulated transcript of {} ({size} bytes).", file.file.unwrap_or("audio"));
    // Audio counts as a token for each kilobyte.
    let (input, output) = (size.div_ceil(1024), text.split(' ').count() as u64);
    let levels = admit(state, x, model, input + output)?;
    let usage = json!({
        "type": "tokens",
        "input_tokens": input,
        "input_token_details": {"audio_tokens": input, "text_tokens": 0},
        "output_tokens": output,
        "total_tokens": input + output,
    });
    let plain = "text/plain; charset=utf-8";
    let (kind, body) = match field("response_format") {
        Some("text") => (plain, Bytes::from(format!("{text}\n"))),
        Some("srt") => {
            (plain, Bytes::from(format!("1\n00:00:00,000 --> 00:00:01,000\n{text}\n\n")))
        }
        Some("vtt") => {
            let vtt = format!("WEBVTT\n\n00:00:00.000 --> 00:00:01.000\n{text}\n\n");
            (plain, Bytes::from(vtt))
        }
        Some("verbose_json") => {
            let body = json!({
                "task": "transcribe", "language": "english", "duration": 1.0, "text": text,
                "segments": [], "usage": {"type": "duration", "seconds": 1},
            });
            (JSON, write::json(&body))
        }
        _ => (JSON, write::json(&json!({"text": text, "usage": usage}))),
    };
    Ok(whole(x, kind, body, output, input + output).with_levels(&levels))
}

/// `POST /audio/speech`: bytes that begin as an MP3 does.
pub(super) fn speech(state: &State, x: &mut Exchange) -> Outcome {
    let body = x.body.clone();
    let ask = Ask::read(&body)?;
    let model = ask.model()?;
    ask.items("input")?;
    let tokens = ask.input_tokens();
    let levels = admit(state, x, model, tokens)?;
    let mut sound = b"ID3\x04\x00\x00\x00\x00\x00\x00".to_vec();
    let noise = Generated::words("", 512, None, &mut x.random);
    sound.extend(noise.text.bytes().map(|byte| byte.wrapping_mul(73)));
    let mut answer = whole(x, "audio/mpeg", Bytes::from(sound), 0, tokens).with_levels(&levels);
    answer.work = Duration::ZERO;
    Ok(answer)
}
