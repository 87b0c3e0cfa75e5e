use std::sync::atomic::AtomicU64;

use super::*;

const NOW: u64 = 1_795_305_600_000;

/// A clock to set.
#[derive(Clone)]
struct Clock(Arc<AtomicU64>);

impl Clock {
    fn new() -> Self {
        Self(Arc::new(AtomicU64::new(NOW)))
    }

    fn wall(&self) -> Arc<dyn WallClock> {
        let now = self.0.clone();
        Arc::new(move || std::time::UNIX_EPOCH + Duration::from_millis(now.load(Ordering::SeqCst)))
    }
}

/// Follows a kind; what is told comes out here.
fn told(documents: &Documents, kind: &str) -> mpsc::Receiver<Vec<(String, Vec<u8>)>> {
    let (tell, told) = mpsc::channel();
    let pair = |record: &Record| (record.name.to_string(), record.value.clone());
    let follow =
        move |all: &[Record]| tell.send(all.iter().map(pair).collect()).unwrap_or_default();
    documents.follow(kind, Arc::new(follow));
    told
}

type Told = mpsc::Receiver<Vec<(String, Vec<u8>)>>;

fn next(told: &Told) -> Vec<(String, Vec<u8>)> {
    told.recv_timeout(Duration::from_secs(30)).unwrap()
}

fn pairs(pairs: &[(&str, &str)]) -> Vec<(String, Vec<u8>)> {
    pairs.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect()
}

/// What holds wherever they live.
async fn told_of_what_changes(documents: Documents, clock: &Clock) {
    documents.put("key", Record::new("b", "1")).await.unwrap();
    let keys = told(&documents, "key");
    assert_eq!(next(&keys), pairs(&[("b", "1")]), "at the start");
    documents.put("key", Record::new("a", "2").expiring(NOW + 1)).await.unwrap();
    assert_eq!(keys.try_recv().unwrap(), pairs(&[("a", "2"), ("b", "1")]), "at once");
    assert!(!documents.add("key", Record::new("a", "3")).await.unwrap(), "there already");
    assert!(documents.add("key", Record::new("c", "3")).await.unwrap());
    assert_eq!(keys.try_recv().unwrap().len(), 3);
    assert!(documents.remove("key", "b").await.unwrap());
    assert_eq!(keys.try_recv().unwrap(), pairs(&[("a", "2"), ("c", "3")]));
    assert!(!documents.remove("key", "b").await.unwrap());
    documents.put("quota", Record::new("a", "1")).await.unwrap();
    assert!(keys.try_recv().is_err(), "nothing is told twice, nor of other kinds");
    clock.0.store(NOW + 1, Ordering::SeqCst);
    assert_eq!(next(&keys), pairs(&[("c", "3")]), "expired, and told by the thread");
    documents.0.clean();
    assert_eq!(documents.0.records.clean(NOW + 1).unwrap(), 0, "and removed");
    let listed = documents.list("key").await.unwrap();
    assert_eq!(listed, [Record::new("c", "3")]);
    // Who comes later takes the place.
    let later = told(&documents, "key");
    assert_eq!(next(&later), pairs(&[("c", "3")]));
    documents.remove("key", "c").await.unwrap();
    assert_eq!(later.try_recv().unwrap(), pairs(&[]));
    assert!(keys.try_recv().is_err());
}

#[tokio::test]
async fn followers_are_told_in_memory() {
    let clock = Clock::new();
    let records = Arc::new(MemoryRecords::default());
    told_of_what_changes(Documents::over(records, false, clock.wall()), &clock).await;
}

#[cfg(feature = "sqlite")]
#[tokio::test]
async fn followers_are_told_of_a_file() {
    use tollway_store::sqlite::{Sqlite, SqliteRecords};
    let folder = tempfile::tempdir().unwrap();
    let clock = Clock::new();
    let open = || {
        let file = Arc::new(Sqlite::open(folder.path().join("state.db")).unwrap());
        Documents::over(Arc::new(SqliteRecords::new(file)), false, clock.wall())
    };
    told_of_what_changes(open(), &clock).await;
    open().put("key", Record::new("d", "4")).await.unwrap();
    assert_eq!(next(&told(&open(), "key")), pairs(&[("d", "4")]), "it outlives them");
}

/// What a store had lost and was written anew, and what was let go.
fn losses(documents: &Documents) -> [u64; 2] {
    let Losses { restored, let_go } = &documents.0.losses;
    [restored, let_go].map(|count| count.load(Ordering::SeqCst))
}

