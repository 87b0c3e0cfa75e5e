//! What passes, passes untouched: paths, queries, bodies, headers, versions, encodings.

use std::{
    collections::VecDeque,
    convert::Infallible,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use bytes::Bytes;
use http::{HeaderMap, Method, Request, Response, Version};
use http_body::Frame;
use http_body_util::BodyExt;
use rustls::pki_types::PrivateKeyDer;
use tokio::{io::AsyncWriteExt, net::TcpListener, sync::mpsc};

use super::support::*;

#[tokio::test]
async fn every_path_and_query_passes_as_it_was_written() {
    let provider = Recording::new(|_| reply(200, &[], "ok")).await;
    let proxy = Running::new(&format!(
        "providers:\n  up: {{ base_url: \"http://{}/base/v1\", auth: none }}\n",
        provider.address
    ));
    let paths = [
        "/models?x=1",
        "/files?after=a%2Fb&limit=20",
        "/files/file-1/content",
        "/batches/batch_1/cancel",
        "/images/generations?",
        "/vector_stores/a%20b/files?q=%E4%BD%A0%5B%5D&q=+&&z",
        "/brand-new/%2e%2e/%2F//double;semi,comma:colon@at!$&'()*+=~",
        "/",
        "",
        "?only=query",
    ];
    for path in paths {
        for method in [Method::GET, Method::DELETE, Method::OPTIONS, Method::PUT, Method::PATCH] {
            let reply = proxy.send(method.clone(), &format!("/v1{path}"), &[], "").await;
            assert_eq!(reply.status, 200, "{method} {path}: {}", reply.text());
            let seen = provider.last();
            assert_eq!(seen.method, method);
            assert_eq!(seen.uri.to_string(), format!("/base/v1{path}"));
        }
    }
    // A method nobody has heard of, and a path outside of /v1.
    let reply = proxy.send(Method::from_bytes(b"BREW").unwrap(), "/coffee?milk", &[], "").await;
    assert_eq!(reply.status, 200);
    assert_eq!(provider.last().uri.to_string(), "/base/v1/coffee?milk");
}

#[tokio::test]
async fn json_is_passed_on_byte_by_byte() {
    let provider = Recording::new(|_| reply(200, &[JSON], COMPLETION)).await;
    let proxy = Running::before(provider.address);
    let odd = "\r\n {\t\"zz\" : 1e300, \"model\":\"gpt\\u002d4o\" , \"a\":{\"b\":[1.10,-0,\"\\ud83d\\ude00\"]},\n\
               \"messages\": [ {\"role\":\"user\",\"content\":\"\u{4f60} \\/ \"} ], \"unknown\":null,\"zz2\":{} } \n";
    let reply = proxy.post(CHAT, odd).await;
    assert_eq!((reply.status.as_u16(), reply.text().as_str()), (200, COMPLETION));
    assert_eq!(provider.last().body, odd);
    assert_eq!(provider.last().header("content-length"), odd.len().to_string());
    // What the proxy doesn't read passes too, whatever it is.
    for path in ["/v1/brand-new", "/v1/batches", "/v1/vector_stores"] {
        let reply = proxy.post(path, &b"{ not json \xff\x00"[..]).await;
        assert_eq!(reply.status, 200, "{path}");
        assert_eq!(&provider.last().body[..], b"{ not json \xff\x00");
    }
}

#[tokio::test]
async fn a_number_beyond_a_double_is_json_too() {
    let provider = Recording::new(|_| reply(200, &[JSON], COMPLETION)).await;
    let proxy = Running::before(provider.address);
    let body = r#"{"model":"gpt-4o","messages":[],"unknown":1e400}"#;
    let reply = proxy.post(CHAT, body).await;
    assert_eq!(reply.status, 200, "{}", reply.text());
    assert_eq!(provider.last().body, body);
}

#[tokio::test]
async fn a_routes_model_is_spliced_in_and_nothing_else_changes() {
    let provider = Recording::new(|_| reply(200, &[JSON], COMPLETION)).await;
    let proxy = Running::new(&format!(
        "{}aliases: {{ fast: gpt-4o }}\nroutes: [{{ targets: [up/other-model] }}]\n",
        provider_at(provider.address)
    ));
    let text = |model: &str| {
        format!("{{ \"x\":1.50, \"model\" : {model},\"messages\":[] , \"model2\":\"fast\"}}")
    };
    for asked in ["\"fast\"", "\"gpt-4o\"", "\"g\\u0070t\""] {
        assert_eq!(proxy.post(CHAT, text(asked)).await.status, 200);
        assert_eq!(provider.last().body, text("\"other-model\""));
    }
}

#[tokio::test]
async fn hop_by_hop_headers_stop_here_both_ways() {
    let provider = raw_provider(|mut stream| async move {
        let head = read_request(&mut stream).await.to_ascii_lowercase();
        let body = serde_json::json!(head).to_string();
        let text = format!(
            "HTTP/1.1 200 OK\r\nconnection: x-private-reply, keep-alive\r\nx-private-reply: 1\r\n\
             keep-alive: timeout=5\r\nproxy-authenticate: Basic\r\nupgrade: h2c\r\n\
             x-request-id: req_1\r\nset-cookie: a=1\r\nset-cookie: b=2\r\nopenai-processing-ms: 7\r\n\
             content-length: {}\r\n\r\n{body}",
            body.len()
        );
        let _ = stream.write_all(text.as_bytes()).await;
        rest(&mut stream).await;
    })
    .await;
    let proxy = Running::before(provider);
    let request = "GET /v1/files HTTP/1.1\r\nhost: me.example\r\nconnection: close, X-Private\r\nx-private: 1\r\n\
                   te: trailers\r\nkeep-alive: 5\r\nproxy-authorization: Basic eA==\r\n\
                   proxy-connection: x\r\nupgrade: websocket\r\ntrailer: x\r\n\
                   x-custom: kept\r\nx-multi: 1\r\nx-multi: 2\r\nauthorization: Bearer sk-own\r\n\
                   openai-organization: org-1\r\nuser-agent: test/1\r\n\r\n";
    let got = raw(proxy.address(), request.as_bytes()).await.unwrap();
    assert_eq!(got.status, 200, "{got:?}");
    let upstream: String = serde_json::from_str(got.body.trim()).unwrap();
    for gone in [
        "x-private",
        "te:",
        "keep-alive",
        "proxy-",
        "upgrade",
        "trailer",
        "connection: close",
        "me.example",
    ] {
        assert!(!upstream.contains(gone), "{gone} went upstream:\n{upstream}");
    }
    for kept in [
        "x-custom: kept",
        "x-multi: 1\r\nx-multi: 2",
        "authorization: bearer sk-own",
        "openai-organization: org-1",
        "user-agent: test/1",
    ] {
        assert!(upstream.contains(kept), "{kept} is missing:\n{upstream}");
    }
    assert!(upstream.contains(&format!("host: {provider}")));
    for gone in ["x-private-reply", "keep-alive", "proxy-authenticate", "upgrade"] {
        assert!(!got.head.contains(gone), "{gone} came down:\n{}", got.head);
    }
    for kept in [
        "x-request-id: req_1",
        "set-cookie: a=1",
        "set-cookie: b=2",
        "openai-processing-ms: 7",
        "x-tollway-request-id: ",
    ] {
        assert!(got.head.contains(kept), "{kept} is missing:\n{}", got.head);
    }
}

#[tokio::test]
async fn our_key_replaces_theirs() {
    let provider = Recording::new(|_| reply(200, &[JSON], COMPLETION)).await;
    let at = |auth: &str| {
        Running::new(&format!(
            "providers:\n  up: {{ base_url: \"http://{}/v1\", {auth} }}\n",
            provider.address
        ))
    };
    let theirs =
        [JSON, ("authorization", "Bearer theirs"), ("x-api-key", "theirs"), ("api-key", "theirs")];
    for (auth, name, value) in [
        ("api_key: ours-1", "authorization", "Bearer ours-1"),
        ("auth: header x-api-key, api_key: ours-2", "x-api-key", "ours-2"),
        ("auth: none", "authorization", ""),
    ] {
        let proxy = at(auth);
        assert_eq!(proxy.send(Method::POST, CHAT, &theirs, ask(false)).await.status, 200);
        assert_eq!(provider.last().header(name), value);
        assert!(!format!("{:?}", provider.last().headers).contains("theirs"), "{auth}");
    }
}

#[tokio::test]
async fn replies_without_a_body_stay_so() {
    let provider = Recording::new(|seen| match seen.uri.path() {
        "/v1/none" => reply(204, &[("x-kept", "1")], ""),
        "/v1/same" => reply(304, &[("etag", "\"a\"")], ""),
        "/v1/moved" => reply(307, &[("location", "https://elsewhere.example/")], "moved"),
        "/v1/teapot" => reply(418, &[("content-type", "text/plain")], "short and stout"),
        _ => reply(200, &[("content-length", "12345")], ""),
    })
    .await;
    let proxy = Running::before(provider.address);
    let got = proxy.send(Method::DELETE, "/v1/none", &[], "").await;
    assert_eq!((got.status.as_u16(), got.body.len(), got.header("x-kept")), (204, 0, "1"));
    let got = proxy.send(Method::GET, "/v1/same", &[("if-none-match", "\"a\"")], "").await;
    assert_eq!((got.status.as_u16(), got.header("etag")), (304, "\"a\""));
    assert_eq!(provider.last().header("if-none-match"), "\"a\"");
    let got = proxy.send(Method::HEAD, "/v1/files/x/content", &[], "").await;
    assert_eq!((got.status.as_u16(), got.body.len()), (200, 0));
    assert_eq!(got.header("content-length"), "12345", "a HEAD's length is that of the GET");
    let got = proxy.send(Method::GET, "/v1/moved", &[], "").await;
    assert_eq!((got.status.as_u16(), got.header("location")), (307, "https://elsewhere.example/"));
    let got = proxy.send(Method::GET, "/v1/teapot", &[], "").await;
    assert_eq!((got.status.as_u16(), got.text().as_str()), (418, "short and stout"));
    until("no request under way", || proxy.is_idle()).await;
}

#[tokio::test]
async fn a_binary_download_is_the_same_file() {
    // Every byte value, at every place in a 64 KiB block.
    let file: Bytes = (0..3_000_000_u32).map(|n| (n ^ (n >> 8) ^ (n >> 16)) as u8).collect();
    let sent = file.clone();
    let kind = [("content-type", "audio/mpeg"), ("content-disposition", "attachment")];
    let provider = Recording::new(move |_| reply(200, &kind, sent.clone())).await;
    let proxy = Running::before(provider.address);
    for _ in 0..2 {
        let got =
            proxy.post("/v1/audio/speech", r#"{"model":"tts-1","input":"hi","voice":"a"}"#).await;
        assert_eq!(got.status, 200);
        assert!(got.body == file, "{} of {} bytes", got.body.len(), file.len());
        assert_eq!(got.header("content-type"), "audio/mpeg");
        assert_eq!(got.header("content-disposition"), "attachment");
    }
}

#[tokio::test]
async fn accept_encoding_is_theirs_unless_we_read_the_reply() {
    let gzip = [("content-encoding", "gzip"), ("content-type", "application/octet-stream")];
    let provider = Recording::new(move |seen| match seen.uri.path() {
        "/v1/chat/completions" => reply(200, &[JSON], COMPLETION),
        _ => reply(200, &gzip, &b"\x1f\x8b\x08 as if"[..]),
    })
    .await;
    let proxy = Running::before(provider.address);
    let accept = ("accept-encoding", "gzip, br;q=0.5");
    let got = proxy.send(Method::GET, "/v1/files/f/content", &[accept], "").await;
    assert_eq!(provider.last().header("accept-encoding"), accept.1);
    assert_eq!(&got.body[..], b"\x1f\x8b\x08 as if");
    assert_eq!(got.header("content-encoding"), "gzip");
    proxy.send(Method::POST, CHAT, &[JSON, accept], ask(false)).await;
    assert_eq!(provider.last().header("accept-encoding"), "identity");
}

/// Frames that are there already, trailers among them.
struct Frames(VecDeque<Frame<Bytes>>);

impl http_body::Body for Frames {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        Poll::Ready(self.0.pop_front().map(Ok))
    }
}

fn with_trailers(data: [&'static str; 2]) -> Body {
    let mut trailers = HeaderMap::new();
    trailers.insert("x-checksum", "abc".parse().unwrap());
    let data = data.into_iter().map(|text| Frame::data(Bytes::from(text)));
    boxed(Frames(data.chain([Frame::trailers(trailers)]).collect()))
}

#[tokio::test]
async fn http2_in_and_http2_out_with_trailers() {
    let (tell, mut told) = mpsc::unbounded_channel();
    let provider = provider(move |request: Request<hyper::body::Incoming>| {
        let tell = tell.clone();
        async move {
            let (version, uri) = (request.version(), request.uri().clone());
            let body = request.into_body().collect().await.unwrap();
            tell.send((version, uri, body.trailers().cloned(), body.to_bytes())).unwrap();
            Response::new(with_trailers(["one", "two"]))
        }
    })
    .await;
    let proxy = Running::new(&format!(
        "providers:\n  up: {{ base_url: \"http://{provider}/v1\", auth: none, http2: only }}\n"
    ));
    let client = client_h2();
    for path in ["/v1/brand-new?a=1", "/v1/files"] {
        let request = Request::put(proxy.uri(path)).body(with_trailers(["up", "load"])).unwrap();
        let got = Reply::read(within("a reply", client.request(request)).await.unwrap()).await;
        assert_eq!((got.status.as_u16(), got.version), (200, Version::HTTP_2));
        assert_eq!(got.text(), "onetwo");
        assert_eq!(got.trailers.unwrap()["x-checksum"], "abc");
        let (version, uri, trailers, body) = told.recv().await.unwrap();
        assert_eq!(version, Version::HTTP_2);
        assert_eq!(uri.path_and_query().unwrap().as_str(), path);
        assert_eq!(&body[..], b"upload");
        assert_eq!(trailers.unwrap()["x-checksum"], "abc");
    }
}

#[tokio::test]
async fn http2_in_and_http1_out() {
    let provider = Recording::new(|_| reply(200, &[JSON], COMPLETION)).await;
    let proxy = Running::before(provider.address);
    let client = client_h2();
    let ask = |body: String| {
        let request = Request::post(proxy.uri(CHAT)).header(JSON.0, JSON.1).header("cookie", "a=1");
        // As HTTP/2 may cut them; HTTP/1.1 has one line for all.
        let request = request.header("cookie", "b=2").header("cookie", "c=3");
        client.request(request.body(full(body)).unwrap())
    };
    let replies: Vec<_> = (0..50).map(|_| tokio::spawn(ask(ask_text()))).collect();
    for reply in replies {
        let got = Reply::read(within("a reply", reply).await.unwrap().unwrap()).await;
        assert_eq!((got.version, got.text().as_str()), (Version::HTTP_2, COMPLETION));
    }
    let seen = provider.last();
    assert_eq!(seen.version, Version::HTTP_11);
    assert_eq!(seen.header("host"), provider.address.to_string());
    assert_eq!(seen.headers.get_all("cookie").iter().count(), 1);
    assert_eq!(seen.header("cookie"), "a=1; b=2; c=3");
    assert_eq!(provider.count(), 50);
}

fn ask_text() -> String {
    ask(false)
}

/// A TLS provider on `localhost` with a certificate of its own; the PEM of that certificate.
async fn tls_provider(alpn: &[&str]) -> (u16, String) {
    let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
    let pem = made.cert.pem();
    let key = PrivateKeyDer::try_from(made.signing_key.serialize_der()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![made.cert.der().clone()], key)
        .unwrap();
    config.alpn_protocols = alpn.iter().map(|name| name.as_bytes().to_vec()).collect();
    let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind("localhost:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let acceptor = acceptor.clone();
            tokio::spawn(async move {
                let Ok(stream) = acceptor.accept(stream).await else { return };
                serve(stream, |request| async move {
                    reply(200, &[], format!("{:?}", request.version()))
                })
                .await;
            });
        }
    });
    (port, pem)
}

