//! The program itself, as processes of their own.

use std::{
    io::{BufRead, BufReader},
    net::SocketAddr,
    process::{Child, ChildStderr, Command, Stdio},
    sync::{Arc, Mutex},
    thread::JoinHandle,
};

use http::{HeaderMap, Request};

use super::support::*;

pub(crate) fn tollway(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tollway"));
    command
        .args(arguments)
        .env_remove("TOLLWAY_LOG")
        .env_remove("TOLLWAY_ADMIN")
        .stdin(Stdio::null());
    command
}

/// A program that serves; killed when dropped.
pub(crate) struct Served {
    child: Child,
    pub(crate) address: SocketAddr,
    pub(crate) admin: SocketAddr,
    said: Arc<Mutex<String>>,
    stderr: Option<JoinHandle<()>>,
}

impl Served {
    pub(crate) fn new(arguments: &[&str]) -> Self {
        Self::start(tollway(arguments))
    }

    /// With this policy, in a file of that folder.
    pub(crate) fn with(folder: &tempfile::TempDir, policy: &str) -> Self {
        let file = folder.path().join("policy.yaml");
        std::fs::write(&file, policy).unwrap();
        Self::new(&["serve", file.to_str().unwrap()])
    }

    /// A command to which the addresses are added.
    pub(crate) fn start(mut command: Command) -> Self {
        command.args(["--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0"]);
        let (child, lines, said, line) = spawn(command, "tollway listens on http://");
        let (address, rest) = line.split_once("/v1").unwrap();
        let (_, admin) = rest.split_once("http://").unwrap();
        let (address, admin) = (address.parse().unwrap(), admin.trim().parse().unwrap());
        let said = Arc::new(Mutex::new(said));
        let heard = said.clone();
        let stderr = std::thread::spawn(move || {
            for line in lines.lines().map_while(Result::ok) {
                let mut said = heard.lock().unwrap();
                said.push_str(&line);
                said.push('\n');
            }
        });
        Self { child, address, admin, said, stderr: Some(stderr) }
    }

    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    pub(crate) fn signal(&self, name: &str) {
        kill(self.id(), name);
    }

    /// As `kill -9` does.
    pub(crate) fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// What it has said so far.
    pub(crate) fn said(&self) -> String {
        self.said.lock().unwrap().clone()
    }

    /// Its exit code and what it said.
    pub(crate) async fn ended(mut self) -> (Option<i32>, String) {
        let mut code = None;
        until("the program's end", || {
            code = self.child.try_wait().unwrap();
            code.is_some()
        })
        .await;
        self.stderr.take().unwrap().join().unwrap();
        (code.unwrap().code(), self.said())
    }

    pub(crate) async fn admin(&self, path: &str) -> Reply {
        get(&format!("http://{}{path}", self.admin)).await
    }

    /// The value of a metric, by its name with its labels.
    pub(crate) async fn metric(&self, name: &str) -> Option<f64> {
        let text = self.admin("/metrics").await.text();
        let line = text.lines().find_map(|line| line.strip_prefix(&format!("{name} ")))?;
        line.parse().ok()
    }

    pub(crate) async fn in_flight(&self) -> f64 {
        self.metric("tollway_requests_in_flight").await.unwrap_or(0.0)
    }

    /// A question for `model`, over a connection that stays.
    pub(crate) async fn chat(&self, client: &Http, model: &str, headers: &[(&str, &str)]) -> Reply {
        self.post(client, ask(false).replace("gpt-4o-mini", model), headers).await
    }

    pub(crate) async fn post(&self, client: &Http, body: String, more: &[(&str, &str)]) -> Reply {
        let mut request = Request::post(format!("http://{}{CHAT}", self.address));
        for (name, value) in [&[JSON][..], more].concat() {
            request = request.header(name, value);
        }
        let reply = within("a reply", client.request(request.body(full(body)).unwrap())).await;
        // A process that was killed leaves its last replies unsent.
        match reply {
            Ok(reply) => Reply::read(reply).await,
            Err(_) => Reply { broken: true, ..Reply::default() },
        }
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The simulated provider; killed when dropped.
pub(crate) struct Simulated {
    child: Child,
    pub(crate) address: SocketAddr,
}

impl Simulated {
    pub(crate) fn new(arguments: &[&str]) -> Self {
        let command = tollway(&[&["simulate", "--listen", "127.0.0.1:0"], arguments].concat());
        let (child, lines, _, line) = spawn(command, "simulated provider on http://");
        // Nobody reads on; what it says later is lost.
        drop(lines);
        Self { child, address: line.split_once("/v1").unwrap().0.parse().unwrap() }
    }
}

impl Drop for Simulated {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Sends it `-TERM` or another signal.
pub(crate) fn kill(id: u32, name: &str) {
    assert!(Command::new("kill").args([name, &id.to_string()]).status().unwrap().success());
}

/// Starts it and reads what it says until the line with `word`; what comes behind it there.
pub(crate) fn spawn(
    mut command: Command,
    word: &str,
) -> (Child, BufReader<ChildStderr>, String, String) {
    let mut child = command.stderr(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(child.stderr.take().unwrap());
    let (said, rest) = until_line(&mut lines, word);
    (child, lines, said, rest)
}

fn until_line(lines: &mut BufReader<ChildStderr>, word: &str) -> (String, String) {
    let mut said = String::new();
    loop {
        let mut line = String::new();
        assert_ne!(lines.read_line(&mut line).unwrap(), 0, "it ended: {said}");
        said += &line;
        if let Some((_, rest)) = line.split_once(word) {
            return (said, rest.to_owned());
        }
    }
}

impl Default for Reply {
    fn default() -> Self {
        Self {
            status: http::StatusCode::default(),
            version: http::Version::default(),
            headers: HeaderMap::new(),
            body: bytes::Bytes::new(),
            trailers: None,
            broken: false,
        }
    }
}