/// A copy from before may be put in the place of a file in which all is gone.
#[cfg(all(unix, feature = "sqlite"))]
#[tokio::test]
async fn who_knows_of_removals_alone_looks_too() {
    use tollway_store::sqlite::{Sqlite, SqliteRecords};
    let (folder, clock) = (tempfile::tempdir().unwrap(), Clock::new());
    let file = folder.path().join("state.db");
    let open = || {
        let file = Arc::new(Sqlite::open(&file).unwrap());
        Documents::over(Arc::new(SqliteRecords::new(file)), false, clock.wall())
    };
    let one = open();
    let _keys = told(&one, "key");
    assert!(one.0.open.get().is_none(), "nothing is known that could be lost");
    one.put("key", Record::new("a", "1")).await.unwrap();
    assert!(one.remove("key", "a").await.unwrap());
    drop(one);
    let two = open();
    let _keys = told(&two, "key");
    assert!(two.0.open.get().is_some());
}

#[cfg(all(unix, feature = "sqlite"))]
#[tokio::test]
async fn what_a_file_lost_is_written_anew_and_nothing_revoked_comes_back() {
    use std::fs;
    use tollway_store::sqlite::{Sqlite, SqliteRecords};
    let (folder, clock) = (tempfile::tempdir().unwrap(), Clock::new());
    let place = folder.path().join("state");
    fs::create_dir(&place).unwrap();
    let file = place.join("state.db");
    let open = || {
        let file = Arc::new(Sqlite::open(&file).unwrap());
        Documents::over(Arc::new(SqliteRecords::new(file)), false, clock.wall())
    };
    let one = open();
    let keys = told(&one, "key");
    assert_eq!(next(&keys), pairs(&[]));
    one.put("key", Record::new("a", "1")).await.unwrap();
    one.put("key", Record::new("b", "2").expiring(NOW + 9)).await.unwrap();
    let look = || one.0.look(&mut one.0.known(), Look::Changes);
    let aside = folder.path().join("aside");
    fs::rename(&place, &aside).unwrap();
    fs::create_dir(&place).unwrap();
    look();
    let anew = open().list("key").await.unwrap();
    assert_eq!(anew, [Record::new("a", "1"), Record::new("b", "2").expiring(NOW + 9)]);
    assert_eq!(losses(&one), [1, 0]);
    // The old file comes back, as it was before a key was revoked.
    assert!(one.remove("key", "a").await.unwrap());
    fs::remove_dir_all(&place).unwrap();
    fs::rename(&aside, &place).unwrap();
    look();
    assert_eq!(open().list("key").await.unwrap().len(), 1);
    assert_eq!(losses(&one), [2, 0]);
    // An operator is the first who finds it gone.
    fs::remove_file(&file).unwrap();
    assert!(one.remove("key", "b").await.unwrap());
    fs::remove_dir_all(&place).unwrap();
    one.put("key", Record::new("c", "3")).await.unwrap_err();
    assert!(one.trouble().is_some());
    fs::create_dir(&place).unwrap();
    one.put("key", Record::new("c", "3")).await.unwrap();
    assert_eq!(one.trouble(), None);
    assert_eq!(open().list("key").await.unwrap(), [Record::new("c", "3")]);
    let last = std::iter::from_fn(|| keys.try_recv().ok()).last();
    assert_eq!(last, Some(pairs(&[("c", "3")])));
}

#[cfg(feature = "redis")]
mod shared {
    use tollway_store::redis::{Redis, RedisConfig, RedisRecords};
    use tollway_testkit::RedisServer;

    use super::*;

    fn at(server: &RedisServer, clock: &Clock) -> Documents {
        let redis = Redis::open(RedisConfig::parse(&server.url()).unwrap()).unwrap();
        while redis.away().is_some() {
            thread::yield_now();
        }
        Documents::over(Arc::new(RedisRecords::new(redis)), true, clock.wall())
    }

    #[tokio::test]
    async fn followers_are_told_of_a_redis() {
        let (server, clock) = (RedisServer::start(), Clock::new());
        told_of_what_changes(at(&server, &clock), &clock).await;
    }

    #[tokio::test]
    async fn anothers_change_is_seen_and_the_last_list_outlives_the_store() {
        let (mut server, clock) = (RedisServer::start(), Clock::new());
        let (one, two) = (at(&server, &clock), at(&server, &clock));
        let seen = told(&one, "key");
        assert_eq!(next(&seen), pairs(&[]));
        two.put("key", Record::new("a", "1")).await.unwrap();
        two.put("key", Record::new("b", "1").expiring(NOW + 9)).await.unwrap();
        while next(&seen).len() < 2 {}
        server.kill();
        assert!(one.list("key").await.is_err());
        one.0.look(&mut one.0.known(), Look::Changes);
        assert!(seen.try_recv().is_err(), "away: as it was");
        clock.0.store(NOW + 9, Ordering::SeqCst);
        assert_eq!(next(&seen), pairs(&[("a", "1")]), "it expires all the same");
        server.restart();
        while two.list("key").await.map_or(true, |all| all.is_empty()) {}
        two.put("key", Record::new("c", "1")).await.unwrap();
        assert_eq!(next(&seen), pairs(&[("a", "1"), ("c", "1")]), "back, and not empty");
    }

