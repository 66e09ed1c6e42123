//! A repository over the network: resolves the tracked ref and fetches one object by id.
//!
//! [`Wire`] is what HTTP and SSH have in common; all that is Git's protocol is decided in [`super::protocol`]. Blocking:
//! callers run it on the blocking pool.

pub mod http;
pub mod ssh;

use std::io::Read;
use std::time::Instant;

use crate::track::limits::FetchLimits;
use crate::track::packguard::Guard;
use crate::track::pktline::LineError;
use crate::track::protocol::{self, Greeting, Oid, PackReader, Want, WireError};
use crate::track::refname::RefName;
use crate::track::trouble::Trouble;

pub use http::HttpWire;
pub use ssh::SshWire;

/// A way to `git-upload-pack`.
pub trait Wire: Send {
    /// Connects; the answer begins with the server's greeting.
    ///
    /// # Errors
    /// [`Trouble`]
    fn greet(&mut self, deadline: Instant) -> Result<Box<dyn Read + '_>, Trouble>;

    /// Sends a request and returns the answer.
    ///
    /// # Errors
    /// [`Trouble`]
    fn ask(&mut self, request: Vec<u8>, deadline: Instant) -> Result<Box<dyn Read + '_>, Trouble>;

    /// Whether each request is a connection of its own, so that a known server needs no greeting.
    fn stateless(&self) -> bool;

    /// Ends the connection, if one is open.
    fn close(&mut self);

    /// Turns a failure of a stream that this wire handed out into what it means, once the wire knows more (an exit
    /// code, a certificate).
    fn explain(&mut self, error: std::io::Error) -> Trouble;

    /// For messages.
    fn host(&self) -> &str;
}

/// Where a pack goes.
pub trait PackSink {
    /// The next bytes.
    ///
    /// # Errors
    /// [`Trouble`]
    fn take(&mut self, bytes: &[u8]) -> Result<(), Trouble>;
}

/// A remote and what is known of it.
pub struct Remote {
    wire: Box<dyn Wire>,
    speaks: Speaks,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Speaks {
    Unknown,
    V2,
    V0 { shallow: bool },
}

impl Remote {
    /// Nothing is connected yet.
    #[must_use]
    pub fn new(wire: Box<dyn Wire>) -> Self {
        Self {
            wire,
            speaks: Speaks::Unknown,
        }
    }

    /// For messages.
    #[must_use]
    pub fn host(&self) -> &str {
        self.wire.host()
    }

    /// The object that the ref names now; `None` if there is no such ref.
    ///
    /// # Errors
    /// [`Trouble`]
    pub fn resolve(
        &mut self,
        name: &RefName,
        limits: &FetchLimits,
    ) -> Result<Option<Oid>, Trouble> {
        let deadline = Instant::now() + limits.time;
        if self.speaks == Speaks::V2 && self.wire.stateless() {
            if let Ok(tip) = self.resolve_v2(name, limits, deadline) {
                return Ok(tip);
            }
            self.speaks = Speaks::Unknown;
        }
        self.wire.close();
        let greeting = {
            let mut answer = self.wire.greet(deadline)?;
            protocol::greeting(&mut answer, name, limits.refs)
        };
        match greeting.map_err(|error| self.explain(error, limits))? {
            Greeting::V2 => {
                self.speaks = Speaks::V2;
                self.resolve_v2(name, limits, deadline)
            }
            Greeting::V0 { tip, shallow } => {
                self.speaks = Speaks::V0 { shallow };
                Ok(tip)
            }
        }
    }

    fn resolve_v2(
        &mut self,
        name: &RefName,
        limits: &FetchLimits,
        deadline: Instant,
    ) -> Result<Option<Oid>, Trouble> {
        let answer = {
            let mut answer = self.wire.ask(protocol::ask_ref(name), deadline)?;
            protocol::ref_answer(&mut answer, name, limits.refs)
        };
        answer.map_err(|error| self.explain(error, limits))
    }

    /// Fetches what `want` asks for, right after [`Self::resolve`]; returns whether it is shallow.
    ///
    /// # Errors
    /// [`Trouble`]; what `sink` got until then is worthless.
    pub fn fetch(
        &mut self,
        mut want: Want,
        limits: &FetchLimits,
        sink: &mut dyn PackSink,
    ) -> Result<bool, Trouble> {
        let deadline = Instant::now() + limits.time;
        let v2 = match self.speaks {
            Speaks::V2 => true,
            Speaks::V0 { shallow } => {
                want.depth_one &= shallow;
                false
            }
            Speaks::Unknown => return Err(broken(self.host(), "a fetch before a greeting")),
        };
        let request = if v2 {
            protocol::ask_pack_v2(&want)
        } else {
            protocol::ask_pack_v0(&want)
        };
        let result = {
            let mut answer = self.wire.ask(request, deadline)?;
            receive(&mut answer, v2, want.depth_one, limits, deadline, sink)
        };
        let outcome = match result {
            Ok(()) => Ok(want.depth_one),
            Err(Stopped::Trouble(trouble)) => Err(trouble),
            Err(Stopped::Wire(error)) => Err(self.explain(error, limits)),
        };
        self.wire.close();
        outcome
    }

    /// Ends a connection that is not needed further.
    pub fn close(&mut self) {
        self.wire.close();
    }

    fn explain(&mut self, error: WireError, limits: &FetchLimits) -> Trouble {
        match error {
            WireError::Line(LineError::Io(error)) => self.wire.explain(error),
            WireError::TooManyRefs => Trouble::FetchLimit {
                what: "refs",
                limit: limits.refs.to_string(),
            },
            WireError::Line(LineError::Length) => {
                broken(self.host(), "a line with a broken length")
            }
            WireError::Protocol(what) => broken(self.host(), what),
            WireError::Remote => broken(self.host(), "it reported an error"),
        }
    }
}

enum Stopped {
    Wire(WireError),
    Trouble(Trouble),
}

impl From<WireError> for Stopped {
    fn from(error: WireError) -> Self {
        Self::Wire(error)
    }
}

impl From<Trouble> for Stopped {
    fn from(trouble: Trouble) -> Self {
        Self::Trouble(trouble)
    }
}

fn receive(
    mut answer: &mut dyn Read,
    v2: bool,
    depth_one: bool,
    limits: &FetchLimits,
    deadline: Instant,
    sink: &mut dyn PackSink,
) -> Result<(), Stopped> {
    let first = if v2 {
        protocol::before_pack_v2(&mut answer)?;
        None
    } else {
        Some(protocol::before_pack_v0(&mut answer, depth_one)?)
    };
    let mut reader = PackReader::new(answer, first)?;
    let mut guard = Guard::new(*limits);
    loop {
        let chunk = reader.chunk()?;
        if chunk.is_empty() {
            break;
        }
        guard.push(chunk)?;
        sink.take(chunk)?;
        if Instant::now() > deadline {
            return Err(Trouble::FetchLimit {
                what: "seconds of one fetch",
                limit: limits.time.as_secs().to_string(),
            }
            .into());
        }
    }
    guard.finish()?;
    Ok(())
}

fn broken(host: &str, reason: &str) -> Trouble {
    Trouble::ProtocolBroken {
        host: host.to_owned(),
        reason: reason.to_owned(),
    }
}
