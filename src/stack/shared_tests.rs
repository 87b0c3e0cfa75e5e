use proptest::prelude::*;
use tollway_circuit_breaker::State;
use tollway_store::{
    StoreError,
    board::{MemoryBoard, Note},
};

use super::{
    super::{Credential, stores::Stores},
    *,
};
use crate::policy::{Env, Policy};

fn policy(address: &str, secret: &str) -> Policy {
    let text = format!(
        "
providers: {{ up: {{ base_url: 'http://{address}/v1', keys: {{ main: {secret} }} }} }}
circuit_breaker: {{ open_after: 3 failures }}
"
    );
    Policy::parse("policy.yaml", &text, &Env::new(|_| None)).unwrap()
}

struct Instance {
    stack: Arc<Stack>,
    exchanging: Exchanging,
}

impl Instance {
    fn new(board: &Arc<impl Board>, name: &str, policy: &Policy) -> Self {
        let sharing = Some(Sharing::new(board.clone(), name));
        let stores = Stores { sharing, ..Stores::default() };
        let telemetry = super::super::tell::telemetry(policy);
        let stack = Arc::new(Stack::built(policy, None, (telemetry, stores), None).unwrap());
        let held = stack.clone();
        let exchanging = stack.exchanging(move || held.clone()).unwrap();
        Self { stack, exchanging }
    }

    fn state(&self) -> State {
        self.stack.breakers().state(&circuit())
    }

    fn says(&self) -> Vec<Finding> {
        findings::found(&self.stack, self.exchanging.sharing.epoch, Instant::now())
    }
}

fn circuit() -> Circuit {
    Circuit::of(&Target::new("up", "main", Some("gpt-4o".into())))
}

fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

async fn exchange(all: &mut [&mut Instance]) {
    for one in all {
        one.exchanging.exchange().await;
    }
}

#[tokio::test(start_paused = true)]
async fn what_was_heard_is_not_told_on_and_ends_when_it_is_taken_back() {
    let (board, policy) = (Arc::new(MemoryBoard::default()), policy("one.example", "a-secret"));
    let [mut a, mut b, mut c] = ["a", "b", "c"].map(|name| Instance::new(&board, name, &policy));
    a.stack.breakers().force_open(&circuit());
    for _ in 0..3 {
        exchange(&mut [&mut a, &mut b, &mut c]).await;
        tokio::time::advance(seconds(1)).await;
    }
    assert!(b.says().is_empty());
    let status = c.stack.breakers().status(&circuit()).unwrap();
    let from: Vec<_> = status.advice.iter().map(|said| (&*said.from, &*said.why)).collect();
    assert_eq!(from, [("a", "opened by an operator")]);
    a.stack.breakers().reset(&circuit());
    exchange(&mut [&mut a, &mut b]).await;
    assert_eq!((b.state(), c.state().as_str()), (State::Closed, "advised"));
    exchange(&mut [&mut c]).await;
    assert_eq!(c.state(), State::Closed);
}

#[tokio::test(start_paused = true)]
async fn the_word_of_one_that_is_gone_holds_until_its_end_and_no_longer() {
    let (board, policy) = (Arc::new(MemoryBoard::default()), policy("one.example", "a-secret"));
    let [mut a, mut b] = ["a", "b"].map(|name| Instance::new(&board, name, &policy));
    a.stack.breakers().force_open(&circuit());
    exchange(&mut [&mut a]).await;
    drop(a);
    for _ in 0..15 {
        exchange(&mut [&mut b]).await;
        assert_eq!(b.state().as_str(), "advised");
        tokio::time::advance(seconds(1)).await;
    }
    for _ in 0..60 {
        exchange(&mut [&mut b]).await;
        assert_eq!(b.state(), State::HalfOpen, "its trials are still to come");
        tokio::time::advance(seconds(1)).await;
    }
    assert!(b.exchanging.heard.is_empty());
}

