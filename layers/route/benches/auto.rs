//! What it costs to judge how hard a request is.
#![allow(missing_docs)]

use std::hint::black_box;

use divan::{AllocProfiler, Bencher, counter::BytesCount};
use tollway_route::auto::{Role, Scanner, Weights};

#[global_allocator]
static ALLOC: AllocProfiler = AllocProfiler::system();

fn main() {
    divan::main();
}

const PROSE: &str = "We have looked at last quarter's figures, and they don't add up: please compare \
                     both reports, explain why the totals differ, and tell me what we must change.\n";
const CODE: &str = "    if let Some(entry) = self.table.get(&key) {\n        return Ok(entry.value()); // 42\n    }\n";
const CHINESE: &str = "请比较这两份报告，解释总数为什么不同，并告诉我们必须改变什么。\n";

fn prompt(text: &str, size: usize) -> String {
    text.repeat(size / text.len() + 1)
}

fn judge(bencher: Bencher<'_, '_>, text: &str, size: usize) {
    let (prompt, weights) = (prompt(text, size), Weights::default());
    bencher.counter(BytesCount::of_str(&prompt)).bench_local(|| {
        let mut scanner = Scanner::new();
        scanner.turn(Role::User);
        scanner.text(black_box(&prompt));
        weights.score(&scanner.finish())
    });
}

#[divan::bench(args = [100, 4 << 10, 1 << 20])]
fn prose(bencher: Bencher<'_, '_>, size: usize) {
    judge(bencher, PROSE, size);
}

#[divan::bench(args = [100, 4 << 10, 1 << 20])]
fn code(bencher: Bencher<'_, '_>, size: usize) {
    judge(bencher, CODE, size);
}

#[divan::bench(args = [100, 4 << 10, 1 << 20])]
fn chinese(bencher: Bencher<'_, '_>, size: usize) {
    judge(bencher, CHINESE, size);
}

/// A megabyte in many short messages of both sides.
#[divan::bench]
fn many_turns(bencher: Bencher<'_, '_>) {
    let weights = Weights::default();
    bencher.bench_local(|| {
        let mut scanner = Scanner::new();
        for _ in 0..3200 {
            for role in [Role::User, Role::Assistant] {
                scanner.turn(role);
                scanner.text(black_box(PROSE));
            }
        }
        weights.score(&scanner.finish())
    });
}