#[tokio::test]
async fn a_private_authority_is_trusted_where_the_policy_says_so() {
    let folder = tempfile::tempdir().unwrap();
    let ca = folder.path().join("ca.pem");
    for (alpn, http2, version) in [
        (&["h2", "http/1.1"][..], "auto", "HTTP/2.0"),
        (&["h2", "http/1.1"][..], "never", "HTTP/1.1"),
        (&["http/1.1"][..], "auto", "HTTP/1.1"),
        (&[][..], "auto", "HTTP/1.1"),
    ] {
        let (port, pem) = tls_provider(alpn).await;
        std::fs::write(&ca, pem).unwrap();
        let base = format!("base_url: \"https://localhost:{port}/v1\", auth: none, http2: {http2}");
        let trusting = Running::new(&format!(
            "providers:\n  up: {{ {base}, extra_ca: \"{}\" }}\n",
            ca.display()
        ));
        let got = trusting.send(Method::GET, "/v1/files", &[], "").await;
        assert_eq!((got.status.as_u16(), got.text().as_str()), (200, version), "{alpn:?} {http2}");
        let wary = Running::new(&format!("providers:\n  up: {{ {base} }}\n"));
        let got = wary.send(Method::GET, "/v1/files", &[], "").await;
        assert_eq!(got.status, 502);
        assert_eq!(got.error().code.as_deref(), Some("upstream_unreachable"));
    }
}
