//! What it costs where client and provider speak different forms, and where they speak the same.

#![allow(clippy::unwrap_used)]

use std::{
    convert::Infallible,
    fmt,
    future::{Future, ready},
    hint::black_box,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, Waker},
};

use bytes::Bytes;
use divan::{AllocProfiler, Bencher, counter::ItemsCount};
use http::{Request, Response};
use http_body::{Body, Frame};
use http_body_util::Full;
use tollway_core::Target;
use tollway_dialect::{
    AttemptLayer, InspectLayer, RequestBody,
    translate::{self, Asked, Fit, Form, Stream, Strictness, TranslateLayer},
};
use tower::{Layer, Service, service_fn};

#[global_allocator]
static ALLOC: AllocProfiler = AllocProfiler::system();

fn main() {
    divan::main();
}

/// From the form of who speaks to that of who listens.
#[derive(Clone, Copy)]
struct Cell(Form, Form);

impl fmt::Display for Cell {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.0, self.1)
    }
}

fn cells() -> impl Iterator<Item = Cell> {
    let all = Form::ALL.into_iter().flat_map(|from| Form::ALL.map(|to| Cell(from, to)));
    all.filter(|cell| cell.0 != cell.1)
}

const LENIENT: Strictness = Strictness { refuse_meaning: false, refuse_harmless: false };

/// A conversation of about this size, in any form.
fn conversation(form: Form, size: usize) -> Bytes {
    let turns = r#"{"role":"user","content":"The quick brown fox jumps over the lazy dog, and so on until the message is as long as messages are."},{"role":"assistant","content":"Then it does \"that\" again,\nand once more."},"#;
    let turns = turns.repeat((size / turns.len()).max(1));
    let body = format!(
        r#"{{"model":"gpt-5.4","stream":true,"temperature":0.5,"messages":[{{"role":"system","content":"Be brief."}},{turns}{{"role":"user","content":"Go on."}}]}}"#
    );
    if form == Form::Chat {
        return body.into();
    }
    let asked = Asked::new(Form::Chat, "gpt-5.4", body);
    translate::request(&asked, "gpt-5.4", &Fit::new(form), LENIENT).unwrap().body
}

#[divan::bench(args = cells())]
fn request_4k(bencher: Bencher<'_, '_>, cell: Cell) {
    request(bencher, cell, 4 << 10);
}

#[divan::bench(args = cells())]
fn request_1m(bencher: Bencher<'_, '_>, cell: Cell) {
    request(bencher, cell, 1 << 20);
}

fn request(bencher: Bencher<'_, '_>, Cell(client, provider): Cell, size: usize) {
    let asked = Asked::new(client, "gpt-5.4", conversation(client, size));
    let fit = Fit::new(provider);
    bencher.bench(|| translate::request(black_box(&asked), "m", &fit, LENIENT).unwrap());
}

fn whole_reply(form: Form) -> Bytes {
    let chat = r#"{"id":"chatcmpl-1","object":"chat.completion","created":1763800100,"model":"gpt-5.4","choices":[{"index":0,"message":{"role":"assistant","content":"Paris is the capital of France.","refusal":null,"annotations":[]},"logprobs":null,"finish_reason":"stop"}],"usage":{"prompt_tokens":20,"completion_tokens":9,"total_tokens":29,"prompt_tokens_details":{"cached_tokens":0,"audio_tokens":0},"completion_tokens_details":{"reasoning_tokens":0}}}"#;
    let asked = Asked::new(form, "gpt-5.4", conversation(form, 4 << 10));
    match form {
        Form::Chat => chat.into(),
        _ => translate::reply(chat.as_bytes(), Form::Chat, &asked).unwrap(),
    }
}

#[divan::bench(args = cells())]
fn reply(bencher: Bencher<'_, '_>, Cell(provider, client): Cell) {
    let asked = Asked::new(client, "gpt-5.4", conversation(client, 4 << 10));
    let body = whole_reply(provider);
    bencher.bench(|| translate::reply(black_box(&body), provider, &asked).unwrap());
}

const EVENTS: usize = 50;

