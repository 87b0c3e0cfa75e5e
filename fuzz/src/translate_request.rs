//! A request of any form written in any other: what is written is JSON that its own form reads, and
//! what is not passed on is told or refused.

use serde_json::Value;
use tollway_core::{Dialect, Operation};
use tollway_dialect::{
    BadRequest, ErrorReply, anthropic,
    gemini::{self, Call},
    openai,
    translate::{self, Form},
};

use super::cell::{self, LENIENT, STRICT};

const MODEL: &str = "m";

/// The first byte says which forms, and how much the model takes.
pub fn check(data: &[u8]) {
    let Some((client, provider, switches, text)) = cell::split(data) else { return };
    let asked = cell::asked(client, text);
    let fit = cell::fit(provider, switches);
    let written = match translate::request(&asked, MODEL, &fit, LENIENT) {
        Ok(written) => written,
        Err(refused) => return is_proper(&refused),
    };
    assert!(serde_json::from_slice::<serde::de::IgnoredAny>(text).is_ok(), "no JSON, but read");
    let again = translate::request(&asked, MODEL, &fit, LENIENT).expect("it was right");
    assert_eq!(again.body, written.body, "another time");
    match translate::request(&asked, MODEL, &fit, STRICT) {
        Ok(strict) => {
            assert_eq!(strict.body, written.body, "strict or not");
            assert!(written.dropped.is_none() && strict.dropped.is_none(), "nothing is lost");
        }
        Err(refused) => is_proper(&refused),
    }
    is_read(provider, &written.body);
}

/// What a provider of that form would do, and this proxy itself in front of another one.
fn is_read(form: Form, body: &[u8]) {
    let json: Value = serde_json::from_slice(body).expect("JSON");
    let model = (form != Form::Generate).then_some(MODEL);
    assert_eq!(json.get("model").and_then(Value::as_str), model, "{json}");
    let ask = match form {
        Form::Chat => openai::request::read(Operation::ChatCompletions, body).map(|read| read.0),
        Form::Responses => openai::request::read(Operation::Responses, body).map(|read| read.0),
        Form::Messages => anthropic::request::read(Operation::Messages, body).map(|read| read.0),
        Form::Generate => {
            let call = Call::of("/v1beta/models/m:streamGenerateContent").expect("it is one");
            gemini::request::read(&call, body)
        }
    };
    let ask = ask.unwrap_or_else(|refused| panic!("{}: {json}", refused.message()));
    assert!(ask.stream, "as asked");
    let asked = cell::asked(form, body);
    let again = translate::request(&asked, MODEL, &cell::fit(form, 0), LENIENT);
    if let Err(refused) = again {
        panic!("{}: {json}", refused.message());
    }
}

fn is_proper(refused: &BadRequest) {
    assert!(refused.status().is_client_error() && !refused.message().is_empty());
    for dialect in [Dialect::OpenAi, Dialect::Anthropic, Dialect::Gemini] {
        let body = ErrorReply::of_request(refused).body_in(dialect);
        let body: Value = serde_json::from_slice(&body).expect("JSON");
        assert_eq!(body["error"]["message"], refused.message());
    }
}
