//! Time and allocations of reading, editing and tapping.

#![allow(clippy::unwrap_used)]

use std::{
    future::{Future, ready},
    hint::black_box,
    pin::Pin,
    task::{Context, Waker},
};

use bytes::Bytes;
use divan::{AllocProfiler, Bencher, counter::ItemsCount};
use http::{Request, Response};
use http_body::{Body, Frame};
use tollway_core::{BoxError, Operation};
use tollway_dialect::{
    AttemptLayer, InspectLayer, RequestBody, anthropic, gemini,
    openai::{reply, request},
    prompt::{self, Piece},
    sse::Parser,
};
use tower::{Layer, Service, ServiceExt, service_fn};

#[global_allocator]
static ALLOC: AllocProfiler = AllocProfiler::system();

fn main() {
    divan::main();
}

fn chat(size: usize) -> Bytes {
    let turn = r#"{"role":"user","content":"The quick brown fox jumps over the lazy dog, and so on until the message is as long as messages are."},"#;
    let messages = turn.repeat(size / turn.len());
    let messages = messages.trim_end_matches(',');
    format!(r#"{{"model":"gpt-4o-mini","stream":true,"messages":[{messages}]}}"#).into()
}

#[divan::bench(args = [4 << 10, 200 << 10])]
fn read_request(bencher: Bencher<'_, '_>, size: usize) {
    let body = chat(size);
    bencher.bench(|| request::read(Operation::ChatCompletions, black_box(&body)).unwrap());
}

#[divan::bench(args = [4 << 10, 200 << 10, 1 << 20])]
fn visit_prompt(bencher: Bencher<'_, '_>, size: usize) {
    let body = chat(size);
    bencher.bench(|| {
        let mut bytes = 0;
        prompt::visit(Operation::ChatCompletions, black_box(&body), &mut |piece: Piece<'_>| {
            if let Piece::Text { text, .. } = piece {
                bytes += text.len();
            }
        });
        bytes
    });
}

#[divan::bench(args = [4 << 10, 200 << 10])]
fn splice(bencher: Bencher<'_, '_>, size: usize) {
    let body = chat(size);
    let (_, edits) = request::read(Operation::ChatCompletions, &body).unwrap();
    bencher.bench(|| edits.apply(black_box(&body), Some("gpt-5"), true));
}

const EVENT: &str = "data: {\"id\":\"chatcmpl-B9stream01\",\"object\":\"chat.completion.chunk\",\"created\":1763800100,\"model\":\"gpt-4o-mini-2024-07-18\",\"service_tier\":\"default\",\"system_fingerprint\":\"fp_fixture01\",\"choices\":[{\"index\":0,\"delta\":{\"content\":\"Hello\"},\"logprobs\":null,\"finish_reason\":null}],\"usage\":null}\n\n";

#[divan::bench]
fn find_event(bencher: Bencher<'_, '_>) {
    let mut parser = Parser::new();
    bencher.bench_local(|| {
        let mut at = 0;
        let seen = parser.next(black_box(EVENT.as_bytes()), &mut at).is_some();
        let more = parser.next(EVENT.as_bytes(), &mut at).is_some();
        (seen, more)
    });
}

#[divan::bench]
fn read_event(bencher: Bencher<'_, '_>) {
    let data = EVENT.strip_prefix("data: ").unwrap().trim_end();
    bencher.bench(|| reply::read_event(black_box(data.as_bytes())).unwrap());
}

#[divan::bench]
fn read_next_event(bencher: Bencher<'_, '_>) {
    let data = EVENT.strip_prefix("data: ").unwrap().trim_end();
    let mut reader = reply::EventReader::new();
    bencher.bench_local(move || reader.read(black_box(data.as_bytes())).unwrap());
}

#[divan::bench]
fn read_messages_event(bencher: Bencher<'_, '_>) {
    let data =
        br#"{"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"Hello"}}"#;
    let mut reader = anthropic::reply::EventReader::new();
    bencher.bench_local(move || reader.read(None, black_box(data)).unwrap());
}

#[divan::bench]
fn read_gemini_chunk(bencher: Bencher<'_, '_>) {
    let data = br#"{"candidates":[{"content":{"parts":[{"text":"Hello"}],"role":"model"},"index":0}],"usageMetadata":{"promptTokenCount":12,"candidatesTokenCount":4,"totalTokenCount":16,"promptTokensDetails":[{"modality":"TEXT","tokenCount":12}]},"modelVersion":"gemini-2.5-flash","responseId":"r1"}"#;
    let mut reader = gemini::reply::EventReader::new();
    bencher.bench_local(move || reader.read(black_box(data)).unwrap());
}

/// Chunks that are ready, then the end.
struct Chunks(usize);

