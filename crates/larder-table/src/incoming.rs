//! Incoming: what the owner of a table sends, as it comes.
//!
//! Apart from `replica`, which makes a table of it: who is to follow a table that he does not know
//! yet has to hear what it is first. **Invariant**: no message is given before all of it was
//! checked, and none after something that was wrong.

use larder_core::Error;

use crate::{
    frames::{FrameReader, corrupt},
    message::{Hello, Message},
};

/// Bytes from the owner of a table, in whatever pieces they come.
#[derive(Debug, Default)]
pub struct Incoming {
    frames: FrameReader,
    hello: Option<Hello>,
    bytes: u64,
}

impl Incoming {
    /// Nothing has come yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// More has come.
    pub fn take(&mut self, bytes: &[u8]) {
        self.bytes += bytes.len() as u64;
        self.frames.take(bytes);
    }

    /// Who speaks; `None` until enough has come.
    ///
    /// # Errors
    /// `Unsupported` when the owner speaks another version, `Corrupt` when it is not one.
    pub fn hello(&mut self) -> Result<Option<&Hello>, Error> {
        if self.hello.is_none()
            && let Some(frame) = self.frames.next()?
        {
            let Message::Hello(hello) = Message::read(frame)? else {
                return Err(corrupt("it does not begin with what it is of"));
            };
            self.hello = Some(hello);
        }
        Ok(self.hello.as_ref())
    }

    /// The next message behind the first, if it is there.
    pub(crate) fn next(&mut self) -> Result<Option<Message>, Error> {
        if self.hello()?.is_none() {
            return Ok(None);
        }
        self.frames.next()?.map(Message::read).transpose()
    }

    /// Bytes that have come since this was asked last.
    pub(crate) fn came(&mut self) -> u64 {
        std::mem::take(&mut self.bytes)
    }
}
