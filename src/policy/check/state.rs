use std::{sync::Arc, time::Duration};

use tollway_store::ledger::Keep;

use super::{
    Check,
    providers::{certificates, secret},
    server::positive,
};
use crate::policy::{
    Ledger, RedisStore, State, Store,
    read::At,
    values::{Hidden, StoreName, Text},
    written::{
        LedgerMapWritten, LedgerWritten, PolicyWritten, RedisWritten, StateMapWritten,
        StoreWritten, WordOr,
    },
};

/// The stores that the section names, for kinds that name one of them.
struct Stores {
    sqlite: Option<Store>,
    redis: Option<Store>,
    default: Store,
}

/// Where state lives.
pub(super) fn state(written: &PolicyWritten, check: &mut Check<'_, '_>) -> State {
    let Some(WordOr::Section(section)) = written.state.as_ref().map(|at| &at.value) else {
        let ledger = with_defaults(Store::Memory);
        return State { ledger, ..State::default() };
    };
    let stores = stores(section, check);
    let one = |at: &Option<At<StoreWritten>>, check: &mut Check<'_, '_>| match at {
        None => stores.default.clone(),
        Some(at) => match &at.value {
            WordOr::Word(name) => stores.named(name, check),
            WordOr::Section(own) => {
                stores.own(at, (&own.sqlite, &own.redis), check).unwrap_or_default()
            }
        },
    };
    let (limits, budgets) = (one(&section.limits, check), one(&section.budgets, check));
    together(section, (&limits, &budgets), check);
    let breakers = match &section.breakers {
        // A file beside the process tells nobody else.
        None if !matches!(stores.default, Store::Redis(_)) => Store::Memory,
        written => one(written, check),
    };
    if let (Some(at), Store::Sqlite(_)) = (&section.breakers, &breakers) {
        let message = "a file beside the process tells no other instance";
        check.reader.wrong(at, message).expected("`memory` or `redis`");
    }
    State {
        ledger: ledger(section, &stores, check),
        limits,
        budgets,
        breakers,
        documents: stores.default.clone(),
    }
}

/// One step decides the limits and budgets of a request, and it can't be taken in two files.
fn together(
    section: &StateMapWritten,
    (limits, budgets): (&Store, &Store),
    check: &mut Check<'_, '_>,
) {
    let two = match (limits, budgets) {
        (Store::Sqlite(_), Store::Sqlite(_)) => "two files",
        (Store::Redis(_), Store::Redis(_)) => "two Redis",
        _ => return,
    };
    let own = section.budgets.as_ref().or(section.limits.as_ref());
    if let Some(at) = own.filter(|_| !limits.is(budgets)) {
        let message = format!("limits and budgets are decided in one step, not in {two}");
        let help = "name the same store for both, or `memory` for one of them";
        check
            .reader
            .wrong(at, message)
            .expected("the store of the other, or one of another kind")
            .help(help);
    }
}

fn stores(section: &StateMapWritten, check: &mut Check<'_, '_>) -> Stores {
    let file = section.sqlite.as_ref().and_then(|at| sqlite(at, check));
    let shared = section.redis.as_ref().and_then(|at| redis(at, check));
    if let (Some(_), Some(at)) = (&section.sqlite, &section.redis) {
        let message = "there are two stores, and nothing says which one is for what";
        let help =
            "keep one here and give the other to a kind of state: `ledger: { sqlite: FILE }`";
        check.reader.wrong(at, message).help(help);
    }
    let default = file.clone().or_else(|| shared.clone()).unwrap_or_default();
    Stores { sqlite: file, redis: shared, default }
}

impl Stores {
    fn named(&self, name: &At<StoreName>, check: &mut Check<'_, '_>) -> Store {
        let (store, example) = match name.value {
            StoreName::Memory => return Store::Memory,
            StoreName::Sqlite => (&self.sqlite, "{ sqlite: FILE }"),
            StoreName::Redis => (&self.redis, "{ redis: URL }"),
        };
        let Some(store) = store else {
            let quote = check.reader.quote(name);
            // What could not be read was told already.
            if !check.reader.told_at(&format!("state.{quote}")) {
                let message = format!("nothing says where `{quote}` is");
                check.reader.wrong(name, message).help(format!("say it here: `{example}`"));
            }
            return Store::Memory;
        };
        store.clone()
    }

    /// A store of a kind's own; `None`: it names none.
    fn own<T>(
        &self,
        at: &At<T>,
        written: (&Option<At<Text>>, &Option<At<RedisWritten>>),
        check: &mut Check<'_, '_>,
    ) -> Option<Store> {
        match written {
            (Some(_), Some(_)) => {
                check.reader.wrong(at, "it can't live in two stores").help("keep one of them");
                None
            }
            (Some(file), None) => sqlite(file, check),
            (None, Some(shared)) => redis(shared, check),
            (None, None) => None,
        }
    }
}

