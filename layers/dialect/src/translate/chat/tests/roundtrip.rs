//! What this form can say comes through it unchanged, and nothing breaks it.

use proptest::{collection::vec, option, prelude::*, sample::select};

use super::*;
use crate::translate::{
    chat::{read_reply, write_reply},
    hub::{
        Body, Part, Role, Turn,
        arbitrary::{self, Text, stream_of, text},
    },
};

fn part(body: Body<'static>) -> Part<'static> {
    Part::new(body)
}

/// Reasoning that this form takes back: signed.
fn thoughts() -> impl Strategy<Value = Vec<Part<'static>>> {
    let one = prop_oneof![arbitrary::thought(Form::Chat), arbitrary::redacted(Form::Chat)];
    vec(one, 0..3)
}

fn answer() -> impl Strategy<Value = Vec<Part<'static>>> {
    let said = (text(), vec(arbitrary::citation(), 0..2))
        .prop_map(|(text, citations)| part(Body::Text { text, citations }));
    let refusal = text().prop_map(|text| part(Body::Refusal(text)));
    let plain = text().prop_map(|text| vec![part(Body::Thinking { text, signature: None })]);
    let thoughts = prop_oneof![thoughts(), plain];
    let calls = vec(arbitrary::call(), 0..3);
    (thoughts, option::of(said), option::of(refusal), calls).prop_map(
        |(mut parts, said, refusal, calls)| {
            parts.extend(said.into_iter().chain(refusal).chain(calls));
            parts
        },
    )
}

fn result(id: Text, text: Text) -> Part<'static> {
    let content = vec![Part::text(text)];
    part(Body::ToolResult { id: Some(id), name: None, content, is_error: false })
}

fn turn() -> impl Strategy<Value = Turn<'static>> {
    let detail = option::of(Just(Text::from("low")));
    let image = (arbitrary::image(), detail)
        .prop_map(|(source, detail)| part(Body::Image { source, detail }));
    let file = (arbitrary::pdf(), arbitrary::word())
        .prop_map(|(source, name)| part(Body::Document { source, name: Some(name) }));
    let audio =
        arbitrary::base64().prop_map(|data| part(Body::Audio { data, format: "wav".into() }));
    let said = text().prop_map(Part::text);
    let cached =
        text().prop_map(|text| Part { cache_control: Some(Json::from("x")), ..Part::text(text) });
    // Texts alone become one: a piece of another kind keeps them apart.
    let mixed = (vec(said, 0..2), prop_oneof![image, file, audio, cached]).prop_map(
        |(mut parts, other)| {
            parts.push(other);
            parts
        },
    );
    let assistant = (thoughts(), text(), option::of(text()), vec(arbitrary::call(), 0..3))
        .prop_map(|(mut parts, said, refusal, calls)| {
            parts.push(Part::text(said));
            parts.extend(refusal.map(|text| part(Body::Refusal(text))));
            parts.extend(calls);
            parts
        });
    prop_oneof![
        text().prop_map(|text| Turn::new(Role::System, vec![Part::text(text)])),
        text().prop_map(|text| Turn::new(Role::User, vec![Part::text(text)])),
        mixed.prop_map(|parts| Turn::new(Role::User, parts)),
        (arbitrary::word(), text())
            .prop_map(|(id, text)| Turn::new(Role::User, vec![result(id, text)])),
        assistant.prop_map(|parts| Turn::new(Role::Assistant, parts)),
    ]
}

/// Roles alternate: neighbours of one role are one message.
fn turns() -> impl Strategy<Value = Vec<Turn<'static>>> {
    vec(turn(), 0..6).prop_map(|mut turns| {
        turns.dedup_by_key(|turn| turn.role);
        turns
    })
}

/// What stands in requests and replies of this form.
const WORDS: [&str; 48] = [
    "type",
    "text",
    "role",
    "content",
    "user",
    "assistant",
    "tool",
    "system",
    "function",
    "name",
    "arguments",
    "tool_calls",
    "tool_call_id",
    "id",
    "index",
    "image_url",
    "url",
    "detail",
    "file",
    "file_data",
    "file_id",
    "input_audio",
    "data",
    "format",
    "thinking",
    "signature",
    "thinking_blocks",
    "reasoning_content",
    "reasoning",
    "extra_content",
    "google",
    "thought_signature",
    "parameters",
    "json_schema",
    "schema",
    "allowed_tools",
    "mode",
    "tools",
    "required",
    "message",
    "delta",
    "finish_reason",
    "stop",
    "usage",
    "error",
    "x_groq",
    "annotations",
    "url_citation",
];

