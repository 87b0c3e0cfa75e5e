//! How often `auto` is right about the labelled requests of `tests/fixtures/auto`, and how much of
//! a request it reads.

#![allow(clippy::unwrap_used)]

use std::fmt::Write as _;

use serde_json::Value;
use tollway_route::auto::{
    Complexity, Feature, Role, Scanner, Signals, Weight, Weights, WeightsError,
};

const PROMPTS: &str =
    include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/fixtures/auto/prompts.jsonl"));

/// Written by someone who knew neither the words nor the weights.
const ANOTHER_HAND: &str = include_str!(concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/../../tests/fixtures/auto/another_hand.jsonl"
));

/// What `{{document N}}` in a fixture stands for, over and over up to N bytes: prose that asks for
/// nothing.
const DOCUMENT: &str = "The committee met on the second floor of the old town hall. It had rained \
     since morning, and the windows were closed. Members spoke of the harvest, of the road to the \
     harbour and of the school's new roof. Nobody objected, and the minutes were read aloud. ";

/// Words and weights are tuned on the first kind, and checked on the others, whose single errors
/// stay unseen by whoever tunes.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Split {
    Tuned,
    HeldOut,
    /// Of the other hand.
    Blind,
}

#[derive(Debug)]
struct Labelled {
    id: u64,
    split: Split,
    complexity: Complexity,
    reasoning: bool,
    signals: Signals,
    text: String,
}

fn labelled() -> Vec<Labelled> {
    PROMPTS
        .lines()
        .chain(ANOTHER_HAND.lines())
        .map(|line| read(&serde_json::from_str(line).unwrap()))
        .collect()
}

fn read(line: &Value) -> Labelled {
    let mut scanner = Scanner::new();
    let mut text = String::new();
    for message in line["messages"].as_array().unwrap() {
        scanner.turn(match message["role"].as_str().unwrap() {
            "system" => Role::System,
            "user" => Role::User,
            "assistant" => Role::Assistant,
            _ => Role::Tool,
        });
        text = message["text"].as_str().unwrap().to_owned();
        scanner.text(&expand(&text));
    }
    (0..line["tools"].as_u64().unwrap_or(0)).for_each(|_| scanner.tool());
    (0..line["images"].as_u64().unwrap_or(0)).for_each(|_| scanner.image());
    if line["schema"] == true {
        scanner.schema();
    }
    let label = line["complexity"].as_str().unwrap();
    Labelled {
        id: line["id"].as_u64().unwrap(),
        split: match line["split"].as_str().unwrap() {
            "tune" => Split::Tuned,
            "test" => Split::HeldOut,
            _ => Split::Blind,
        },
        complexity: Complexity::ALL.into_iter().find(|it| it.as_str() == label).unwrap(),
        reasoning: line["reasoning"].as_bool().unwrap(),
        signals: scanner.finish(),
        text,
    }
}

fn expand(text: &str) -> String {
    let Some((before, rest)) = text.split_once("{{document ") else { return text.to_owned() };
    let (size, behind) = rest.split_once("}}").unwrap();
    let document: String = DOCUMENT.chars().cycle().take(size.parse().unwrap()).collect();
    format!("{before}{document}{behind}")
}

/// Rows are the labels, columns the answers.
#[derive(Default)]
struct Matrix {
    complexity: [[u32; 3]; 3],
    reasoning: [[u32; 2]; 2],
}

impl Matrix {
    fn of<'a>(all: impl Iterator<Item = &'a Labelled>) -> Self {
        let mut matrix = Self::default();
        for one in all {
            let got = Weights::default().score(&one.signals);
            matrix.complexity[one.complexity as usize][got.complexity as usize] += 1;
            matrix.reasoning[usize::from(one.reasoning)][usize::from(got.reasoning)] += 1;
        }
        matrix
    }

    fn right(&self) -> f64 {
        share(&self.complexity)
    }

    fn table(&self, title: &str) -> String {
        let mut out = format!("{title}: {:.1} % right\n", self.right() * 100.0);
        let names = Complexity::ALL.map(Complexity::as_str);
        let _ = writeln!(out, "{:>10} {:>9} {:>9} {:>9}", "", names[0], names[1], names[2]);
        for (name, row) in names.iter().zip(self.complexity) {
            let _ = writeln!(out, "{name:>10} {:>9} {:>9} {:>9}", row[0], row[1], row[2]);
        }
        let [[neither, added], [missed, both]] = self.reasoning;
        let right = share(&self.reasoning) * 100.0;
        let _ = writeln!(
            out,
            "reasoning: {right:.1} % right; found {both}, missed {missed}, taken for it {added}, \
             rightly not {neither}"
        );
        out
    }
}

fn share<const N: usize>(matrix: &[[u32; N]; N]) -> f64 {
    let right: u32 = (0..N).map(|at| matrix[at][at]).sum();
    f64::from(right) / f64::from(matrix.iter().flatten().sum::<u32>())
}

