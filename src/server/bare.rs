//! A refusal without a body, as hyper writes it, and the same with one.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll, ready},
};

use tokio::io::AsyncWrite;
use tollway_dialect::openai;

/// A refusal of this proxy's own, as hyper would write it.
pub(super) const LATE: &[u8] =
    b"HTTP/1.1 408 Request Timeout\r\nconnection: close\r\ncontent-length: 0\r\n\r\n";

/// The first bytes of a request's head, where a read began with it or with blank lines before it.
#[derive(Debug, Default)]
pub(super) struct Start {
    bytes: [u8; 5],
    len: usize,
}

impl Start {
    pub(super) fn add(&mut self, mut read: &[u8]) {
        while let ([b'\r' | b'\n', rest @ ..], 0) = (read, self.len) {
            read = rest;
        }
        for (to, from) in self.bytes.iter_mut().skip(self.len).zip(read) {
            *to = *from;
            self.len += 1;
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Whether a client of HTTP/2 greets, who is told nothing in HTTP/1.1.
    pub(super) fn begins_http2(&self) -> bool {
        self.bytes.starts_with(b"PRI")
    }

    fn asks_for_head_only(&self) -> bool {
        &self.bytes == b"HEAD "
    }
}

#[derive(Debug)]
pub(super) struct Refusal {
    bytes: Vec<u8>,
    sent: usize,
    /// Length of hyper's own.
    instead_of: usize,
}

impl Refusal {
    /// The refusal in place of `bare`, if that is one: a head with no more than hyper puts there.
    pub(super) fn of(bare: &[u8], start: &Start) -> Option<Self> {
        let head = std::str::from_utf8(bare).ok()?.strip_suffix("\r\n\r\n")?;
        let (line, headers) = head.split_once("\r\n")?;
        let status = line.strip_prefix("HTTP/1.1 ").or_else(|| line.strip_prefix("HTTP/1.0 "))?;
        let body = body(status.get(..3)?)?;
        let mut out = format!("{line}\r\n");
        let mut empty = false;
        for header in headers.split("\r\n") {
            match header.split_once(": ")? {
                ("content-length", "0") => empty = true,
                ("connection" | "date", _) => {
                    out.push_str(header);
                    out.push_str("\r\n");
                }
                _ => return None,
            }
        }
        if !empty {
            return None;
        }
        let length = body.len();
        out.push_str(&format!(
            "content-type: application/json\r\ncontent-length: {length}\r\n\r\n"
        ));
        let mut bytes = out.into_bytes();
        if !start.asks_for_head_only() {
            bytes.extend_from_slice(&body);
        }
        Some(Self { bytes, sent: 0, instead_of: bare.len() })
    }

    pub(super) fn poll_write<I: AsyncWrite>(
        &mut self,
        mut io: Pin<&mut I>,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<usize>> {
        while let Some(rest) = self.bytes.get(self.sent..).filter(|rest| !rest.is_empty()) {
            match ready!(io.as_mut().poll_write(cx, rest))? {
                0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                n => self.sent += n,
            }
        }
        Poll::Ready(Ok(self.instead_of))
    }
}

/// What is said with a refusal of this status.
pub(super) fn body(status: &str) -> Option<bytes::Bytes> {
    let (code, message) = match status {
        "400" => (
            "invalid_http",
            "This is no request in HTTP/1.1: its head can't be read, or its length is told in a \
             way that can't be trusted. Check the client, what stands between it and this proxy, \
             and that it speaks plain HTTP here (`http://`).",
        ),
        "408" => (
            "request_timeout",
            "The request's head did not come whole within `server.header_timeout`.",
        ),
        "414" => ("uri_too_long", "The request's path is too long. Shorten it, or its query."),
        "431" => (
            "headers_too_large",
            "The request's headers are too large, or too many. Send fewer or shorter ones, or ask \
             the operator for a larger `server.max_header_bytes` or `server.max_headers`.",
        ),
        _ => return None,
    };
    Some(openai::error::body(message, "invalid_request_error", None, Some(code)))
}
