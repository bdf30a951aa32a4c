//! Walks along one form and the input together: each byte of the form may stand in the input as it is, percent-escaped
//! (also twice or three times over) or escaped as in a JSON string (also inside other strings). Where two readings are
//! possible, both are followed.

use std::cell::Cell;
use std::collections::BTreeSet;

/// The most bytes of input that stand for one byte of a form.
pub(super) const MAX_TOKEN: usize = MAX_BACKSLASHES + 5;
/// Backslashes before one escape: seven are a string in a string in a string.
const MAX_BACKSLASHES: usize = 15;
/// `%25` in place of `%`, so many times.
const MAX_REESCAPES: usize = 3;

/// Far more than values and answers of any use need.
const STEPS_PER_BYTE: u64 = 64;
const STEPS_LEAST: u64 = 256 * 1024;

/// What a walk came to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Walk {
    /// The whole form stood there; where its last byte ends. The longest, if there are several.
    pub(super) end: Option<usize>,
    /// The input ended first; so many bytes of the form had been met.
    pub(super) met: Option<usize>,
}

/// One reading: the next byte of the form, and where in the input it is looked for.
type Place = (usize, usize);

/// How many steps may still be walked. Values of nothing but escapes have so many readings that without an end one
/// answer could keep us for minutes; whoever looks has to ask at the end whether it was the steps that ended first.
pub(super) struct Steps(Cell<u64>);

impl Steps {
    /// For so many bytes of input.
    pub(super) fn for_input(bytes: usize) -> Self {
        Self(Cell::new(STEPS_LEAST + STEPS_PER_BYTE * bytes as u64))
    }

    pub(super) fn are_used_up(&self) -> bool {
        self.0.get() == 0
    }

    fn take(&self) -> bool {
        self.0.set(self.0.get().saturating_sub(1));
        !self.are_used_up()
    }
}

/// Walks from `form[from]` at `input[at]`.
pub(super) fn walk(form: &[u8], from: usize, input: &[u8], at: usize, steps: &Steps) -> Walk {
    let mut found = Walk::default();
    let mut open: Vec<Place> = Vec::new();
    let mut seen: BTreeSet<Place> = BTreeSet::new();
    let (mut index, mut place) = (from, at);
    loop {
        // Most bytes have one reading; then nothing is put aside.
        let next = if index == form.len() {
            found.end = found.end.max(Some(place));
            None
        } else if place == input.len() {
            found.met = found.met.max(Some(index));
            None
        } else {
            let escape = matches!(input[place], b'%' | b'\\');
            let known = escape && !seen.insert((index, place));
            if escape && !known {
                escaped(form, index, input, place, &mut open, &mut found);
            }
            (form[index] == input[place] && !known).then_some((index + 1, place + 1))
        };
        match next.or_else(|| open.pop()) {
            Some(next) if steps.take() => (index, place) = next,
            Some(_) | None => return found,
        }
    }
}

/// The bytes that the escape at `input[at]` may begin, first bytes of longer characters among them.
pub(super) fn bytes_of_escape(input: &[u8], at: usize, mut with: impl FnMut(u8)) {
    if input[at] == b'%' {
        for digits in percent_digits(input, at + 1) {
            if let Some(byte) = input.get(digits..digits + 2).and_then(hex) {
                with(byte as u8);
            }
        }
        return;
    }
    let run = backslashes(input, at);
    if run > 1 {
        with(b'\\');
    }
    let after = at + run;
    match input.get(after) {
        Some(b'u') => {
            if let Some(unit) = input.get(after + 1..after + 5).and_then(hex) {
                with(first_byte(unit));
            }
        }
        Some(short) => {
            if let Some(byte) = short_escape(*short) {
                with(byte);
            }
        }
        None => {}
    }
}

/// All escaped readings of `form[index]` at `input[at]`, put into `open`.
fn escaped(form: &[u8], index: usize, input: &[u8], at: usize, open: &mut Vec<Place>, found: &mut Walk) {
    let byte = form[index];
    if input[at] == b'%' {
        for digits in percent_digits(input, at + 1) {
            match input.get(digits..digits + 2) {
                Some(pair) if hex(pair) == Some(u32::from(byte)) => open.push((index + 1, digits + 2)),
                Some(_) => {}
                None => ends_within(&input[digits..], &[byte, b'%'], index, found),
            }
        }
        return;
    }
    let run = backslashes(input, at);
    let after = at + run;
    // A backslash is written as two, inside another string as four, and so on.
    if byte == b'\\' {
        [2, 4, 8].into_iter().filter(|many| *many <= run).for_each(|many| open.push((index + 1, at + many)));
    }
    match input.get(after) {
        // More backslashes, or any escape, could follow.
        None => found.met = found.met.max(Some(index)),
        Some(b'u') => unicode(form, index, input, after + 1, open, found),
        Some(short) if short_escape(*short) == Some(byte) => open.push((index + 1, after + 1)),
        Some(_) => {}
    }
}

