//! A stream that breaks after its head has gone out is told of in the caller's dialect.

#![allow(clippy::unwrap_used, clippy::panic)]

mod common;

use std::{
    io,
    pin::Pin,
    task::{Context, Poll},
};

use bytes::Bytes;
use common::{
    call::{
        BROKE, Out, STOPPED, Sent, answering, call, metered, read, request, steps, stream,
        streaming, streaming_with_usage, told, untold,
    },
    sample,
};
use http::{Response, header};
use http_body::{Body, Frame};
use http_body_util::BodyExt;
use serde_json::Value;
use tollway_core::{BoxError, ErrorClass, Failure, Metered, Operation};
use tollway_dialect::{
    AttemptConfig, AttemptLayer, Commit,
    openai::{error, reply},
    sse::Parser,
};
use tollway_testkit::{Probe, Step};
use tower::{Layer, ServiceExt};

const HI: &str = "data: {\"choices\":[{\"delta\":{\"content\":\"Hi\"}}]}\n\n";
const DONE: &str = "data: [DONE]\n\n";
const ERROR: &str = "data: {\"error\":{\"message\":\"x\",\"type\":\"overloaded_error\"}}";

async fn playing(steps: Vec<Step>) -> Out {
    call(streaming(), 200, "text/event-stream", steps).await
}

async fn text(response: Out) -> String {
    let read = read(response.into_body()).await;
    assert!(!read.broken);
    String::from_utf8(read.bytes).unwrap()
}

fn class(metered: &Metered) -> Option<ErrorClass> {
    metered.failure().map(Failure::class)
}

#[tokio::test]
async fn a_truncated_stream_gets_an_error_and_no_invented_end() {
    let bytes = sample("openai/chat_stream_truncated.sse");
    let whole = bytes.windows(2).rposition(|pair| pair == b"\n\n").unwrap() + 2;
    let response = stream(streaming(), std::slice::from_ref(&bytes)).await;
    let first = metered(&response);
    let expected = String::from_utf8_lossy(&bytes[..whole]).into_owned() + &told(STOPPED);
    assert_eq!(text(response).await, expected);
    assert_eq!(class(&first), Some(ErrorClass::Server));
    assert_eq!((first.usage(), first.output_bytes()), (None, 3));

    let response = untold(streaming(), vec![Step::data(bytes.clone())]).await;
    let second = metered(&response);
    assert_eq!(read(response.into_body()).await.bytes, bytes);
    assert_eq!(class(&second), Some(ErrorClass::Server));
}

