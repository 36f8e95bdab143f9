//! Answers that wait for the others of their batch, and are sent with one system call.

use std::io;
use std::net::UdpSocket;

use tombolo_dns_datagrams::{self as datagrams, Datagram};

use super::Verdict;
use super::socket::Path;

/// Answers that have not been sent.
#[derive(Debug, Default)]
pub(super) struct Outbox {
    /// Of which the first are filled. The others keep their memory for the next batch.
    answers: Vec<Answer>,
    filled: usize,
}

/// A response, and between whom it goes.
#[derive(Debug)]
pub(super) struct Answer {
    response: Vec<u8>,
    pub(super) path: Path,
}

// === impl Outbox ===

impl Outbox {
    /// Has `fill` write a response for the client of `path`, which is kept if that answers it.
    pub(super) fn put(
        &mut self,
        path: Path,
        fill: impl FnOnce(&mut Vec<u8>) -> Verdict,
    ) -> Verdict {
        if self.filled == self.answers.len() {
            let response = Vec::new();
            self.answers.push(Answer { response, path });
        }
        let answer = &mut self.answers[self.filled];
        let verdict = fill(&mut answer.response);
        if verdict == Verdict::Answered {
            answer.path = path;
            self.filled += 1;
        }
        verdict
    }

    /// Whether there are as many as one call sends.
    pub(super) fn is_full(&self) -> bool {
        self.filled >= datagrams::MAX
    }

    pub(super) fn answers(&self) -> &[Answer] {
        &self.answers[..self.filled]
    }

    pub(super) fn clear(&mut self) {
        self.filled = 0;
    }
}

/// Sends the first of `answers`, as many as there is room for; says how many.
///
/// # Errors
/// Of the first one, which was not sent then, nor any other.
pub(super) fn send(socket: &UdpSocket, answers: &[Answer]) -> io::Result<usize> {
    let answers = answers.iter().map(|answer| Datagram {
        contents: &answer.response,
        to: answer.path.client,
        from: answer.path.server,
    });
    datagrams::send(socket, answers)
}