fn ledger(section: &StateMapWritten, stores: &Stores, check: &mut Check<'_, '_>) -> Ledger {
    let Some(at) = &section.ledger else {
        return with_defaults(stores.default.clone());
    };
    match &at.value {
        LedgerWritten::Word(name) => with_defaults(stores.named(name, check)),
        LedgerWritten::Section(own) => {
            let store = match &own.store {
                Some(name) if own.sqlite.is_some() || own.redis.is_some() => {
                    let message = "the ledger can't live in two stores";
                    check.reader.wrong(name, message).help("keep one of them");
                    None
                }
                Some(name) => Some(stores.named(name, check)),
                None => stores.own(at, (&own.sqlite, &own.redis), check),
            };
            let store = store.unwrap_or_else(|| stores.default.clone());
            let default = with_defaults(store);
            Ledger { keep: keep(own, default.keep, check), ..default }
        }
    }
}

/// Memory is dearer than a disk.
fn with_defaults(store: Store) -> Ledger {
    let keep = Keep::default();
    let most_rows = match store {
        Store::Memory => 10_000,
        Store::Redis(_) => 100_000,
        Store::Sqlite(_) => keep.most_rows,
    };
    Ledger { store, keep: Keep { most_rows, ..keep } }
}

fn keep(own: &LedgerMapWritten, default: Keep, check: &mut Check<'_, '_>) -> Keep {
    Keep {
        rows: own.keep.as_ref().map_or(default.rows, |at| at.value.0),
        most_rows: check.at_least_one(&own.keep_rows, default.most_rows).get(),
        days: own.keep_days.as_ref().map_or(default.days, |at| at.value.0),
        months: own.keep_months.as_ref().map_or(default.months, |at| at.value.0),
    }
}

fn sqlite(at: &At<Text>, check: &mut Check<'_, '_>) -> Option<Store> {
    if cfg!(not(feature = "sqlite")) {
        let help = "build it with `--features sqlite`, or name another store";
        check.reader.wrong(at, "this program was built without SQLite").help(help);
        return None;
    }
    let store = Store::Sqlite(check.reader.env.folder.join(&at.value.0));
    if let Some(folder) = store.missing() {
        let message =
            format!("there is no folder {}: the program could not start", folder.display());
        check.warn(at.span, &at.path, message);
    }
    Some(store)
}

fn redis(at: &At<RedisWritten>, check: &mut Check<'_, '_>) -> Option<Store> {
    if cfg!(not(feature = "redis")) {
        let help = "build it with `--features redis`, or name another store";
        check.reader.wrong(at, "this program was built without Redis").help(help);
        return None;
    }
    const TIMEOUT: Duration = Duration::from_millis(20);
    let (url, timeout, prefix, ca): (&At<Hidden>, _, _, _) = match &at.value {
        WordOr::Word(url) => (url, TIMEOUT, None, None),
        WordOr::Section(own) => {
            let timeout = positive(&own.timeout, TIMEOUT, check);
            (own.url.as_ref()?, timeout, own.prefix.as_ref(), own.extra_ca.as_ref())
        }
    };
    let extra_ca = ca.and_then(|at| certificates(at, check));
    let fits = |b: u8| b.is_ascii_alphanumeric() || b"-_.:".contains(&b);
    if let Some(prefix) = prefix.filter(|prefix| !prefix.value.0.bytes().all(fits)) {
        let expected = "letters, digits, `-`, `_`, `.` and `:`";
        check.reader.wrong(prefix, "a prefix of keys can't hold that").expected(expected);
    }
    let prefix: Arc<str> = prefix.map_or("tollway", |prefix| &prefix.value.0).into();
    let secret = secret(url, check)?;
    #[cfg(feature = "redis")]
    {
        use secrecy::ExposeSecret;
        // What it says of an address holds no password.
        match (tollway_store::redis::RedisConfig::parse(secret.expose_secret()), ca) {
            (Err(wrong), _) => {
                let expected =
                    "redis://USER:PASSWORD@HOST:PORT/DATABASE, of which only the host must be";
                let message = format!("no address of a Redis: {wrong}");
                check.reader.wrong(url, message).expected(expected);
                return None;
            }
            (Ok(config), Some(at)) if !config.is_tls() => {
                let message = "no certificate is looked at: the address speaks no TLS";
                let help = "write `rediss` in the place of `redis`, or take this away";
                check.reader.wrong(at, message).help(help);
            }
            _ => {}
        }
    }
    Some(Store::Redis(Arc::new(RedisStore { url: secret, timeout, prefix, extra_ca })))
}