#[tokio::test]
async fn an_answer_that_has_ended_is_whole_without_done() {
    let all = String::from_utf8(sample("openai/chat_stream_n2.sse")).unwrap();
    let (ended, _) = all.split_once("data: [DONE]").unwrap();
    let one_open = ended.replacen(r#""finish_reason":"stop""#, r#""finish_reason":null"#, 1);
    let no_index = r#"data: {"choices":[{"delta":{"content":"a"},"finish_reason":"stop"}]}"#;
    let empty =
        "data: {\"choices\":[{\"delta\":{\"content\":\"a\"}}]}\n\ndata: {\"choices\":[]}\n\n";
    for (sent, whole) in [(ended, true), (&*one_open, false), (no_index, true), (empty, false)] {
        let bytes = sent.as_bytes().to_vec();
        for chunks in [vec![bytes.clone()], bytes.iter().map(|byte| vec![*byte]).collect()] {
            let response = stream(streaming(), &chunks).await;
            let metered = metered(&response);
            let end = if whole { String::new() } else { told(STOPPED) };
            assert_eq!(text(response).await, format!("{sent}{end}"));
            assert_eq!(class(&metered), (!whole).then_some(ErrorClass::Server), "{sent}");
        }
    }
    // A connection that breaks is no clean end, unless the stream said that it was over.
    let response = playing(vec![Step::data(ended.to_owned()), Step::Error("reset")]).await;
    let first = metered(&response);
    assert_eq!(text(response).await, ended.to_owned() + &told(BROKE));
    assert_eq!(class(&first), Some(ErrorClass::Network));
    let response = playing(vec![Step::data(all.clone()), Step::Error("reset")]).await;
    let second = metered(&response);
    assert_eq!((text(response).await, class(&second)), (all, None));
}

#[tokio::test]
async fn a_break_is_told_before_the_body_ends() {
    let part = HI.to_owned() + "data: {\"cho";
    let broken = || vec![Step::data(part.clone()), Step::Yield, Step::Error("reset")];
    let response = playing(broken()).await;
    let first = metered(&response);
    let mut body = response.into_body();
    assert_eq!(body.frame().await.unwrap().unwrap().into_data().unwrap(), HI);
    assert_eq!(class(&first), None);
    assert_eq!(body.frame().await.unwrap().unwrap().into_data().unwrap(), told(BROKE));
    assert_eq!(class(&first), Some(ErrorClass::Network));
    assert!(body.is_end_stream() && body.frame().await.is_none());

    // Not told, if the policy says so: the bytes as they came, and the error.
    let response = untold(streaming_with_usage(), broken()).await;
    let second = metered(&response);
    let read = read(response.into_body()).await;
    assert!(read.broken);
    assert_eq!(read.bytes, part.as_bytes());
    assert_eq!(class(&second), Some(ErrorClass::Network));
}

/// What a client reads: an event counts once its blank line has come.
fn events(text: &[u8]) -> Vec<Vec<u8>> {
    let (mut parser, mut at, mut events) = (Parser::new(), 0, Vec::new());
    while let Some(event) = parser.next(text, &mut at) {
        events.extend(event.data.map(<[u8]>::to_vec));
    }
    events
}

#[tokio::test]
async fn wherever_it_breaks_every_event_can_be_read_and_the_error_is_last() {
    for (name, ending) in [
        ("openai/chat_stream_n2.sse", "\n"),
        ("openai/chat_stream_utf8.sse", "\r\n"),
        ("xai/chat_stream.sse", "\r"),
        ("openai/responses_stream_tool.sse", "\n"),
    ] {
        let all = String::from_utf8(sample(name)).unwrap().replace('\n', ending).into_bytes();
        let mut told = 0;
        for cut in 1..all.len() {
            let sent = &all[..cut];
            for broken in [false, true] {
                let chunks: Vec<_> = match broken {
                    true => sent.chunks(150).map(<[u8]>::to_vec).collect(),
                    false => vec![sent.to_vec()],
                };
                let mut steps = steps(&chunks);
                steps.extend(broken.then_some(Step::Error("reset")));
                let request = match name.contains("responses") {
                    true => request(Operation::Responses, r#"{"model":"m","stream":true}"#),
                    false => streaming_with_usage(),
                };
                let response = call(request, 200, "text/event-stream", steps).await;
                if response.extensions().get::<Failure>().is_some() {
                    continue;
                }
                let metered = metered(&response);
                let read = read(response.into_body()).await;
                assert!(!read.broken, "{name}: {cut}");
                if metered.failure().is_none() {
                    assert_eq!(read.bytes, sent, "{name}: {cut}");
                    continue;
                }
                told += 1;
                let mut got = events(&read.bytes);
                for event in &got {
                    assert!(reply::read_event(event).is_ok(), "{name}: {cut}");
                }
                let last = got.pop().unwrap();
                let failure = error::classify_event(&last, std::time::SystemTime::UNIX_EPOCH);
                assert!(reply::read_event(&last).unwrap().error);
                assert_eq!(failure.message(), metered.failure().unwrap().message());
                // All that was whole, and the last one too if only its blank line was missing.
                let sent = events(sent);
                assert_eq!(got[..sent.len()], sent, "{name}: {cut}");
                assert!(got.len() <= sent.len() + 1);
                assert_eq!(got, events(&all)[..got.len()], "{name}: {cut}");
            }
        }
        assert!(told > all.len() / 2, "{name}: {told}");
    }
}

#[tokio::test]
async fn a_responses_stream_is_told_in_its_own_form() {
    let all = String::from_utf8(sample("openai/responses_stream.sse")).unwrap();
    let at = all.find("event: response.output_text.done").unwrap();
    let last = all[..at].matches("\"sequence_number\"").count() - 1;
    let request = request(Operation::Responses, r#"{"model":"m","stream":true}"#);
    let response = stream(request, &[all.as_bytes()[..at + 20].to_vec()]).await;
    let got = text(response).await;
    let event = got.strip_prefix(&all[..at]).unwrap();
    let data = event.strip_prefix("event: error\ndata: ").unwrap().strip_suffix("\n\n").unwrap();
    let data: Value = serde_json::from_str(data).unwrap();
    let expected = serde_json::json!({
        "type": "error", "code": "server_error", "message": STOPPED, "param": null,
        "sequence_number": last + 1,
    });
    assert_eq!(data, expected);
}

#[tokio::test]
async fn what_the_provider_told_is_not_told_twice() {
    let told = format!("{HI}{ERROR}\n\n");
    for (sent, expected) in [
        (told.clone(), told.clone()),
        (format!("{told}data: {{\"half"), told.clone()),
        // Without its blank line the provider's error would be lost.
        (format!("{HI}{ERROR}"), told.clone()),
        (format!("{HI}{ERROR}\n"), format!("{told}\n")),
    ] {
        for end in [None, Some(Step::Error("reset"))] {
            let steps = [Step::data(sent.clone())].into_iter().chain(end).collect();
            let response = playing(steps).await;
            let metered = metered(&response);
            assert_eq!(text(response).await, expected);
            assert_eq!(class(&metered), Some(ErrorClass::Overloaded));
        }
    }
}

#[tokio::test]
async fn of_an_event_too_large_to_hold_the_half_is_ended() {
    let mut config = AttemptConfig::default();
    config.max_event = 64;
    let half = format!("data: {{\"x\":\"{}", "y".repeat(100));
    let steps = vec![Step::data(HI), Step::data(half.clone())];
    let (service, _) = answering(config, 200, "text/event-stream", steps);
    let response = service.oneshot(streaming_with_usage()).await.unwrap();
    assert_eq!(text(response).await, format!("{HI}{half}\n\n{}", told(STOPPED)));
}

#[tokio::test]
async fn half_an_event_waits_for_the_other() {
    let (first, second) = HI.split_at(20);
    let chunks = [HI.to_owned() + first, second.to_owned() + DONE];
    let chunks = chunks.map(|chunk| Bytes::from(chunk.into_bytes()));
    let steps = chunks.iter().map(|chunk| Step::data(chunk.clone())).collect();
    let response = call(streaming_with_usage(), 200, "text/event-stream", steps).await;
    let mut body = response.into_body();
    let mut frames = Vec::new();
    while let Some(frame) = body.frame().await {
        frames.push(frame.unwrap().into_data().unwrap());
    }
    assert_eq!(frames, [HI.to_owned(), first.to_owned(), second.to_owned() + DONE]);
    assert_eq!(frames[0].as_ptr(), chunks[0].as_ptr(), "not copied");
}

#[tokio::test]
async fn a_head_that_is_out_is_no_reason_to_hold_an_error_back() {
    let mut config = AttemptConfig::default();
    config.commit = Commit::Head;
    for (steps, message) in [(vec![], STOPPED), (vec![Step::Error("reset")], BROKE)] {
        let (service, _) = answering(config, 200, "text/event-stream", steps);
        let response = service.oneshot(streaming()).await.unwrap();
        assert_eq!((response.status().as_u16(), text(response).await), (200, told(message)));
    }
}

#[tokio::test]
async fn a_stream_whose_end_is_not_known_breaks_as_it_broke() {
    let part = "event: transcript.text.delta\ndata: {\"type\":\"transcript.text.delta\",\"delta\":\"a\"}\n\ndata: {";
    for operation in [Operation::Images, Operation::Audio] {
        let steps = vec![Step::data(part), Step::Error("reset")];
        let request = request(operation, r#"{"model":"m","stream":true}"#);
        let read = read(call(request, 200, "text/event-stream", steps).await.into_body()).await;
        assert_eq!((read.bytes, read.broken), (part.as_bytes().to_vec(), true));
    }
}

/// Content, then this error.
struct Breaks(Option<BoxError>, bool);

impl Body for Breaks {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        if std::mem::replace(&mut self.1, false) {
            return Poll::Ready(Some(Ok(Frame::data(Bytes::from(HI)))));
        }
        Poll::Ready(self.0.take().map(Err))
    }
}

#[tokio::test]
async fn the_failure_is_classed_by_its_cause() {
    let timeout = || Failure::new(ErrorClass::Timeout, "No chunk came within 5 s.");
    let io = |kind| move || BoxError::from(io::Error::from(kind));
    let causes: [(&dyn Fn() -> BoxError, ErrorClass, &str); 4] = [
        (&|| timeout().into(), ErrorClass::Timeout, "No chunk came within 5 s."),
        (&|| io::Error::other(timeout()).into(), ErrorClass::Timeout, "No chunk came within 5 s."),
        (&io(io::ErrorKind::TimedOut), ErrorClass::Timeout, BROKE),
        (&io(io::ErrorKind::ConnectionReset), ErrorClass::Network, BROKE),
    ];
    for (cause, expected, message) in causes {
        for content in [true, false] {
            let body = std::sync::Mutex::new(Some(Breaks(Some(cause()), content)));
            let probe = Probe::new(move |_: Sent| {
                let response = Response::builder()
                    .header("content-type", "text/event-stream")
                    .header("content-length", "1000");
                let response = response.body(body.lock().unwrap().take().unwrap()).unwrap();
                std::future::ready(Ok::<_, BoxError>(response))
            });
            let service = AttemptLayer::new().layer(probe);
            let response = service.oneshot(streaming_with_usage()).await.unwrap();
            if !content {
                let failure = response.extensions().get::<Failure>().unwrap();
                assert_eq!((failure.class(), failure.message()), (expected, message));
                continue;
            }
            assert!(!response.headers().contains_key(header::CONTENT_LENGTH));
            let metered = response.extensions().get::<Metered>().unwrap().clone();
            let read = read(response.into_body()).await;
            assert_eq!(read.bytes, (HI.to_owned() + &told(message)).as_bytes());
            assert_eq!(class(&metered), Some(expected));
        }
    }
}