/// `XXXX` of `\uXXXX` at `input[at]`, with the second half of a surrogate pair where one is needed.
fn unicode(form: &[u8], index: usize, input: &[u8], at: usize, open: &mut Vec<Place>, found: &mut Walk) {
    let Some(character) = character(&form[index..]) else {
        return;
    };
    let mut units = [0; 2];
    let units = character.encode_utf16(&mut units);
    let mut at = at;
    for (nth, unit) in units.iter().enumerate() {
        if nth > 0 {
            let run = backslashes(input, at);
            match input.get(at + run) {
                None => return found.met = found.met.max(Some(index)),
                Some(b'u') if run > 0 => at += run + 1,
                Some(_) => return,
            }
        }
        match input.get(at..at + 4) {
            Some(digits) if hex(digits) == Some(u32::from(*unit)) => at += 4,
            Some(_) => return,
            None => {
                let text = format!("{unit:04x}");
                let rest = input[at..].to_ascii_lowercase();
                if text.as_bytes().starts_with(&rest) {
                    found.met = found.met.max(Some(index));
                }
                return;
            }
        }
    }
    open.push((index + character.len_utf8(), at));
}

/// Where the two digits of a percent escape may stand, from behind the `%` on.
fn percent_digits(input: &[u8], first: usize) -> impl Iterator<Item = usize> + '_ {
    let reescaped = |digits: usize| input.get(digits..digits + 2) == Some(b"25");
    let mut next = Some(first);
    (0..=MAX_REESCAPES).map_while(move |_| {
        let digits = next?;
        next = reescaped(digits).then_some(digits + 2);
        Some(digits)
    })
}

/// The input ends after none or one of two digits: met, if one of these bytes could be meant.
fn ends_within(rest: &[u8], bytes: &[u8], index: usize, found: &mut Walk) {
    let could_be = |byte: &u8| match rest.first() {
        None => true,
        Some(digit) => hex(&[*digit]) == Some(u32::from(byte >> 4)),
    };
    if bytes.iter().any(could_be) {
        found.met = found.met.max(Some(index));
    }
}

fn backslashes(input: &[u8], at: usize) -> usize {
    input[at.min(input.len())..].iter().take(MAX_BACKSLASHES).take_while(|byte| **byte == b'\\').count()
}

/// What a backslash before this byte stands for; punctuation for itself, as some encoders escape more than they must.
fn short_escape(byte: u8) -> Option<u8> {
    match byte {
        b'b' => Some(8),
        b't' => Some(b'\t'),
        b'n' => Some(b'\n'),
        b'f' => Some(12),
        b'r' => Some(b'\r'),
        _ if byte.is_ascii_punctuation() && byte != b'\\' => Some(byte),
        _ => None,
    }
}

/// The first byte in UTF-8 of the character that a UTF-16 unit begins.
fn first_byte(unit: u32) -> u8 {
    let character = match unit {
        0xd800..=0xdbff => char::from_u32(0x10000 + ((unit - 0xd800) << 10)),
        _ => char::from_u32(unit),
    };
    let mut bytes = [0; 4];
    // The second half of a pair begins nothing; no form has this byte.
    character.map_or(0xff, |character| character.encode_utf8(&mut bytes).as_bytes()[0])
}

/// The character that the bytes begin with, if they are UTF-8.
fn character(bytes: &[u8]) -> Option<char> {
    let len = match bytes.first()? {
        0..=0x7f => 1,
        0xc2..=0xdf => 2,
        0xe0..=0xef => 3,
        _ => 4,
    };
    std::str::from_utf8(bytes.get(..len)?).ok()?.chars().next()
}

fn hex(digits: &[u8]) -> Option<u32> {
    digits.iter().try_fold(0, |value, digit| Some(value << 4 | char::from(*digit).to_digit(16)?))
}
