//! Input tokens are estimated by what replies taught.

use serde_json::json;

use super::support::*;

#[tokio::test]
async fn a_count_learns_from_replies() {
    // Twice as many tokens as four bytes each would make.
    let provider = Recording::new(|seen| {
        let tokens = seen.body.len() / 2;
        let usage =
            json!({"prompt_tokens": tokens, "completion_tokens": 1, "total_tokens": tokens + 1});
        let choice = json!({"index": 0, "message": {"role": "assistant", "content": "Hi"},
            "finish_reason": "stop"});
        reply(200, &[JSON], json!({"choices": [choice], "usage": usage}).to_string())
    })
    .await;
    let proxy = Running::before(provider.address);
    let body = json!({"model": "m", "max_tokens": 9,
        "messages": [{"role": "user", "content": "x".repeat(20_000)}]});
    let counted = async || {
        let reply = proxy.post("/v1/messages/count_tokens", body.to_string()).await;
        assert_eq!(reply.header("x-tollway-estimate"), "input_tokens", "{}", reply.text());
        reply.json()["input_tokens"].as_u64().unwrap()
    };
    assert_eq!(counted().await, 5003);
    for _ in 0..60 {
        assert_eq!(proxy.post(CHAT, body.to_string()).await.status, 200);
    }
    let count = counted().await;
    assert!((9_500..10_500).contains(&count), "{count}");
    assert_eq!(provider.count(), 60, "a count asks nobody");
}
