use std::{
    convert::Infallible,
    future::pending,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use tokio::time::Instant;

use super::*;

const GRACE: Duration = Duration::from_secs(10);

#[tokio::test(start_paused = true)]
async fn a_drain_waits_for_work_and_no_longer() {
    let tasks = Tasks::new(Handle::current());
    let drain = tasks.drain().clone();
    let finished = Flag::default();
    let finish = finished.clone();
    tasks.spawn("connection", async move {
        drain.cancelled().await;
        time::sleep(Duration::from_secs(3)).await;
        finish.set();
    });
    let start = Instant::now();

    tasks.shutdown(GRACE).await;

    assert!(finished.is_set());
    assert_eq!(start.elapsed(), Duration::from_secs(3));
}

#[tokio::test(start_paused = true)]
async fn work_that_does_not_end_is_dropped_after_the_grace_period() {
    let tasks = Tasks::new(Handle::current());
    let dropped = Flag::default();
    let guard = SetOnDrop(dropped.clone());
    tasks.spawn("stuck", async move {
        let _guard = guard;
        pending().await
    });
    let start = Instant::now();

    tasks.shutdown(GRACE).await;

    assert!(dropped.is_set());
    assert_eq!(start.elapsed(), GRACE);
}

#[tokio::test(start_paused = true)]
async fn a_service_outlives_the_work_and_is_not_waited_for() {
    let tasks = Tasks::new(Handle::current());
    let dropped = Flag::default();
    let guard = SetOnDrop(dropped.clone());
    tasks.spawn_service("watch", async move {
        let _guard = guard;
        pending().await
    });
    let served = Flag::default();
    let (during, serve) = (dropped.clone(), served.clone());
    tasks.spawn("connection", async move {
        time::sleep(Duration::from_secs(3)).await;
        if !during.is_set() {
            serve.set();
        }
    });
    let start = Instant::now();

    tasks.shutdown(GRACE).await;

    assert!(served.is_set() && dropped.is_set());
    assert_eq!(start.elapsed(), Duration::from_secs(3));
}

#[tokio::test(start_paused = true)]
async fn a_critical_task_that_ends_is_a_failure_however_it_ends() {
    for (end, how) in [
        (End::Quietly, "ended"),
        (End::Failing, "failed: no more ports"),
        (End::Panicking, "panicked"),
    ] {
        let tasks = Tasks::new(Handle::current());
        tasks.spawn_critical("link", end.run());

        let failed = tasks.failed().await;

        assert_eq!(
            failed,
            TaskFailed {
                name: "link".to_owned(),
                how: how.to_owned()
            }
        );
    }
}

#[tokio::test(start_paused = true)]
async fn the_first_failure_is_the_one_reported() {
    let tasks = Tasks::new(Handle::current());
    tasks.spawn_critical("second", async {
        time::sleep(Duration::from_secs(2)).await;
        Ok::<(), Infallible>(())
    });
    tasks.spawn_critical_service("first", async {
        time::sleep(Duration::from_secs(1)).await;
        Ok::<(), Infallible>(())
    });
    time::sleep(Duration::from_secs(3)).await;

    assert_eq!(tasks.failed().await.name, "first");
}

#[tokio::test(start_paused = true)]
async fn a_critical_task_that_ends_in_a_drain_or_is_killed_is_no_failure() {
    let tasks = Tasks::new(Handle::current());
    let drain = tasks.drain().clone();
    tasks.spawn_critical("drains", async move {
        drain.cancelled().await;
        Ok::<(), Infallible>(())
    });
    tasks.spawn_critical("killed", pending::<Result<(), Infallible>>());

    tasks.shutdown(GRACE).await;

    let failed = time::timeout(Duration::from_secs(60), tasks.failed()).await;
    assert!(failed.is_err(), "{failed:?}");
}

#[test]
fn tasks_of_two_runtimes_end_together() {
    let control = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let data = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .build()
        .unwrap();
    let tasks = Tasks::new(control.handle().clone());
    let finished = Flag::default();
    let (drain, finish) = (tasks.drain().clone(), finished.clone());
    let data_id = data.handle().id();
    tasks
        .on(data.handle().clone())
        .spawn("connection", async move {
            drain.cancelled().await;
            if Handle::current().id() == data_id {
                finish.set();
            }
        });

    control.block_on(tasks.shutdown(Duration::from_secs(60)));

    assert!(finished.is_set());
}

#[tokio::test(start_paused = true)]
async fn what_is_spawned_after_the_end_does_not_run() {
    let tasks = Tasks::new(Handle::current());
    tasks.shutdown(GRACE).await;
    let late = tasks.spawn("late", pending());

    late.await.unwrap();
}

#[derive(Clone, Default)]
struct Flag(Arc<AtomicBool>);

impl Flag {
    fn set(&self) {
        self.0.store(true, Ordering::SeqCst);
    }

    fn is_set(&self) -> bool {
        self.0.load(Ordering::SeqCst)
    }
}

struct SetOnDrop(Flag);

impl Drop for SetOnDrop {
    fn drop(&mut self) {
        self.0.set();
    }
}

enum End {
    Quietly,
    Failing,
    Panicking,
}

impl End {
    async fn run(self) -> Result<(), String> {
        time::sleep(Duration::from_secs(1)).await;
        match self {
            Self::Quietly => Ok(()),
            Self::Failing => Err("no more ports".to_owned()),
            Self::Panicking => panic!("as this test wants"),
        }
    }
}
