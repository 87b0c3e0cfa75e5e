//! Telling the pieces of a request: the same every time; a body cut short tells a part of what the
//! whole does; white space changes nothing, and neither does another writer of the same JSON but
//! for the order; needs are those of the pieces.

use serde_json::Value;
use tollway_core::Operation;
use tollway_dialect::prompt::{Needs, Piece, Role, needs, visit};

const OPERATIONS: [Operation; 6] = [
    Operation::ChatCompletions,
    Operation::Completions,
    Operation::Responses,
    Operation::Messages,
    Operation::GenerateContent,
    Operation::CountTokens,
];

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Told {
    piece: String,
    text: String,
}

/// The first byte says which call it is.
pub fn check(data: &[u8]) {
    let Some((first, body)) = data.split_first() else { return };
    let operation = OPERATIONS[usize::from(*first) % OPERATIONS.len()];
    let whole = pieces(operation, body);
    assert_eq!(pieces(operation, body), whole, "the second time");
    assert_eq!(pieces(Operation::Embeddings, body), [], "a call without an answer");
    bounded(&whole, body);
    let step = body.len().div_ceil(64).max(1);
    for end in (0..body.len()).step_by(step) {
        if body[..end].last().is_some_and(u8::is_ascii_digit) {
            // A number cut short is another number.
            continue;
        }
        let part = pieces(operation, &body[..end]);
        assert!(whole.starts_with(&part), "cut at {end}: {part:?}, but {whole:?}");
    }
    let padded = [b" \r\n\t", body].concat();
    assert_eq!(pieces(operation, &padded), whole, "white space");
    if let Some(value) = serde_json::from_slice::<Value>(body).ok().filter(|_| distinct(body)) {
        // Keys are put in order: the same pieces, but not in the same order.
        let again = pieces(operation, value.to_string().as_bytes());
        assert_eq!(sorted(again), sorted(whole), "written by another");
    }
}

fn pieces(operation: Operation, body: &[u8]) -> Vec<Told> {
    let mut all = Vec::new();
    let mut seen = Needs::default();
    visit(operation, body, &mut |piece: Piece<'_>| {
        seen.see(&piece);
        let (kind, text) = match piece {
            Piece::Text { role, text } => (format!("{role:?}"), text),
            piece => (format!("{piece:?}"), ""),
        };
        all.push(Told { piece: kind, text: text.to_owned() });
    });
    assert_eq!(needs(operation, body), seen);
    all
}

/// No text is told that isn't there.
fn bounded(told: &[Told], body: &[u8]) {
    let texts: usize = told.iter().map(|told| told.text.len()).sum();
    assert!(texts <= body.len(), "{texts} bytes of text in {}", body.len());
    let roles = [Role::System, Role::User, Role::Assistant, Role::Tool];
    let messages = roles.map(|role| format!("{:?}", Piece::Message(role)));
    let first = told.iter().find(|told| !told.text.is_empty()).map(|first| &first.piece);
    let spoken = told.iter().any(|told| messages.contains(&told.piece));
    assert!(first.is_none() || spoken, "text of no message");
}

/// Whether no name may stand twice in an object; the tree keeps the last of them alone.
fn distinct(body: &[u8]) -> bool {
    let colons = |text: &[u8]| text.iter().filter(|byte| **byte == b':').count();
    serde_json::from_slice::<Value>(body)
        .is_ok_and(|value| colons(value.to_string().as_bytes()) == colons(body))
        && !body.contains(&b'\\')
}

fn sorted(mut told: Vec<Told>) -> Vec<Told> {
    told.sort();
    told
}
