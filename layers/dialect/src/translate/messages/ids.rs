//! Ids of tool calls that Anthropic accepts, and results that refer to them.

use std::{
    borrow::Cow,
    collections::{HashMap, HashSet, VecDeque},
};

/// Gives every call of a request an id of its own, of letters that Anthropic takes, and every
/// result the id of its call.
///
/// What it makes depends on the order of calls alone: a conversation that goes on keeps its ids,
/// and with them the provider's cache.
#[derive(Debug, Default)]
pub(super) struct Ids<'a> {
    taken: HashSet<Cow<'a, str>>,
    /// Calls that wait for a result, by the id that the client knows.
    by_id: HashMap<Cow<'a, str>, VecDeque<Cow<'a, str>>>,
    /// Those of the last turn, by the tool's name: Gemini's results may have no id.
    by_name: HashMap<Cow<'a, str>, VecDeque<Cow<'a, str>>>,
    made: u32,
}

impl<'a> Ids<'a> {
    /// The assistant speaks: results without an id are of its calls.
    pub(super) fn turn(&mut self) {
        self.by_name.clear();
    }

    pub(super) fn call(&mut self, id: Option<Cow<'a, str>>, name: &Cow<'a, str>) -> Cow<'a, str> {
        let new = match &id {
            Some(id) if is_fine(id) && !self.taken.contains(id) => id.clone(),
            _ => self.make(),
        };
        self.taken.insert(new.clone());
        if let Some(id) = id {
            self.by_id.entry(id).or_default().push_back(new.clone());
        }
        self.by_name.entry(name.clone()).or_default().push_back(new.clone());
        new
    }

    pub(super) fn result(&mut self, id: Option<Cow<'a, str>>, name: Option<&str>) -> Cow<'a, str> {
        let of_name = |ids: &mut Self| ids.by_name.get_mut(name?)?.pop_front();
        match id {
            None => of_name(self).unwrap_or_else(|| self.make()),
            Some(id) => match self.by_id.get_mut(&id).and_then(VecDeque::pop_front) {
                Some(new) => new,
                // Of no call: for the provider to refuse.
                None if is_fine(&id) => id,
                None => self.make(),
            },
        }
    }

    fn make(&mut self) -> Cow<'a, str> {
        loop {
            let id = format!("toolu_{:04}", self.made);
            self.made += 1;
            if !self.taken.contains(&*id) {
                return id.into();
            }
        }
    }
}

fn is_fine(id: &str) -> bool {
    let fine = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-';
    !id.is_empty() && id.bytes().all(fine)
}
