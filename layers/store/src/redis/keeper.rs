//! The thread that has the sockets: connects, pings, and connects anew when something is amiss.

use std::{sync::Arc, thread, time::Duration};

use tokio::{
    runtime::Builder,
    sync::{mpsc, oneshot},
    time::{sleep, timeout},
};

use super::{Link, Shared, Thread, in_words};
use crate::StoreError;

/// Between two attempts to connect: the first, and the longest.
const PAUSE: Duration = Duration::from_millis(50);
const LONGEST: Duration = Duration::from_secs(1);
/// A connection with all its greetings, TLS and the way over sentinels.
const CONNECT: Duration = Duration::from_secs(3);
/// What was begun has this long to end when nobody holds the store any more.
const LEAVE: Duration = Duration::from_secs(1);

pub(super) fn start(shared: Arc<Shared>) -> Result<Thread, StoreError> {
    let no_thread = |error| StoreError::wrong("no thread for Redis").because(error);
    let runtime = Builder::new_current_thread().enable_all().build().map_err(no_thread)?;
    let handle = runtime.handle().clone();
    let (open, closed) = oneshot::channel();
    let (task, mut tasks) = mpsc::channel(1);
    let run = move || {
        runtime.block_on(async {
            tokio::spawn(async move { keep(&shared).await });
            // Dropped with the last `Redis`.
            let _ = closed.await;
            let _ = timeout(LEAVE, tasks.recv()).await;
        });
    };
    thread::Builder::new().name("tollway-redis".to_owned()).spawn(run).map_err(no_thread)?;
    Ok(Thread { runtime: handle, task, _open: open })
}

async fn keep(shared: &Shared) {
    let mut pause = PAUSE;
    loop {
        match find(shared).await {
            Ok(link) => {
                shared.found(link);
                pause = PAUSE;
                shared.ill.notified().await;
            }
            Err(error) => {
                shared.missing(error);
                sleep(pause).await;
                pause = (pause * 2).min(LONGEST);
            }
        }
    }
}

/// A connection over which a ping came back in the time that others will wait for an answer.
async fn find(shared: &Shared) -> Result<Link, String> {
    let connect = timeout(CONNECT, shared.config.connect()).await;
    // A server that speaks plainly waits for the rest of what it takes for a command.
    let late = match shared.config.is_tls() {
        true => "no connection in time; rediss speaks TLS: is it a port that doesn't?",
        false => "can't connect in time",
    };
    let connect = connect.map_err(|_| late)?.map_err(|error| match error.is_timeout() {
        true => late.to_owned(),
        false => in_words(&error),
    });
    let mut link = connect?;
    let ping = ::redis::cmd("PING");
    let limit = shared.config.timeout.max(Duration::from_millis(1));
    match timeout(limit, ping.query_async::<()>(&mut link)).await {
        Ok(Ok(())) => Ok(link),
        Ok(Err(error)) => Err(in_words(&error)),
        Err(_) => Err(format!("no answer to a ping within {limit:?}")),
    }
}
