//! Real servers for tests: `redis-server` on a free port, with a directory of its own.

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::{TcpListener, TcpStream},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread,
};

/// A `redis-server` of this test alone; ends with the value.
#[derive(Debug)]
pub struct RedisServer {
    child: Child,
    port: u16,
    directory: tempfile::TempDir,
    arguments: Vec<String>,
}

impl RedisServer {
    /// One server without a password, which keeps nothing on disk.
    pub fn start() -> Self {
        Self::with(&[])
    }

    /// The same with more arguments, like `["--requirepass", "secret"]`.
    pub fn with(arguments: &[&str]) -> Self {
        let arguments: Vec<String> = arguments.iter().map(|text| (*text).to_owned()).collect();
        let directory = tempfile::tempdir().unwrap();
        for _ in 0..20 {
            let port = free_port();
            if let Some(child) = spawn(port, directory.path(), &arguments) {
                return Self { child, port, directory, arguments };
            }
        }
        panic!("redis-server doesn't start: is it installed?");
    }

    /// Three servers that are one cluster, each with a third of the slots.
    pub fn cluster() -> Vec<Self> {
        let servers: Vec<_> = (0..3).map(|_| Self::with(&["--cluster-enabled", "yes"])).collect();
        for (server, slots) in servers.iter().zip(["0 5460", "5461 10922", "10923 16383"]) {
            assert_eq!(server.command(&format!("CLUSTER ADDSLOTSRANGE {slots}")), "+OK");
            let first = servers[0].port;
            assert_eq!(server.command(&format!("CLUSTER MEET 127.0.0.1 {first}")), "+OK");
        }
        // Both: a server may think all is well before the others know of it.
        for server in &servers {
            while !server.command("CLUSTER INFO").contains("cluster_state:ok")
                || !server.command("CLUSTER INFO").contains("cluster_known_nodes:3")
            {
                thread::yield_now();
            }
        }
        servers
    }

    /// A sentinel that watches this server under the name `mymaster`.
    pub fn sentinel(&self) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("sentinel.conf");
        let text = format!("sentinel monitor mymaster 127.0.0.1 {} 1\n", self.port);
        for _ in 0..20 {
            let port = free_port();
            std::fs::write(&file, &text).unwrap();
            let arguments = vec!["--sentinel".to_owned()];
            if let Some(child) = spawn_at(&[file.to_str().unwrap()], port, &arguments) {
                return Self { child, port, directory, arguments };
            }
        }
        panic!("redis-server --sentinel doesn't start");
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    /// `127.0.0.1:PORT`.
    pub fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    pub fn url(&self) -> String {
        format!("redis://{}", self.address())
    }

    /// The server's own directory.
    pub fn directory(&self) -> &Path {
        self.directory.path()
    }

    /// Ends it at once, as `kill -9` does.
    pub fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// Starts it again on the same port, empty.
    pub fn restart(&mut self) {
        self.kill();
        let start = || spawn(self.port, self.directory.path(), &self.arguments);
        self.child = (0..200).find_map(|_| start()).expect("the port is free again");
    }

    /// Stops it in mid-air: connections stay open, nothing is answered.
    pub fn pause(&self) {
        self.signal("STOP");
    }

    /// Lets it go on.
    pub fn resume(&self) {
        self.signal("CONT");
    }

    fn signal(&self, name: &str) {
        let id = self.child.id().to_string();
        let status = Command::new("kill").args(["-s", name, &id]).status().unwrap();
        assert!(status.success());
    }

    /// Runs one command on a connection of its own; the raw answer without its last line break.
    pub fn command(&self, command: &str) -> String {
        let mut stream = TcpStream::connect(("127.0.0.1", self.port)).unwrap();
        write!(stream, "{command}\r\nQUIT\r\n").unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        let answer = answer.strip_suffix("+OK\r\n").unwrap_or(&answer);
        answer.trim_end().to_owned()
    }

    pub fn flush(&self) {
        assert_eq!(self.command("FLUSHALL"), "+OK");
    }
}

impl Drop for RedisServer {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Below the ports that the machine gives out itself, and with room for a cluster's second port.
fn free_port() -> u16 {
    loop {
        let port = TcpListener::bind(("127.0.0.1", 0)).unwrap().local_addr().unwrap().port();
        if port < 55_000 && TcpListener::bind(("127.0.0.1", port + 10_000)).is_ok() {
            return port;
        }
    }
}

fn spawn(port: u16, directory: &Path, arguments: &[String]) -> Option<Child> {
    let directory: PathBuf = directory.to_owned();
    let fixed = ["--save", "", "--appendonly", "no", "--dir", directory.to_str()?];
    spawn_at(&[], port, &[&fixed.map(str::to_owned)[..], arguments].concat())
}

/// `None` if the port was taken meanwhile.
fn spawn_at(first: &[&str], port: u16, arguments: &[String]) -> Option<Child> {
    // A server that speaks TLS has its port among the arguments, as `{port}`.
    let port = port.to_string();
    let tls = arguments.iter().any(|text| text.contains("{port}"));
    let arguments = arguments.iter().map(|text| text.replace("{port}", &port));
    let mut child = Command::new("redis-server")
        .args(first)
        .args(["--port", if tls { "0" } else { &port }, "--bind", "127.0.0.1"])
        .args(arguments)
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap_or_else(|error| panic!("redis-server: {error}: install the package"));
    let mut lines = BufReader::new(child.stdout.take().expect("piped")).lines();
    let ready = |line: &String| {
        line.contains("Ready to accept connections") || line.contains("Sentinel ID is")
    };
    if !lines.by_ref().map_while(Result::ok).any(|line| ready(&line)) {
        let _ = child.wait();
        return None;
    }
    // Or the pipe fills and the server stands still.
    thread::spawn(move || lines.map_while(Result::ok).for_each(drop));
    Some(child)
}