impl Body for Chunks {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> std::task::Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        self.0 = self.0.saturating_sub(1);
        let text = match self.0 {
            0 => return std::task::Poll::Ready(None),
            1 => "data: [DONE]\n\n",
            _ => EVENT,
        };
        std::task::Poll::Ready(Some(Ok(Frame::data(Bytes::from_static(text.as_bytes())))))
    }
}

fn now<F: Future>(future: F) -> F::Output {
    let mut future = std::pin::pin!(future);
    let mut cx = Context::from_waker(Waker::noop());
    loop {
        if let std::task::Poll::Ready(output) = future.as_mut().poll(&mut cx) {
            return output;
        }
    }
}

/// A whole stream of 1000 events through both layers, a frame at a time.
#[divan::bench]
fn stream_1000_events(bencher: Bencher<'_, '_>) {
    let upstream = service_fn(|_: Request<RequestBody<http_body_util::Full<Bytes>>>| {
        let response = Response::builder().header("content-type", "text/event-stream");
        ready(Ok::<_, BoxError>(response.body(Chunks(1001)).unwrap()))
    });
    let service = InspectLayer::new().layer(AttemptLayer::new().layer(upstream));
    let body = chat(300);
    bencher.counter(ItemsCount::new(1000usize)).bench_local(|| {
        let body = http_body_util::Full::new(body.clone());
        let request = Request::post("/v1/chat/completions").body(body).unwrap();
        let mut body = now(service.clone().oneshot(request)).unwrap().into_body();
        let mut cx = Context::from_waker(Waker::noop());
        while let std::task::Poll::Ready(Some(frame)) = Pin::new(&mut body).poll_frame(&mut cx) {
            black_box(frame.unwrap());
        }
    });
}

/// Both layers around one JSON call, against the bare service.
#[divan::bench(args = [false, true])]
fn json_call(bencher: Bencher<'_, '_>, layered: bool) {
    const REPLY: &str = r#"{"id":"c","object":"chat.completion","choices":[{"index":0,"message":{"role":"assistant","content":"Paris"},"finish_reason":"stop"}],"usage":{"prompt_tokens":20,"completion_tokens":2,"total_tokens":22}}"#;
    let upstream = service_fn(|_: Request<RequestBody<http_body_util::Full<Bytes>>>| {
        let response = Response::builder().header("content-type", "application/json");
        let body = http_body_util::Full::new(Bytes::from_static(REPLY.as_bytes()));
        ready(Ok::<_, BoxError>(response.body(body).unwrap()))
    });
    let body = chat(4 << 10);
    // As every call has: the first header is two allocations, whoever writes it.
    let post = || {
        let request = Request::post("/v1/chat/completions");
        request.header("content-type", "application/json").header("content-length", "4096")
    };
    if layered {
        let mut service = InspectLayer::new().layer(AttemptLayer::new().layer(upstream));
        bencher.bench_local(|| {
            let request = post().body(http_body_util::Full::new(body.clone())).unwrap();
            now(service.call(request)).unwrap()
        });
    } else {
        let mut service = upstream;
        bencher.bench_local(|| {
            let request = post().body(RequestBody::buffered(body.clone())).unwrap();
            now(service.call(request)).unwrap()
        });
    }
}

/// The exact count of a prompt: of prose, of base64, of one endless word, and in pieces of
/// one letter.
#[cfg(feature = "exact-tokens")]
mod exact {
    use super::*;
    use tollway_dialect::tokens::Vocabulary;

    fn count(bencher: Bencher<'_, '_>, body: &Bytes) {
        Vocabulary::O200k.load();
        let (ask, _) = request::read(Operation::Embeddings, body).unwrap();
        bencher.bench(|| Vocabulary::O200k.count(&ask, black_box(body)).unwrap());
    }

    fn embeddings(input: serde_json::Value) -> Bytes {
        serde_json::json!({"model": "m", "input": input}).to_string().into()
    }

    #[divan::bench(args = [4 << 10, 1 << 20])]
    fn exact_chat(bencher: Bencher<'_, '_>, size: usize) {
        count(bencher, &chat(size));
    }

    fn random(letters: &[u8], size: usize) -> String {
        let mut random = 1_u64;
        let letters = (0..size).map(|_| {
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            char::from(letters[(random >> 33) as usize % letters.len()])
        });
        letters.collect()
    }

    const BASE64: &[u8] = b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789+/";

    #[divan::bench(args = [4 << 10, 1 << 20])]
    fn exact_base64(bencher: Bencher<'_, '_>, size: usize) {
        count(bencher, &embeddings(random(BASE64, size).into()));
    }

    #[divan::bench(args = [4 << 10, 1 << 20])]
    fn exact_word(bencher: Bencher<'_, '_>, size: usize) {
        count(bencher, &embeddings(random(&BASE64[..26], size).into()));
    }

    #[divan::bench(args = [4 << 10, 1 << 20])]
    fn exact_pieces(bencher: Bencher<'_, '_>, size: usize) {
        count(bencher, &embeddings(vec!["x"; size / 4].into()));
    }
}
