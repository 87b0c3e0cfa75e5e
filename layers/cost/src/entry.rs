use std::{fmt, sync::Arc, time::SystemTime};

use http::{Extensions, HeaderMap, Response, StatusCode, header::CONTENT_TYPE};
use tokio::time::Instant;
use tollway_core::{Ask, AtWork, Caller, Ending, Guard, Hook, Metered, Target, Usage};

use crate::{COST_HEADER, CostLayer, Price, Pricing, Record, header};

/// The account of one request: opened in `call`, settled once when its reply ends, fails or is
/// dropped.
pub struct Entry<P: Pricing, H: Hook<Record>> {
    layer: Arc<CostLayer<P, H>>,
    caller: Caller,
    ask: Ask,
    started: SystemTime,
    at: Instant,
    head: Option<Head>,
    at_work: Option<AtWork>,
    open: bool,
}

/// What is known once the reply's head is there.
struct Head {
    status: StatusCode,
    target: Option<Target>,
    meter: Option<Metered>,
    price: Option<Arc<Price>>,
}

impl<P: Pricing, H: Hook<Record>> Entry<P, H> {
    /// Boxed, as it is passed through all layers outside with the reply.
    pub(crate) fn open(layer: Arc<CostLayer<P, H>>, request: &Extensions) -> Box<Self> {
        Box::new(Self {
            caller: request.get().cloned().unwrap_or_default(),
            ask: request.get().cloned().unwrap_or_default(),
            started: layer.options().clock.now(),
            at: Instant::now(),
            head: None,
            at_work: request.get().cloned(),
            open: true,
            layer,
        })
    }

    /// Notes the reply's head, and writes the cost into it if it is known already.
    pub(crate) fn head<R>(&mut self, response: &mut Response<R>) {
        let extensions = response.extensions();
        let options = self.layer.options();
        let meter = extensions.get::<Metered>().cloned().or_else(|| {
            options.meter.as_ref().and_then(|find| find(response.headers(), extensions))
        });
        let target = extensions.get::<Target>().cloned();
        let price =
            target.as_ref().and_then(|target| self.layer.pricing().price(target, self.ask.model()));
        if options.header {
            let whole = !self.ask.stream && !is_event_stream(response.headers());
            let usage = meter.as_ref().filter(|_| whole).and_then(|meter| meter.usage());
            let cost = usage.zip(price.as_ref()).map(|(usage, price)| price.cost(&usage));
            // A header from further up says what it cost somebody else.
            match cost.and_then(header::value) {
                Some(value) => response.headers_mut().insert(COST_HEADER, value),
                None => response.headers_mut().remove(COST_HEADER),
            };
        }
        self.head = Some(Head { status: response.status(), target, meter, price });
    }

    fn settle(&mut self, ending: Ending) {
        if !std::mem::replace(&mut self.open, false) {
            return;
        }
        let mut record = Record::new(self.started, ending);
        record.elapsed = self.at.elapsed();
        if let Some(head) = self.head.take() {
            record.status = Some(head.status);
            record.usage = head.usage(&self.ask);
            record.cost = record.usage.zip(head.price).map(|(usage, price)| price.cost(&usage));
            let first_token = head.meter.and_then(|meter| meter.first_token());
            record.first_token = first_token.map(|at| at.saturating_duration_since(self.at));
            record.target = head.target;
        } else if let Some(target) = self.at_work.as_ref().and_then(AtWork::target) {
            // Left before a head came, but somebody was at work on it: the question at least counts.
            record.usage = (self.ask.operation.uses_tokens())
                .then(|| Usage::new(self.ask.input_tokens, 0).estimated());
            let price = self.layer.pricing().price(&target, self.ask.model());
            record.cost = record.usage.zip(price).map(|(usage, price)| price.cost(&usage));
            record.target = Some(target);
        }
        record.caller = std::mem::take(&mut self.caller);
        record.ask = std::mem::take(&mut self.ask);
        self.layer.totals().add(&record);
        self.layer.ledger().on(&record);
    }
}

impl Head {
    /// What was used; a success that nobody metered is estimated by what was asked.
    fn usage(&self, ask: &Ask) -> Option<Usage> {
        let succeeded = self.status.is_success();
        match &self.meter {
            Some(meter) => meter.used(ask.operation, ask.input_tokens, succeeded),
            None => (succeeded && ask.operation.uses_tokens())
                .then(|| Usage::new(ask.input_tokens, 0).estimated()),
        }
    }
}

fn is_event_stream(headers: &HeaderMap) -> bool {
    const EVENT_STREAM: &[u8] = b"text/event-stream";
    let media_type = headers.get(CONTENT_TYPE).and_then(|t| t.as_bytes().get(..EVENT_STREAM.len()));
    media_type.is_some_and(|media_type| media_type.eq_ignore_ascii_case(EVENT_STREAM))
}

impl<P: Pricing, H: Hook<Record>> Guard for Entry<P, H> {
    fn ended(&mut self, ending: Ending) {
        self.settle(ending);
    }
}

impl<P: Pricing, H: Hook<Record>> Drop for Entry<P, H> {
    fn drop(&mut self) {
        self.settle(Ending::Dropped);
    }
}

impl<P: Pricing, H: Hook<Record>> fmt::Debug for Entry<P, H> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Entry").field("open", &self.open).finish_non_exhaustive()
    }
}
