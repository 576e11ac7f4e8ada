//! What an interceptor has seen, and what it is to do.

use std::time::Duration;

/// A request, as it arrived.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// `GET`, `PATCH`, ….
    pub method: String,
    /// With the query.
    pub path: String,
}

/// What becomes of a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Effect {
    /// The server never sees it; the client gets this status code.
    Answer(u16),
    /// The server never sees it; the client is told that it succeeded, with this JSON.
    Pretend(String),
    /// The server obeys, the client loses its connection instead of getting the answer.
    LoseReply,
    /// The server sees it this much later.
    Delay(Duration),
}

/// Requests that are to be disturbed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// `PATCH`, …; every method if empty.
    pub method: String,
    /// What is in the path or query; every path if empty.
    pub path: String,
    /// What becomes of them.
    pub effect: Effect,
    /// How many of them.
    pub times: usize,
}

#[derive(Debug, Default)]
pub(super) struct Rules {
    pub(super) faults: Vec<Fault>,
    pub(super) seen: Vec<Request>,
}

impl Fault {
    /// The next `times` requests of `method` with `path` in their path get `status`.
    pub fn answer(method: &str, path: &str, status: u16, times: usize) -> Self {
        Self::new(method, path, Effect::Answer(status), times)
    }

    /// The next request of `method` with `path` in its path is answered with `body`.
    pub fn pretend(method: &str, path: &str, body: impl ToString) -> Self {
        Self::new(method, path, Effect::Pretend(body.to_string()), 1)
    }

    /// The replies to the next `times` requests of `method` with `path` in their path are lost.
    pub fn lose_reply(method: &str, path: &str, times: usize) -> Self {
        Self::new(method, path, Effect::LoseReply, times)
    }

    /// The next `times` requests of `method` with `path` in their path arrive late.
    pub fn delay(method: &str, path: &str, delay: Duration, times: usize) -> Self {
        Self::new(method, path, Effect::Delay(delay), times)
    }

    fn new(method: &str, path: &str, effect: Effect, times: usize) -> Self {
        Self {
            method: method.to_owned(),
            path: path.to_owned(),
            effect,
            times,
        }
    }

    fn fits(&self, request: &Request) -> bool {
        self.times > 0
            && (self.method.is_empty() || self.method == request.method)
            && request.path.contains(&self.path)
    }
}

impl Request {
    /// Whether it was made to change something.
    pub fn writes(&self) -> bool {
        matches!(self.method.as_str(), "POST" | "PUT" | "PATCH" | "DELETE")
    }
}

impl Rules {
    /// Takes note of a request; what is to become of it.
    pub(super) fn arrived(&mut self, request: Request) -> Option<Effect> {
        let fault = self.faults.iter_mut().find(|fault| fault.fits(&request));
        let effect = fault.map(|fault| {
            fault.times -= 1;
            fault.effect.clone()
        });
        self.seen.push(request);
        effect
    }
}
