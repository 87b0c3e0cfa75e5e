//! What has to wait until a tool call is over.

use std::collections::HashMap;

use super::super::hub::{Citation, Event, Signature};

/// Events that wait; the pieces of one call, or of one text, are kept as one.
#[derive(Debug, Default)]
pub(super) struct Queue {
    events: Vec<Event<'static>>,
    /// Where the arguments of a call stand.
    arguments: HashMap<u32, usize>,
}

impl Queue {
    pub(super) fn is_empty(&self) -> bool {
        self.events.is_empty()
    }

    pub(super) fn take(&mut self) -> Vec<Event<'static>> {
        self.arguments.clear();
        std::mem::take(&mut self.events)
    }

    pub(super) fn push(&mut self, event: Event<'_>) {
        let place = match &event {
            Event::ToolArguments { call, .. } => self.arguments.get(call).copied(),
            _ => self.events.len().checked_sub(1),
        };
        let earlier = place.and_then(|place| self.events.get_mut(place));
        match (earlier, &event) {
            (Some(Event::Text { text, .. }), Event::Text { text: more, .. })
            | (Some(Event::Thinking { text, .. }), Event::Thinking { text: more, .. })
            | (Some(Event::Refusal { text, .. }), Event::Refusal { text: more, .. }) => {
                text.to_mut().push_str(more);
            }
            (Some(Event::ToolArguments { json, .. }), Event::ToolArguments { json: more, .. }) => {
                json.to_mut().push_str(more)
            }
            _ => {
                if let Event::ToolArguments { call, .. } = &event {
                    self.arguments.insert(*call, self.events.len());
                }
                self.events.extend(owned(event));
            }
        }
    }
}

/// Pieces alone; the rest never waits.
fn owned(event: Event<'_>) -> Option<Event<'static>> {
    fn own<T: ToOwned<Owned = String> + ?Sized>(
        text: std::borrow::Cow<'_, T>,
    ) -> std::borrow::Cow<'static, str> {
        text.into_owned().into()
    }
    let sign = |signature: Signature<'_>| Signature::new(signature.of, own(signature.data));
    Some(match event {
        Event::Text { choice, text } => Event::Text { choice, text: own(text) },
        Event::Thinking { choice, text } => Event::Thinking { choice, text: own(text) },
        Event::Refusal { choice, text } => Event::Refusal { choice, text: own(text) },
        Event::Citation { choice, citation } => {
            let citation = Citation {
                url: own(citation.url),
                title: citation.title.map(own),
                range: citation.range,
                quote: citation.quote.map(own),
            };
            Event::Citation { choice, citation }
        }
        Event::Signature { choice, signature } => {
            Event::Signature { choice, signature: sign(signature) }
        }
        Event::Redacted { choice, data } => Event::Redacted { choice, data: sign(data) },
        Event::ToolStart { choice, call, id, name, signature } => Event::ToolStart {
            choice,
            call,
            id: id.map(own),
            name: own(name),
            signature: signature.map(sign),
        },
        Event::ToolArguments { choice, call, json } => {
            Event::ToolArguments { choice, call, json: own(json) }
        }
        _ => return None,
    })
}

/// Finds the end of a JSON object that comes in pieces.
#[derive(Debug, Default)]
pub(super) struct JsonEnd {
    depth: u32,
    in_string: bool,
    escaped: bool,
    over: bool,
}

impl JsonEnd {
    pub(super) fn is_over(&self) -> bool {
        self.over
    }

    pub(super) fn feed(&mut self, piece: &[u8]) {
        for byte in piece {
            if self.in_string {
                match byte {
                    _ if self.escaped => self.escaped = false,
                    b'\\' => self.escaped = true,
                    b'"' => self.in_string = false,
                    _ => {}
                }
                continue;
            }
            match byte {
                b'"' => self.in_string = true,
                b'{' | b'[' => self.depth = self.depth.saturating_add(1),
                b'}' | b']' => {
                    self.depth = self.depth.saturating_sub(1);
                    self.over = self.depth == 0;
                }
                _ => {}
            }
        }
    }
}