    fn block<T>(act: impl Future<Output = T>) -> T {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(act)
    }

    /// No thread looks while its documents are held.
    #[test]
    fn of_several_the_one_that_knows_of_a_removal_has_the_last_word() {
        let (server, clock) = (RedisServer::start(), Clock::new());
        let (one, two) = (at(&server, &clock), at(&server, &clock));
        let (of_one, of_two) = (told(&one, "key"), told(&two, "key"));
        block(one.put("key", Record::new("a", "1"))).unwrap();
        block(one.put("key", Record::new("b", "1"))).unwrap();
        while next(&of_two).len() < 2 {}
        let mut second = two.0.known();
        assert!(block(one.remove("key", "b")).unwrap());
        let mut first = one.0.known();
        server.flush();
        two.0.look(&mut second, Look::Changes);
        assert!(server.command("HKEYS {tollway:records}:key").contains('b'), "as it knew");
        one.0.look(&mut first, Look::Changes);
        two.0.look(&mut second, Look::Changes);
        let listed = server.command("HKEYS {tollway:records}:key");
        assert_eq!(listed.lines().last(), Some("a"), "{listed}");
        assert!(!listed.contains('b'), "a revoked key stays so: {listed}");
        assert_eq!(next(&of_two), pairs(&[("a", "1")]));
        assert_eq!((losses(&one), losses(&two)), ([1, 0], [1, 0]));
        // Both know the same: one of them writes.
        server.flush();
        two.0.look(&mut second, Look::Changes);
        one.0.look(&mut first, Look::Changes);
        assert_eq!((losses(&one), losses(&two)), ([1, 0], [2, 0]));
        let last = std::iter::from_fn(|| of_one.try_recv().ok()).last();
        assert_eq!(last, Some(pairs(&[("a", "1")])));
    }

    fn last(told: &Told) -> Option<Vec<(String, Vec<u8>)>> {
        std::iter::from_fn(|| told.try_recv().ok()).last()
    }

    /// What Redis has is set aside, and comes back later.
    const ASIDE: [&str; 2] = ["{tollway:records}", "{tollway:records}:key"];

    #[test]
    fn what_was_revoked_stays_so_when_the_store_went_back_and_on_from_there() {
        for makes in [&["c"][..], &["c", "d"]] {
            let (server, clock) = (RedisServer::start(), Clock::new());
            let (one, two) = (at(&server, &clock), at(&server, &clock));
            let (of_one, of_two) = (told(&one, "key"), told(&two, "key"));
            block(one.put("key", Record::new("a", "1"))).unwrap();
            block(one.put("key", Record::new("b", "1"))).unwrap();
            while next(&of_two).len() < 2 {}
            for place in ASIDE {
                server.command(&format!("COPY {place} {place}:aside"));
            }
            let second = two.0.known();
            assert!(block(one.remove("key", "b")).unwrap());
            let mut first = one.0.known();
            for place in ASIDE {
                server.command(&format!("RENAME {place}:aside {place}"));
            }
            server.command("DEL {tollway:records}:gone:key");
            drop(second);
            for name in makes {
                assert!(block(two.add("key", Record::new(*name, "1"))).unwrap());
            }
            assert!(last(&of_two).unwrap().iter().any(|(name, _)| name == "b"), "as it knew");
            one.0.look(&mut first, Look::Changes);
            two.0.look(&mut two.0.known(), Look::Changes);
            let names = std::iter::once("a").chain(makes.iter().copied());
            let all: Vec<_> = names.map(|name| (name, "1")).collect();
            assert_eq!(last(&of_one), Some(pairs(&all)));
            assert_eq!(last(&of_two), Some(pairs(&all)));
            assert_eq!(block(at(&server, &clock).list("key")).unwrap().len(), all.len());
            // A key of its name is another one.
            drop(first);
            assert!(block(two.add("key", Record::new("b", "2"))).unwrap());
            one.0.look(&mut one.0.known(), Look::Changes);
            assert!(last(&of_one).unwrap().contains(&("b".into(), b"2".to_vec())));
        }
    }

