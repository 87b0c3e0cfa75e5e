//! Finding `model` in a form: a part of the body says nothing else than the whole, and a new model
//! takes the old one's place alone, whichever way the upload is cut.

use tollway_dialect::{
    AttemptConfig,
    multipart::{Model, boundary, model},
};

use super::{
    input,
    pipe::{Call, pass},
};

/// Sizes of chunks, then a content type up to the first line end, then the body.
pub fn check(data: &[u8]) {
    let (sizes, text) = input::sizes(data);
    let end = text.iter().position(|byte| *byte == b'\n').unwrap_or(text.len());
    let (content_type, body) = text.split_at(end);
    let body = body.get(1..).unwrap_or_default();
    let named = std::str::from_utf8(content_type).ok().and_then(boundary);
    if let Some(named) = named {
        assert!((1..=70).contains(&named.len()), "{named:?}");
    }
    let named = named.unwrap_or("B");
    parts_agree(body, named);
    built(content_type, body);
    let Ok(value) = http::HeaderValue::from_bytes(content_type) else { return };
    // Read from the header as it is sent, without the white space around it.
    let found = match value.to_str().ok().and_then(boundary) {
        Some(named) => match model(body, named) {
            Model::Found(span) => Some(span).filter(|span| utf8(&body[span.clone()])),
            _ => None,
        },
        None => None,
    };
    let mut expected = body.to_vec();
    if let Some(span) = found {
        expected.splice(span, *b"other-model");
    }
    for chunks in [vec![body], input::cut(body, sizes)] {
        let passed = pass(Call {
            path: "/v1/audio/transcriptions",
            content_type,
            body: &chunks,
            target: "other-model",
            reply_type: "application/json",
            reply: &[],
            config: AttemptConfig::default(),
        });
        // What claims to be JSON is another target's affair.
        let Ok(passed) = passed else { return };
        if passed.sent.starts_with(b"{") {
            return;
        }
        assert_eq!(passed.sent, expected, "in {} chunks", chunks.len());
        assert_eq!(passed.length, Some(expected.len()));
    }
}

fn utf8(text: &[u8]) -> bool {
    std::str::from_utf8(text).is_ok()
}

fn parts_agree(body: &[u8], named: &str) {
    let whole = model(body, named);
    if let Model::Found(span) = &whole {
        let delimiter = format!("\r\n--{named}");
        assert!(body[span.end..].starts_with(delimiter.as_bytes()), "{span:?}");
        assert!(body[..span.start].ends_with(b"\r\n\r\n"), "{span:?}");
    }
    let step = body.len().div_ceil(128).max(1);
    for end in (0..body.len()).step_by(step) {
        let part = model(&body[..end], named);
        assert!(part == Model::NotYet || part == whole, "{part:?}, but {whole:?} in the end");
    }
}

/// A form built right is read right, whatever its values are.
fn built(a: &[u8], b: &[u8]) {
    const NAMED: &str = "0aZ";
    if [a, b].iter().any(|value| value.windows(5).any(|at| at == b"--0aZ")) {
        return;
    }
    let disposition = b"--0aZ\r\nContent-Disposition: form-data; name=".as_slice();
    let file = [disposition, b"\"file\"; filename=\"model\"\r\n\r\n", a, b"\r\n"].concat();
    let field = [disposition, b"model\r\n\r\n"].concat();
    let form = [&file[..], &field, b, b"\r\n--0aZ--\r\n"].concat();
    let start = file.len() + field.len();
    assert_eq!(model(&form, NAMED), Model::Found(start..start + b.len()));
    assert_eq!(model(&[&file[..], b"--0aZ--\r\n"].concat(), NAMED), Model::Absent);
}
