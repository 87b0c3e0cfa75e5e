//! Places to send to, in virtual time: they drift, fail, fill up and change what they cost.
//!
//! Everything follows from a seed. How long an attempt takes is settled when it begins, by the
//! place's figures at that moment, by how busy it is, and by the request's own luck there; so an
//! oracle can look at exactly what would happen.

/// Places of a scenario at most.
pub(crate) const PLACES: usize = 5;

/// Tokens of a reply, in the mean.
pub(crate) const REPLY: u64 = 180;

/// By how much lengths of replies differ, and how many ask for them.
const SPREAD: f64 = 0.6;
pub(crate) const CALLERS: usize = 12;

/// A seeded sequence (SplitMix64).
#[derive(Clone, Debug)]
pub(crate) struct Dice(u64);

impl Dice {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed)
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// From 0 to 1, without 1.
    fn share(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1_u64 << 53) as f64
    }

    pub(crate) fn below(&mut self, bound: usize) -> usize {
        (self.next() % bound.max(1) as u64) as usize
    }

    /// Log-normal with median 1.
    fn spread(&mut self, sigma: f64) -> f64 {
        let (a, b) = (1.0 - self.share(), self.share());
        (sigma * (-2.0 * a.ln()).sqrt() * (std::f64::consts::TAU * b).cos()).exp()
    }
}

/// Who can be asked, and how often somebody asks.
#[derive(Clone, Copy)]
pub(crate) struct Scenario {
    pub(crate) names: &'static [&'static str],
    /// A place by its index, and what part of the run has passed, 0 to 1.
    pub(crate) place: fn(usize, f64) -> Place,
    pub(crate) requests: usize,
    /// Arrivals a second, on average.
    pub(crate) rate: f64,
    pub(crate) seed: u64,
    /// How much of what replies differ by in length (of the variance of its logarithm) is whose request
    /// it is, and not chance: 0 to 1.
    pub(crate) by_caller: f64,
}

/// A request, and how lucky it would be at each place.
#[derive(Clone, Debug)]
pub(crate) struct Request {
    pub(crate) id: usize,
    /// Seconds from the start.
    pub(crate) at: f64,
    pub(crate) input: u64,
    pub(crate) output: u64,
    pub(crate) caller: usize,
    /// Tokens that its caller's replies have in the mean.
    pub(crate) usual: u64,
    noise: [f64; PLACES],
    luck: [f64; PLACES],
}

impl Scenario {
    /// The same arrivals for whoever decides.
    pub(crate) fn requests(&self) -> Vec<Request> {
        let mut dice = Dice::new(self.seed);
        let mut at = 0.0;
        let mut callers = Dice::new(!self.seed);
        let request = |id| {
            at -= (1.0 - dice.share()).ln() / self.rate;
            let caller = callers.below(CALLERS);
            let (median, chance) = self.lengths(caller);
            Request {
                caller,
                usual: (median * (chance * chance / 2.0).exp()).round() as u64,
                id,
                at,
                input: (600.0 * dice.spread(0.8)).ceil() as u64,
                output: (median * dice.spread(chance)).ceil() as u64,
                noise: std::array::from_fn(|_| dice.spread(0.1)),
                luck: std::array::from_fn(|_| dice.share()),
            }
        };
        (0..self.requests).map(request).collect()
    }

    /// A caller's median, and by what chance its replies differ. Of all callers together lengths are
    /// spread alike, however much is theirs.
    fn lengths(&self, caller: usize) -> (f64, f64) {
        // Where twelve callers stand on a normal distribution.
        const AT: [f64; CALLERS / 2] = [0.104, 0.319, 0.549, 0.812, 1.150, 1.732];
        let half = AT.get(caller / 2).copied().unwrap_or(0.0);
        let at = if caller % 2 == 0 { half } else { -half };
        let own = SPREAD * self.by_caller.sqrt();
        (150.0 * (own * at).exp(), SPREAD * (1.0 - self.by_caller).sqrt())
    }
}

/// What a place is like at one moment.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Place {
    /// Seconds to the first token, alone.
    pub(crate) first: f64,
    /// Seconds for each further token.
    pub(crate) token: f64,
    /// Requests at once before it slows down.
    pub(crate) capacity: f64,
    /// Share of requests that fail, after this many seconds.
    pub(crate) fails: (f64, f64),
    /// Requests a second before it refuses at once.
    pub(crate) limit: Option<f64>,
    /// Pico-USD a token. What was cached costs a tenth.
    pub(crate) input_price: u64,
    pub(crate) output_price: u64,
    /// Share of the input that its cache has.
    pub(crate) cached: f64,
}

/// How an attempt will go.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Fate {
    /// Seconds to the first token, seconds to the end.
    Served {
        first: f64,
        whole: f64,
    },
    /// Seconds until it is known.
    Failed(f64),
    Refused,
}

/// The present.
pub(crate) struct World {
    scenario: Scenario,
    pub(crate) now: f64,
    end: f64,
    pub(crate) in_flight: [u32; PLACES],
    /// Tokens in the bucket of each place's limit; one second's worth at most.
    room: [f64; PLACES],
    filled: f64,
}

impl World {
    pub(crate) fn new(scenario: Scenario, end: f64) -> Self {
        let room = [f64::MAX; PLACES];
        Self { scenario, now: 0.0, end, in_flight: [0; PLACES], room, filled: 0.0 }
    }

    pub(crate) fn places(&self) -> usize {
        self.scenario.names.len()
    }

    pub(crate) fn place(&self, index: usize) -> Place {
        (self.scenario.place)(index, self.now / self.end)
    }

    pub(crate) fn turn_to(&mut self, now: f64) {
        self.now = now;
        let since = now - self.filled;
        self.filled = now;
        for index in 0..self.places() {
            if let Some(limit) = self.place(index).limit {
                self.room[index] = (self.room[index] + since * limit).min(limit);
            }
        }
    }

    pub(crate) fn has_room(&self, index: usize) -> bool {
        self.room[index] >= 1.0
    }

    /// What would happen to `request` if `index` began with it now.
    pub(crate) fn fate(&self, request: &Request, index: usize) -> Fate {
        let place = self.place(index);
        if !self.has_room(index) {
            return Fate::Refused;
        }
        let (share, after) = place.fails;
        if request.luck[index] < share {
            return Fate::Failed(after);
        }
        let busy = f64::from(self.in_flight[index] + 1);
        let slower = (busy / place.capacity).max(1.0) * request.noise[index];
        let first = place.first * slower;
        Fate::Served { first, whole: first + place.token * request.output as f64 * slower }
    }

    /// It begins there.
    pub(crate) fn enter(&mut self, index: usize) {
        self.room[index] -= self.room[index].min(1.0);
        self.in_flight[index] += 1;
    }

    /// What of the input its cache has.
    pub(crate) fn cached(&self, request: &Request, index: usize) -> u64 {
        (request.input as f64 * self.place(index).cached) as u64
    }

    /// What it would cost there, in pico-USD, if the reply had this many tokens.
    pub(crate) fn cost(&self, request: &Request, index: usize, output: u64) -> u64 {
        let (place, cached) = (self.place(index), self.cached(request, index));
        (request.input - cached) * place.input_price
            + cached * place.input_price / 10
            + output * place.output_price
    }
}
