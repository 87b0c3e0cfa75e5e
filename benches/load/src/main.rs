//! A small HTTP/1.1 load generator for `benches/run`: one thread and one blocking connection each,
//! nothing but the standard library.
//!
//! `load rate`   sends on a fixed schedule. A request that was due while its connection still waited
//!               for the reply before is timed from when it was due, so a slow reply also counts
//!               against those behind it (no coordinated omission). One that was sent on time is timed
//!               from the moment its first byte is written: the generator's own late timer is not the
//!               server's latency.
//! `load closed` sends the next request as soon as the reply is read.
//!
//! Both print one JSON object: times in microseconds.

// The real clock is what it is for; the workspace bans it for the layers.
#![allow(clippy::disallowed_methods)]

mod http;

use std::{
    net::SocketAddr,
    process::ExitCode,
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use http::{Connection, Reply};

struct Plan {
    address: SocketAddr,
    request: Vec<u8>,
    connections: usize,
    /// Requests a second over all connections; closed loop if `None`.
    rate: Option<f64>,
    warm_up: Duration,
    time: Duration,
}

#[derive(Default)]
struct Seen {
    /// To the whole reply.
    whole: Vec<u64>,
    /// To the first content token of a stream.
    first: Vec<u64>,
    events: u64,
    requests: u64,
    /// By a limit: no error where limits are what is measured.
    refused: u64,
    errors: u64,
    late: u64,
}

fn main() -> ExitCode {
    match plan(std::env::args().skip(1).collect()) {
        Ok(plan) => {
            let seen = run(Arc::new(plan));
            println!("{}", report(seen));
            ExitCode::SUCCESS
        }
        Err(problem) => {
            eprintln!(
                "load: {problem}\nusage: load rate|closed --address A --body FILE [--path P] [--rate N] \
                 [--connections N] [--seconds S] [--warm-up S] [--header 'name: value']..."
            );
            ExitCode::from(2)
        }
    }
}

fn plan(arguments: Vec<String>) -> Result<Plan, String> {
    let mut arguments = arguments.into_iter();
    let mode = arguments.next().ok_or("rate or closed?")?;
    let (mut address, mut body) = (None, None);
    let mut path = "/v1/chat/completions".to_owned();
    let (mut rate, mut connections, mut seconds, mut warm_up) = (200.0, 16, 3.0, 0.5);
    let mut headers = String::new();
    while let Some(key) = arguments.next() {
        let value = arguments.next().ok_or(format!("{key} needs a value"))?;
        let number = || value.parse::<f64>().map_err(|_| format!("{key}: {value} is no number"));
        match key.as_str() {
            "--address" => {
                address = Some(value.parse().map_err(|_| format!("{value}: no address"))?)
            }
            "--body" => body = Some(std::fs::read(&value).map_err(|e| format!("{value}: {e}"))?),
            "--path" => path = value,
            "--rate" => rate = number()?,
            "--connections" => connections = number()? as usize,
            "--seconds" => seconds = number()?,
            "--warm-up" => warm_up = number()?,
            "--header" => headers.push_str(&format!("{value}\r\n")),
            _ => return Err(format!("unknown option {key}")),
        }
    }
    let address: SocketAddr = address.ok_or("--address is missing")?;
    let body = body.ok_or("--body is missing")?;
    let mut request = format!(
        "POST {path} HTTP/1.1\r\nhost: {address}\r\ncontent-type: application/json\r\n{headers}content-length: {}\r\n\r\n",
        body.len()
    )
    .into_bytes();
    request.extend(body);
    Ok(Plan {
        address,
        request,
        connections: connections.max(1),
        rate: match mode.as_str() {
            "rate" => Some(rate),
            "closed" => None,
            _ => return Err(format!("unknown mode {mode}")),
        },
        warm_up: Duration::from_secs_f64(warm_up),
        time: Duration::from_secs_f64(seconds),
    })
}

fn run(plan: Arc<Plan>) -> Seen {
    let start = Instant::now() + Duration::from_millis(20);
    let threads: Vec<_> = (0..plan.connections)
        .map(|index| {
            let plan = plan.clone();
            thread::Builder::new().stack_size(128 << 10).spawn(move || drive(&plan, index, start))
        })
        .collect();
    let mut all = Seen::default();
    for thread in threads {
        match thread.map(thread::JoinHandle::join) {
            Ok(Ok(one)) => all.add(one),
            _ => all.errors += 1,
        }
    }
    all
}

fn drive(plan: &Plan, index: usize, start: Instant) -> Seen {
    let mut seen = Seen::default();
    let mut connection = None;
    let measured = start + plan.warm_up;
    let end = measured + plan.time;
    let interval = plan.rate.map(|rate| Duration::from_secs_f64(plan.connections as f64 / rate));
    let mut due =
        start + interval.unwrap_or_default().mul_f64(index as f64 / plan.connections as f64);
    let mut reply = Reply::default();
    loop {
        let now = Instant::now();
        let begin = match interval {
            None => now,
            Some(_) if due > now => {
                thread::sleep(due - now);
                Instant::now()
            }
            Some(_) => due,
        };
        if begin >= end || due >= end {
            return seen;
        }
        let queued = interval.is_some() && due <= now;
        let done = exchange(plan, &mut connection, &mut reply);
        if begin >= measured {
            match done {
                Ok(()) if reply.refused => seen.refused += 1,
                Ok(()) => {
                    seen.requests += 1;
                    seen.late += u64::from(queued);
                    seen.whole.push(tenths(begin, Instant::now()));
                    seen.first.extend(reply.first_token.map(|at| tenths(begin, at)));
                    seen.events += reply.events;
                }
                Err(_) => seen.errors += 1,
            }
        }
        if let Some(interval) = interval {
            due += interval;
        }
    }
}

fn exchange(
    plan: &Plan,
    connection: &mut Option<Connection>,
    reply: &mut Reply,
) -> std::io::Result<()> {
    let mut open = match connection.take() {
        Some(open) => open,
        None => Connection::open(plan.address)?,
    };
    open.exchange(&plan.request, reply)?;
    if !reply.close {
        *connection = Some(open);
    }
    Ok(())
}

/// In tenths of a microsecond.
fn tenths(from: Instant, to: Instant) -> u64 {
    (to.saturating_duration_since(from).as_nanos() / 100) as u64
}

impl Seen {
    fn add(&mut self, other: Self) {
        self.whole.extend(other.whole);
        self.first.extend(other.first);
        self.events += other.events;
        self.requests += other.requests;
        self.refused += other.refused;
        self.errors += other.errors;
        self.late += other.late;
    }
}

fn report(mut seen: Seen) -> String {
    format!(
        "{{\"requests\":{},\"refused\":{},\"errors\":{},\"late\":{},\"events\":{},{},{}}}",
        seen.requests,
        seen.refused,
        seen.errors,
        seen.late,
        seen.events,
        quantiles("whole", &mut seen.whole),
        quantiles("first", &mut seen.first)
    )
}

fn quantiles(name: &str, times: &mut [u64]) -> String {
    times.sort_unstable();
    let at = |share: f64| {
        let index = (times.len() as f64 * share).ceil() as usize;
        times.get(index.saturating_sub(1)).map_or(0.0, |time| *time as f64 / 10.0)
    };
    format!(
        "\"{name}_p50\":{:.1},\"{name}_p99\":{:.1},\"{name}_max\":{:.1}",
        at(0.5),
        at(0.99),
        at(1.0)
    )
}
