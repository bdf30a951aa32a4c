//! The answer of a tool that gives away what it was shown: every form that a credential can hide in, in headers
//! and in the body, with the body cut into chunks at every place.

use crate::demo::canary;
use std::io;
use tokio::io::{AsyncWrite, AsyncWriteExt as _};

/// Answers with the value of the `Authorization` header and its credential in every form.
pub(super) async fn answer<S: AsyncWrite + Unpin>(stream: &mut S, header: &str) -> io::Result<()> {
    let bare = header.rsplit(' ').next().unwrap_or_default();
    let forms: Vec<_> = [bare, header].into_iter().flat_map(|value| canary::spellings(value.as_bytes())).collect();
    let mut head = String::from("HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\ntransfer-encoding: chunked\r\n");
    for (number, (_, form)) in forms.iter().enumerate() {
        head.push_str(&format!("x-echo-{number}: {form}\r\n"));
    }
    head.push_str("\r\n");
    stream.write_all(head.as_bytes()).await?;
    let mut body: String = forms.iter().map(|(name, form)| format!("{name}: {form}\n")).collect();
    body.push_str("that was all\n");
    for (number, chunk) in pieces(body.as_bytes()).enumerate() {
        stream.write_all(format!("{:x}\r\n", chunk.len()).as_bytes()).await?;
        stream.write_all(chunk).await?;
        stream.write_all(b"\r\n").await?;
        if number % FLUSH_EVERY == 0 {
            stream.flush().await?;
        }
    }
    stream.write_all(b"0\r\n\r\n").await
}

/// Pieces of 1 to 7 bytes, over and over.
fn pieces(mut body: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut size = 0;
    std::iter::from_fn(move || {
        size = size % 7 + 1;
        let (piece, rest) = body.split_at(size.min(body.len()));
        body = rest;
        (!piece.is_empty()).then_some(piece)
    })
}

/// Chunks that share a write.
const FLUSH_EVERY: usize = 5;
