//! Prices in integers: the published samples, tiers, gaps, and what holds for any numbers.

#![allow(clippy::unwrap_used, reason = "helpers of tests")]

use proptest::prelude::*;
use tollway_core::{Usage, Usd};
use tollway_cost::{Price, PriceBook, Pricing, PromptBound, Rate, Rates, Tier};

fn rate(text: &str) -> Rate {
    text.parse().unwrap()
}

fn usd(text: &str) -> Usd {
    text.parse().unwrap()
}

fn rates(input: &str, cached: Option<&str>, write: Option<&str>, output: &str) -> Rates {
    Rates {
        input: rate(input),
        cached_input: cached.map(rate),
        cache_write: write.map(rate),
        output: rate(output),
        ..Rates::default()
    }
}

fn usage(input: u64, cached: u64, write: u64, write_1h: u64, output: u64) -> Usage {
    let mut usage = Usage::new(input, output);
    usage.cached = cached;
    usage.cache_write = write;
    usage.cache_write_1h = write_1h;
    usage
}

/// Every row of the providers' samples that states a cost, with its model's row of the registry.
#[test]
fn the_samples_cost_what_they_say() {
    // openai/chat_reasoning.res.json, gpt-5.6-sol
    let tier =
        Tier::new(PromptBound::Over(272_000), Some(rate("8")), Some(rate("0.8")), Some(rate("30")));
    let sol = Price::new(rates("4", Some("0.4"), Some("5"), "20"), [tier]).unwrap();
    let mut used = usage(3000, 1024, 1536, 0, 650);
    used.reasoning = 640;
    assert_eq!(sol.cost(&used), usd("0.0228496"));
    // anthropic/messages_cache.res.json, claude-sonnet-4-5-20250929
    let sonnet = Price::new(rates("3", Some("0.3"), Some("3.75"), "15"), []).unwrap();
    assert_eq!(sonnet.cost(&usage(10_050, 8000, 1500, 500, 5)), usd("0.01125"));
}

#[test]
fn a_tier_prices_all_tokens_from_its_bound_on() {
    let tier = |bound| Tier::new(bound, Some(rate("4")), Some(rate("0.2")), Some(rate("15")));
    let base = rates("2", Some("0.1"), Some("2.5"), "10");
    let over = Price::new(base, [tier(PromptBound::Over(200_000))]).unwrap();
    let from = Price::new(base, [tier(PromptBound::From(200_000))]).unwrap();
    let at = Usage::new(200_000, 1000);
    assert_eq!(over.cost(&at), usd("0.41"));
    assert_eq!(from.cost(&at), usd("0.815"));
    assert_eq!(over.cost(&Usage::new(200_001, 0)), usd("0.800004"));
    assert_eq!(from.cost(&Usage::new(199_999, 0)), usd("0.399998"));
    // Cached tokens are part of the prompt that is measured.
    assert_eq!(from.cost(&usage(200_000, 200_000, 0, 0, 0)), usd("0.04"));
    // Writes: 1.25 times the input, in the tier too; for an hour twice the input.
    assert_eq!(from.cost(&usage(200_000, 0, 200_000, 0, 0)), usd("1"));
    assert_eq!(from.cost(&usage(200_000, 0, 0, 200_000, 0)), usd("1.6"));
}

#[test]
fn the_highest_tier_reached_counts_in_whatever_order_they_are_given() {
    let tier =
        |from, input: &str| Tier::new(PromptBound::From(from), Some(rate(input)), None, None);
    let base = rates("1", Some("0.5"), None, "0");
    let price = Price::new(base, [tier(10, "2"), tier(30, "4"), tier(20, "3")]).unwrap();
    let each = [(9, 9), (10, 20), (29, 87), (30, 120)];
    for (prompt, micros) in each {
        assert_eq!(price.cost(&Usage::new(prompt, 0)), Usd::from_nanos(micros * 1000), "{prompt}");
    }
    // No cached price is published for the tier: its input rate.
    assert_eq!(price.cost(&usage(10, 10, 0, 0, 0)), Usd::from_nanos(20_000));
    let same = [tier(10, "2"), Tier::new(PromptBound::Over(9), None, None, None)];
    let error = Price::new(base, same).unwrap_err();
    assert_eq!(error.to_string(), "two price tiers begin at the same prompt of 10 tokens");
    let never = Tier::new(PromptBound::Over(u64::MAX), Some(rate("9")), None, None);
    assert_eq!(Price::new(base, [never]).unwrap(), Price::new(base, []).unwrap());
}

#[test]
fn gaps_are_billed_at_input_or_output() {
    let price = Price::new(rates("4", None, None, "20"), []).unwrap();
    assert_eq!(price.cost(&usage(1000, 200, 300, 100, 0)), usd("0.004"));
    let mut audio = Usage::new(100, 50);
    (audio.input_audio, audio.output_audio) = (60, 40);
    assert_eq!(price.cost(&audio), usd("0.0014"));
    let heard = Rates {
        input_audio: Some(rate("40")),
        output_audio: Some(rate("80")),
        ..rates("4", None, None, "20")
    };
    assert_eq!(Price::new(heard, []).unwrap().cost(&audio), usd("0.00596"));
}

#[test]
fn a_request_may_cost_something_by_itself() {
    let rates = Rates { per_request: usd("0.01"), ..rates("1", None, None, "1") };
    assert_eq!(Price::new(rates, []).unwrap().cost(&Usage::new(1, 1)), usd("0.010002"));
}

