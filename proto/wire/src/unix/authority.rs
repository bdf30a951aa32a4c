//! Some gRPC libraries name the socket's path as `:authority` (C++ and Python as `%2Frun%2Fa.sock`, older Go and Java
//! with plain slashes). HTTP/2 does not allow it and our server would end the stream, but nothing here reads that
//! name. So the two bytes that a host may not hold are replaced by `-` where a client sends it: lengths stay, and with
//! them the frames and both sides' header tables. Everything else passes unseen, malformed bytes too.

/// Where in a client's HTTP/2 bytes the next one stands.
#[derive(Debug)]
pub(super) struct Authority {
    frame: Frame,
    block: Block,
}

#[derive(Debug)]
enum Frame {
    /// Bytes of the connection preface that are still to come.
    Preface(u8),
    /// A frame's head, as far as it is here.
    Head([u8; 9], usize),
    /// A payload of no interest: bytes that are still to come.
    Skip(u32),
    /// A payload with a part of a header block.
    Headers(Headers),
}

#[derive(Debug)]
struct Headers {
    left: u32,
    padded: bool,
    padding: u32,
    /// Bytes of the priority field that are still to come.
    priority: u32,
    /// Whether the header block ends with this frame.
    last: bool,
}

/// Where in a header block (RFC 7541 §6) the next byte stands.
#[derive(Clone, Copy, Debug)]
enum Block {
    Start,
    /// The rest of a number that means nothing here.
    Number(After),
    /// The first byte of a length.
    Length(Text),
    /// The rest of a length: the text, its value so far, and the shift of the next seven bits.
    LongLength(Text, u32, u32),
    /// Bytes of a text that are still to come.
    Text(Text, u32),
}

#[derive(Clone, Copy, Debug)]
enum After {
    Start,
    Value,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Text {
    /// A name spelled out, and how much of `:authority` it is so far; none if it is another.
    Name(Option<usize>),
    Value,
    /// The value of `:authority`.
    Authority,
}

impl Authority {
    pub(super) fn new() -> Self {
        Self { frame: Frame::Preface(24), block: Block::Start }
    }

    /// Goes over what was read.
    pub(super) fn pass(&mut self, bytes: &mut [u8]) {
        for byte in bytes {
            self.next(byte);
        }
    }

    fn next(&mut self, byte: &mut u8) {
        match &mut self.frame {
            Frame::Preface(left) => {
                *left -= 1;
                if *left == 0 {
                    self.frame = Frame::Head([0; 9], 0);
                }
            }
            Frame::Head(head, have) => {
                head[*have] = *byte;
                *have += 1;
                if *have == head.len() {
                    self.frame = Frame::of(head);
                }
            }
            Frame::Skip(left) => {
                *left -= 1;
                if *left == 0 {
                    self.frame = Frame::Head([0; 9], 0);
                }
            }
            Frame::Headers(headers) => {
                headers.left -= 1;
                if headers.padded {
                    headers.padded = false;
                    headers.padding = u32::from(*byte);
                } else if headers.priority > 0 {
                    headers.priority -= 1;
                } else if headers.left >= headers.padding {
                    self.block = self.block.next(byte);
                }
                if headers.left == 0 {
                    if headers.last {
                        self.block = Block::Start;
                    }
                    self.frame = Frame::Head([0; 9], 0);
                }
            }
        }
    }
}

impl Frame {
    /// RFC 9113 §4.1.
    fn of(head: &[u8; 9]) -> Self {
        let left = u32::from_be_bytes([0, head[0], head[1], head[2]]);
        let flag = |bit: u8| head[4] & bit != 0;
        match (left, head[3]) {
            (0, _) => Self::Head([0; 9], 0),
            (_, HEADERS) => Self::Headers(Headers {
                left,
                padded: flag(PADDED),
                padding: 0,
                priority: if flag(PRIORITY) { 5 } else { 0 },
                last: flag(END_HEADERS),
            }),
            (_, CONTINUATION) => {
                Self::Headers(Headers { left, padded: false, padding: 0, priority: 0, last: flag(END_HEADERS) })
            }
            _ => Self::Skip(left),
        }
    }
}

impl Block {
    fn next(self, byte: &mut u8) -> Self {
        match self {
            Self::Start => Self::begin(*byte),
            Self::Number(after) if *byte & 0x80 != 0 => Self::Number(after),
            Self::Number(After::Start) => Self::Start,
            Self::Number(After::Value) => Self::Length(Text::Value),
            Self::Length(text) => {
                // What is Huffman coded is left as it is.
                let text = match text {
                    Text::Authority if *byte & 0x80 != 0 => Text::Value,
                    Text::Name(_) if *byte & 0x80 != 0 => Text::Name(None),
                    other => other,
                };
                match *byte & 0x7f {
                    0x7f => Self::LongLength(text, 0x7f, 0),
                    length => Self::text(text, u32::from(length)),
                }
            }
            Self::LongLength(text, value, shift) => {
                let value = value.saturating_add(u32::from(*byte & 0x7f).checked_shl(shift).unwrap_or(u32::MAX));
                if *byte & 0x80 != 0 {
                    Self::LongLength(text, value, shift.saturating_add(7))
                } else {
                    Self::text(text, value)
                }
            }
            Self::Text(text, left) => {
                let text = match text {
                    Text::Name(Some(at)) => Text::Name((NAME.get(at) == Some(byte)).then_some(at + 1)),
                    other => other,
                };
                if text == Text::Authority && matches!(*byte, b'%' | b'/') {
                    *byte = b'-';
                }
                Self::text(text, left - 1)
            }
        }
    }