#[test]
fn it_is_right_about_most_requests_also_of_those_held_out() {
    let all = labelled();
    let whole = Matrix::of(all.iter());
    let of = |split| Matrix::of(all.iter().filter(|one| one.split == split));
    let (tuned, held_out, blind) = (of(Split::Tuned), of(Split::HeldOut), of(Split::Blind));
    // Written when the words were settled.
    let last = Matrix::of(all.iter().filter(|one| (311..=350).contains(&one.id)));
    let other = Matrix::of(all.iter().filter(|one| one.id > 350 && one.split == Split::Tuned));
    for (title, matrix) in [
        ("All", &whole),
        ("Tuned on", &tuned),
        ("Tuned on, of another hand", &other),
        ("Held out", &held_out),
        ("Held out, written last", &last),
        ("Blind, of another hand", &blind),
    ] {
        println!("{}", matrix.table(title));
    }
    for one in all.iter().filter(|one| one.split == Split::Tuned) {
        let got = Weights::default().score(&one.signals);
        if (got.complexity, got.reasoning) != (one.complexity, one.reasoning) {
            println!(
                "{} {} {}: {got}\n    {:.100}",
                one.id, one.complexity, one.reasoning, one.text
            );
        }
    }
    assert!(all.len() >= 510, "{} requests", all.len());
    assert!(whole.right() >= 0.90 && held_out.right() >= 0.87);
    assert!(blind.right() >= 0.82 && last.right() >= 0.77);
    assert!(share(&whole.reasoning) >= 0.91 && share(&held_out.reasoning) >= 0.93);
    assert!(share(&blind.reasoning) >= 0.88);
}

fn scan(pieces: &[(Role, &str)]) -> Signals {
    let mut scanner = Scanner::new();
    for (role, text) in pieces {
        scanner.turn(*role);
        scanner.text(text);
    }
    scanner.finish()
}

#[test]
fn a_huge_prompt_is_read_at_its_ends_alone() {
    let prose = DOCUMENT.repeat(8000);
    let whole = format!("Prove this.\n{prose}\nDerive that.");
    let signals = scan(&[(Role::System, &prose), (Role::User, &whole)]);
    assert!(signals.scanned() <= 32 << 10, "{} bytes", signals.scanned());
    assert!(signals.tokens() as usize > prose.len() / 2 - 10);
    assert_eq!(signals.count(Feature::Proof), 2, "at the beginning and at the end");
    // In many small messages, and in many parts of one.
    let turns: Vec<_> = [(Role::User, DOCUMENT), (Role::Assistant, DOCUMENT)].repeat(4000);
    assert!(scan(&turns).scanned() <= 32 << 10);
    let mut scanner = Scanner::new();
    scanner.text("Prove this. ");
    (0..8000).for_each(|_| scanner.text(DOCUMENT));
    scanner.text("Derive that.");
    let signals = scanner.finish();
    assert!(signals.scanned() <= 16 << 10);
    assert_eq!(signals.count(Feature::Proof), 2);
}

#[test]
fn any_characters_may_lie_where_a_text_is_cut() {
    for letter in ["é", "字", "😀", "क्ष"] {
        for shift in 0..4 {
            let text = "x".repeat(shift) + &letter.repeat(20_000);
            let signals = scan(&[
                (Role::System, &text),
                (Role::User, &text),
                (Role::User, "Prove it: "),
                (Role::User, &text),
            ]);
            assert!((30 << 10..=32 << 10).contains(&signals.scanned()), "{}", signals.scanned());
        }
    }
}

#[test]
fn the_last_user_message_counts_and_the_rest_is_context() {
    let hard = "Prove that the algorithm is optimal.";
    let thanks =
        scan(&[(Role::User, hard), (Role::Assistant, "Here it is."), (Role::User, "Thanks!")]);
    assert_eq!((thanks.count(Feature::Proof), thanks.count(Feature::Trivial)), (0, 1));
    assert_eq!((thanks.count(Feature::Turns), thanks.count(Feature::Context)), (1, 3));
    // What a tool answers is not what is asked, and two messages in a row are one.
    let tool = scan(&[(Role::User, hard), (Role::Assistant, "calling"), (Role::Tool, "Thanks!")]);
    assert_eq!((tool.count(Feature::Proof), tool.count(Feature::Trivial)), (1, 0));
    let two = scan(&[(Role::User, hard), (Role::User, "Derive it, too.")]);
    assert_eq!((two.count(Feature::Proof), two.count(Feature::Turns)), (2, 0));
}

#[test]
fn a_follow_up_goes_on_with_what_was_asked_before() {
    let earlier = |follow_up| {
        let hard = (Role::User, "Prove that the algorithm is optimal.");
        let pieces = [hard, (Role::Assistant, "Prove it yourself."), (Role::User, follow_up)];
        scan(&pieces).count(Feature::Earlier)
    };
    assert_eq!(earlier("the second case is wrong"), 3);
    assert_eq!((earlier("Thanks!"), earlier("make it shorter")), (0, 0));
}