/// What each provider really sends: a head, an event for each piece of text, an end.
fn events(form: Form) -> Vec<Bytes> {
    let (head, event, end) = match form {
        Form::Chat => (
            "data: {\"id\":\"chatcmpl-B9\",\"object\":\"chat.completion.chunk\",\"created\":1763800100,\"model\":\"gpt-5.4-2026-03-05\",\"service_tier\":\"default\",\"system_fingerprint\":\"fp_fixture01\",\"choices\":[{\"index\":0,\"delta\":{\"role\":\"assistant\",\"content\":\"\",\"refusal\":null},\"logprobs\":null,\"finish_reason\":null}],\"usage\":null,\"obfuscation\":\"ab\"}\n\n",
            "data: {\"id\":\"chatcmpl-B9\",\"object\":\"chat.completion.chunk\",\"created\":1763800100,\"model\":\"gpt-5.4-2026-03-05\",\"service_tier\":\"default\",\"system_fingerprint\":\"fp_fixture01\",\"choices\":[{\"index\":0,\"delta\":{\"content\":\" fox\"},\"logprobs\":null,\"finish_reason\":null}],\"usage\":null,\"obfuscation\":\"Xk2\"}\n\n",
            "data: {\"id\":\"chatcmpl-B9\",\"object\":\"chat.completion.chunk\",\"created\":1763800100,\"model\":\"gpt-5.4-2026-03-05\",\"choices\":[{\"index\":0,\"delta\":{},\"logprobs\":null,\"finish_reason\":\"stop\"}],\"usage\":null}\n\ndata: {\"id\":\"chatcmpl-B9\",\"object\":\"chat.completion.chunk\",\"created\":1763800100,\"model\":\"gpt-5.4-2026-03-05\",\"choices\":[],\"usage\":{\"prompt_tokens\":9,\"completion_tokens\":48,\"total_tokens\":57}}\n\ndata: [DONE]\n\n",
        ),
        Form::Responses => (
            "event: response.created\ndata: {\"type\":\"response.created\",\"sequence_number\":0,\"response\":{\"id\":\"resp_1\",\"object\":\"response\",\"created_at\":1763800200,\"status\":\"in_progress\",\"model\":\"gpt-5.4\",\"output\":[]}}\n\nevent: response.output_item.added\ndata: {\"type\":\"response.output_item.added\",\"sequence_number\":1,\"output_index\":0,\"item\":{\"id\":\"msg_1\",\"type\":\"message\",\"status\":\"in_progress\",\"content\":[],\"role\":\"assistant\"}}\n\n",
            "event: response.output_text.delta\ndata: {\"type\":\"response.output_text.delta\",\"sequence_number\":7,\"item_id\":\"msg_0123456789abcdef0123456789abcdef01234567\",\"output_index\":0,\"content_index\":0,\"delta\":\" fox\",\"logprobs\":[],\"obfuscation\":\"Xk2\"}\n\n",
            "event: response.completed\ndata: {\"type\":\"response.completed\",\"sequence_number\":60,\"response\":{\"id\":\"resp_1\",\"object\":\"response\",\"created_at\":1763800200,\"status\":\"completed\",\"model\":\"gpt-5.4\",\"output\":[],\"usage\":{\"input_tokens\":9,\"output_tokens\":48,\"total_tokens\":57}}}\n\n",
        ),
        Form::Messages => (
            "event: message_start\ndata: {\"type\":\"message_start\",\"message\":{\"id\":\"msg_1\",\"type\":\"message\",\"role\":\"assistant\",\"model\":\"claude-haiku-4-5\",\"content\":[],\"stop_reason\":null,\"stop_sequence\":null,\"usage\":{\"input_tokens\":9,\"output_tokens\":1}}}\n\nevent: content_block_start\ndata: {\"type\":\"content_block_start\",\"index\":0,\"content_block\":{\"type\":\"text\",\"text\":\"\"}}\n\n",
            "event: content_block_delta\ndata: {\"type\":\"content_block_delta\",\"index\":0,\"delta\":{\"type\":\"text_delta\",\"text\":\" fox\"}}\n\n",
            "event: content_block_stop\ndata: {\"type\":\"content_block_stop\",\"index\":0}\n\nevent: message_delta\ndata: {\"type\":\"message_delta\",\"delta\":{\"stop_reason\":\"end_turn\",\"stop_sequence\":null},\"usage\":{\"output_tokens\":48}}\n\nevent: message_stop\ndata: {\"type\":\"message_stop\"}\n\n",
        ),
        Form::Generate => (
            "",
            "data: {\"candidates\":[{\"content\":{\"parts\":[{\"text\":\" fox\"}],\"role\":\"model\"},\"index\":0}],\"usageMetadata\":{\"promptTokenCount\":9,\"candidatesTokenCount\":4,\"totalTokenCount\":13,\"promptTokensDetails\":[{\"modality\":\"TEXT\",\"tokenCount\":9}]},\"modelVersion\":\"gemini-2.5-flash\",\"responseId\":\"fixR1\"}\n\n",
            "data: {\"candidates\":[{\"content\":{\"parts\":[{\"text\":\".\"}],\"role\":\"model\"},\"finishReason\":\"STOP\",\"index\":0}],\"usageMetadata\":{\"promptTokenCount\":9,\"candidatesTokenCount\":48,\"totalTokenCount\":57,\"promptTokensDetails\":[{\"modality\":\"TEXT\",\"tokenCount\":9}]},\"modelVersion\":\"gemini-2.5-flash\",\"responseId\":\"fixR1\"}\n\n",
        ),
    };
    let pieces = std::iter::repeat_n(event, EVENTS - 1);
    [head].into_iter().chain(pieces).chain([end]).map(Bytes::from).collect()
}

