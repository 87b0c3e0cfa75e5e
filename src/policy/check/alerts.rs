use std::time::Duration;

use http::Uri;
use secrecy::ExposeSecret;

use super::{Check, providers::secret, server::positive};
use crate::policy::{Alerts, Webhook, read::At, written::PolicyWritten, written::WebhookWritten};

const DAY: Duration = Duration::from_secs(86_400);
const TIMEOUT: Duration = Duration::from_secs(5);
const RETRIES: u64 = 5;
/// With waits of a minute between calls, more than an hour.
const MOST_RETRIES: u64 = 100;

/// Who is told of budgets.
pub(super) fn alerts(written: &PolicyWritten, check: &mut Check<'_, '_>) -> Alerts {
    let Some(section) = written.alerts.as_ref().map(|at| &at.value) else {
        return Alerts { webhook: None, again: DAY };
    };
    let webhook = section.webhook.as_ref().and_then(|at| webhook(at, check));
    Alerts { webhook, again: positive(&section.again, DAY, check) }
}

fn webhook(at: &At<WebhookWritten>, check: &mut Check<'_, '_>) -> Option<Webhook> {
    let written = &at.value;
    let (at, signed) = (written.url.as_ref()?, written.secret.as_ref()?);
    let url = secret(at, check);
    let is_one = |uri: &Uri| {
        matches!(uri.scheme_str(), Some("http" | "https"))
            && uri.host().is_some_and(|it| !it.is_empty())
    };
    if let Some(url) = &url
        && !url.expose_secret().parse().is_ok_and(|uri| is_one(&uri))
    {
        check
            .reader
            .wrong(at, "this is no address that can be called")
            .expected("`https://` or `http://`, a host and a path");
    }
    let retries = written.retries.as_ref().map_or(RETRIES, |at| at.value.0);
    if let (Some(at), true) = (&written.retries, retries > MOST_RETRIES) {
        check.reader.wrong(at, "nobody waits for so many calls").expected("at most 100");
    }
    Some(Webhook {
        url: url?,
        secret: secret(signed, check)?,
        timeout: positive(&written.timeout, TIMEOUT, check),
        retries: u32::try_from(retries.min(MOST_RETRIES)).unwrap_or(u32::MAX),
    })
}
