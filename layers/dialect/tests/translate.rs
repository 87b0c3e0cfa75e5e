//! The layers together: a client of each form, a provider of each other one.

#![allow(clippy::unwrap_used, clippy::panic)]

use std::{convert::Infallible, fs, path::PathBuf, sync::Arc};

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt, Full};
use tollway_core::{BoxError, Failure, Metered, Target};
use tollway_dialect::{
    AttemptLayer, InspectLayer, RequestBody,
    translate::{Fit, Form, Strictness, TranslateLayer},
};
use tower::{Layer, Service, ServiceBuilder, ServiceExt, service_fn};

fn pairs() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/samples/pairs")
}

fn cells() -> impl Iterator<Item = (Form, Form)> {
    let all = Form::ALL.into_iter().flat_map(|from| Form::ALL.map(|to| (from, to)));
    all.filter(|(from, to)| from != to)
}

/// The reply that a file in `tests/samples` holds.
fn reply_of(file: &[u8], content_type: Option<&str>) -> Response<Full<Bytes>> {
    if let Some(kind) = content_type {
        let body = Full::from(file.to_vec());
        return Response::builder().header("content-type", kind).body(body).unwrap();
    }
    let text = std::str::from_utf8(file).unwrap();
    let (head, body) = text.split_once("\n\n").unwrap();
    let mut lines = head.lines();
    let status = lines.next().unwrap().split(' ').nth(1).unwrap();
    let mut reply = Response::builder().status(status);
    for (name, value) in lines.filter_map(|line| line.split_once(": ")) {
        reply = reply.header(name, value);
    }
    reply.body(Full::from(body.to_owned())).unwrap()
}

/// A client that speaks `client`, and a provider that speaks `provider` and answers with `reply`.
async fn call(
    client: Form,
    provider: Form,
    body: Vec<u8>,
    stream: bool,
    reply: Response<Full<Bytes>>,
) -> (http::response::Parts, Bytes, http::request::Parts) {
    call_at(&client.path("M", stream), provider, body, reply).await
}

/// The same at a path of the client's own.
async fn call_at(
    path: &str,
    provider: Form,
    body: Vec<u8>,
    reply: Response<Full<Bytes>>,
) -> (http::response::Parts, Bytes, http::request::Parts) {
    let seen = Arc::new(std::sync::Mutex::new(None));
    let saw = seen.clone();
    let reply = Arc::new(reply);
    let upstream = service_fn(move |request: Request<RequestBody<Full<Bytes>>>| {
        let (saw, reply) = (saw.clone(), reply.clone());
        async move {
            *saw.lock().unwrap() = Some(request.into_parts().0);
            Ok::<_, Infallible>((*reply).clone())
        }
    });
    let fits =
        move |_: &Target, asked: Form| (asked != provider).then(|| Arc::new(Fit::new(provider)));
    let service = ServiceBuilder::new()
        .layer(InspectLayer::new())
        .layer(TranslateLayer::new(fits))
        .layer(AttemptLayer::new())
        .service(upstream);
    let mut request = Request::post(path).body(Full::from(body)).unwrap();
    request.extensions_mut().insert(Target::new("p", "main", Some("target-model".into())));
    request.headers_mut().insert("authorization", "Bearer client-key".parse().unwrap());
    request.headers_mut().insert("openai-organization", "org-1".parse().unwrap());
    let (parts, body) = service.oneshot(request).await.unwrap().into_parts();
    let body = body.collect().await.unwrap().to_bytes();
    let seen = seen.lock().unwrap().take().unwrap();
    (parts, body, seen)
}

fn input(form: Form, name: &str) -> Vec<u8> {
    fs::read(pairs().join(form.as_str()).join(name)).unwrap()
}

