//! Large uploads stream through without being held.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use bytes::Bytes;
use http::{Request, Version};
use http_body_util::BodyExt;
use tokio::sync::mpsc;

use super::support::*;

const MIB: usize = 1 << 20;
const SIZE: usize = 64 * MIB;

/// Counts and throws away; tells how much has come.
async fn counting() -> (std::net::SocketAddr, Arc<AtomicU64>, mpsc::UnboundedReceiver<(String, u64)>)
{
    let count = Arc::new(AtomicU64::new(0));
    let (tell, told) = mpsc::unbounded_channel();
    let counter = count.clone();
    let address = provider(move |request| {
        let (counter, tell) = (counter.clone(), tell.clone());
        async move {
            let length = request.headers().get("content-length");
            let length = length.map_or("none", |length| length.to_str().unwrap()).to_owned();
            let mut body = request.into_body();
            let mut sum = 0;
            while let Some(Ok(frame)) = body.frame().await {
                let data = frame.into_data().unwrap();
                counter.fetch_add(data.len() as u64, Ordering::SeqCst);
                sum += data.iter().map(|byte| u64::from(*byte)).sum::<u64>();
            }
            tell.send((length, sum)).unwrap();
            reply(200, &[JSON], r#"{"text":"done"}"#)
        }
    })
    .await;
    (address, count, told)
}

async fn upload(path: &str, prefix: Bytes, h2: bool, length: bool) {
    let (address, count, mut told) = counting().await;
    let proxy = Running::before(address);
    let (send, body) = pipe();
    let mut request =
        Request::post(proxy.uri(path)).header("content-type", "multipart/form-data; boundary=xyz");
    if length {
        request = request.header("content-length", SIZE);
    }
    let request = request.body(body).unwrap();
    let client = if h2 { client_h2() } else { client() };
    let reply = tokio::spawn(client.request(request));
    // The rest is made only after the provider has the beginning: it can't have been held back.
    let first = [&prefix[..], &vec![1; MIB - prefix.len()]].concat();
    let mut sum = first.iter().map(|byte| u64::from(*byte)).sum::<u64>();
    send.send(first.into()).await.unwrap();
    // Up to a chunk may lie in a buffer on the way.
    until("the provider has most of the first part", || {
        count.load(Ordering::SeqCst) > MIB as u64 / 2
    })
    .await;
    let block = Bytes::from(vec![2; MIB]);
    for _ in 1..SIZE / MIB {
        within("room for more", send.send(block.clone())).await.unwrap();
        sum += 2 * MIB as u64;
    }
    drop(send);
    let got = Reply::read(within("a reply", reply).await.unwrap().unwrap()).await;
    assert_eq!((got.status.as_u16(), got.text().as_str()), (200, r#"{"text":"done"}"#));
    assert_eq!(got.version, if h2 { Version::HTTP_2 } else { Version::HTTP_11 });
    let (seen_length, seen_sum) = told.recv().await.unwrap();
    assert_eq!(count.load(Ordering::SeqCst), SIZE as u64);
    assert_eq!(seen_sum, sum, "the same bytes");
    assert_eq!(seen_length, if length { SIZE.to_string() } else { "none".to_owned() });
}

fn form() -> Bytes {
    "--xyz\r\ncontent-disposition: form-data; name=\"model\"\r\n\r\nwhisper-1\r\n\
     --xyz\r\ncontent-disposition: form-data; name=\"file\"; filename=\"a.mp3\"\r\n\r\n"
        .into()
}

#[tokio::test]
async fn a_multipart_form() {
    upload("/v1/audio/transcriptions", form(), false, true).await;
}

#[tokio::test]
async fn a_multipart_form_of_unknown_length_over_http2() {
    upload("/v1/audio/transcriptions", form(), true, false).await;
}

#[tokio::test]
async fn a_file() {
    upload("/v1/files", Bytes::new(), false, false).await;
}

#[tokio::test]
async fn a_file_without_a_model_in_its_first_bytes() {
    // The file comes before the model: the search for it must end.
    let late = "--xyz\r\ncontent-disposition: form-data; name=\"file\"; filename=\"a.mp3\"\r\n\r\n";
    upload("/v1/audio/transcriptions", late.into(), false, true).await;
}
