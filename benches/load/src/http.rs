//! As much of HTTP/1.1 as the benchmarks' servers speak.

use std::{
    io::{Error, ErrorKind, Read, Result, Write},
    net::{SocketAddr, TcpStream},
    time::{Duration, Instant},
};

pub struct Connection {
    stream: TcpStream,
    buffer: Vec<u8>,
    start: usize,
    end: usize,
}

/// What of a reply the benchmarks look at.
#[derive(Default)]
pub struct Reply {
    /// When the first event with content was here.
    pub first_token: Option<Instant>,
    /// `data:` events.
    pub events: u64,
    /// The server will close the connection.
    pub close: bool,
    /// A limit refused it (429).
    pub refused: bool,
    body: Vec<u8>,
    scanned: usize,
}

enum Length {
    Known(usize),
    Chunked,
}

fn broken(what: &str) -> Error {
    Error::new(ErrorKind::InvalidData, what.to_owned())
}

impl Connection {
    pub fn open(address: SocketAddr) -> Result<Self> {
        let stream = TcpStream::connect(address)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(Duration::from_secs(10)))?;
        Ok(Self { stream, buffer: vec![0; 64 << 10], start: 0, end: 0 })
    }

    pub fn exchange(&mut self, request: &[u8], reply: &mut Reply) -> Result<()> {
        reply.first_token = None;
        reply.events = 0;
        reply.body.clear();
        reply.scanned = 0;
        self.stream.write_all(request)?;
        let length = self.head(reply)?;
        match length {
            Length::Known(length) => self.take(length, reply)?,
            Length::Chunked => loop {
                let size = self.line()?;
                let size = size.split(';').next().unwrap_or_default().trim();
                let size = usize::from_str_radix(size, 16).map_err(|_| broken("chunk size"))?;
                if size > 0 {
                    self.take(size, reply)?;
                }
                if !self.line()?.is_empty() {
                    return Err(broken("chunk end"));
                }
                if size == 0 {
                    break;
                }
            },
        }
        if reply.body.is_empty() {
            return Err(broken("an empty reply"));
        }
        Ok(())
    }

    fn head(&mut self, reply: &mut Reply) -> Result<Length> {
        let status = self.line()?;
        reply.refused = match status.split(' ').nth(1) {
            Some("200") => false,
            Some("429") => true,
            _ => return Err(broken("neither 200 nor 429")),
        };
        let mut length = None;
        reply.close = false;
        loop {
            let line = self.line()?;
            if line.is_empty() {
                return length.ok_or_else(|| broken("a reply without length"));
            }
            let Some((name, value)) = line.split_once(':') else { continue };
            let value = value.trim();
            if name.eq_ignore_ascii_case("content-length") {
                length = Some(Length::Known(value.parse().map_err(|_| broken("content-length"))?));
            } else if name.eq_ignore_ascii_case("transfer-encoding") {
                length = Some(Length::Chunked);
            } else if name.eq_ignore_ascii_case("connection") {
                reply.close = value.eq_ignore_ascii_case("close");
            }
        }
    }

    fn line(&mut self) -> Result<String> {
        let mut looked = 0;
        loop {
            let held = &self.buffer[self.start..self.end];
            if let Some(at) = held[looked..].windows(2).position(|two| two == b"\r\n") {
                let at = looked + at;
                let line = String::from_utf8_lossy(&held[..at]).into_owned();
                self.start += at + 2;
                return Ok(line);
            }
            looked = held.len().saturating_sub(1);
            self.fill()?;
        }
    }

    /// Takes `length` bytes of body, looking at events as they come.
    fn take(&mut self, mut length: usize, reply: &mut Reply) -> Result<()> {
        while length > 0 {
            if self.start == self.end {
                self.fill()?;
            }
            let here = length.min(self.end - self.start);
            reply.add(&self.buffer[self.start..self.start + here]);
            self.start += here;
            length -= here;
        }
        Ok(())
    }

    fn fill(&mut self) -> Result<()> {
        if self.start == self.end {
            (self.start, self.end) = (0, 0);
        } else if self.end == self.buffer.len() {
            self.buffer.copy_within(self.start..self.end, 0);
            (self.start, self.end) = (0, self.end - self.start);
        }
        let read = self.stream.read(&mut self.buffer[self.end..])?;
        if read == 0 {
            return Err(ErrorKind::UnexpectedEof.into());
        }
        self.end += read;
        Ok(())
    }
}

impl Reply {
    fn add(&mut self, bytes: &[u8]) {
        self.body.extend_from_slice(bytes);
        while let Some(at) = find(&self.body[self.scanned..], b"\n\n") {
            let event = &self.body[self.scanned..self.scanned + at];
            if event.starts_with(b"data:") {
                self.events += 1;
                if self.first_token.is_none() && has_content(event) {
                    self.first_token = Some(Instant::now());
                }
            }
            self.scanned += at + 2;
        }
    }
}

fn has_content(event: &[u8]) -> bool {
    const CONTENT: &[u8] = b"\"content\":\"";
    find(event, CONTENT).is_some_and(|at| event.get(at + CONTENT.len()) != Some(&b'"'))
}

fn find(haystack: &[u8], needle: &[u8]) -> Option<usize> {
    haystack.windows(needle.len()).position(|part| part == needle)
}
