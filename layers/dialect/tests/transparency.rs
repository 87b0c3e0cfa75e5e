//! A caller who did not ask for usage sees the stream as if nobody had asked.

#![allow(clippy::unwrap_used, clippy::panic)]

mod common;

use bytes::Bytes;
use common::{
    call::{STOPPED, metered, read, steps, stream, streaming, streaming_with_usage, told, untold},
    cuts, sample,
};
use http_body_util::BodyExt;
use proptest::{collection::vec, prelude::*, sample::select};
use tollway_dialect::openai::usage::null_member;

/// The stream as it would be had nobody asked: without its chunks of usage alone, and without the
/// null that all others have in its place.
fn unasked(text: &str) -> String {
    let events = text.split_inclusive("\n\n");
    let events = events.filter(|event| !event.contains(r#""choices":[],"usage":{"#));
    events.map(|event| event.replace(r#","usage":null"#, "")).collect()
}

#[tokio::test]
async fn the_usage_nobody_asked_for_is_left_out_and_nothing_else() {
    for name in [
        "openai/chat_stream_usage.sse",
        "openai/chat_stream_tools.sse",
        "pairs/stream_tools.openai.expected.sse",
        "xai/chat_stream.sse",
        "groq/chat_stream_reasoning_usage.sse",
        "openai/chat_stream_no_usage.sse",
        "groq/chat_stream.sse",
    ] {
        let text = String::from_utf8(sample(name)).unwrap();
        let asked = unasked(&text);
        // The line ends of the other samples are left as they are: it takes long enough.
        let endings = if name.starts_with("xai") { &["\n", "\r\n", "\r"][..] } else { &["\n"] };
        for ending in endings {
            let (text, asked) = (text.replace('\n', ending), asked.replace('\n', ending));
            for chunks in cuts(text.as_bytes()) {
                let response = stream(streaming(), &chunks).await;
                let metered = metered(&response);
                let got = read(response.into_body()).await.bytes;
                assert!(got == asked.as_bytes(), "{name} {ending:?}: cut at {}", chunks[0].len());
                assert_eq!(metered.usage().is_some(), !name.ends_with("no_usage.sse"), "{name}");
                assert!(metered.failure().is_none());
            }
        }
    }
}

#[test]
fn the_null_is_found_at_the_top_level_only() {
    for (json, without) in [
        (r#"{"a":1,"usage":null}"#, r#"{"a":1}"#),
        (r#"{"usage":null,"a":1}"#, r#"{"a":1}"#),
        (r#"{"a":1,"usage":null,"b":2}"#, r#"{"a":1,"b":2}"#),
        (r#"{"usage":null}"#, "{}"),
        (r#" { "usage" : null , "a": 1 } "#, r#" { "a": 1 } "#),
        (r#"{"a": 1, "usage": null, "b": 2}"#, r#"{"a": 1, "b": 2}"#),
        (r#"{"c":[{"usage":null}],"usage":null}"#, r#"{"c":[{"usage":null}]}"#),
        (r#"{"usage":null,"c":[{"usage":null}]}"#, r#"{"c":[{"usage":null}]}"#),
    ] {
        let null = null_member(json.as_bytes()).unwrap_or_else(|| panic!("{json}"));
        assert_eq!([&json[..null.start], &json[null.end..]].concat(), without);
    }
    for json in [
        r#"{"c":[{"usage":null}]}"#,
        r#"{"c":{"usage":null,"d":"}"}}"#,
        r#"{"c":{"d":1,"usage":null},"e":"\"}"}"#,
        r#"{"a,\"usage":null}"#,
        r#"{"a":",\"usage\":null"}"#,
        r#"{"a":"usage","b":null}"#,
        r#"{"usage":{"prompt_tokens":1}}"#,
        r#"{"usage_x":null,"x_usage":null}"#,
        r#"["usage",null]"#,
        "\"usage\"",
        "\"usage\":null",
        "",
    ] {
        assert_eq!(null_member(json.as_bytes()), None, "{json}");
    }
}

#[test]
fn a_hostile_event_full_of_nulls_takes_one_walk() {
    // Quadratic, this would take minutes.
    let nulls = r#"{"usage":null},"#.repeat(70_000);
    let json = format!(r#"{{"x":[{nulls}1],"usage":null}}"#);
    let null = null_member(json.as_bytes()).unwrap();
    assert_eq!(&json[null.start..null.end], r#","usage":null"#);
    assert_eq!(null.end, json.len() - 1);
    let deep = r#"{"a":1,"usage":null,"x":"#.repeat(50_000) + "1" + &"}".repeat(50_000);
    assert_eq!(null_member(deep.as_bytes()), Some(6..19));
}

#[tokio::test]
async fn a_chunk_with_nothing_to_cut_is_the_same_bytes_and_one_with_is_one_frame() {
    let (bare, null) = (
        "data: {\"choices\":[{\"delta\":{\"content\":\"a\"}}]}\n\n",
        "data: {\"choices\":[{\"delta\":{\"content\":\"a\"}}],\"usage\":null}\n\n",
    );
    let chunks = [bare.repeat(3), null.repeat(3), bare.to_owned() + null + &null[..9]];
    let chunks = chunks.map(|chunk| Bytes::from(chunk.into_bytes()));
    let steps = chunks.iter().map(|chunk| tollway_testkit::Step::data(chunk.clone())).collect();
    let response = common::call::call(streaming(), 200, "text/event-stream", steps).await;
    let mut body = response.into_body();
    let mut frames = Vec::new();
    while let Some(frame) = body.frame().await {
        frames.push(frame.unwrap().into_data().unwrap());
    }
    assert_eq!(frames[0].as_ptr(), chunks[0].as_ptr(), "not copied");
    // The half that never came to an end is not there.
    assert_eq!(frames, [bare.repeat(3), bare.repeat(3), bare.repeat(2), told(STOPPED)]);
}

#[tokio::test]
async fn a_caller_who_asked_gets_the_nulls() {
    let bytes = sample("openai/chat_stream_usage.sse");
    let response = stream(streaming_with_usage(), std::slice::from_ref(&bytes)).await;
    assert_eq!(read(response.into_body()).await.bytes, bytes);
}

/// One event twice: as the provider writes it when asked for usage, and when not.
fn event() -> impl Strategy<Value = (String, String)> {
    let member = select(vec![
        r#""id":"c1""#,
        r#""choices":[{"index":0,"delta":{"content":"x"},"usage":null}]"#,
        r#""choices":[{"index":0,"delta":{"content":",\"usage\":null"},"finish_reason":null}]"#,
        r#""choices":[{"index":0,"delta":{"content":"\\"},"usage":null}]"#,
        r#""x":{"usage":null,"y":[{"z":1,"usage":null}]}"#,
        r#""x,\"usage":null"#,
        r#""x":"}]{[\"""#,
        r#""x":",\"usage\":null""#,
        r#""x":"é \u2028""#,
        r#""usage_x":null"#,
    ]);
    let end = select(vec!["\n\n", "\r\n\r\n", "\r\r", "\nid: 7\n\n", "\n: ,\"usage\":null\n\n"]);
    (vec(member, 1..5), any::<prop::sample::Index>(), any::<bool>(), end).prop_map(
        |(members, at, asked, end)| {
            let at = at.index(members.len() + 1);
            let mut with = members.clone();
            if asked {
                with.insert(at, r#""usage":null"#);
            }
            let event = |members: &[&str]| format!("data: {{{}}}{end}", members.join(","));
            (event(&with), event(&members))
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn however_it_is_cut(
        events in vec(event(), 1..8),
        usage in any::<Option<prop::sample::Index>>(),
        cut in vec(1usize..90, 1..12),
        unfinished in any::<bool>(),
    ) {
        const FIRST: &str = "data: {\"choices\":[{\"delta\":{\"content\":\"x\"}}]}\n\n";
        const USAGE: &str = "data: {\"choices\":[],\"usage\":{\"prompt_tokens\":3}}\n\n";
        let (mut sent, mut expected) = (FIRST.to_owned(), FIRST.to_owned());
        let usage = usage.map(|at| at.index(events.len()));
        for (at, (with, without)) in events.iter().enumerate() {
            if usage == Some(at) {
                sent += USAGE;
            }
            sent += with;
            expected += without;
        }
        if unfinished {
            for text in [&mut sent, &mut expected] {
                let whole = text.trim_end_matches(['\r', '\n']).len();
                text.truncate(whole);
            }
        }
        let (mut chunks, mut rest) = (Vec::new(), sent.as_bytes());
        for size in cut.iter().cycle() {
            let (chunk, after) = rest.split_at(rest.len().min(*size));
            chunks.push(chunk.to_vec());
            rest = after;
            if rest.is_empty() {
                break;
            }
        }
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            let blank = if unfinished { "\n\n" } else { "" };
            let and_told = format!("{expected}{blank}{}", told(STOPPED));
            for (response, expected) in [
                (untold(streaming(), steps(&chunks)).await, &expected),
                (stream(streaming(), &chunks).await, &and_told),
            ] {
                let metered = metered(&response);
                let mut body = response.into_body();
                let (mut got, mut frames) = (Vec::new(), 0);
                while let Some(frame) = body.frame().await {
                    got.extend_from_slice(&frame.unwrap().into_data().unwrap());
                    frames += 1;
                }
                assert_eq!(String::from_utf8_lossy(&got), *expected);
                assert_eq!(metered.usage().is_some(), usage.is_some());
                // Two of a chunk only where an event ends inside of it.
                assert!(frames <= chunks.len() + events.len() + 3, "{frames} of {}", chunks.len());
            }
        });
    }
}