const SAMPLES: [&str; 8] = [
    "openai/chat_tool_results.req.json",
    "openai/chat_tools.req.json",
    "openai/chat_vision_json_schema.req.json",
    "pairs/request.openai.json",
    "openai/chat_audio.res.json",
    "openai/chat_tools.res.json",
    "groq/chat.res.json",
    "deepseek/chat_thinking.res.json",
];

fn try_all(json: &Json<'_>) {
    let lenient = Strictness { refuse_meaning: false, refuse_harmless: false };
    if let Ok(mut read) = read_request(json.clone()) {
        let mut losses = Losses::new(Form::Chat, Form::Chat, lenient);
        let fit = Fit::new(Form::Chat);
        match settle::settle(&mut read, &fit, &mut losses) {
            Ok(()) => drop(write_request(&mut read, &fit, &mut losses).unwrap()),
            // A name that no tool may have, or a call of the wrong side's.
            Err(refused) => assert_eq!(refused.code(), Some("invalid_value")),
        }
    }
    if let Ok(reply) = read_reply(json.clone()) {
        write_reply(reply, &asked(true));
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn requests(mut given in arbitrary::request(turns())) {
        given.wants_usage = given.stream;
        let mut losses = Losses::new(Form::Chat, Form::Chat, Strictness::default());
        let fit = Fit::new(Form::Chat);
        let out = write_request(&mut given.clone(), &fit, &mut losses).unwrap();
        let out = Json::Object(out).to_vec();
        let read = read_request(Json::read(&out).unwrap()).unwrap();
        prop_assert_eq!(read, given);
        prop_assert_eq!(losses.header(), None);
    }

    #[test]
    fn replies(given in arbitrary::reply(answer())) {
        let asked = asked(true);
        let out = Json::Object(write_reply(given.clone(), &asked)).to_vec();
        prop_assert_eq!(read_reply(Json::read(&out).unwrap()).unwrap(), given);
    }

    #[test]
    fn streams(given in arbitrary::reply(answer()), letters in 1..9usize) {
        let out = write_stream(&asked(true), stream_of(&given, letters));
        let read = read_stream([out.as_bytes()]);
        prop_assert!(read.complete);
        prop_assert_eq!(&read.reply, &given);
        let without = write_stream(&asked(false), stream_of(&given, letters));
        prop_assert!(!without.contains("\"usage\""));
        // Neither an end nor a usage is made up.
        let mut events = stream_of(&given, letters);
        events.truncate(events.len() - 1);
        let broken = read_stream([write_stream(&asked(true), events).as_bytes()]);
        prop_assert_eq!(broken.reply.usage, None);
    }

    #[test]
    fn any_json_is_read_or_refused(json in arbitrary::json(&WORDS)) {
        try_all(&json);
        let text = json.to_vec();
        let mut seen = 0;
        let mut reader = Reader::default();
        let _ = reader.read(None, &text, &mut |_| seen += 1);
        reader.end(&mut |_| seen += 1);
    }

    #[test]
    fn any_change_of_a_sample_is_read_or_refused(
        name in select(&SAMPLES[..]),
        place in any::<prop::sample::Index>(),
        by in arbitrary::json(&WORDS),
    ) {
        let body = sample(name);
        let json = Json::read(&body).unwrap();
        try_all(&arbitrary::mutated(json, place.index(1000), by));
    }

    #[test]
    fn any_change_of_a_stream_is_read(
        place in any::<prop::sample::Index>(),
        by in arbitrary::json(&WORDS),
        which in any::<prop::sample::Index>(),
        wants in any::<bool>(),
    ) {
        let stream = String::from_utf8(sample("openai/chat_stream_tools.sse")).unwrap();
        let mut all = Collected::default();
        let mut writer = Writer::new(&asked(wants));
        let mut out = Vec::new();
        let mut reader = Reader::default();
        let events: Vec<_> = stream.split_terminator("\n\n").collect();
        let changed = which.index(events.len());
        for (n, event) in events.iter().enumerate() {
            let data = event.strip_prefix("data: ").unwrap();
            let data = match Json::read(data.as_bytes()) {
                Ok(json) if n == changed => {
                    arbitrary::mutated(json, place.index(1000), by.clone()).to_vec()
                }
                _ => data.as_bytes().to_vec(),
            };
            let _ = reader.read(None, &data, &mut |event| {
                all.see(event.clone());
                writer.write(event, &mut out);
            });
        }
        // An error event may end it early.
        prop_assert!(all.complete != all.error.is_some());
        read_stream([&out[..]]);
    }
}