    #[test]
    fn a_fresh_instance_that_begins_anew_is_told_what_was_lost() {
        let (server, clock) = (RedisServer::start(), Clock::new());
        let (one, fresh) = (at(&server, &clock), at(&server, &clock));
        let of_one = told(&one, "key");
        block(one.put("key", Record::new("a", "1"))).unwrap();
        block(one.put("key", Record::new("b", "1"))).unwrap();
        assert!(block(one.remove("key", "b")).unwrap());
        for place in ASIDE {
            server.command(&format!("COPY {place} aside:{place}"));
        }
        let mut first = one.0.known();
        server.command("DEL {tollway:records} {tollway:records}:key {tollway:records}:gone:key");
        clock.0.store(NOW + 2_000, Ordering::SeqCst);
        block(fresh.put("key", Record::new("c", "1"))).unwrap();
        let of_fresh = told(&fresh, "key");
        one.0.look(&mut first, Look::Changes);
        fresh.0.look(&mut fresh.0.known(), Look::Changes);
        let all = pairs(&[("a", "1"), ("c", "1")]);
        assert_eq!((last(&of_one), last(&of_fresh)), (Some(all.clone()), Some(all)));
        assert_eq!((losses(&one), losses(&fresh)), ([1, 0], [0, 0]));
        // It is the same store for one that saw both, also when it is long again what it was.
        clock.0.store(NOW + 60_000, Ordering::SeqCst);
        one.0.look(&mut first, Look::Changes);
        drop(first);
        assert!(block(one.remove("key", "a")).unwrap());
        let mut first = one.0.known();
        for place in ASIDE {
            server.command(&format!("RENAME aside:{place} {place}"));
        }
        one.0.look(&mut first, Look::Changes);
        assert_eq!(last(&of_one), Some(pairs(&[("c", "1")])), "and a stays revoked");
        assert_eq!(losses(&one)[1], 0);
    }

    #[test]
    fn what_was_lost_a_moment_ago_can_be_revoked() {
        let (server, clock) = (RedisServer::start(), Clock::new());
        let one = at(&server, &clock);
        let of_one = told(&one, "key");
        for name in ["a", "b"] {
            block(one.put("key", Record::new(name, "1"))).unwrap();
        }
        server.flush();
        assert_eq!(block(one.list("key")).unwrap().len(), 2, "what is listed is there");
        server.flush();
        assert!(block(one.remove("key", "a")).unwrap());
        assert_eq!(last(&of_one), Some(pairs(&[("b", "1")])));
        assert_eq!(block(one.list("key")).unwrap(), [Record::new("b", "1")]);
    }
}

#[cfg(all(unix, feature = "sqlite"))]
#[tokio::test]
async fn what_another_store_says_holds_and_it_gets_nothing() {
    use std::fs;
    use tollway_store::sqlite::{Sqlite, SqliteRecords};
    let (folder, clock) = (tempfile::tempdir().unwrap(), Clock::new());
    let [place, other, aside] = ["state", "other", "aside"].map(|name| folder.path().join(name));
    let open = |place: &std::path::Path| {
        let file = Arc::new(Sqlite::open(place.join("state.db")).unwrap());
        Documents::over(Arc::new(SqliteRecords::new(file)), false, clock.wall())
    };
    fs::create_dir(&place).unwrap();
    fs::create_dir(&other).unwrap();
    open(&other).put("key", Record::new("b", "1")).await.unwrap();
    let one = open(&place);
    let keys = told(&one, "key");
    one.put("key", Record::new("a", "1")).await.unwrap();
    clock.0.store(NOW + SKEW + 1, Ordering::SeqCst);
    one.0.look(&mut one.0.known(), Look::Changes);
    fs::rename(&place, &aside).unwrap();
    fs::rename(&other, &place).unwrap();
    one.0.look(&mut one.0.known(), Look::Changes);
    let last = std::iter::from_fn(|| keys.try_recv().ok()).last();
    assert_eq!(last, Some(pairs(&[("b", "1")])), "it is told, and let go");
    assert_eq!(open(&place).list("key").await.unwrap(), [Record::new("b", "1")]);
    assert_eq!(losses(&one), [0, 1]);
}

/// A program that opens and closes stacks has no thread for each that ever was.
#[tokio::test]
async fn the_thread_ends_with_the_documents() {
    let held = Arc::new(());
    let documents = Documents::default();
    let follows = held.clone();
    documents.follow("key", Arc::new(move |_| drop(follows.clone())));
    let inner = Arc::downgrade(&documents.0);
    drop(documents);
    while inner.upgrade().is_some() {
        thread::yield_now();
    }
    assert_eq!(Arc::strong_count(&held), 1);
}
