//! A delay line: packets that iptables puts into NFQUEUE queues go on after a fixed time, in order.
//!
//! It stands for netem, which not every kernel has.

use std::collections::VecDeque;
use std::io;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::Context;
use nfq::{Message, Queue, Verdict};

use crate::say;

/// Packets that a queue holds: 40 ms of small ones.
const LENGTH: u32 = 65_536;
/// How long it sleeps when nothing came: late by so much at most.
const NAP: Duration = Duration::from_micros(100);

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// How long each packet is held
    #[arg(long)]
    millis: u64,
    /// The queues; each has a thread
    queues: Vec<u16>,
}

// === impl Args ===

impl Args {
    pub(crate) fn run(self) -> anyhow::Result<()> {
        let delay = Duration::from_millis(self.millis);
        let mut lines = Vec::new();
        for number in self.queues {
            let mut queue = Queue::open().context("NFQUEUE")?;
            queue.bind(number)?;
            queue.set_queue_max_len(number, LENGTH)?;
            // Only that there is a packet is of interest.
            queue.set_copy_range(number, 0)?;
            queue.set_nonblocking(true);
            lines.push(thread::spawn(move || hold(&mut queue, delay)));
        }
        say("ready")?;
        for line in lines {
            line.join()
                .map_err(|_| anyhow::anyhow!("a delay line panicked"))??;
        }
        Ok(())
    }
}

fn hold(queue: &mut Queue, delay: Duration) -> io::Result<()> {
    let mut held: VecDeque<(Instant, Message)> = VecDeque::new();
    loop {
        let mut idle = true;
        loop {
            match queue.recv() {
                Ok(message) => held.push_back((Instant::now() + delay, message)),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                // The kernel had more to say than the socket holds.
                Err(error) if error.raw_os_error() == Some(105) => break,
                Err(error) => return Err(error),
            }
            idle = false;
        }
        let now = Instant::now();
        while let Some((_, mut message)) = held.pop_front_if(|(due, _)| *due <= now) {
            message.set_verdict(Verdict::Accept);
            queue.verdict(message)?;
            idle = false;
        }
        if idle {
            thread::sleep(NAP);
        }
    }
}
