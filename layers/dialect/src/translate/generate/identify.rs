//! Ids for calls and results that have none, the same ones each time the history is sent.

use std::{
    borrow::Cow,
    collections::{HashMap, HashSet, VecDeque},
};

use crate::translate::hub::{Body, Turn};

/// Numbers the calls that have no id, in order, and tells each result which call it answers: by
/// its id, else the first of that name that has no answer yet.
pub(super) fn identify(turns: &mut [Turn<'_>]) {
    let mut made = Made::default();
    let calls = turns.iter().flat_map(|turn| &turn.parts).filter_map(|part| match &part.body {
        Body::ToolCall { id: Some(id), .. } => Some(id.to_string()),
        _ => None,
    });
    made.taken = calls.collect();
    let mut waiting = HashMap::<String, VecDeque<Cow<'_, str>>>::new();
    let mut answered = HashSet::new();
    for part in turns.iter_mut().flat_map(|turn| &mut turn.parts) {
        match &mut part.body {
            Body::ToolCall { id, name, .. } => {
                let id = id.get_or_insert_with(|| made.next().into());
                waiting.entry(name.to_string()).or_default().push_back(id.clone());
            }
            Body::ToolResult { id, name, .. } => {
                if id.as_deref().is_none_or(|id| !made.taken.contains(id)) {
                    let queue = name.as_deref().and_then(|name| waiting.get_mut(name));
                    let call = queue.and_then(|queue| {
                        std::iter::from_fn(|| queue.pop_front())
                            .find(|call| !answered.contains(call.as_ref()))
                    });
                    // Its call is not in this history, so any id does that no other has.
                    *id = call.or_else(|| id.take()).or_else(|| Some(made.next().into()));
                }
                answered.extend(id.as_deref().map(str::to_owned));
            }
            _ => {}
        }
    }
}

#[derive(Default)]
struct Made {
    taken: HashSet<String>,
    number: u32,
}

impl Made {
    fn next(&mut self) -> String {
        loop {
            let id = format!("call_{}", self.number);
            self.number = self.number.saturating_add(1);
            if !self.taken.contains(&id) {
                return id;
            }
        }
    }
}
