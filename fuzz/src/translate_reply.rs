//! A whole reply of any form written in any other: what is written is JSON that its own form reads,
//! and it counts the same tokens.

use tollway_core::Usage;
use tollway_dialect::{
    anthropic, gemini, openai,
    translate::{self, Form},
};

use super::cell;

/// The first byte says which forms.
pub fn check(data: &[u8]) {
    let Some((provider, client, _, text)) = cell::split(data) else { return };
    let asked = cell::asked(client, text);
    let Ok(written) = translate::reply(text, provider, &asked) else { return };
    assert_eq!(translate::reply(text, provider, &asked).as_ref(), Ok(&written), "another time");
    let json: serde_json::Value = serde_json::from_slice(&written).expect("JSON");
    if let Err(unreadable) = translate::reply(&written, client, &asked) {
        panic!("{unreadable}: {json}");
    }
    // Beyond these numbers sums are cut, each form's at another place.
    if let (Some(before), Some(after)) = (usage(provider, text), usage(client, &written))
        && before.total() < 1 << 50
    {
        assert_eq!((after.input, after.output), (before.input, before.output), "{json}");
    }
}

fn usage(form: Form, reply: &[u8]) -> Option<Usage> {
    let reading = match form {
        Form::Chat | Form::Responses => openai::reply::read(reply).ok(),
        Form::Messages => anthropic::reply::read(reply).ok(),
        Form::Generate => gemini::reply::read(reply).ok(),
    };
    reading?.usage
}
