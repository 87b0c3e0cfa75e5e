use super::names::{self, Table};

/// How the tokens of a prompt's text relate to its bytes' estimate, learnt from what providers
/// report: by caller, provider and model, and for callers that nothing is known of by provider and
/// model.
///
/// Ratios are kept as logarithms; each reply moves one by a share of what it is off, of at most
/// [`STEP`]. What all share is moved by one caller by no more than [`SWAY`] in all, whatever it
/// sends and however often: a caller of odd prompts makes its own estimates odd, and nobody else's.
#[derive(Debug, Default)]
pub(super) struct Calibration {
    shared: Table<f64>,
    /// By caller besides.
    own: Table<Own>,
}

/// Provider, where it is known, and model; what there is none of is empty.
#[derive(Clone, Copy, Debug)]
pub(super) struct Key<'a> {
    provider: &'a str,
    model: &'a str,
}

impl<'a> Key<'a> {
    pub(super) fn new(provider: Option<&'a str>, model: Option<&'a str>) -> Self {
        Self { provider: provider.unwrap_or_default(), model: model.unwrap_or_default() }
    }

    /// The model, whoever serves it.
    fn anywhere(self) -> Self {
        Self { provider: "", ..self }
    }

    fn shared(self) -> u64 {
        names::hash((self.provider, self.model))
    }

    fn own(self, user: Option<&str>) -> u64 {
        names::hash((user.unwrap_or_default(), self.provider, self.model))
    }
}

#[derive(Clone, Copy, Debug, Default)]
struct Own {
    ratio: f64,
    /// By how much this caller has moved what all share.
    swayed: f64,
}

/// Share of what a ratio is off by that one reply corrects.
const GAIN: f64 = 1.0 / 16.0;
/// The most by which one reply moves a ratio: 6 %.
const STEP: f64 = 1.0 / 16.0;
/// The most by which one caller moves what others get: 10 %.
const SWAY: f64 = 0.095;
/// Ratios stay between a quarter and four.
const FARTHEST: f64 = 1.386;
/// What is farther off is no count of this text: a report without the cached part, say.
const ABSURD: f64 = 8.0;
/// Prompts of fewer tokens are mostly frame, and teach nothing.
const LEAST: u64 = 32;
/// Prompts of fewer tokens teach less.
const FULL: u64 = 256;
/// Callers with their models that are remembered; as many models.
const MAX_KEYS: usize = 20_000;

