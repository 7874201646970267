//! Group commit: callers put their requests into a queue, and one of them commits all waiting
//! requests.

use std::hint;

use super::writer::Work;
use super::{Shared, lock};
use crate::error::Error;
use crate::key::MemoryId;
use crate::log::Durability;
use crate::sync::{Mutex, Receiver, RecvError, SyncSender, sync_channel};

/// Polls of the next caller in line before it sleeps. They take about as long as a commit; a
/// wake-up takes longer.
const LOOKS: usize = if cfg!(shuttle) { 0 } else { 1_000 };

/// A caller's request to the writer.
pub(super) struct Request {
    pub work: Work,
    pub durability: Durability,
    reply: SyncSender<Reply>,
}

/// The reply to the caller of a request.
enum Reply {
    /// The request is done, or was refused.
    Done(Result<Vec<MemoryId>, Error>),
    /// This caller has to commit all waiting requests.
    Lead,
}

impl Request {
    pub(super) fn answer(self, answer: Result<Vec<MemoryId>, Error>) {
        // The caller may have ended; the request is done regardless.
        let _ = self.reply.send(Reply::Done(answer));
    }
}

/// Requests that wait for the next commit.
#[derive(Default)]
pub(super) struct Queue {
    pub waiting: Vec<Request>,
    /// Whether one of the callers is committing. The others wait for their answers and not for a
    /// lock, so an answered caller continues at once, and can join the next commit.
    led: bool,
}

impl Shared {
    /// Hands `work` to the writer and waits until it is done.
    pub(super) fn submit(&self, work: Work, durability: Durability) -> Result<Vec<MemoryId>, Error> {
        self.location.check_writable()?;
        // Room for both replies, so that no sender waits.
        let (reply, replies) = sync_channel(2);
        let mut queue = lock(&self.queue);
        queue.waiting.push(Request { work, durability, reply });
        let leads = !std::mem::replace(&mut queue.led, true);
        let looks = if queue.waiting.len() == 1 { LOOKS } else { 0 };
        drop(queue);
        if leads {
            self.lead();
        }
        loop {
            match receive(&replies, looks) {
                Ok(Reply::Done(answer)) => return answer,
                Ok(Reply::Lead) => self.lead(),
                Err(_) => return Err(self.ended()),
            }
        }
    }

    /// Commits the waiting requests, and passes the lead on.
    fn lead(&self) {
        let passed_on = Lead { queue: &self.queue };
        let mut writer = self.lock_writer();
        // Taken after the lock, so that it includes requests that arrived while the lock was held.
        let requests = std::mem::take(&mut lock(&self.queue).waiting);
        self.commit_group(&mut writer, requests);
        let behind = writer.behind.take();
        drop(writer);
        drop(passed_on);
        if let Some(behind) = behind {
            self.catch_up(behind);
        }
    }

    fn ended(&self) -> Error {
        Error::Log {
            path: self.location.name.clone(),
            action: "commit",
            message: "the writer has ended".into(),
        }
    }
}

/// Polls `looks` times, and then sleeps until there is a reply.
fn receive(replies: &Receiver<Reply>, looks: usize) -> Result<Reply, RecvError> {
    for _ in 0..looks {
        if let Ok(reply) = replies.try_recv() {
            return Ok(reply);
        }
        hint::spin_loop();
    }
    replies.recv()
}

/// Held by the caller that commits. Dropping it passes the lead on, also after a panic.
struct Lead<'q> {
    queue: &'q Mutex<Queue>,
}

impl Drop for Lead<'_> {
    fn drop(&mut self) {
        let mut queue = lock(self.queue);
        let waits = |request: &Request| request.reply.send(Reply::Lead).is_ok();
        queue.led = queue.waiting.iter().any(waits);
    }
}