#[test]
fn rounds_once_half_up() {
    let price = Price::flat(Rate::from_picos(250), Rate::from_picos(249));
    assert_eq!(price.cost(&Usage::new(1, 1)), Usd::from_nanos(0));
    assert_eq!(price.cost(&Usage::new(2, 0)), Usd::from_nanos(1));
    assert_eq!(price.cost(&Usage::new(0, 2)), Usd::from_nanos(0));
}

#[test]
fn parts_larger_than_the_total_are_cut_to_it() {
    let price = Price::new(rates("4", Some("0.4"), Some("5"), "20"), []).unwrap();
    assert_eq!(price.cost(&usage(10, 99, 99, 99, 0)), price.cost(&usage(10, 10, 0, 0, 0)));
    assert_eq!(price.cost(&usage(10, 4, 99, 99, 0)), price.cost(&usage(10, 4, 6, 0, 0)));
}

#[test]
fn a_book_knows_ids_and_aliases_and_nothing_else() {
    let mut book = PriceBook::builder();
    book.add("xai", "grok-4-0709", ["grok-4", "grok-4"], Price::flat(rate("3"), rate("15")))
        .unwrap();
    let taken = book.add("xai", "other", ["grok-4"], Price::flat(rate("1"), rate("1")));
    assert_eq!(taken.unwrap_err().to_string(), "model 'grok-4' of provider 'xai' has two prices");
    book.set("lab", "grok-4", Price::flat(rate("0"), rate("0")));
    let book = book.build();
    assert_eq!(book.get("xai", "grok-4"), book.get("xai", "grok-4-0709"));
    assert!(book.get("xai", "grok-4").is_some());
    assert!(book.get("xai", "other").is_none());
    assert!(book.get("xai", "grok").is_none());
    assert!(book.get("openai", "grok-4").is_none());
    let target = |model: Option<&str>| tollway_core::Target::new("xai", "k", model.map(Into::into));
    assert!(book.price(&target(Some("grok-4")), Some("gpt")).is_some(), "served, not asked");
    assert!(book.price(&target(None), Some("grok-4")).is_some());
    assert!(book.price(&target(None), None).is_none());
}

fn any_usage(max: u64) -> impl Strategy<Value = Usage> {
    prop::array::uniform8(0..=max).prop_map(|[a, b, c, d, e, f, g, h]| {
        let mut usage = usage(a, b, c, d, e);
        (usage.input_audio, usage.reasoning, usage.output_audio) = (f, g, h);
        usage
    })
}

fn any_rates(max: u64) -> impl Strategy<Value = Rates> {
    let rate = move || (0..=max).prop_map(Rate::from_picos);
    let gap = move || prop::option::of(rate());
    (rate(), gap(), gap(), gap(), rate(), gap(), gap()).prop_map(
        |(input, cached_input, cache_write, cache_write_1h, output, input_audio, output_audio)| {
            Rates {
                input,
                cached_input,
                cache_write,
                cache_write_1h,
                output,
                input_audio,
                output_audio,
                per_request: Usd::ZERO,
            }
        },
    )
}

proptest! {
    #[test]
    fn any_numbers_have_a_cost(
        usage in any_usage(u64::MAX), rates in any_rates(u64::MAX),
        bound: u64, input: Option<u64>, output: Option<u64>,
    ) {
        let tier = Tier::new(
            PromptBound::Over(bound),
            input.map(Rate::from_picos),
            None,
            output.map(Rate::from_picos),
        );
        let _ = Price::new(rates, [tier]).unwrap().cost(&usage);
    }

    /// More tokens in a total never cost less, over a tier's bound too.
    #[test]
    fn cost_is_monotone(
        used in any_usage(2000), rates in any_rates(1 << 40), bound in 0..3000_u64,
        dearer in 1..5_u64, more_in in 0..1000_u64, more_out in 0..1000_u64,
    ) {
        let times = |rate: Rate| Some(Rate::from_picos(rate.picos() * dearer));
        let mut tier = Tier::new(
            PromptBound::From(bound), times(rates.input), None, times(rates.output),
        );
        tier.cached_input = rates.cached_input.and_then(times);
        let price = Price::new(rates, [tier]).unwrap();
        let mut more = used;
        more.input += more_in;
        more.output += more_out;
        prop_assert!(price.cost(&more) >= price.cost(&used));
    }

    /// Two halves cost what the whole costs, within the one rounding each.
    #[test]
    fn cost_is_additive(rates in any_rates(1 << 40), parts in prop::array::uniform12(0..1000_u64)) {
        let price = Price::new(rates, []).unwrap();
        // Consistent: parts first, totals from them.
        let make = |p: &[u64]| {
            let mut usage = usage(p[..4].iter().sum::<u64>() + 5, p[0], p[1], p[2], p[4] + p[5]);
            (usage.input_audio, usage.output_audio) = (p[3], p[5]);
            usage
        };
        let (a, b) = (make(&parts[..6]), make(&parts[6..]));
        let mut whole = usage(
            a.input + b.input,
            a.cached + b.cached,
            a.cache_write + b.cache_write,
            a.cache_write_1h + b.cache_write_1h,
            a.output + b.output,
        );
        whole.input_audio = a.input_audio + b.input_audio;
        whole.output_audio = a.output_audio + b.output_audio;
        let halves = price.cost(&a).nanos() + price.cost(&b).nanos();
        prop_assert!(halves.abs_diff(price.cost(&whole).nanos()) <= 1);
    }

    /// Reasoning is output, whatever share of it.
    #[test]
    fn reasoning_bills_as_output(used in any_usage(100_000), rates in any_rates(1 << 40)) {
        let price = Price::new(rates, []).unwrap();
        let mut quiet = used;
        quiet.reasoning = 0;
        prop_assert_eq!(price.cost(&used), price.cost(&quiet));
    }
}
