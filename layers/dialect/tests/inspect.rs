//! The inspect layer: what is held, what is read, what is refused.

#![allow(clippy::unwrap_used, clippy::panic)]

use std::sync::{Arc, Mutex};

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body::Body;
use http_body_util::BodyExt;
use tollway_core::{Ask, BoxError, Operation, find_error};
use tollway_dialect::{AttemptLayer, BadRequest, InspectConfig, InspectLayer, RequestBody};
use tollway_testkit::{Probe, ScriptedBody, Step};
use tower::{Layer, ServiceExt};

type Seen = Arc<Mutex<Vec<Request<RequestBody<ScriptedBody>>>>>;

fn small() -> InspectLayer {
    let mut config = InspectConfig::default();
    config.max_body = 64;
    config.max_upload = 1000;
    config.max_peek = 400;
    InspectLayer::with_config(config).unwrap()
}

async fn inspect(
    request: Request<ScriptedBody>,
) -> Result<Request<RequestBody<ScriptedBody>>, BoxError> {
    let seen = Seen::default();
    let log = seen.clone();
    let probe = Probe::new(move |request| {
        log.lock().unwrap().push(request);
        std::future::ready(Ok::<_, BoxError>(Response::new(())))
    });
    small().layer(probe).oneshot(request).await?;
    Ok(seen.lock().unwrap().pop().unwrap())
}

fn post(path: &str, content_type: &str, steps: Vec<Step>) -> Request<ScriptedBody> {
    let request = Request::post(path).header("content-type", content_type);
    request.body(ScriptedBody::new(steps)).unwrap()
}

fn chat(steps: Vec<Step>) -> Request<ScriptedBody> {
    post("/v1/chat/completions", "application/json", steps)
}

async fn refused(request: Request<ScriptedBody>) -> (StatusCode, Option<&'static str>) {
    let error = inspect(request).await.unwrap_err();
    let refused = find_error::<BadRequest>(&*error).unwrap();
    assert!(!refused.message().is_empty());
    (refused.status(), refused.code())
}

async fn bytes(request: Request<RequestBody<ScriptedBody>>) -> Bytes {
    request.into_body().collect().await.unwrap().to_bytes()
}

fn pieces(text: &str, size: usize) -> Vec<Step> {
    text.as_bytes().chunks(size).flat_map(|part| [Step::Yield, Step::data(part.to_vec())]).collect()
}