/// 50 events, each in a chunk of its own and taken away as it comes; divide the time by 50.
#[divan::bench(args = cells())]
fn stream_50_events(bencher: Bencher<'_, '_>, Cell(provider, client): Cell) {
    let asked = Asked::new(client, "gpt-5.4", conversation(client, 4 << 10));
    let events = events(provider);
    bencher.counter(ItemsCount::new(EVENTS)).bench(|| {
        let mut stream = Stream::new(provider, &asked);
        for event in &events {
            let mut out = Vec::new();
            stream.feed(black_box(event), &mut out);
            black_box(Bytes::from(out));
        }
        let mut out = Vec::new();
        stream.finish(&mut out);
        out
    });
}

/// Chunks that are ready, then the end.
struct Chunks(std::vec::IntoIter<Bytes>);

impl Body for Chunks {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        Poll::Ready(self.0.next().map(|chunk| Ok(Frame::data(chunk))))
    }
}

/// Its output, and that of all frames of the body, if nothing waits.
fn run<F, B, E>(future: F)
where
    F: Future<Output = Result<Response<B>, E>>,
    B: Body<Data = Bytes> + Unpin,
    E: fmt::Debug,
    B::Error: fmt::Debug,
{
    let mut cx = Context::from_waker(Waker::noop());
    let mut future = std::pin::pin!(future);
    let response = loop {
        if let Poll::Ready(response) = future.as_mut().poll(&mut cx) {
            break response.unwrap();
        }
    };
    let mut body = response.into_body();
    while let Poll::Ready(Some(frame)) = Pin::new(&mut body).poll_frame(&mut cx) {
        black_box(frame.unwrap());
    }
}

#[derive(Clone, Copy)]
enum Speaks {
    /// There is no `TranslateLayer`.
    Untranslated(Form),
    Same(Form),
    Other(Form, Form),
}

impl fmt::Display for Speaks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Untranslated(form) => write!(f, "{form}-untranslated"),
            Self::Same(form) => write!(f, "{form}-{form}"),
            Self::Other(client, provider) => write!(f, "{client}-{provider}"),
        }
    }
}

fn ways() -> impl Iterator<Item = Speaks> {
    let same =
        Form::ALL.into_iter().flat_map(|form| [Speaks::Untranslated(form), Speaks::Same(form)]);
    same.chain(cells().map(|cell| Speaks::Other(cell.0, cell.1)))
}

/// The whole call through the layers around an upstream that is always ready.
fn call(bencher: Bencher<'_, '_>, speaks: Speaks, stream: bool) {
    let (client, provider) = match speaks {
        Speaks::Untranslated(form) | Speaks::Same(form) => (form, form),
        Speaks::Other(client, provider) => (client, provider),
    };
    let parts = if stream { events(provider) } else { vec![whole_reply(provider)] };
    let kind = if stream { "text/event-stream" } else { "application/json" };
    let upstream = service_fn(move |_: Request<RequestBody<Full<Bytes>>>| {
        let body = Chunks(parts.clone().into_iter());
        ready(Ok::<_, Infallible>(
            Response::builder().header("content-type", kind).body(body).unwrap(),
        ))
    });
    let body = conversation(client, 4 << 10);
    let path = client.path("gpt-5.4", stream);
    let target = Target::new("p", "k", Some("m".into()));
    let post = || {
        let request = Request::post(&*path).header("content-type", "application/json");
        let request = request.header("content-length", body.len()).extension(target.clone());
        request.body(Full::new(body.clone())).unwrap()
    };
    let attempt = AttemptLayer::new().layer(upstream);
    if let Speaks::Untranslated(_) = speaks {
        let mut service = InspectLayer::new().layer(attempt);
        bencher.bench_local(|| run(service.call(post())));
    } else {
        let fit = Arc::new(Fit::new(provider));
        let fits = move |_: &Target, asked: Form| (asked != fit.form).then(|| fit.clone());
        let layer = TranslateLayer::new(fits).with_strictness(LENIENT);
        let mut service = InspectLayer::new().layer(layer.layer(attempt));
        bencher.bench_local(|| run(service.call(post())));
    }
}

/// A call of 4 KB that is answered as a whole.
#[divan::bench(args = ways())]
fn layered_call(bencher: Bencher<'_, '_>, speaks: Speaks) {
    call(bencher, speaks, false);
}

/// A call of 4 KB that is answered by 50 events.
#[divan::bench(args = ways())]
fn layered_stream(bencher: Bencher<'_, '_>, speaks: Speaks) {
    call(bencher, speaks, true);
}
