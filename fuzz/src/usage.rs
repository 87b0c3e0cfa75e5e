//! Reading a reply: its usage is consistent, its content no longer than its text, and neither
//! white space, nor another writer of the same JSON, nor a cut changes what is read. Without its null
//! for usage it is the same JSON but for that.

use tollway_core::UsageSource;
use tollway_dialect::openai::{
    reply::{self, Reading},
    usage::null_member,
};

pub fn check(data: &[u8]) {
    let whole = reply::read(data);
    match (&whole, &reply::read_event(data)) {
        (Ok(whole), Ok(event)) => {
            consistent(whole, data.len());
            let mut event = *event;
            event.usage_only = false;
            assert_eq!(*whole, event, "as a reply and as an event");
        }
        (Err(_), Ok(event)) => {
            assert!(event.end && data.trim_ascii() == b"[DONE]", "{event:?}");
        }
        (Err(_), Err(_)) => {}
        (Ok(whole), Err(_)) => unreachable!("a reply but no event: {whole:?}"),
    }
    let Ok(whole) = whole else { return };
    let padded = [b" \r\n\t", data, b"\n\n"].concat();
    assert_eq!(reply::read(&padded).ok(), Some(whole), "white space");
    if let Ok(value) = serde_json::from_slice::<serde_json::Value>(data) {
        let again = reply::read(value.to_string().as_bytes()).ok();
        let again = again.expect("the same JSON, written by another");
        // A name given twice inside the content counts twice, and is written once.
        let facts = |it: &Reading| (it.usage, it.finished, it.interrupted, it.end, it.error);
        assert_eq!(facts(&again), facts(&whole));
        assert!(again.content_bytes <= whole.content_bytes);
        // Escapes in the name hide it, which costs no more than a null that stays.
        if whole.usage_null {
            null_left_out(data, &value);
        }
    }
    let text = data.trim_ascii();
    if text.starts_with(b"{") {
        let step = text.len().div_ceil(64).max(1);
        for end in (0..text.len()).step_by(step) {
            assert!(reply::read(&text[..end]).is_err(), "cut at {end}");
        }
    }
}

/// Without its null for usage, the JSON is the same but for that.
fn null_left_out(data: &[u8], value: &serde_json::Value) {
    let Some(member) = null_member(data) else { return };
    let rest = [&data[..member.start], &data[member.end..]].concat();
    let mut expected = value.clone();
    if let Some(object) = expected.as_object_mut() {
        object.remove("usage");
    }
    let rest = serde_json::from_slice::<serde_json::Value>(&rest).ok();
    // Given twice, the other one stays.
    assert!(rest.as_ref().is_some_and(|rest| *rest == expected || rest == value), "{member:?}");
}

fn consistent(reading: &Reading, len: usize) {
    assert!(reading.content_bytes <= len as u64, "{reading:?}");
    assert!(reading.has_content || reading.content_bytes == 0, "{reading:?}");
    assert!(!(reading.usage_only && (reading.has_content || reading.error)), "{reading:?}");
    let Some(usage) = reading.usage else { return };
    assert!(usage.total() > 0 && usage.source == UsageSource::Reported, "{usage:?}");
    let read = usage.cached.checked_add(usage.cache_write).expect("parts of the input");
    assert!(read <= usage.input && usage.input_audio <= usage.input, "{usage:?}");
    assert!(usage.reasoning.max(usage.output_audio) <= usage.output, "{usage:?}");
}