#[tokio::test(start_paused = true)]
async fn another_address_or_secret_of_that_name_is_not_meant() {
    let board = Arc::new(MemoryBoard::default());
    let mut a = Instance::new(&board, "a", &policy("one.example", "a-secret"));
    let mut same = Instance::new(&board, "same", &policy("one.example", "a-secret"));
    let mut moved = Instance::new(&board, "moved", &policy("two.example", "a-secret"));
    let mut renewed = Instance::new(&board, "renewed", &policy("one.example", "another"));
    let key = Credential::new("up", "main");
    a.stack.breakers().force_open(&circuit());
    a.stack.benches().force_open(&key);
    exchange(&mut [&mut a, &mut same, &mut moved, &mut renewed]).await;
    let heard = |one: &Instance| {
        let is_advised = |state: State| matches!(state, State::Advised { .. });
        (is_advised(one.state()), is_advised(one.stack.benches().state(&key)))
    };
    assert_eq!(heard(&same), (true, true));
    assert_eq!(heard(&moved), (false, false));
    assert_eq!(heard(&renewed), (true, false), "the address is the same, the key is not");
}

/// Fails whenever it is told to.
#[derive(Default)]
struct Moody(MemoryBoard, std::sync::atomic::AtomicBool);

impl Board for Moody {
    fn exchange(&self, me: &str, note: Option<&Note>) -> Result<Vec<Pinned>, StoreError> {
        match self.1.load(std::sync::atomic::Ordering::SeqCst) {
            true => Err(StoreError::away("the board is away", "as told")),
            false => self.0.exchange(me, note),
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_board_that_is_away_changes_nothing() {
    let (board, policy) = (Arc::new(Moody::default()), policy("one.example", "a-secret"));
    let [mut a, mut b] = ["a", "b"].map(|name| Instance::new(&board, name, &policy));
    a.stack.breakers().force_open(&circuit());
    exchange(&mut [&mut a, &mut b]).await;
    board.1.store(true, std::sync::atomic::Ordering::SeqCst);
    for _ in 0..5 {
        exchange(&mut [&mut a, &mut b]).await;
    }
    assert_eq!((a.state(), b.state().as_str()), (State::ForcedOpen, "advised"));
    assert!(b.stack.sharing().unwrap().away().is_some());
    let failing = || b.stack.telemetry().render();
    assert!(failing().contains("tollway_circuit_breaker_sharing_failing 1"));
    board.1.store(false, std::sync::atomic::Ordering::SeqCst);
    a.stack.breakers().reset(&circuit());
    exchange(&mut [&mut a, &mut b]).await;
    assert_eq!((b.state(), b.stack.sharing().unwrap().away()), (State::Closed, None));
    assert!(b.stack.telemetry().render().contains("tollway_circuit_breaker_sharing_failing 0"));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Whatever anybody writes there.
    #[test]
    fn notes_of_any_bytes_do_no_harm(
        bytes in proptest::collection::vec(any::<u8>(), 0..200),
        numbers in any::<[u64; 4]>(),
        of in prop::sample::select(vec!["circuit", "key", "health", "else"]),
        firm in any::<bool>(),
    ) {
        let [id, ago, left, age] = numbers;
        let policy = policy("one.example", "a-secret");
        let board = Arc::new(MemoryBoard::default());
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        runtime.block_on(async {
            let mut one = Instance::new(&board, "one", &policy);
            one.stack.breakers().force_open(&circuit());
            one.stack.benches().force_open(&Credential::new("up", "main"));
            let mut text = serde_json::to_value(one.says()).unwrap();
            for finding in text.as_array_mut().unwrap() {
                finding["of"] = of.into();
                finding["id"] = id.into();
                finding["ago"] = ago.into();
                finding["left"] = if firm { serde_json::Value::Null } else { left.into() };
                finding["why"] = String::from_utf8_lossy(&bytes).into();
            }
            let text = serde_json::json!({ "found": text }).to_string().into_bytes();
            let age = Duration::from_millis(age);
            let notes = [bytes.clone(), text].map(|text| Pinned { from: "x".into(), text, age });
            let stack = one.stack.clone();
            one.exchanging.hear(&stack, &notes, Instant::now());
            one.exchanging.hear(&stack, &[], Instant::now());
        });
    }
}