    /// The first byte of a representation.
    fn begin(byte: u8) -> Self {
        let literal = |index: u8, most: u8| match index {
            0 => Self::Length(Text::Name(Some(0))),
            AUTHORITY => Self::Length(Text::Authority),
            _ if index == most => Self::Number(After::Value),
            _ => Self::Length(Text::Value),
        };
        match byte {
            0x80.. => {
                if byte == 0xff {
                    Self::Number(After::Start)
                } else {
                    Self::Start
                }
            }
            0x40.. => literal(byte & 0x3f, 0x3f),
            0x20.. => {
                if byte == 0x3f {
                    Self::Number(After::Start)
                } else {
                    Self::Start
                }
            }
            _ => literal(byte & 0x0f, 0x0f),
        }
    }

    fn text(text: Text, left: u32) -> Self {
        match (left, text) {
            (0, Text::Name(Some(at))) if at == NAME.len() => Self::Length(Text::Authority),
            (0, Text::Name(_)) => Self::Length(Text::Value),
            (0, Text::Value | Text::Authority) => Self::Start,
            _ => Self::Text(text, left),
        }
    }
}

const NAME: &[u8] = b":authority";
/// Its entry in the static table (RFC 7541, appendix A).
const AUTHORITY: u8 = 1;
const HEADERS: u8 = 1;
const CONTINUATION: u8 = 9;
const END_HEADERS: u8 = 0x4;
const PADDED: u8 = 0x8;
const PRIORITY: u8 = 0x20;

#[cfg(test)]
mod tests {
    use super::*;

    const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

    fn frame(kind: u8, flags: u8, payload: &[u8]) -> Vec<u8> {
        let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
        [&length[1..], &[kind, flags, 0, 0, 0, 1], payload].concat()
    }

    fn passed(mut bytes: Vec<u8>, step: usize) -> Vec<u8> {
        let mut authority = Authority::new();
        bytes.chunks_mut(step).for_each(|chunk| authority.pass(chunk));
        bytes
    }

    /// A header block with a path, an authority in the given representation, and a header of a new name.
    fn block(first: &[u8], authority: &str) -> Vec<u8> {
        let mut block = vec![0x3f, 0xe1, 0x1f, 0x83, 0x44, 5];
        block.extend_from_slice(b"/a%2F");
        block.extend_from_slice(first);
        block.push(u8::try_from(authority.len()).unwrap());
        block.extend_from_slice(authority.as_bytes());
        block.extend_from_slice(&[0x40, 11]);
        block.extend_from_slice(b":authority%");
        block.push(2);
        block.extend_from_slice(b"/%");
        block
    }

    #[test]
    fn a_socket_path_as_authority_becomes_a_host_and_nothing_else_changes() {
        for (sent, read) in
            [("%2Frun%2Fa.sock", "-2Frun-2Fa.sock"), ("/run/a.sock", "-run-a.sock"), ("localhost", "localhost")]
        {
            for first in [&b"\x41"[..], b"\x01", b"\x11", b"\x40\x0a:authority", b"\0\x0a:authority"] {
                let bytes = |authority: &str| {
                    let block = block(first, authority);
                    let (left, right) = block.split_at(17);
                    let padded = [&[4][..], &[0, 0, 0, 0, 9], left, b"%/%/"].concat();
                    let data = frame(0, 1, b"%2F/%2F/A%2F");
                    let headers = frame(HEADERS, PADDED | PRIORITY, &padded);
                    let rest = frame(CONTINUATION, END_HEADERS, right);
                    [PREFACE, &frame(4, 0, &[]), &headers, &rest, &data, &frame(HEADERS, END_HEADERS, &block)].concat()
                };
                for step in [1, 7, 4096] {
                    assert_eq!(passed(bytes(sent), step), bytes(read), "{sent} {first:x?} {step}");
                }
            }
        }
    }

    #[test]
    fn no_bytes_panic_and_their_number_stays() {
        let mut state = 0x9e37_79b9_u32;
        for _ in 0..2_000 {
            let mut bytes = PREFACE.to_vec();
            for _ in 0..64 {
                state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                bytes.extend_from_slice(&frame((state >> 24) as u8 % 10, (state >> 8) as u8, &state.to_le_bytes()));
                bytes.extend_from_slice(&[0, 0, 2, 1, 4, 0, 0, 0, 1, 0x41, 0xff]);
            }
            let length = bytes.len();
            assert_eq!(passed(bytes, 13).len(), length);
        }
    }
}
