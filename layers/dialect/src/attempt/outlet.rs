use std::{collections::VecDeque, ops::Range};

use bytes::Bytes;

/// Where the bytes of one chunk go out.
pub(super) struct Outlet<'a> {
    pub(super) out: &'a mut VecDeque<Bytes>,
    chunk: &'a Bytes,
    /// How many bytes of the chunk have gone out, or were left out.
    sent: usize,
    /// The frame that takes the chunk's place from its first changed event on.
    copy: Vec<u8>,
}

impl<'a> Outlet<'a> {
    pub(super) fn new(out: &'a mut VecDeque<Bytes>, chunk: &'a Bytes) -> Self {
        Self { out, chunk, sent: 0, copy: Vec::new() }
    }

    pub(super) fn skip_to(&mut self, to: usize) {
        self.sent = self.sent.max(to);
    }

    pub(super) fn send_to(&mut self, to: usize) {
        let from = self.sent;
        if from >= to {
            return;
        }
        self.sent = to;
        if !self.copy.is_empty() {
            self.copy.extend_from_slice(self.chunk.get(from..to).unwrap_or_default());
        } else if to - from == self.chunk.len() {
            self.out.push_back(self.chunk.clone());
        } else {
            self.out.push_back(self.chunk.slice(from..to));
        }
    }

    /// Sends `parts` in the place of `raw`, in one frame with the rest of the chunk.
    pub(super) fn replace(&mut self, raw: &Range<usize>, parts: [&[u8]; 2]) {
        if self.copy.is_empty() {
            let rest = self.chunk.len() - raw.len() - self.sent;
            self.copy.reserve_exact(rest + parts.iter().map(|part| part.len()).sum::<usize>());
        }
        self.copy.extend_from_slice(self.chunk.get(self.sent..raw.start).unwrap_or_default());
        parts.into_iter().for_each(|part| self.copy.extend_from_slice(part));
        self.sent = raw.end;
    }

    /// The bytes of an event that go out by themselves, behind all that came before them.
    pub(super) fn cut_out(&mut self, raw: &Range<usize>) -> (Bytes, &mut VecDeque<Bytes>) {
        self.send_to(raw.start);
        self.flush();
        self.skip_to(raw.end);
        (self.chunk.slice(raw.clone()), self.out)
    }

    pub(super) fn finish(mut self, to: usize) {
        self.send_to(to);
        self.flush();
    }

    fn flush(&mut self) {
        if !self.copy.is_empty() {
            self.out.push_back(std::mem::take(&mut self.copy).into());
        }
    }
}
