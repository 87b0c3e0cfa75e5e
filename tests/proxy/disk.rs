//! The program with its state in a file: a disk that is full, a file that is read-only, `kill -9`.

#![cfg(unix)]

use std::{
    collections::HashMap,
    os::unix::fs::{MetadataExt, PermissionsExt},
    path::{Path, PathBuf},
    process::Command,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering::SeqCst},
    },
};

use tollway::{
    core::Usd,
    store::{
        ledger::{By, Ledger, Row, RowsOf, TotalsOf},
        limits::{LimitJournal, Now, State},
        sqlite::{Sqlite, SqliteLedger, SqliteLimits},
    },
};

use super::{
    served::{Served, tollway},
    support::*,
};

/// A folder with a policy that keeps all of its state in a file there.
struct Kept(tempfile::TempDir);

impl Kept {
    fn new() -> Self {
        let kept = Self(tempfile::tempdir().unwrap());
        let policy = "state: { sqlite: state.db }
server: { workers: 1 }
providers: { openai: { simulate: { output_tokens: 20 } } }
limits: [{ name: spend, per: all, usd: 1000/month }]
";
        std::fs::write(kept.policy(), policy).unwrap();
        kept
    }

    fn policy(&self) -> PathBuf {
        self.0.path().join("policy.yaml")
    }

    fn file(&self) -> PathBuf {
        self.0.path().join("state.db")
    }

    /// The program behind another one, which starts it.
    fn under(&self, first: &[&str]) -> Served {
        let program = tollway(&["serve", self.policy().to_str().unwrap()]);
        let mut command = match first {
            [] => return Served::start(program),
            [first, rest @ ..] => {
                let mut command = Command::new(first);
                command.args(rest);
                command
            }
        };
        command.arg(program.get_program()).args(program.get_args());
        command.env_remove("TOLLWAY_LOG").stdin(std::process::Stdio::null());
        Served::start(command)
    }

    fn rows(&self) -> Vec<Row> {
        let every = RowsOf { most: usize::MAX >> 1, ..RowsOf::default() };
        self.ledger().rows(&every).unwrap()
    }

    /// All rows of a file that nobody writes: its sums are theirs.
    fn whole(&self) -> Vec<Row> {
        let (rows, ledger) = (self.rows(), self.ledger());
        let (from, to) = ("1970-01".parse().unwrap(), "2999-01".parse().unwrap());
        let sums = ledger.totals(&TotalsOf { by: By::All, from, to, name: None }).unwrap();
        let requests: u64 = sums.iter().map(|sum| sum.total.requests).sum();
        let cost: Usd = sums.iter().map(|sum| sum.total.cost).sum();
        let billed = rows.iter().filter_map(|row| row.cost).sum();
        assert_eq!((requests, cost), (rows.len() as u64, billed));
        rows
    }

    fn ledger(&self) -> SqliteLedger {
        SqliteLedger::new(Arc::new(Sqlite::open(self.file()).unwrap()))
    }
}

/// What the file says that the budget has counted, in nano-dollars.
fn counted(file: &Path) -> u64 {
    let saved = SqliteLimits::new(Arc::new(Sqlite::open(file).unwrap())).load().unwrap();
    let used = |saved: &tollway::store::limits::Saved| {
        let (shape, state) = State::unpack(saved.state.as_deref()?, Now::default())?;
        Some(state.used(&shape))
    };
    saved.iter().filter(|saved| &*saved.limit == "spend.usd/all").find_map(used).unwrap_or(0)
}

/// What a client has seen: costs by request id, in their order.
#[derive(Default)]
struct Seen {
    bills: Vec<(String, Usd)>,
}

impl Seen {
    fn cost(&self) -> u64 {
        self.bills.iter().map(|(_, cost)| cost.nanos()).sum()
    }

    fn add(&mut self, got: &Reply) {
        let cost = got.header("x-tollway-cost-usd").parse().unwrap();
        self.bills.push((got.header("x-tollway-request-id").to_owned(), cost));
    }

    async fn ask(&mut self, proxy: &Served) {
        let got = proxy.chat(&client(), "gpt-4o-mini", &[]).await;
        assert!(got.status == 200 && !got.broken, "{got:?}");
        self.add(&got);
    }
}

/// Traffic goes on, it is told in all places, and when there is room again nothing is missing.
async fn is_told_and_mended(kept: &Kept, proxy: Served, why: &str, mend: impl FnOnce(&Served)) {
    let mut seen = Seen::default();
    let before = if kept.file().exists() { counted(&kept.file()) } else { 0 };
    within("the file's failure", async {
        while proxy.metric("tollway_ledger_failing").await != Some(1.0)
            || proxy.metric("tollway_limits_unsaved").await != Some(1.0)
        {
            seen.ask(&proxy).await;
        }
    })
    .await;
    let ready = proxy.admin("/readyz").await;
    assert_eq!(ready.status, 200, "no failure of a file keeps traffic away");
    let ready = ready.text();
    for part in ["ready; the ledger can't be written; what limits have counted can't be saved", why]
    {
        assert!(ready.contains(part), "{part}: {ready}");
    }
    let said = proxy.said();
    for part in ["the ledger can't be written", "can't be saved", why] {
        assert!(said.contains(part), "{part}: {said}");
    }
    for _ in 0..20 {
        seen.ask(&proxy).await;
    }
    mend(&proxy);
    within("its return", async {
        while proxy.metric("tollway_ledger_failing").await != Some(0.0)
            || proxy.metric("tollway_limits_unsaved").await != Some(0.0)
        {
            seen.ask(&proxy).await;
        }
    })
    .await;
    assert_eq!(proxy.admin("/readyz").await.text(), "ready\n");
    proxy.signal("-TERM");
    let (code, said) = proxy.ended().await;
    assert_eq!(code, Some(0), "{said}");
    assert!(said.contains("is written again") && said.contains("is saved again"), "{said}");
    let rows: HashMap<_, _> =
        kept.whole().into_iter().map(|row| (row.request.to_string(), row.cost)).collect();
    for (id, cost) in &seen.bills {
        assert_eq!(rows.get(id), Some(&Some(*cost)), "{id}");
    }
    assert_eq!(counted(&kept.file()), before + seen.cost());
}

