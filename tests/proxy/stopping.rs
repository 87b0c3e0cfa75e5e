//! The program at its two ends: told to stop before it serves, and with a file that another process
//! holds at its start and at its end.

#![cfg(unix)]

use std::{
    io::Read,
    path::{Path, PathBuf},
    process::Child,
};

use rusqlite::Connection;

use super::{
    cli::run,
    served::{Served, kill, spawn, tollway},
    support::*,
};

/// A folder with a policy that keeps its state in a file there.
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

    fn serve(&self) -> Served {
        Served::new(&["serve", self.policy().to_str().unwrap()])
    }

    /// A second process, which waits for the first one.
    fn waiting(&self) -> Waiting {
        let mut command = tollway(&["serve", self.policy().to_str().unwrap()]);
        command.args(["--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0"]);
        let (child, lines, _, line) = spawn(command, "waiting until it has ended");
        assert!(line.contains("another process counts limits in"), "{line}");
        Waiting { child, lines: Box::new(lines) }
    }
}

struct Waiting {
    child: Child,
    lines: Box<dyn Read>,
}

impl Waiting {
    fn signal(&self, name: &str) {
        kill(self.child.id(), name);
    }

    async fn ended(mut self) -> (Option<i32>, String) {
        let mut code = None;
        until("its end", || {
            code = self.child.try_wait().unwrap();
            code.is_some()
        })
        .await;
        let mut said = String::new();
        self.lines.read_to_string(&mut said).unwrap();
        (code.unwrap().code(), said)
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Nobody else writes the file until it is dropped.
fn hold(file: &Path) -> Connection {
    let holder = Connection::open(file).unwrap();
    holder.busy_timeout(PATIENCE).unwrap();
    holder.execute_batch("BEGIN EXCLUSIVE").unwrap();
    holder
}

async fn ask_often(proxy: &Served, times: usize) {
    let client = client();
    for _ in 0..times {
        assert_eq!(proxy.chat(&client, "gpt-4o-mini", &[]).await.status, 200);
    }
}

fn rows(file: &Path) -> i64 {
    let file = Connection::open(file).unwrap();
    file.query_row("SELECT count(*) FROM request", [], |row| row.get(0)).unwrap()
}

#[tokio::test]
async fn a_start_that_waits_for_another_process_stops_when_it_is_told_to() {
    let kept = Kept::new();
    let first = kept.serve();
    for signal in ["-TERM", "-INT"] {
        let second = kept.waiting();
        second.signal("-HUP");
        second.signal(signal);
        let (code, said) = second.ended().await;
        assert_eq!(code, Some(0), "{said}");
        assert!(said.contains("told to stop while starting"), "{said}");
    }
    ask_often(&first, 1).await;
}

#[tokio::test]
async fn a_start_that_waits_goes_on_when_the_other_has_ended() {
    let kept = Kept::new();
    let (first, second) = (kept.serve(), kept.waiting());
    second.signal("-HUP");
    first.signal("-TERM");
    assert_eq!(first.ended().await.0, Some(0));
    let mut second = second;
    let mut said = String::new();
    while !said.contains("the policy was read again and holds") {
        let mut more = [0; 1024];
        let length = second.lines.read(&mut more).unwrap();
        assert_ne!(length, 0, "{said}");
        said += &String::from_utf8_lossy(&more[..length]);
    }
    assert!(said.contains("it has ended") && said.contains("tollway listens on"), "{said}");
    second.signal("-TERM");
    assert_eq!(second.ended().await.0, Some(0));
}

#[tokio::test]
async fn a_file_that_is_held_at_the_end_is_waited_for_a_moment_and_the_loss_is_told() {
    let kept = Kept::new();
    let proxy = kept.serve();
    ask_often(&proxy, 3).await;
    until("they are written", || rows(&kept.file()) == 3).await;
    let held = hold(&kept.file());
    ask_often(&proxy, 4).await;
    proxy.signal("-TERM");
    let (code, said) = proxy.ended().await;
    assert_eq!(code, Some(0), "{said}");
    for part in [
        "rows of the ledger are lost: the process ends, and it can't be written\",\"rows\":4}",
        "what limits have last counted is lost: the process ends, and it can't be saved\",\"keys\":1}",
    ] {
        assert!(said.contains(part), "{part}: {said}");
    }
    drop(held);
    assert_eq!(rows(&kept.file()), 3);
}

#[tokio::test]
async fn a_file_that_is_let_go_in_that_moment_loses_nothing() {
    let kept = Kept::new();
    let proxy = kept.serve();
    ask_often(&proxy, 1).await;
    until("it is written", || rows(&kept.file()) == 1).await;
    let held = hold(&kept.file());
    ask_often(&proxy, 2).await;
    proxy.signal("-TERM");
    until("it ends", || proxy.said().contains("draining")).await;
    drop(held);
    let (code, said) = proxy.ended().await;
    assert!(code == Some(0) && !said.contains("lost"), "{said}");
    assert_eq!(rows(&kept.file()), 3);
}

#[tokio::test]
async fn a_file_that_is_held_at_the_start_keeps_nobody_from_serving() {
    let kept = Kept::new();
    let first = kept.serve();
    ask_often(&first, 2).await;
    first.signal("-TERM");
    assert_eq!(first.ended().await.0, Some(0));
    let held = hold(&kept.file());
    let second = kept.serve();
    ask_often(&second, 3).await;
    assert_eq!(rows(&kept.file()), 2, "it is still held");
    drop(held);
    until("what waited is written", || rows(&kept.file()) == 5).await;
    second.signal("-TERM");
    assert_eq!(second.ended().await.0, Some(0));
}

/// What has been spent is not known: that is no reason to let it be spent again.
#[test]
fn a_file_that_cannot_even_be_read_at_the_start_is_told() {
    let kept = Kept::new();
    let _held = hold(&kept.file());
    let policy = kept.policy();
    let any = "127.0.0.1:0";
    let arguments = [policy.to_str().unwrap(), "--listen", any, "--admin-listen", any];
    let (code, stdout, stderr) = run(&arguments);
    assert_eq!((code, stdout.as_str()), (1, ""), "{stderr}");
    assert!(
        stderr.contains("state.limits") && stderr.contains("held by another process"),
        "{stderr}"
    );
}