#[tokio::test]
async fn a_json_call_is_held_and_read_however_it_comes() {
    let body = r#"{"model":"m","stream":true,"x":[1]}"#;
    for size in [1, 5, body.len()] {
        let seen = inspect(chat(pieces(body, size))).await.unwrap();
        let ask = seen.extensions().get::<Ask>().unwrap();
        assert_eq!((ask.operation, ask.model()), (Operation::ChatCompletions, Some("m")));
        assert!(ask.stream);
        assert_eq!(seen.body().as_bytes().unwrap(), body);
        assert_eq!(seen.body().size_hint().exact(), Some(body.len() as u64));
        let again = seen.body().try_clone().unwrap();
        assert_eq!(again.as_bytes().unwrap().as_ptr(), seen.body().as_bytes().unwrap().as_ptr());
        assert_eq!(bytes(seen).await, body);
    }
    let whole = Bytes::from_static(br#"{"model":"m"}"#);
    let seen = inspect(chat(vec![Step::Data(whole.clone())])).await.unwrap();
    assert_eq!(seen.body().as_bytes().unwrap().as_ptr(), whole.as_ptr(), "not copied");
    let mut bare = chat(vec![Step::Data(whole)]);
    bare.headers_mut().clear();
    assert!(inspect(bare).await.unwrap().extensions().get::<Ask>().unwrap().model().is_some());
}

#[tokio::test]
async fn a_body_over_the_bound_is_refused() {
    let large = format!(r#"{{"model":"m","x":"{}"}}"#, "y".repeat(100));
    let too_large = (StatusCode::PAYLOAD_TOO_LARGE, Some("request_too_large"));
    assert_eq!(refused(chat(pieces(&large, 10))).await, too_large);
    // Said beforehand, nothing is read.
    let mut said = chat(vec![Step::Stall]);
    said.headers_mut().insert("content-length", "65".parse().unwrap());
    assert_eq!(refused(said).await, too_large);
    let fits = format!(r#"{{"model":"m","x":"{}"}}"#, "y".repeat(64 - 20));
    assert_eq!(fits.len(), 64);
    assert!(inspect(chat(pieces(&fits, 10))).await.is_ok());
}

#[tokio::test]
async fn an_upload_over_its_bound_fails_where_it_is_too_much() {
    let too_large = (StatusCode::PAYLOAD_TOO_LARGE, Some("request_too_large"));
    let multipart = "multipart/form-data; boundary=B";
    let mut longest = FORM.replace("RIFF", "");
    longest = FORM.replace("RIFF", &"x".repeat(1000 - longest.len()));
    assert_eq!(longest.len(), 1000);
    for path in ["/v1/files", "/v1/audio/transcriptions"] {
        // Said beforehand, nobody is called.
        let mut said = post(path, multipart, vec![Step::Stall]);
        said.headers_mut().insert("content-length", "1001".parse().unwrap());
        assert_eq!(refused(said).await, too_large);
        let whole = inspect(post(path, multipart, pieces(&longest, 100))).await.unwrap();
        assert_eq!(bytes(whole).await, longest);
        let mut steps = pieces(&longest, 100);
        steps.extend([Step::data("y"), Step::Stall]);
        let mut body = inspect(post(path, multipart, steps)).await.unwrap().into_body();
        let mut passed = Vec::new();
        let error = loop {
            match body.frame().await.unwrap() {
                Ok(frame) => passed.extend_from_slice(frame.data_ref().unwrap()),
                Err(error) => break error,
            }
        };
        assert!(passed == longest.as_bytes(), "all up to the bound has passed");
        let refused = find_error::<BadRequest>(&*error).unwrap();
        assert_eq!((refused.status(), refused.code()), too_large);
    }
    // Too much before the search for the model is over.
    let multipart = "multipart/form-data; boundary=other";
    let large = vec![Step::data(vec![b'x'; 300]), Step::data(vec![b'x'; 701])];
    assert_eq!(refused(post("/v1/audio/transcriptions", multipart, large)).await, too_large);
}

#[tokio::test]
async fn an_upload_that_breaks_off_is_an_incomplete_body() {
    let steps = vec![Step::data("some"), Step::Error("reset")];
    let seen = inspect(post("/v1/files", "application/octet-stream", steps)).await.unwrap();
    let error = seen.into_body().collect().await.unwrap_err();
    let refused = find_error::<BadRequest>(&*error).unwrap();
    assert_eq!(
        (refused.status(), refused.code()),
        (StatusCode::BAD_REQUEST, Some("incomplete_body"))
    );
}

#[tokio::test]
async fn what_cannot_be_read_is_refused() {
    let bad = StatusCode::BAD_REQUEST;
    let wrong_type = (StatusCode::UNSUPPORTED_MEDIA_TYPE, Some("unsupported_media_type"));
    assert_eq!(refused(chat(vec![])).await, (bad, Some("invalid_json")));
    assert_eq!(refused(chat(vec![Step::data("{")])).await, (bad, Some("invalid_json")));
    let half = vec![Step::data(r#"{"model""#), Step::Error("reset")];
    assert_eq!(refused(chat(half)).await, (bad, Some("incomplete_body")));
    let form = "application/x-www-form-urlencoded";
    assert_eq!(refused(post("/v1/chat/completions", form, vec![])).await, wrong_type);
    let mut packed = chat(vec![]);
    packed.headers_mut().insert("content-encoding", "gzip".parse().unwrap());
    assert_eq!(refused(packed).await, wrong_type);
}

#[tokio::test]
async fn a_model_in_the_path_is_read_and_changed_there() {
    let seen = Seen::default();
    let log = seen.clone();
    let probe = Probe::new(move |request| {
        log.lock().unwrap().push(request);
        std::future::ready(Ok::<_, BoxError>(Response::new(ScriptedBody::new([]))))
    });
    let service = InspectLayer::new().layer(AttemptLayer::new().layer(probe));
    for (body, to, path, sent) in [
        ("{}", "a", "/v1/engines/a/chat/completions", "{}"),
        ("{}", "b", "/v1/engines/b/chat/completions", "{}"),
        // The path decides, and the body says the same.
        (r#"{"model":"a"}"#, "a", "/v1/engines/a/chat/completions", r#"{"model":"a"}"#),
        (r#"{"model":"x"}"#, "a", "/v1/engines/a/chat/completions", r#"{"model":"a"}"#),
        (r#"{"model":"x"}"#, "b", "/v1/engines/b/chat/completions", r#"{"model":"b"}"#),
    ] {
        let steps = vec![Step::data(body)];
        let mut call = post("/v1/engines/a/chat/completions", "application/json", steps);
        call.extensions_mut().insert(tollway_core::Target::new("p", "k", Some(to.into())));
        service.clone().oneshot(call).await.unwrap();
        let seen = seen.lock().unwrap().pop().unwrap();
        let ask = seen.extensions().get::<Ask>().unwrap();
        assert_eq!((ask.operation, ask.model()), (Operation::ChatCompletions, Some("a")));
        assert_eq!(seen.uri(), path);
        assert_eq!(bytes(seen).await, sent);
    }
    let long = format!("/v1/engines/{}/completions", "x".repeat(257));
    for path in [&long, "/v1/engines/a%0Ab/completions"] {
        let steps = vec![Step::data("{}")];
        assert_eq!(refused(post(path, "application/json", steps)).await.1, Some("invalid_model"));
    }
}

#[tokio::test]
async fn a_path_is_read_in_one_way_or_not_at_all() {
    let call = |path: &str| post(path, "application/json", vec![Step::data(r#"{"model":"m"}"#)]);
    let seen = inspect(call("/v1/chat/%63ompletions")).await.unwrap();
    let ask = seen.extensions().get::<Ask>().unwrap();
    assert_eq!((ask.operation, ask.model()), (Operation::ChatCompletions, Some("m")));
    assert_eq!(seen.uri(), "/v1/chat/%63ompletions", "passed on as it came");
    for path in ["/v1//chat//completions", "/v1/x/%2e./chat/completions", "/v1/chat%2fcompletions"]
    {
        assert_eq!(refused(call(path)).await, (StatusCode::BAD_REQUEST, Some("invalid_path")));
    }
    // Nor out of the base URL, in any call.
    let mut other = call("/v1/files/../../admin");
    *other.method_mut() = http::Method::GET;
    assert_eq!(refused(other).await.1, Some("invalid_path"));
    // Odd paths that nobody takes for such a call pass as they are.
    assert!(inspect(call("/v1/files/a%2Fb//?x=../..//")).await.is_ok());
    assert!(inspect(call("/v1/invented/./a/../b")).await.is_ok());
}

#[tokio::test]
async fn other_bodies_stream_through_unheld() {
    for (path, content_type) in [
        ("/v1/files", "multipart/form-data; boundary=x"),
        ("/v1/invented/later", "application/json"),
        ("/v1/batches", "application/json"),
        ("/v1/audio/speech", "application/octet-stream"),
    ] {
        // The body has more than the bound, and has not even come when the call goes on.
        let steps = vec![Step::Yield, Step::data(vec![b'x'; 1000])];
        let seen = inspect(post(path, content_type, steps)).await.unwrap();
        assert!(seen.body().as_bytes().is_none() && seen.body().try_clone().is_none());
        assert_eq!(seen.extensions().get::<Ask>().unwrap().model(), None);
        assert_eq!(bytes(seen).await, vec![b'x'; 1000]);
    }
}

const FORM: &str = "--B\r\nContent-Disposition: form-data; name=\"model\"\r\n\r\nwhisper-1\r\n--B\r\nContent-Disposition: form-data; name=\"file\"; filename=\"a.wav\"\r\n\r\nRIFF\r\n--B--\r\n";

#[tokio::test]
async fn the_model_of_an_upload_is_found_without_holding_it() {
    for size in [1, 30, FORM.len()] {
        let upload =
            post("/v1/audio/transcriptions", "multipart/form-data; boundary=B", pieces(FORM, size));
        let seen = inspect(upload).await.unwrap();
        let ask = seen.extensions().get::<Ask>().unwrap();
        assert_eq!((ask.operation, ask.model()), (Operation::Audio, Some("whisper-1")));
        assert_eq!(bytes(seen).await, FORM);
    }
    // The model behind a large file is not waited for.
    let file =
        format!("--B\r\nContent-Disposition: form-data; name=\"file\"\r\n\r\n{}", "x".repeat(500));
    let mut steps = pieces(&file, 50);
    steps.push(Step::Stall);
    let upload = post("/v1/audio/transcriptions", "multipart/form-data; boundary=B", steps);
    assert_eq!(inspect(upload).await.unwrap().extensions().get::<Ask>().unwrap().model(), None);
}

#[tokio::test]
async fn the_model_behind_a_file_of_usual_size_is_found() {
    let form = |size: usize| {
        let file = "x".repeat(size);
        FORM.replace(
            "--B\r\nContent-Disposition: form-data; name=\"model\"",
            &format!(
                "--B\r\nContent-Disposition: form-data; name=\"file\"\r\n\r\n{file}\r\n\
                 --B\r\nContent-Disposition: form-data; name=\"model\""
            ),
        )
    };
    for (size, piece, model) in [
        (900 << 10, 16 << 10, Some("whisper-1")),
        (100_000, 1, Some("whisper-1")),
        (2 << 20, 16 << 10, None),
    ] {
        let (form, seen) = (form(size), Seen::default());
        let log = seen.clone();
        let probe = Probe::new(move |request| {
            log.lock().unwrap().push(request);
            std::future::ready(Ok::<_, BoxError>(Response::new(())))
        });
        let steps = form.as_bytes().chunks(piece).map(|part| Step::data(part.to_vec())).collect();
        let upload = post("/v1/audio/transcriptions", "multipart/form-data; boundary=B", steps);
        InspectLayer::new().layer(probe).oneshot(upload).await.unwrap();
        let seen = seen.lock().unwrap().pop().unwrap();
        assert_eq!(seen.extensions().get::<Ask>().unwrap().model(), model, "{size}");
        assert!(bytes(seen).await == form, "{size}");
    }
}

#[tokio::test]
async fn the_model_of_an_upload_is_a_short_name() {
    let type_ = "multipart/form-data; boundary=B";
    let upload = |model: &[u8]| {
        let head = b"--B\r\nContent-Disposition: form-data; name=\"model\"\r\n\r\n";
        let form = [&head[..], model, b"\r\n--B--\r\n"].concat();
        post("/v1/audio/transcriptions", type_, vec![Step::data(form)])
    };
    let long = "x".repeat(257);
    for (model, code) in [
        (long.as_bytes(), "invalid_model"),
        (b"a\nb", "invalid_model"),
        (b"a\xFF", "invalid_model"),
        (b"", "missing_required_parameter"),
    ] {
        let error = inspect(upload(model)).await.unwrap_err();
        let refused = find_error::<BadRequest>(&*error).unwrap();
        assert_eq!((refused.status(), refused.param()), (StatusCode::BAD_REQUEST, Some("model")));
        assert_eq!(refused.code(), Some(code));
    }
    assert!(inspect(upload(&long.as_bytes()[1..])).await.is_ok_and(|seen| {
        seen.extensions().get::<Ask>().unwrap().model().unwrap().len() == 256
    }));
}

#[tokio::test]
async fn the_model_of_an_upload_is_spliced_too() {
    let seen = Seen::default();
    let log = seen.clone();
    let probe = Probe::new(move |request| {
        log.lock().unwrap().push(request);
        std::future::ready(Ok::<_, BoxError>(Response::new(ScriptedBody::new([]))))
    });
    let service = InspectLayer::new().layer(AttemptLayer::new().layer(probe));
    let type_ = "multipart/form-data; boundary=B";
    let mut upload = post("/v1/audio/transcriptions", type_, pieces(FORM, 70));
    upload.headers_mut().insert("content-length", FORM.len().to_string().parse().unwrap());
    let target = tollway_core::Target::new("p", "k", Some("whisper-large".into()));
    upload.extensions_mut().insert(target);
    service.oneshot(upload).await.unwrap();
    let sent = seen.lock().unwrap().pop().unwrap();
    let expected = FORM.replace("whisper-1", "whisper-large");
    assert_eq!(sent.headers()["content-length"], expected.len().to_string());
    assert_eq!(bytes(sent).await, expected);
}
