//! A list that grows without being moved: nobody waits, while the lock is held, until a million
//! entries are copied.

use std::ops::{Index, IndexMut};

/// Entries of one chunk.
const CHUNK: usize = 1024;

#[derive(Debug)]
pub(super) struct Chunks<T> {
    chunks: Vec<Vec<T>>,
    len: usize,
}

impl<T> Default for Chunks<T> {
    fn default() -> Self {
        Self { chunks: Vec::new(), len: 0 }
    }
}

impl<T> Chunks<T> {
    pub(super) fn len(&self) -> usize {
        self.len
    }

    pub(super) fn push(&mut self, entry: T) {
        self.len += 1;
        match self.chunks.last_mut() {
            Some(last) if last.len() < CHUNK => last.push(entry),
            // Only the first grows bit by bit: most limits have few keys.
            last => {
                let mut next = Vec::with_capacity(if last.is_some() { CHUNK } else { 1 });
                next.push(entry);
                self.chunks.push(next);
            }
        }
    }

    pub(super) fn get_mut(&mut self, at: usize) -> Option<&mut T> {
        self.chunks.get_mut(at / CHUNK)?.get_mut(at % CHUNK)
    }

    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = &mut T> {
        self.chunks.iter_mut().flatten()
    }

    /// Drops all but the first few, and gives their memory back.
    pub(super) fn truncate(&mut self, len: usize) {
        self.chunks.truncate(len.div_ceil(CHUNK));
        if let Some(last) = self.chunks.last_mut().filter(|_| len < self.len) {
            last.truncate(len - (len - 1) / CHUNK * CHUNK);
            last.shrink_to_fit();
        }
        self.len = self.len.min(len);
    }
}

impl<T> Index<usize> for Chunks<T> {
    type Output = T;

    fn index(&self, at: usize) -> &T {
        &self.chunks[at / CHUNK][at % CHUNK]
    }
}

impl<T> IndexMut<usize> for Chunks<T> {
    fn index_mut(&mut self, at: usize) -> &mut T {
        &mut self.chunks[at / CHUNK][at % CHUNK]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_a_list() {
        let mut list = Chunks::default();
        (0..3 * CHUNK + 5).for_each(|nth| list.push(nth));
        for len in [3 * CHUNK + 9, 3 * CHUNK + 5, 2 * CHUNK + 1, 2 * CHUNK, 7, 0] {
            list.truncate(len);
            let len = len.min(3 * CHUNK + 5);
            assert_eq!((list.len(), list.iter_mut().count()), (len, len));
            assert!((0..len).all(|nth| list[nth] == nth));
            list.push(len);
            assert_eq!((list[len], list.len()), (len, len + 1));
        }
    }
}
