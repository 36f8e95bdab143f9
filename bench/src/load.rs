//! The loads.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use futures::future::join_all;
use futures::{StreamExt, stream};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::sleep;

use crate::client::Measured;
use crate::server::{BUFFER, ECHO, SINK, SOURCE};

/// What a question and its answer have, in bytes.
pub(crate) const QUESTION: usize = 128;
/// Idle connections that are opened at a time.
const OPENING: usize = 64;
/// After this, a connection counts as failed.
const PATIENCE: Duration = Duration::from_secs(10);

/// How long a load is on.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Time {
    pub(crate) warm_up: Duration,
    pub(crate) measured: Duration,
}

pub(crate) async fn bulk(
    target: SocketAddr,
    time: Time,
    (streams, down): (usize, bool),
    rival: Option<SocketAddr>,
) -> anyhow::Result<Measured> {
    let counters = start_bulk(target, streams, down).await?;
    let rival = match rival {
        Some(rival) => start_bulk(rival, 1, false).await?,
        None => Vec::new(),
    };
    let read = |counters: &[Arc<AtomicU64>]| -> Vec<u64> {
        let counters = counters.iter();
        counters.map(|c| c.load(Ordering::Relaxed)).collect()
    };
    sleep(time.warm_up).await;
    let (before, rival_before) = (read(&counters), read(&rival));
    let began = Instant::now();
    sleep(time.measured).await;
    let (after, rival_after) = (read(&counters), read(&rival));
    let seconds = began.elapsed().as_secs_f64();
    let streams = after
        .iter()
        .zip(&before)
        .map(|(after, before)| after - before);
    Ok(Measured {
        streams: streams.collect(),
        all_bytes: after.iter().sum(),
        rival: rival_after.iter().sum::<u64>() - rival_before.iter().sum::<u64>(),
        seconds,
        ..Measured::default()
    })
}

pub(crate) async fn ask(target: SocketAddr, time: Time, beside: usize) -> anyhow::Result<Measured> {
    start_bulk(target, beside, false).await?;
    let mut stream = open(target, ECHO).await?;
    let mut answers = Vec::new();
    let mut buffer = [0; QUESTION];
    let began = Instant::now();
    loop {
        let asked = Instant::now();
        stream.write_all(&buffer).await?;
        stream.read_exact(&mut buffer).await?;
        let answered = Instant::now();
        if answered - began > time.warm_up + time.measured {
            break;
        }
        if asked - began >= time.warm_up {
            let micros = (answered - asked).as_micros();
            answers.push(u32::try_from(micros).unwrap_or(u32::MAX));
        }
    }
    answers.sort_unstable();
    Ok(Measured {
        answers,
        seconds: time.measured.as_secs_f64(),
        ..Measured::default()
    })
}

pub(crate) async fn connect(target: SocketAddr, time: Time, parallel: usize) -> Measured {
    let began = Instant::now();
    let end = began + time.warm_up + time.measured;
    let workers = (0..parallel).map(|_| async move {
        let (mut connections, mut failed) = (0, 0);
        while Instant::now() < end {
            let well = tokio::time::timeout(PATIENCE, open_and_hear(target)).await;
            if began.elapsed() < time.warm_up {
                continue;
            }
            match well {
                Ok(Ok(_)) => connections += 1,
                Ok(Err(_)) | Err(_) => failed += 1,
            }
        }
        (connections, failed)
    });
    let done = join_all(workers.map(tokio::spawn)).await;
    let mut measured = Measured {
        seconds: time.measured.as_secs_f64(),
        ..Measured::default()
    };
    for (connections, failed) in done.into_iter().flatten() {
        measured.connections += connections;
        measured.failed += failed;
    }
    measured
}

pub(crate) async fn idle(target: SocketAddr, connections: usize) -> (Measured, Vec<TcpStream>) {
    // Those beyond what a carrier may hold get no answer.
    let opening = (0..connections).map(|_| tokio::time::timeout(PATIENCE, open_and_hear(target)));
    let opened: Vec<_> = stream::iter(opening)
        .buffer_unordered(OPENING)
        .collect()
        .await;
    let held: Vec<TcpStream> = opened.into_iter().flatten().flatten().collect();
    let measured = Measured {
        connections: held.len() as u64,
        failed: (connections - held.len()) as u64,
        ..Measured::default()
    };
    (measured, held)
}

async fn open(target: SocketAddr, what: u8) -> std::io::Result<TcpStream> {
    let mut stream = TcpStream::connect(target).await?;
    stream.set_nodelay(true)?;
    stream.write_u8(what).await?;
    Ok(stream)
}

/// Opens a connection, says a byte, and hears it.
pub(crate) async fn open_and_hear(target: SocketAddr) -> std::io::Result<TcpStream> {
    let mut stream = open(target, ECHO).await?;
    stream.write_u8(0).await?;
    stream.read_u8().await?;
    Ok(stream)
}

/// Bulk streams that run until the process ends; what arrived at the far end of each.
async fn start_bulk(
    target: SocketAddr,
    streams: usize,
    down: bool,
) -> std::io::Result<Vec<Arc<AtomicU64>>> {
    let mut counters = Vec::new();
    for _ in 0..streams {
        let counter = Arc::new(AtomicU64::new(0));
        counters.push(Arc::clone(&counter));
        if down {
            let stream = open(target, SOURCE).await?;
            tokio::spawn(take(stream, counter));
        } else {
            let stream = open(target, SINK).await?;
            tokio::spawn(give(stream, counter));
        }
    }
    Ok(counters)
}

async fn take(mut stream: TcpStream, counter: Arc<AtomicU64>) -> std::io::Result<()> {
    let mut buffer = vec![0; BUFFER];
    loop {
        let read = stream.read(&mut buffer).await?;
        if read == 0 {
            return Ok(());
        }
        counter.fetch_add(read as u64, Ordering::Relaxed);
    }
}

/// What was written may still be under way: the server says what came.
async fn give(stream: TcpStream, counter: Arc<AtomicU64>) -> std::io::Result<()> {
    let (mut read, mut write) = stream.into_split();
    tokio::spawn(async move {
        while let Ok(total) = read.read_u64().await {
            counter.store(total, Ordering::Relaxed);
        }
    });
    let zeros = vec![0; BUFFER];
    loop {
        write.write_all(&zeros).await?;
    }
}