/// Something that every form can say.
fn plain(form: Form, stream: bool) -> Vec<u8> {
    match form {
        Form::Chat => format!(r#"{{"model":"M","messages":[{{"role":"user","content":"Hi"}}],"stream":{stream}}}"#),
        Form::Responses => format!(r#"{{"model":"M","input":"Hi","stream":{stream}}}"#),
        Form::Messages => format!(r#"{{"model":"M","max_tokens":9,"messages":[{{"role":"user","content":"Hi"}}],"stream":{stream}}}"#),
        Form::Generate => r#"{"contents":[{"parts":[{"text":"Hi"}]}]}"#.to_owned(),
    }
    .into_bytes()
}

#[tokio::test]
async fn errors_reach_the_client_in_its_own_form() {
    for (client, provider) in cells() {
        let reply = reply_of(&input(provider, "error.http"), None);
        let (parts, body, _) = call(client, provider, plain(client, false), false, reply).await;
        let mut told = format!("{}\n", parts.status.as_u16());
        for name in ["retry-after", "x-request-id", "request-id", "content-type"] {
            if let Some(value) = parts.headers.get(name) {
                told += &format!("{name}: {}\n", value.to_str().unwrap());
            }
        }
        told += &format!("\n{}\n", std::str::from_utf8(&body).unwrap());
        assert!(parts.extensions.get::<Failure>().is_some(), "{client} of {provider}");
        let path = pairs().join(format!("{provider}-{client}")).join("error.http");
        if std::env::var_os("UPDATE").is_some() {
            fs::write(&path, &told).unwrap();
        }
        assert_eq!(told, fs::read_to_string(&path).unwrap_or_default(), "{}", path.display());
    }
}

#[tokio::test]
async fn usage_is_the_providers_and_the_call_is_addressed_in_its_form() {
    for (client, provider) in cells() {
        let reply = reply_of(&input(provider, "reply.json"), Some("application/json"));
        let (parts, body, sent) = call(client, provider, plain(client, false), false, reply).await;
        assert_eq!(parts.status, 200, "{body:?}");
        let usage = parts.extensions.get::<Metered>().unwrap().usage().unwrap();
        assert_eq!((usage.input, usage.cached, usage.output, usage.reasoning), (120, 100, 60, 20));
        assert_eq!(parts.headers["content-length"], body.len().to_string());
        assert_eq!(sent.uri.path(), provider.path("target-model", false));
        let credential = match provider {
            Form::Messages => &sent.headers["x-api-key"],
            Form::Generate => &sent.headers["x-goog-api-key"],
            _ => &sent.headers["authorization"],
        };
        assert!(credential.as_bytes().ends_with(b"client-key"));
        let told = sent.headers.contains_key("openai-organization");
        assert_eq!(told, client.dialect() == provider.dialect(), "{client} to {provider}");
    }
}

#[tokio::test]
async fn an_error_in_a_started_stream_is_told_in_the_clients_form() {
    for (client, provider) in cells() {
        let stream = input(provider, "stream.sse");
        let cut = stream.len() * 2 / 3;
        let reply = reply_of(&stream[..cut], Some("text/event-stream"));
        let (parts, body, _) = call(client, provider, plain(client, true), true, reply).await;
        let told = String::from_utf8(body.to_vec()).unwrap();
        let metered = parts.extensions.get::<Metered>().unwrap();
        assert!(metered.failure().is_some(), "{client} of {provider}");
        let error = match client {
            Form::Chat => "data: {\"error\":{",
            Form::Responses => "event: error\n",
            Form::Messages => "event: error\ndata: {\"type\":\"error\"",
            Form::Generate => "\"status\":\"",
        };
        assert!(told.contains(error), "{client} of {provider}: {told}");
        for end in ["[DONE]", "message_stop", "response.completed", "\"finishReason\":\"STOP"] {
            assert!(!told.contains(end), "{client} of {provider}: {told}");
        }
    }
}

#[tokio::test]
async fn an_array_that_breaks_off_is_closed() {
    for provider in [Form::Chat, Form::Responses, Form::Messages] {
        let stream = input(provider, "stream.sse");
        let cut = stream.len() * 2 / 3;
        let reply = reply_of(&stream[..cut], Some("text/event-stream"));
        let path = "/v1beta/models/M:streamGenerateContent";
        let body = plain(Form::Generate, true);
        let (_, told, _) = call_at(path, provider, body, reply).await;
        let told: Vec<serde_json::Value> = serde_json::from_slice(&told).unwrap();
        assert!(told.len() > 1 && told.last().unwrap()["error"]["code"].is_u64(), "{provider}");
    }
}

#[tokio::test]
async fn a_broken_reply_is_a_failure_that_can_fail_over() {
    for (client, provider) in cells() {
        let reply = reply_of(b"{\"object\":\"something else\"}", Some("application/json"));
        let (parts, body, _) = call(client, provider, plain(client, false), false, reply).await;
        assert_eq!(parts.status.as_u16(), 502, "{client} of {provider}: {body:?}");
        assert!(parts.extensions.get::<Failure>().is_some());
        assert!(parts.extensions.get::<Metered>().is_none());
    }
}

#[tokio::test]
async fn the_same_form_passes_byte_for_byte() {
    for form in Form::ALL {
        for (name, kind) in
            [("reply.json", "application/json"), ("stream.sse", "text/event-stream")]
        {
            let stream = name == "stream.sse";
            let file = input(form, name);
            let mut body = plain(form, stream);
            if form == Form::Chat && stream {
                body = br#"{"model":"M","messages":[],"stream":true,"stream_options":{"include_usage":true}}"#.to_vec();
            }
            let (_, told, _) = call(form, form, body, stream, reply_of(&file, Some(kind))).await;
            assert_eq!(told, file, "{form} {name}");
        }
    }
}

#[tokio::test]
async fn a_thought_taken_out_at_a_provider_of_the_clients_own_api_is_told_or_refused() {
    let thought = r#"{"type":"thinking","thinking":"T","signature":"tollway:generate:SIG"}"#;
    let body = format!(
        r#"{{"model":"M","max_tokens":9,"messages":[{{"role":"assistant","content":[{thought}]}},{{"role":"user","content":"Hi"}}]}}"#
    );
    for refuse_harmless in [false, true] {
        let upstream = service_fn(async |request: Request<RequestBody<Full<Bytes>>>| {
            let sent = request.body().as_bytes().cloned().unwrap_or_default();
            assert!(!sent.windows(8).any(|bytes| bytes == b"tollway:"), "{sent:?}");
            Ok::<_, BoxError>(Response::new(Full::<Bytes>::default()))
        });
        let fits = |_: &Target, _: Form| None::<Arc<Fit>>;
        let strictness = Strictness { refuse_meaning: true, refuse_harmless };
        let layer = TranslateLayer::new(fits).with_strictness(strictness);
        let service = InspectLayer::new().layer(layer.layer(upstream));
        let body = Full::from(body.clone());
        let mut request = Request::post("/v1/messages").body(body).unwrap();
        request.extensions_mut().insert(Target::new("p", "main", Some("m".into())));
        match service.oneshot(request).await {
            Ok(reply) => {
                assert!(!refuse_harmless);
                assert_eq!(reply.headers()["x-tollway-dropped"], "thinking");
            }
            Err(refused) => {
                assert!(refuse_harmless);
                assert!(refused.to_string().contains("`thinking` comes from another provider"));
            }
        }
    }
}

#[tokio::test]
async fn a_count_is_an_estimate_where_the_provider_has_no_such_call() {
    let fits = |_: &Target, _: Form| Some(Arc::new(Fit::new(Form::Chat)));
    let upstream = service_fn(async |_: Request<RequestBody<Full<Bytes>>>| {
        Err::<Response<Full<Bytes>>, BoxError>("nobody is to be called".into())
    });
    let mut service = InspectLayer::new().layer(TranslateLayer::new(fits).layer(upstream));
    for (path, key) in [
        ("/v1/messages/count_tokens", "input_tokens"),
        ("/v1beta/models/m:countTokens", "totalTokens"),
    ] {
        let body = r#"{"model":"m","messages":[{"role":"user","content":"a few words of text"}],"contents":[{"parts":[{"text":"a few words of text"}]}]}"#;
        let mut request = Request::post(path).body(Full::<Bytes>::from(body)).unwrap();
        request.extensions_mut().insert(Target::new("p", "main", Some("m".into())));
        let reply = service.ready().await.unwrap().call(request).await.unwrap();
        assert_eq!(reply.headers()["x-tollway-estimate"], "input_tokens");
        let told = reply.into_body().collect().await.unwrap().to_bytes();
        let told: serde_json::Value = serde_json::from_slice(&told).unwrap();
        assert!(told[key].as_u64().is_some_and(|tokens| (4..40).contains(&tokens)), "{told}");
    }
}

#[tokio::test]
async fn no_models_name_leads_out_of_its_place_in_a_path() {
    let fits = |_: &Target, _: Form| Some(Arc::new(Fit::new(Form::Generate)));
    let upstream = service_fn(async |_: Request<RequestBody<Full<Bytes>>>| {
        Ok::<_, BoxError>(Response::new(Full::<Bytes>::default()))
    });
    let mut service = InspectLayer::new().layer(TranslateLayer::new(fits).layer(upstream));
    for (model, refused) in [("a/../../files", true), ("..", true), ("a..b", false), ("a/b", false)]
    {
        let body =
            format!(r#"{{"model":"{model}","messages":[{{"role":"user","content":"Hi"}}]}}"#);
        let mut request =
            Request::post("/v1/chat/completions").body(Full::<Bytes>::from(body)).unwrap();
        request.extensions_mut().insert(Target::new("p", "main", Some(model.into())));
        let called = service.ready().await.unwrap().call(request).await;
        let told = called.err().map(|error| error.to_string());
        assert_eq!(told.is_some_and(|told| told.contains("path")), refused, "{model}");
    }
}

#[tokio::test]
async fn another_body_has_no_headers_of_the_one_that_came() {
    const OF_BODY: [&str; 5] =
        ["content-encoding", "etag", "content-md5", "repr-digest", "last-modified"];
    let answer = r#"{"choices":[{"message":{"content":"x"},"finish_reason":"stop"}]}"#;
    for (kind, packing, body, status) in [
        ("application/json", "gzip", "\u{1f}packed", 502),
        ("text/event-stream", "br", "packed", 502),
        ("application/json", "identity", answer, 200),
        ("text/event-stream", "identity", "data: [DONE]\n\n", 200),
    ] {
        let reply = Response::builder().header("content-type", kind);
        let reply = OF_BODY[1..].iter().fold(reply, |reply, name| reply.header(*name, "x"));
        let reply = reply.header(OF_BODY[0], packing).body(Full::from(body)).unwrap();
        let body = plain(Form::Messages, kind == "text/event-stream");
        let (parts, told, _) = call(Form::Messages, Form::Chat, body, false, reply).await;
        assert_eq!(parts.status, status, "{kind} {told:?}");
        for name in OF_BODY {
            assert!(!parts.headers.contains_key(name), "{name} of {kind} {packing}");
        }
    }
}

/// Python writes them where a text is cut amid an emoji; between two of one form they pass.
#[tokio::test]
async fn half_a_letter_passes_byte_for_byte() {
    let answers = [
        (Form::Chat, r#"{"choices":[{"message":{"content":"a \ud83d"},"finish_reason":"stop"}]}"#),
        (Form::Messages, r#"{"type":"message","content":[{"type":"text","text":"\ude00 b"}]}"#),
        (Form::Responses, r#"{"object":"response","output":[],"x":"\ud83d\u0041"}"#),
        (Form::Generate, r#"{"candidates":[{"content":{"parts":[{"text":"a\ud83d"}]}}]}"#),
    ];
    for (form, answer) in answers {
        let body = r#"{"model":"M","max_tokens":9,"messages":[{"role":"user","content":"a\ud83d"}],
            "input":"\ud83d","contents":[{"parts":[{"text":"a\ud83d\n"}]}],"x\ude00":"\ud83d"}"#;
        let reply = reply_of(answer.as_bytes(), Some("application/json"));
        let (parts, told, _) = call(form, form, body.into(), false, reply).await;
        assert_eq!((parts.status.as_u16(), &told[..]), (200, answer.as_bytes()), "{form}");
        assert!(parts.extensions.get::<Failure>().is_none());
    }
}

/// The names of a stream's events, each run of equal ones as one; of events without name, how they
/// begin.
fn names(stream: &[u8]) -> Vec<String> {
    let text = std::str::from_utf8(stream).unwrap();
    let mut names: Vec<String> = text
        .split_terminator("\n\n")
        .map(|event| match event.strip_prefix("event: ") {
            Some(named) => named.lines().next().unwrap().to_owned(),
            None => event.strip_prefix("data: ").unwrap().chars().take(6).collect(),
        })
        .collect();
    names.dedup();
    names
}

#[tokio::test]
async fn a_whole_where_a_stream_was_asked_for_is_told_as_one() {
    for (client, provider) in cells() {
        let reply = reply_of(&input(provider, "reply.json"), Some("application/json"));
        let (parts, told, _) = call(client, provider, plain(client, true), true, reply).await;
        assert_eq!(parts.status, 200, "{client} of {provider}: {told:?}");
        assert!(parts.headers["content-type"].as_bytes().starts_with(b"text/event-stream"));
        let usage = parts.extensions.get::<Metered>().unwrap().usage().unwrap();
        assert_eq!((usage.input, usage.output), (120, 60));
        // As of a stream that says the same.
        let stream = reply_of(&input(provider, "stream.sse"), Some("text/event-stream"));
        let (_, streamed, _) = call(client, provider, plain(client, true), true, stream).await;
        assert_eq!(names(&told), names(&streamed), "{client} of {provider}");
    }
    // In Gemini's array, and an error of it with its status.
    let (path, body) = ("/v1beta/models/M:streamGenerateContent", plain(Form::Generate, true));
    let reply = reply_of(&input(Form::Chat, "reply.json"), Some("application/json"));
    let (parts, told, _) = call_at(path, Form::Chat, body.clone(), reply).await;
    assert_eq!(parts.headers["content-type"], "application/json");
    assert!(serde_json::from_slice::<Vec<serde_json::Value>>(&told).unwrap().len() > 1);
    let reply = reply_of(b"{\"object\":\"something else\"}", Some("application/json"));
    let (parts, _, _) = call_at(path, Form::Chat, body, reply).await;
    assert_eq!((parts.status.as_u16(), &parts.headers["content-type"]), (502, &JSON));
}

const JSON: http::HeaderValue = http::HeaderValue::from_static("application/json");

#[tokio::test]
async fn a_stream_where_a_whole_was_asked_for_is_told_as_one() {
    for (client, provider) in cells() {
        let stream = input(provider, "stream.sse");
        let answered = async |body: &[u8]| {
            let reply = reply_of(body, Some("text/event-stream"));
            call(client, provider, plain(client, false), false, reply).await
        };
        let (parts, told, _) = answered(&stream).await;
        assert_eq!((parts.status.as_u16(), &parts.headers["content-type"]), (200, &JSON));
        let usage = parts.extensions.get::<Metered>().unwrap().usage().unwrap();
        assert_eq!((usage.input, usage.output), (120, 60));
        let told = String::from_utf8(told.to_vec()).unwrap();
        let end = match client {
            Form::Chat => r#""finish_reason":"tool_calls""#,
            Form::Responses => r#""status":"completed""#,
            Form::Messages => r#""stop_reason":"tool_use""#,
            Form::Generate => r#""finishReason":"STOP""#,
        };
        assert!(told.contains(end) && told.contains("Zürich"), "{client} of {provider}: {told}");
        // What breaks off is no answer.
        let (parts, told, _) = answered(&stream[..stream.len() * 2 / 3]).await;
        assert_eq!(parts.status.as_u16(), 502, "{client} of {provider}: {told:?}");
        assert!(parts.extensions.get::<Failure>().is_some());
        assert!(parts.extensions.get::<Metered>().is_none());
    }
}
