use std::{borrow::Cow, collections::HashMap, collections::VecDeque};

use crate::translate::hub::{Body, Turn};

/// Gives ids to calls and results that have none (Gemini's): the `n`th result answers the `n`th
/// call of that name.
pub(super) fn fill(turns: &mut [Turn<'_>]) {
    let lacking = turns.iter().flat_map(|turn| &turn.parts).any(|part| {
        matches!(&part.body, Body::ToolCall { id: None, .. } | Body::ToolResult { id: None, .. })
    });
    if !lacking {
        return;
    }
    let mut made = 0u32;
    let mut make = || {
        made += 1;
        Cow::Owned(format!("call_{made}"))
    };
    let mut open: HashMap<String, VecDeque<String>> = HashMap::new();
    for part in turns.iter_mut().flat_map(|turn| &mut turn.parts) {
        match &mut part.body {
            Body::ToolCall { id, name, .. } => {
                let id = id.get_or_insert_with(&mut make);
                open.entry(name.to_string()).or_default().push_back(id.to_string());
            }
            Body::ToolResult { id: Some(id), .. } => {
                for calls in open.values_mut() {
                    calls.retain(|call| *call != **id);
                }
            }
            Body::ToolResult { id: id @ None, name, .. } => {
                let calls = name.as_deref().and_then(|name| open.get_mut(name));
                let call = calls.and_then(VecDeque::pop_front).map(Cow::Owned);
                *id = Some(call.unwrap_or_else(&mut make));
            }
            _ => {}
        }
    }
}
