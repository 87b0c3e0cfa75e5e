use std::{fmt, sync::Arc};

use http::{request, response};
use tollway_core::{Ending, Guard};

use crate::{
    Settle,
    decide::Claim,
    limiter::{Limiter, Loan},
};

/// What a request holds of its limits; settled once, at the latest when it is dropped.
pub struct Reservation<T: Settle>(Option<Held<T>>);

struct Held<T: Settle> {
    limiter: Arc<Limiter>,
    settle: Arc<T>,
    claims: Vec<Claim>,
    loan: Option<Loan>,
    ticket: Option<T::Ticket>,
}

impl<T: Settle> Reservation<T> {
    pub(crate) fn new(
        limiter: &Arc<Limiter>,
        settle: &Arc<T>,
        claims: Vec<Claim>,
        loan: Option<Loan>,
        request: &request::Parts,
    ) -> Self {
        if claims.is_empty() {
            return Self(None);
        }
        let (limiter, settle) = (limiter.clone(), settle.clone());
        let mut reservation = Self(Some(Held { limiter, settle, claims, loan, ticket: None }));
        // After the claims are in safe hands: `open` is the caller's code and may panic.
        if let Some(held) = &mut reservation.0 {
            held.ticket = Some(held.settle.open(request));
        }
        reservation
    }

    pub(crate) fn head(&mut self, response: &response::Parts) {
        if let Some(Held { settle, ticket: Some(ticket), .. }) = &mut self.0 {
            settle.head(ticket, response);
        }
    }

    fn release(&mut self, ending: Option<Ending>) {
        let Some(Held { limiter, settle, mut claims, loan, ticket }) = self.0.take() else {
            return;
        };
        limiter.settle(&mut claims, |rule, reserved| match (&ticket, ending) {
            (Some(ticket), Some(ending)) => {
                settle.spent(ticket, rule.unit, ending).unwrap_or(reserved)
            }
            (Some(ticket), None) => settle.failed(ticket, rule.unit, reserved),
            (None, _) => 0,
        });
        if let Some(loan) = loan {
            limiter.give_back(loan, &claims);
        }
    }
}

impl<T: Settle> Guard for Reservation<T> {
    fn ended(&mut self, ending: Ending) {
        self.release(Some(ending));
    }
}

impl<T: Settle> Drop for Reservation<T> {
    fn drop(&mut self) {
        self.release(None);
    }
}

impl<T: Settle> fmt::Debug for Reservation<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let claims = self.0.as_ref().map(|held| &held.claims);
        f.debug_struct("Reservation").field("claims", &claims).finish_non_exhaustive()
    }
}
