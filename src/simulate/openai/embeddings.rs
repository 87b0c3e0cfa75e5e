//! Embeddings: unit vectors that follow from the text alone.

use bytes::{BufMut, BytesMut};

use super::{
    super::{State, embed::vector, future::Exchange},
    Outcome, admit,
    error::Error,
    request::Ask,
    whole,
    write::{base64, number, string},
};

/// `POST /embeddings`
pub(super) fn embeddings(state: &State, x: &mut Exchange) -> Outcome {
    let ask = Ask::read(&x.body)?;
    let model = ask.model()?;
    let items = ask.items("input")?;
    let usual = if model.contains("3-large") { 3072 } else { 1536 };
    let dimensions = ask.dimensions.unwrap_or(usual);
    if !(1..=8192).contains(&dimensions) {
        let text = "Invalid value for 'dimensions': expected 1 to 8192.";
        return Err(Box::new(Error::invalid(text).param("dimensions")));
    }
    let packed = ask.encoding_format.as_ref().is_some_and(|format| format.0 == "base64");
    let tokens = ask.input_tokens();
    let levels = admit(state, x, model, tokens)?;
    let mut out = BytesMut::with_capacity(256 + items.len() * dimensions as usize * 6);
    out.put_slice(b"{\"object\":\"list\",\"data\":[");
    for (index, item) in items.iter().enumerate() {
        if index > 0 {
            out.put_u8(b',');
        }
        out.put_slice(b"{\"object\":\"embedding\",\"index\":");
        number(&mut out, index as u64);
        out.put_slice(b",\"embedding\":");
        let vector = vector(x.config.seed, &item.text, item.tokens(), dimensions);
        write_vector(&mut out, &vector, packed);
        out.put_u8(b'}');
    }
    out.put_slice(b"],\"model\":");
    string(&mut out, model);
    if !x.fate.control.as_deref().is_some_and(|control| control.no_usage) {
        out.put_slice(b",\"usage\":{\"prompt_tokens\":");
        number(&mut out, tokens);
        out.put_slice(b",\"total_tokens\":");
        number(&mut out, tokens);
        out.put_u8(b'}');
    }
    out.put_u8(b'}');
    Ok(whole(x, "application/json", out.freeze(), 0, tokens).with_levels(&levels))
}

fn write_vector(out: &mut BytesMut, vector: &[f32], packed: bool) {
    if packed {
        let bytes: Vec<u8> = vector.iter().flat_map(|value| value.to_le_bytes()).collect();
        string(out, &base64(&bytes));
    } else {
        out.put_slice(&serde_json::to_vec(vector).unwrap_or_default());
    }
}
