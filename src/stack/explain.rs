//! Why a request would go where: asked without a proxy that runs.

use bytes::Bytes;
use http::{HeaderMap, Request, Response, header::FORWARDED};
use http_body_util::{Either, Full};
use tollway_core::{BoxError, Caller};
use tollway_dialect::RequestBody;
use tollway_identify::{Reason, Unauthorized};
use tower::{ServiceBuilder, ServiceExt, service_fn};

use super::Stack;
use crate::{policy::Source, telemetry::Decision};

impl Stack {
    /// The decision on `request` if it came now, by the figures that are known; nothing is sent, and
    /// no turn is taken. Its [`Caller`] is the one in its extensions, else whoever its headers name, if
    /// anybody; they count as come by a proxy that is trusted, where some are. Budgets are whole.
    ///
    /// # Errors
    ///
    /// What the request would be refused with: a body that can't be read, a model that its caller may
    /// not use, no route.
    ///
    /// ```
    /// use tollway::{policy::{Env, Policy}, stack::{Facts, Stack}};
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    /// let yaml = "
    /// providers: { groq: { simulate: {} }, openai: { simulate: {} } }
    /// routes: [{ strategy: latency, targets: [groq, openai] }]
    /// ";
    /// let policy = Policy::parse("policy.yaml", yaml, &Env::new(|_| None)).unwrap();
    /// let known = |provider, ms| {
    ///     let times = format!(r#"{{"p50":{ms},"p95":{ms},"p99":{ms}}}"#);
    ///     format!(r#"{{"provider":"{provider}","model":"m","samples":99,"first_token_ms":{times}}}"#)
    /// };
    /// let facts = format!(r#"{{"targets":[{},{}]}}"#, known("groq", 310), known("openai", 420));
    /// let stack = Stack::knowing(&policy, Some(Facts::parse(&facts)?))?;
    /// let request = http::Request::post("/v1/chat/completions")
    ///     .header("content-type", "application/json")
    ///     .body(r#"{"model":"m","messages":[{"role":"user","content":"Hello"}]}"#.into())?;
    /// let decision = stack.explain(request).await?;
    /// assert_eq!(decision.chosen().unwrap().target.to_string(), "groq/m");
    /// # Ok(())
    /// # }
    /// ```
    pub async fn explain(&self, mut request: Request<Full<Bytes>>) -> Result<Decision, BoxError> {
        if request.extensions().get::<Caller>().is_none()
            && let Some(caller) = self.named_by(request.headers(), request.uri().query())?
        {
            request.extensions_mut().insert(caller);
        }
        let (decider, tokens) = (self.decider.clone(), self.input_tokens.clone());
        let decide = service_fn(move |request: Request<RequestBody<Full<Bytes>>>| {
            let decided = decider.rehearse(&request).map(Response::new);
            std::future::ready(decided)
        });
        // What of the stack a decision goes by, in its order.
        let service = ServiceBuilder::new()
            .layer(self.inspect)
            .map_request(move |request| tokens.asked(request))
            .layer(self.models.clone())
            .service(decide);
        match service.oneshot(request).await?.into_body() {
            Either::Left(decision) => Ok(decision),
            Either::Right(_) => {
                Err("lists of models are answered without asking a provider".into())
            }
        }
    }

    /// Whoever these headers name, as the proxy knows its callers. Who shows no key where one is needed
    /// is nobody in particular: here nothing is spent.
    fn named_by(
        &self,
        headers: &HeaderMap,
        query: Option<&str>,
    ) -> Result<Option<Caller>, Unauthorized> {
        let callers = &self.policy.callers;
        let tells = |source: &Source| match source {
            Source::Header(name) => headers.contains_key(name),
            Source::Ip => {
                headers.contains_key(FORWARDED) || headers.contains_key("x-forwarded-for")
            }
            _ => false,
        };
        let told = callers.identify.iter().any(tells);
        let proxy = callers.trusted_proxies.first().filter(|_| told).map(|net| net.addr());
        match self.identify.identifier().identify_call(proxy, headers, query) {
            Err(refusal) if refusal.reason() == Reason::Missing => Ok(None),
            named => named.map(Some),
        }
    }
}