#[test]
fn what_a_small_task_is_done_on_asks_for_nothing() {
    let hard = (Role::User, "Design a scalable architecture and analyse its risks.");
    let titled = scan(&[(Role::System, "Write a concise title. Output the title only."), hard]);
    assert_eq!((titled.count(Feature::Design), titled.count(Feature::Analysis)), (0, 0));
    assert_eq!(titled.count(Feature::Narrow), 2);
    let advised = scan(&[(Role::System, "You are an architect."), hard]);
    assert_eq!((advised.count(Feature::Design), advised.count(Feature::Narrow)), (3, 0));
    let fenced = scan(&[(Role::User, "Rename it:\n```\n// must prove it\n```\nand prove it")]);
    assert_eq!((fenced.count(Feature::Proof), fenced.count(Feature::Constraints)), (1, 0));
    assert_eq!(fenced.count(Feature::Code), 2);
}

#[test]
fn demands_are_counted_by_their_commas() {
    let clauses = |text: &str| scan(&[(Role::User, text)]).count(Feature::Clauses);
    assert_eq!(clauses("cheap, fast; sound"), 2);
    assert_eq!(clauses("1,000,000 or a,b"), 0, "numbers and tables");
    assert_eq!(clauses("快，好、省；稳"), 3);
    assert_eq!(clauses("سريع، رخيص"), 1);
    let pasted = format!("Sum up, please:\n\n{}\n\nin a table, too", DOCUMENT.repeat(8));
    assert_eq!(clauses(&pasted), 2);
    assert_eq!(clauses(&format!("{pasted}\n\n{}", DOCUMENT.repeat(80))), 1);
}

#[test]
fn a_number_looked_up_is_no_reasoning_and_few_words_are_brief() {
    let signals = scan(&[(Role::User, "how many people live in Chile, in 10 words")]);
    let counts = [Feature::Reasoning, Feature::Questions, Feature::Brief, Feature::LengthAsked];
    assert_eq!(counts.map(|it| signals.count(it)), [0, 1, 1, 0]);
}

#[test]
fn words_are_whole_and_not_quoted() {
    let proofs = |text| scan(&[(Role::User, text)]).count(Feature::Proof);
    assert_eq!(proofs("prove it, PROVE it; “Prove” and \"prove\" are words"), 2);
    assert_eq!(proofs("improve, proven, disproved, prove_it"), 1);
    assert_eq!(proofs("Beweise es. Докажи! Доказательства. 请证明它"), 4);
    let asked = |text| scan(&[(Role::User, text)]).count(Feature::LengthAsked);
    assert_eq!(asked("in 2,000 words"), 4);
    assert_eq!(asked("a 500-word story"), 2);
    assert_eq!(asked("写一篇1600字的文章"), 4);
    assert_eq!(asked("99999999999999999999 pages, in many words"), 25);
}

#[test]
fn a_judgement_names_what_weighs_most() {
    let judgement = Weights::default().score(&scan(&[(
        Role::User,
        "Design a distributed cache and prove its consistency, step by step.",
    )]));
    assert!(judgement.reasoning && judgement.complexity == Complexity::Complex);
    let because: Vec<_> = judgement.because.iter().flatten().map(|(feature, _)| *feature).collect();
    assert_eq!(because, [Feature::Proof, Feature::Topic, Feature::Design]);
    assert_eq!(
        judgement.to_string(),
        format!(
            "complex at {} points, with reasoning: proof +54, topic +20, design +16",
            judgement.score
        )
    );
    let empty = Weights::default().score(&Signals::default());
    assert_eq!(empty.to_string(), "simple at 0 points");
}

#[test]
fn weights_are_checked_and_every_feature_can_be_weighed() {
    let mut weights = Weights::default();
    assert_eq!(weights.check(), Ok(()));
    for feature in Feature::ALL {
        assert_eq!(Feature::named(feature.as_str()), Some(feature));
        weights.set(feature, Weight { points: 0, reasoning: 0, at_most: 1 });
        assert_eq!(weights.get(feature).points, 0, "{feature}");
    }
    let judgement = weights.score(&scan(&[(Role::User, "Prove it.")]));
    assert_eq!((judgement.score, judgement.because), (0, [None; 3]));
    weights.set(Feature::Proof, Weight { points: 10_001, reasoning: 0, at_most: 1 });
    let wrong = WeightsError::Points { feature: Feature::Proof, points: 10_001 };
    assert_eq!(weights.check(), Err(wrong));
    assert!(wrong.to_string().contains("`proof` has 10001"));
    weights.complex = weights.moderate;
    assert!(matches!(weights.check(), Err(WeightsError::Order { .. })));
}

#[test]
fn the_documented_weights_are_the_defaults() {
    let weights = Weights::default();
    let documented = include_str!("../src/auto/weights.md");
    for feature in Feature::ALL {
        let Weight { points, reasoning, at_most } = weights.get(feature);
        let row = format!("| `{feature}` | {points} | {reasoning} | {at_most} |\n");
        assert!(documented.contains(&row), "{row}");
    }
    let Weights { moderate, complex, reasoning, .. } = weights;
    assert!(
        documented
            .contains(&format!("moderate from {moderate} points and complex from {complex};"))
    );
    assert!(documented.contains(&format!("reasoning from {reasoning} points")));
}