impl Calibration {
    /// Tokens to expect of text that was estimated at `text`; some, if that is.
    pub(super) fn tokens(&self, user: Option<&str>, key: Key<'_>, text: u64) -> u64 {
        let known = |key: Key<'_>| {
            let own = self.own.get(&key.own(user)).map(|own| own.ratio);
            own.or_else(|| self.shared.get(&key.shared()).copied())
        };
        let ratio = known(key).or_else(|| known(key.anywhere())).unwrap_or(0.0);
        ((text as f64 * ratio.exp()).round() as u64).max(text.min(1))
    }

    /// Text that was estimated at `text` was `reported` by who counts it.
    pub(super) fn learn(&mut self, user: Option<&str>, key: Key<'_>, text: u64, reported: u64) {
        let observed = reported as f64 / text as f64;
        if text < LEAST || !(1.0 / ABSURD..=ABSURD).contains(&observed) {
            return;
        }
        let (observed, weight) = (observed.ln(), text.min(FULL) as f64 / FULL as f64);
        let step = |ratio: f64| (GAIN * weight * (observed - ratio)).clamp(-STEP, STEP);
        let within = |ratio: f64| ratio.clamp(-FARTHEST, FARTHEST);
        let full = self.own.len() >= MAX_KEYS || self.shared.len() >= MAX_KEYS;
        let whose = key.own(user);
        if full && !self.own.contains_key(&whose) {
            return;
        }
        let shared = self.shared.entry(key.shared()).or_default();
        let own = self.own.entry(whose).or_insert(Own { ratio: *shared, swayed: 0.0 });
        own.ratio = within(own.ratio + step(own.ratio));
        let swayed = (own.swayed + step(*shared)).clamp(-SWAY, SWAY);
        *shared = within(*shared + swayed - own.swayed);
        own.swayed = swayed;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const TEXT: u64 = 1000;

    fn key() -> Key<'static> {
        Key::new(Some("p"), Some("m"))
    }

    fn user(number: u64) -> String {
        number.to_string()
    }

    struct Random(u64);

    impl Random {
        /// From 0 to 1.
        fn next(&mut self) -> f64 {
            self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            (self.0 >> 40) as f64 / (1_u64 << 24) as f64
        }

        /// A prompt, and what a provider that counts by `ratio` reports of it: by a fifth more or less.
        fn prompt(&mut self, ratio: f64) -> (u64, u64) {
            let text = 50 + (self.next() * 4000.0) as u64;
            let noise = 0.8 + 0.4 * self.next();
            (text, (text as f64 * ratio * noise) as u64)
        }
    }

    fn off(got: u64, ratio: f64) -> f64 {
        (got as f64 / (TEXT as f64 * ratio) - 1.0).abs()
    }

    #[test]
    fn learns_each_providers_ratio() {
        for ratio in [0.6, 1.0, 1.7] {
            let (mut calibration, mut random) = (Calibration::default(), Random(7));
            assert_eq!(calibration.tokens(None, key(), TEXT), TEXT);
            for _ in 0..200 {
                let (text, reported) = random.prompt(ratio);
                calibration.learn(None, key(), text, reported);
            }
            let got = calibration.tokens(None, key(), TEXT);
            assert!(off(got, ratio) < 0.05, "{ratio}: {got}");
        }
    }

    #[test]
    fn who_comes_new_gets_what_the_others_taught() {
        for ratio in [0.6, 1.7] {
            let (mut calibration, mut random) = (Calibration::default(), Random(3));
            for number in 0..200 {
                let (text, reported) = random.prompt(ratio);
                calibration.learn(Some(&user(number % 20)), key(), text, reported);
            }
            let got = calibration.tokens(Some(&user(99)), key(), TEXT);
            assert!(off(got, ratio) < 0.05, "{ratio}: {got}");
        }
    }

    #[test]
    fn before_routing_and_elsewhere_the_model_alone_tells() {
        let mut calibration = Calibration::default();
        let anywhere = Key::new(None, Some("m"));
        for _ in 0..200 {
            calibration.learn(None, anywhere, TEXT, 2 * TEXT);
        }
        let elsewhere = Key::new(Some("q"), Some("m"));
        for key in [anywhere, elsewhere] {
            assert!(off(calibration.tokens(None, key, TEXT), 2.0) < 0.05);
        }
        assert_eq!(calibration.tokens(None, Key::new(None, Some("other")), TEXT), TEXT);
    }

    #[test]
    fn what_tells_nothing_teaches_nothing() {
        let mut calibration = Calibration::default();
        for (text, reported) in
            [(0, 0), (0, 9), (LEAST - 1, 60), (TEXT, 0), (TEXT, 100), (TEXT, 9000)]
        {
            calibration.learn(None, key(), text, reported);
        }
        assert_eq!(calibration.tokens(None, key(), TEXT), TEXT);
        assert!(calibration.own.is_empty());
    }

    #[test]
    fn keys_are_bounded() {
        let mut calibration = Calibration::default();
        for number in 0..MAX_KEYS as u64 + 10 {
            calibration.learn(Some(&user(number)), key(), TEXT, 2 * TEXT);
        }
        assert_eq!((calibration.own.len(), calibration.shared.len()), (MAX_KEYS, 1));
        // Those who are known still learn.
        let before = calibration.tokens(Some(&user(1)), key(), TEXT);
        calibration.learn(Some(&user(1)), key(), TEXT, TEXT / 2);
        assert!(calibration.tokens(Some(&user(1)), key(), TEXT) < before);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn one_callers_odd_prompts_hardly_move_the_others(
            odd in prop::collection::vec((1_u64..100_000, 1_u64..400_000), 1..500),
        ) {
            let (mut calibration, mut random) = (Calibration::default(), Random(5));
            for number in 0..400 {
                let (text, reported) = random.prompt(1.2);
                calibration.learn(Some(&user(number % 20)), key(), text, reported);
            }
            let others = [user(0), user(99)];
            let tokens = |calibration: &Calibration, user: &str| calibration.tokens(Some(user), key(), TEXT);
            let before = others.each_ref().map(|user| tokens(&calibration, user));
            for (text, reported) in odd {
                calibration.learn(Some(&user(50)), key(), text, reported);
            }
            let after = others.each_ref().map(|user| tokens(&calibration, user));
            prop_assert_eq!(before[0], after[0], "who has taught keeps its own");
            prop_assert!(off(after[1], before[1] as f64 / TEXT as f64) < 0.101, "{} {}", before[1], after[1]);
        }

        #[test]
        fn estimates_are_bounded(
            taught in prop::collection::vec((any::<u64>(), any::<u64>()), 0..100),
            text: u64,
        ) {
            let mut calibration = Calibration::default();
            for (text, reported) in taught {
                calibration.learn(None, key(), text, reported);
            }
            let got = calibration.tokens(None, key(), text);
            prop_assert_eq!(got == 0, text == 0);
            let text = text as f64;
            prop_assert!((text / 4.1 - 1.0..=text * 4.1 + 1.0).contains(&(got as f64)), "{text} {got}");
        }
    }
}
