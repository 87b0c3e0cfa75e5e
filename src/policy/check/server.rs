use std::{net::SocketAddr, num::NonZeroUsize, time::Duration};

use jiff::tz::{self, TimeZone};
use tollway_dialect::translate::Strictness;

use super::Check;
use crate::policy::{
    Admin, Commit, Log, LogFormat, OnHangup, Server, Streams,
    diag::nearest,
    read::At,
    values::{CommitName, HangupName, LogFormatName, LossName, Size, Time},
    written::PolicyWritten,
};

/// Where clients and operators connect; never the same place.
pub(super) fn listeners(written: &PolicyWritten, check: &mut Check<'_, '_>) -> (SocketAddr, Admin) {
    let listen = written.listen.as_ref().map_or(([127, 0, 0, 1], 8080).into(), |at| at.value);
    let admin = written.admin.as_ref().map(|at| &at.value);
    let admin_at = admin.and_then(|admin| admin.listen.as_ref());
    let admin_listen = admin_at.map_or(([127, 0, 0, 1], 8081).into(), |at| at.value);
    let overlap = |a: SocketAddr, b: SocketAddr| {
        let same = a.ip() == b.ip() || a.ip().is_unspecified() || b.ip().is_unspecified();
        a.port() == b.port() && a.port() != 0 && same
    };
    if overlap(listen, admin_listen) {
        let message = "`listen` and `admin.listen` are the same address";
        let help = "give the admin listener another port; its default is 127.0.0.1:8081";
        if let Some(at) = admin_at.or(written.listen.as_ref()) {
            check.reader.wrong(at, message).help(help);
        }
    }
    let token = admin.and_then(|admin| admin.token.as_ref());
    if let (Some(at), None) = (admin_at.filter(|at| !at.value.ip().is_loopback()), token) {
        let message = "everybody who can reach this address could open circuits, reset limits and read what was spent";
        check.reader.wrong(at, message).help("set `admin.token`, or listen on 127.0.0.1");
    }
    let token = token.and_then(|token| super::providers::secret(token, check));
    (listen, Admin { listen: admin_listen, token })
}

/// UTC where the policy says nothing.
pub(super) fn time_zone(written: &PolicyWritten, check: &mut Check<'_, '_>) -> TimeZone {
    let Some(at) = &written.time_zone else { return TimeZone::UTC };
    tz::db().get(&at.value.0).unwrap_or_else(|_| {
        let quote = check.reader.quote(at);
        let names: Vec<String> = tz::db().available().map(|name| name.to_string()).collect();
        let city = |name: &&String| name.rsplit('/').next().is_some_and(|city| city == quote);
        let near = names.iter().find(city).map(String::as_str);
        let near = near.or_else(|| nearest(&quote, names.iter().map(String::as_str)));
        let said = check.reader.wrong(at, format!("there is no time zone `{quote}`"));
        match near {
            Some(near) => said.help(format!("did you mean `{near}`?")),
            None => said.expected("a name of the IANA database, such as Europe/Berlin or UTC"),
        };
        TimeZone::UTC
    })
}

/// A time that must not be zero.
pub(super) fn positive(
    at: &Option<At<Time>>,
    default: Duration,
    check: &mut Check<'_, '_>,
) -> Duration {
    match at {
        None => default,
        Some(at) if at.value.0.is_zero() => {
            check
                .reader
                .wrong(at, "a time of zero would let nothing through")
                .expected("a time above zero");
            default
        }
        Some(at) => at.value.0,
    }
}

fn size(at: &Option<At<Size>>, default: u64, least: u64, check: &mut Check<'_, '_>) -> u64 {
    match at {
        None => default,
        Some(at) if at.value.0 < least => {
            let quote = check.reader.quote(at);
            check
                .reader
                .wrong(at, format!("`{quote}` is too small to be of use"))
                .expected(format!("at least {least}B"));
            default
        }
        Some(at) => at.value.0,
    }
}

const SECOND: Duration = Duration::from_secs(1);

/// Caps and timeouts towards clients.
pub(super) fn server(written: &PolicyWritten, check: &mut Check<'_, '_>) -> Server {
    let written = written.server.as_ref().map(|at| at.value.clone()).unwrap_or_default();
    let header_bytes = size(&written.max_header_bytes, 64 << 10, 8 << 10, check);
    let workers = written.workers.is_some().then(|| check.at_least_one_u32(&written.workers, 1));
    Server {
        max_header_bytes: usize::try_from(header_bytes.min(16 << 20)).unwrap_or(64 << 10),
        max_headers: check.at_least_one_u32(&written.max_headers, 100).get() as usize,
        max_body: size(&written.max_body, 32 << 20, 1, check),
        max_upload: size(&written.max_upload, 512 << 20, 1, check),
        header_timeout: positive(&written.header_timeout, 10 * SECOND, check),
        body_timeout: positive(&written.body_timeout, 30 * SECOND, check),
        idle_timeout: positive(&written.idle_timeout, 120 * SECOND, check),
        drain: written.drain.as_ref().map_or(30 * SECOND, |at| at.value.0),
        request_deadline: positive(&written.request_deadline, 600 * SECOND, check),
        workers: workers.and_then(|count| NonZeroUsize::new(count.get() as usize)),
    }
}

pub(super) fn log(written: &PolicyWritten) -> Log {
    let written = written.log.as_ref().map(|at| at.value.clone()).unwrap_or_default();
    let format = match written.format.map(|at| at.value) {
        Some(LogFormatName::Pretty) => LogFormat::Pretty,
        Some(LogFormatName::Json) | None => LogFormat::Json,
    };
    Log { format, level: written.level.map_or_else(|| "info".into(), |at| at.value.0) }
}

pub(super) fn translation(written: &PolicyWritten, check: &mut Check<'_, '_>) -> Strictness {
    let written = written.translation.as_ref().map(|at| at.value.clone()).unwrap_or_default();
    let is = |at: &&At<LossName>, name| at.value == name;
    let strict = written.harmless.as_ref().filter(|at| is(at, LossName::Refuse));
    if let (Some(at), Some(_)) =
        (written.meaning.as_ref().filter(|at| is(at, LossName::Drop)), strict)
    {
        let message = "nothing is dropped where even what is harmless is refused".to_owned();
        check.warn(at.span, &at.path, message);
    }
    let refuses = |at: &Option<At<LossName>>, default| {
        at.as_ref().map_or(default, |at| at.value == LossName::Refuse)
    };
    let Strictness { refuse_meaning, refuse_harmless } = Strictness::default();
    Strictness {
        refuse_meaning: refuses(&written.meaning, refuse_meaning),
        refuse_harmless: refuses(&written.harmless, refuse_harmless),
    }
}

pub(super) fn streams(written: &PolicyWritten) -> Streams {
    let written = written.streams.as_ref().map(|at| at.value.clone()).unwrap_or_default();
    let on_hangup = match written.on_hangup.map(|at| at.value) {
        Some(HangupName::Drain) => OnHangup::Drain,
        Some(HangupName::Cancel) | None => OnHangup::Cancel,
    };
    let commit = match written.commit.map(|at| at.value) {
        Some(CommitName::Head) => Commit::Head,
        Some(CommitName::FirstToken) | None => Commit::FirstToken,
    };
    Streams { on_hangup, commit }
}
