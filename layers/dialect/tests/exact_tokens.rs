//! Counting by OpenAI's vocabularies.

#![cfg(feature = "exact-tokens")]
#![allow(clippy::unwrap_used, clippy::panic)]

use proptest::prelude::*;
use serde_json::{Value, json};
use tollway_core::{Ask, Dialect, Operation};
use tollway_dialect::{
    anthropic,
    gemini::{self, Call},
    openai::request,
    tokens::Vocabulary::{self, Cl100k, O200k},
};

fn read(operation: Operation, body: &Value) -> (Ask, Vec<u8>) {
    let body = body.to_string().into_bytes();
    (request::read(operation, &body).unwrap().0, body)
}

fn count(vocabulary: Vocabulary, operation: Operation, body: &Value) -> u64 {
    vocabulary.load();
    let (ask, body) = read(operation, body);
    vocabulary.count(&ask, &body).unwrap()
}

fn embed(vocabulary: Vocabulary, text: &str) -> u64 {
    count(vocabulary, Operation::Embeddings, &json!({"model": "m", "input": text}))
}

#[test]
fn known_texts_count_as_openai_counts_them() {
    for (text, o200k, cl100k) in [
        ("", 0, 0),
        ("tiktoken is great!", 6, 6),
        ("antidisestablishmentarianism", 6, 6),
        ("2 + 2 = 4", 7, 7),
        ("お誕生日おめでとう", 8, 9),
    ] {
        assert_eq!((embed(O200k, text), embed(Cl100k, text)), (o200k, cl100k), "{text}");
    }
}

#[test]
fn a_chat_has_frames() {
    let chat = json!({"model": "gpt-4o", "messages": [{"role": "user", "content": "Hi"}]});
    assert_eq!(count(O200k, Operation::ChatCompletions, &chat), 8);
    // The six messages of OpenAI's own example of counting: 129 and 124 are what its API answered.
    let system =
        |name: &str, content: &str| json!({"role": "system", "name": name, "content": content});
    let (user, assistant) = ("example_user", "example_assistant");
    let messages = json!([
        {"role": "system", "content": "You are a helpful, pattern-following assistant that translates corporate jargon into plain English."},
        system(user, "New synergies will help drive top-line growth."),
        system(assistant, "Things working well together will increase revenue."),
        system(user, "Let's circle back when we have more bandwidth to touch base on opportunities for increased leverage."),
        system(assistant, "Let's talk later when we're less busy about how to do better."),
        {"role": "user", "content": "This late pivot means we don't have time to boil the ocean for the client deliverable."},
    ]);
    let chat = json!({"model": "m", "messages": messages});
    let counted =
        [Cl100k, O200k].map(|vocabulary| count(vocabulary, Operation::ChatCompletions, &chat));
    // A name costs one more than its text.
    assert_eq!(counted, [129 - 4, 124 - 4]);
}

#[test]
fn a_prompt_in_any_form_counts_the_same() {
    O200k.load();
    let text = "A prompt in any form counts the same.";
    let (openai, body) = read(
        Operation::ChatCompletions,
        &json!({"model": "m", "messages": [{"role": "user", "content": text}]}),
    );
    let openai = O200k.count(&openai, &body).unwrap();
    let body = json!({"model": "m", "max_tokens": 9, "messages": [
        {"role": "user", "content": [{"type": "text", "text": text}]}]});
    let body = body.to_string();
    let (ask, _) = anthropic::request::read(Operation::Messages, body.as_bytes()).unwrap();
    assert_eq!(
        (ask.dialect, O200k.count(&ask, body.as_bytes())),
        (Dialect::Anthropic, Some(openai))
    );
    let body = json!({"contents": [{"role": "user", "parts": [{"text": text}]}]}).to_string();
    let call = Call::of("/v1beta/models/m:generateContent").unwrap();
    let ask = gemini::request::read(&call, body.as_bytes()).unwrap();
    assert_eq!(O200k.count(&ask, body.as_bytes()), Some(openai));
    let (ask, body) = read(Operation::Responses, &json!({"model": "m", "input": text}));
    assert_eq!(O200k.count(&ask, &body), Some(openai));
}

#[test]
fn what_is_beyond_the_bound_is_like_what_was_counted() {
    let line = "The quick brown fox jumps over the lazy dog. ";
    let one = embed(O200k, &line.repeat(100));
    let many = embed(O200k, &line.repeat(100_000));
    assert!(many.abs_diff(one * 1000) < one * 10, "{one} {many}");
    // As many pieces as one likes.
    let pieces = json!({"model": "m", "input": vec!["fox"; 100_000]});
    assert!(count(O200k, Operation::Embeddings, &pieces).abs_diff(100_000) < 200);
}

#[test]
fn models_have_their_vocabularies() {
    for (model, expected) in [
        ("gpt-4o-mini-2024-07-18", Some(O200k)),
        ("ft:gpt-4.1-mini:acme::abc", Some(O200k)),
        ("azure/gpt-5", Some(O200k)),
        ("o4-mini", Some(O200k)),
        ("gpt-4-0613", Some(Cl100k)),
        ("gpt-3.5-turbo", Some(Cl100k)),
        ("text-embedding-3-small", Some(Cl100k)),
        ("o10", None),
        ("gpt-45", None),
        ("llama-3.3-70b", None),
        ("", None),
    ] {
        assert_eq!(Vocabulary::of(model), expected, "{model}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn no_text_panics_or_counts_beyond_its_bytes(text in "\\PC{0,40}", times in 1..4000_usize) {
        let text = text.repeat(times);
        let tokens = embed(O200k, &text);
        prop_assert_eq!(tokens == 0, text.is_empty());
        // A token is a byte at least; what is beyond the bound is rounded.
        let most = text.len() as u64;
        prop_assert!(tokens <= most + most / 1000, "{tokens} of {most}");
    }
}
