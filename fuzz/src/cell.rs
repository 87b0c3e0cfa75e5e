//! From which form to which: what the targets of translation have in common.

use tollway_dialect::translate::{Asked, Fit, Form, Reasoning, Strictness};

pub const LENIENT: Strictness = Strictness { refuse_meaning: false, refuse_harmless: false };
pub const STRICT: Strictness = Strictness { refuse_meaning: true, refuse_harmless: true };

/// The low four bits say from which form to which, the others are switches.
pub fn split(data: &[u8]) -> Option<(Form, Form, u8, &[u8])> {
    let (first, text) = data.split_first()?;
    let form = |bits: u8| Form::ALL[usize::from(bits & 3)];
    Some((form(*first), form(first >> 2), first >> 4, text))
}

/// The client's request is told back by one form, so it is of any bytes too.
pub fn asked(client: Form, body: &[u8]) -> Asked {
    let mut asked = Asked::new(client, "q\"\\\u{e9}", body.to_vec());
    asked.stream = true;
    asked.wants_usage = true;
    asked.nonce = 7;
    asked.now = 1_800_000_000;
    asked
}

/// A model that takes everything, or one that takes as little as there is.
pub fn fit(provider: Form, switches: u8) -> Fit {
    let mut fit = Fit::new(provider);
    if switches & 1 != 0 {
        fit.max_temperature = Some(0.5);
        fit.max_output_tokens = Some(100);
        fit.legacy_max_tokens = true;
        fit.developer_role = true;
        fit.structured = false;
        fit.prefill = false;
        fit.one_sampling = true;
        fit.max_stop = 1;
    }
    if switches & 2 != 0 {
        fit.echo_reasoning = true;
        fit.needs_signature = true;
        fit.reasoning = match provider {
            Form::Chat => Reasoning::Switch,
            Form::Messages | Form::Generate => Reasoning::Budget,
            Form::Responses => Reasoning::None,
        };
    }
    fit
}
