//! A request's body on its way to the server: what was held back, then the rest as it comes, each piece searched
//! before it goes.

use avouch_policy::{RefusalCode, Watch};
use tokio::io::AsyncWriteExt;
use tokio::sync::SemaphorePermit;

use super::exchange::{INLINE_MAX, timed};
use super::h1::{BODY_IDLE, Body, BodyFault, Input, Output, write};

/// Which side ended an upload early.
pub(super) enum Upload {
    Client(RefusalCode),
    Server,
}

/// A request's body on its way.
pub(super) struct Pump<'a> {
    pub(super) body: &'a mut Body,
    pub(super) watch: Option<&'a mut Watch>,
    pub(super) out: &'a mut Vec<u8>,
    pub(super) chunked: bool,
}

impl Pump<'_> {
    /// Passes the body on until it ends: what was held back, then the rest as it comes.
    pub(super) async fn run(
        mut self,
        held: (Vec<u8>, Option<SemaphorePermit<'_>>),
        from: &mut Input,
        to: &mut Output,
    ) -> Result<(), Upload> {
        for piece in held.0.chunks(INLINE_MAX) {
            self.write(piece, to).await?;
        }
        drop(held);
        while let Some(piece) = self.body.next(from, BODY_IDLE).await.map_err(|fault| Upload::Client(told(&fault)))? {
            // Bytes after the message: whose they are is not certain, so the request is not completed.
            if self.body.is_done() && from.has_leftover() {
                return Err(Upload::Client(RefusalCode::BadRequest));
            }
            if self.watch.as_mut().is_some_and(|watch| watch.sees(&piece)) {
                return Err(Upload::Client(RefusalCode::PlaceholderMisplaced));
            }
            self.write(&piece, to).await?;
        }
        if from.has_leftover() {
            return Err(Upload::Client(RefusalCode::BadRequest));
        }
        if self.chunked {
            self.out.clear();
            write::last_chunk(self.out);
            self.flush(to).await?;
        }
        Ok(())
    }

    async fn write(&mut self, piece: &[u8], to: &mut Output) -> Result<(), Upload> {
        self.out.clear();
        match self.chunked {
            true => write::chunk(self.out, piece),
            false => self.out.extend_from_slice(piece),
        }
        self.flush(to).await
    }

    async fn flush(&mut self, to: &mut Output) -> Result<(), Upload> {
        timed(to.write_all(self.out)).await.map_err(|()| Upload::Server)?;
        timed(to.flush()).await.map_err(|()| Upload::Server)
    }
}

/// What the client is told of a body that is not taken.
pub(super) fn told(fault: &BodyFault) -> RefusalCode {
    match fault {
        BodyFault::TooLarge => RefusalCode::TooLarge,
        BodyFault::Cut(_) | BodyFault::Slow | BodyFault::Malformed(_) => RefusalCode::BadRequest,
    }
}
