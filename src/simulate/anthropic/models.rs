use serde_json::{Value, json};

use super::{
    super::future::{Answer, Exchange},
    json,
};

/// What the list of models shows; any other name is answered too.
const MODELS: [&str; 4] = [
    "claude-opus-5-5",
    "claude-sonnet-4-6",
    "claude-sonnet-4-5-20250929",
    "claude-haiku-4-5-20251001",
];

fn model_object(name: &str) -> Value {
    json!({
        "id": name, "type": "model", "display_name": name, "created_at": "2025-11-22T00:00:00Z",
        "max_input_tokens": 200_000, "max_tokens": 64_000,
    })
}

/// `GET /models`
pub(super) fn models(x: &Exchange) -> Answer {
    let data: Vec<Value> = MODELS.iter().map(|name| model_object(name)).collect();
    let list = json!({
        "data": data, "has_more": false, "first_id": MODELS.first(), "last_id": MODELS.last(),
    });
    json(x, &list, (0, 0))
}

/// `GET /models/{name}`
pub(super) fn model(x: &Exchange, name: &str) -> Answer {
    json(x, &model_object(name), (0, 0))
}

/// The version in a model's name: `claude-opus-4-7` is (4, 7), `claude-sonnet-4-20250514` is (4, 0).
/// `None`: no name of Anthropic's; then everything is allowed.
pub(super) fn generation(model: &str) -> Option<(u32, u32)> {
    let name = model.strip_prefix("claude-")?;
    let short = |part: &&str| part.len() <= 2 && part.bytes().all(|byte| byte.is_ascii_digit());
    let mut parts = name.split(['-', '.']).skip_while(|part| !short(part));
    let major = parts.next()?.parse().ok()?;
    let minor = parts.next().filter(short).and_then(|part| part.parse().ok());
    Some((major, minor.unwrap_or(0)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_of_names() {
        for (name, version) in [
            ("claude-opus-4-7", Some((4, 7))),
            ("claude-sonnet-4-5-20250929", Some((4, 5))),
            ("claude-sonnet-4-20250514", Some((4, 0))),
            ("claude-3-5-haiku-latest", Some((3, 5))),
            ("claude-opus-5", Some((5, 0))),
            ("claude-next", None),
            ("gpt-4o", None),
        ] {
            assert_eq!(generation(name), version, "{name}");
        }
    }
}