#[tokio::test]
async fn a_full_disk_stops_no_request_and_costs_no_row() {
    let kept = Kept::new();
    // The signal of a file that would grow too large is not listened to.
    let proxy = kept.under(&["bash", "-c", "trap '' XFSZ; exec \"$0\" \"$@\""]);
    let grow = |proxy: &Served, most: &str| {
        let (id, most) = (proxy.id().to_string(), format!("--fsize={most}:"));
        let status = Command::new("prlimit").args(["--pid", &id, &most]).status();
        assert!(status.unwrap().success());
    };
    // No file may grow beyond its first byte.
    grow(&proxy, "1");
    is_told_and_mended(&kept, proxy, "state.db", |proxy| grow(proxy, "unlimited")).await;
}

#[tokio::test]
async fn a_read_only_file_stops_no_request_and_costs_no_row() {
    let kept = Kept::new();
    let proxy = kept.under(&[]);
    Seen::default().ask(&proxy).await;
    proxy.signal("-TERM");
    assert_eq!(proxy.ended().await.0, Some(0));
    let allow = |mode| {
        // SQLite gives the files beside it the mode that it has.
        for file in std::fs::read_dir(kept.0.path()).unwrap() {
            let mode = std::fs::Permissions::from_mode(mode);
            std::fs::set_permissions(file.unwrap().path(), mode).unwrap();
        }
    };
    allow(0o444);
    // Who is root may write anything, unless it gives that up.
    let root = std::fs::metadata(kept.0.path()).unwrap().uid() == 0;
    let bound: &[&str] = if root { &["setpriv", "--bounding-set=-all"] } else { &[] };
    let proxy = kept.under(bound);
    is_told_and_mended(&kept, proxy, "read-only", |_| allow(0o644)).await;
}

const TIMES: u64 = 8;
const CALLERS: u64 = 3;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_under_load_it_goes_on_from_what_was_written() {
    let kept = Kept::new();
    let (mut random, mut known, mut there) = (0x9E37_79B9_7F4A_7C15_u64, 0, 0);
    for _ in 0..TIMES {
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        let proxy = Arc::new(kept.under(&[]));
        let stop = Arc::new(AtomicBool::new(false));
        let seen: Vec<_> = (0..CALLERS).map(|_| Arc::new(Mutex::new(Seen::default()))).collect();
        let callers: Vec<_> = seen
            .iter()
            .map(|seen| {
                let (proxy, stop, seen) = (proxy.clone(), stop.clone(), seen.clone());
                tokio::spawn(async move {
                    while !stop.load(SeqCst) {
                        let got = proxy.chat(&client(), "gpt-4o-mini", &[]).await;
                        if got.broken {
                            return;
                        }
                        assert_eq!(got.status, 200, "{got:?}");
                        seen.lock().unwrap().add(&got);
                    }
                })
            })
            .collect();
        let cost = || seen.iter().map(|seen| seen.lock().unwrap().cost()).sum::<u64>();
        let number = || seen.iter().map(|seen| seen.lock().unwrap().bills.len()).sum::<usize>();
        until("some requests", || number() > 10).await;
        // What was over by now is written before long.
        let (billed, written) = (cost(), number());
        until("what was billed is counted", || counted(&kept.file()) >= known + billed).await;
        until("what was over is written", || kept.rows().len() as u64 >= there + written as u64)
            .await;
        let more = number() + (random >> 33) as usize % 60;
        until("a few more", || number() >= more).await;
        stop.store(true, SeqCst);
        proxy.signal("-9");
        for caller in callers {
            caller.await.unwrap();
        }
        Arc::into_inner(proxy).unwrap().kill();

        let rows = kept.whole();
        let costs: HashMap<_, _> =
            rows.iter().map(|row| (row.request.to_string(), row.cost)).collect();
        let mut missing = 0;
        for seen in &seen {
            let bills = &seen.lock().unwrap().bills;
            let found: Vec<_> = bills.iter().map(|(id, _)| costs.get(id)).collect();
            let kept = found.iter().take_while(|row| row.is_some()).count();
            assert!(found[kept..].iter().all(Option::is_none), "what is lost is what came last");
            for ((id, cost), row) in bills.iter().zip(&found[..kept]) {
                assert_eq!(*row, Some(&Some(*cost)), "{id}");
            }
            missing += bills.len() - kept;
        }
        assert!(
            missing <= number() - written,
            "{missing} rows are lost of those after the first {written}"
        );
        // Those of whose end nobody heard are there too, or not.
        there = rows.len() as u64;
        let now = counted(&kept.file());
        assert!(now >= known + billed, "{now} counted, {billed} billed after {known}");
        let costs: u64 = rows.iter().filter_map(|row| row.cost).map(Usd::nanos).sum();
        assert!(now >= costs, "{now} counted, {costs} in the ledger");
        known = now;
    }
}
