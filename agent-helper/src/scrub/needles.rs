//! What is looked for: the forms of every value that was sent, and the tables that find where one may begin.

use super::walk::{MAX_TOKEN, Steps, bytes_of_escape, walk};
use super::{MARKER, Scrubber};
use aho_corasick::{AhoCorasick, AhoCorasickKind, MatchKind};
use base64::Engine;
use base64::engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD};
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::Arc;
use zeroize::Zeroizing;

/// The shortest value that is looked for, in bytes: a shorter one would be found where it is not meant, and could be
/// guessed from what is missing. `secret put` refuses such values.
pub const MIN_NEEDLE: usize = 8;
/// The longest value, in bytes: the base64 of the longest pair that a source's value makes.
pub const MAX_NEEDLE: usize = 32 * 1024;
/// The most values of one request.
pub const MAX_NEEDLES: usize = 16;

/// Why values cannot be looked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BadNeedle {
    /// Below [`MIN_NEEDLE`].
    #[error("the value is shorter than 8 bytes and could not be told from other text")]
    TooShort,
    /// Above [`MAX_NEEDLE`].
    #[error("the value is longer than 32768 bytes")]
    TooLong,
    /// Above [`MAX_NEEDLES`].
    #[error("more than 16 values are sent with one request")]
    TooMany,
}

/// The forms of the values sent with one request. Holds secret material: its own buffers are wiped when dropped, those
/// inside the automaton by the program's wiping allocator. Nothing of it can be printed.
pub struct Needles {
    forms: Vec<Form>,
    /// Finds the first [`ANCHOR`] bytes of every form.
    anchors: AhoCorasick,
    /// Forms by anchor, in the automaton's order.
    by_anchor: Vec<Vec<usize>>,
    /// Forms by first byte.
    by_first: Vec<Vec<usize>>,
    /// Places in forms by the byte there: `form << 32 | index`, sorted by byte.
    places: Zeroizing<Vec<u64>>,
    /// Where in `places` each byte's begin.
    places_at: Zeroizing<Vec<usize>>,
    longest: usize,
}

struct Form {
    bytes: Zeroizing<Vec<u8>>,
    /// So much of it at the end of the input is taken for a cut-off form.
    cut_off: usize,
}

impl Needles {
    /// Prepares for every value sent: the credential, for `basic` also the pair and its base64, and any other text
    /// that was put in a header. A value that contains another one adds nothing and is left out.
    pub fn new<'a>(values: impl IntoIterator<Item = &'a [u8]>) -> Result<Self, BadNeedle> {
        let mut values: Vec<&[u8]> = values.into_iter().map(without_basic).collect();
        if values.len() > MAX_NEEDLES {
            return Err(BadNeedle::TooMany);
        }
        for value in &values {
            match value.len() {
                0..MIN_NEEDLE => return Err(BadNeedle::TooShort),
                MIN_NEEDLE..=MAX_NEEDLE => {}
                _ => return Err(BadNeedle::TooLong),
            }
        }
        values.sort_by_key(|value| value.len());
        let mut kept: Vec<&[u8]> = Vec::new();
        for value in values {
            // Wherever the longer stands, in whatever form, the shorter stands in that form too.
            if !kept.iter().any(|shorter| value.windows(shorter.len()).any(|window| window == *shorter)) {
                kept.push(value);
            }
        }
        let mut forms = Vec::new();
        kept.iter().for_each(|value| add_forms(value, &mut forms));
        Self::index(forms)
    }

    fn index(forms: Vec<Form>) -> Result<Self, BadNeedle> {
        let mut anchors: BTreeMap<&[u8], Vec<usize>> = BTreeMap::new();
        let mut by_first = vec![Vec::new(); 256];
        let mut by_byte = vec![Vec::new(); 256];
        for (which, form) in forms.iter().enumerate() {
            anchors.entry(&form.bytes[..ANCHOR]).or_default().push(which);
            by_first[usize::from(form.bytes[0])].push(which);
            for (index, byte) in form.bytes.iter().enumerate() {
                by_byte[usize::from(*byte)].push((which as u64) << 32 | index as u64);
            }
        }
        let mut places = Zeroizing::new(Vec::with_capacity(by_byte.iter().map(Vec::len).sum()));
        let mut places_at = Zeroizing::new(Vec::with_capacity(257));
        for mut list in by_byte {
            places_at.push(places.len());
            places.append(&mut list);
        }
        places_at.push(places.len());
        let longest = forms.iter().map(|form| form.bytes.len()).max().unwrap_or(0);
        let automaton = AhoCorasick::builder()
            .kind(Some(AhoCorasickKind::ContiguousNFA))
            // One pattern at most begins at a place, so the kind decides nothing but that wide instructions are used.
            .match_kind(MatchKind::LeftmostFirst)
            .build(anchors.keys());
        let automaton = automaton.map_err(|_| BadNeedle::TooMany)?;
        let by_anchor = anchors.into_values().collect();
        Ok(Self { forms, anchors: automaton, by_anchor, by_first, places, places_at, longest })
    }

    /// Scrubs a whole value: a header's, a header's name, a reason phrase, a trailer's.
    pub fn scrub_value<'v>(self: &Arc<Self>, value: &'v [u8]) -> Cow<'v, [u8]> {
        let mut scrubber = Scrubber::new(Arc::clone(self));
        let mut out = Vec::with_capacity(value.len() + MARKER.len());
        scrubber.push(value, &mut out);
        scrubber.finish(&mut out);
        if scrubber.reflected() { Cow::Owned(out) } else { Cow::Borrowed(value) }
    }

    /// Where whole forms stand, as they are found; they may overlap and repeat.
    pub(super) fn find(&self, input: &[u8], steps: &Steps, mut with: impl FnMut(usize, usize)) {
        let mut from = 0;
        while let Some(hit) = self.anchors.find(aho_corasick::Input::new(input).span(from..input.len())) {
            for which in &self.by_anchor[hit.pattern().as_usize()] {
                if let Some(end) = walk(&self.forms[*which].bytes, 0, input, hit.start(), steps).end {
                    with(hit.start(), end);
                }
            }
            from = hit.start() + 1;
        }
        escapes(input, |at| bytes_of_escape(input, at, |byte| self.find_escaped(byte, input, at, steps, &mut with)));
    }

    /// Forms whose first escaped byte is this one: all that stands before it stands plain.
    fn find_escaped(&self, byte: u8, input: &[u8], at: usize, steps: &Steps, with: &mut impl FnMut(usize, usize)) {
        let range = self.places_at[usize::from(byte)]..self.places_at[usize::from(byte) + 1];
        for place in &self.places[range] {
            if steps.are_used_up() {
                return;
            }
            let form = &self.forms[(place >> 32) as usize].bytes;
            let index = (place & 0xffff_ffff) as usize;
            let before = at.checked_sub(index).map(|start| (start, &input[start..at]));
            if let Some((start, before)) = before
                && before == &form[..index]
                && let Some(end) = walk(form, index, input, at, steps).end
            {
                with(start, end);
            }
        }
    }

    /// Where the first unfinished form begins: from there on the input must wait for what follows.
    pub(super) fn unfinished(&self, input: &[u8], steps: &Steps) -> usize {
        self.first_begun(input, steps, |_| 1).unwrap_or(input.len())
    }

    /// Where the first form begins that the end of the input cut off, but for its first few bytes.
    pub(super) fn cut_off(&self, input: &[u8], steps: &Steps) -> Option<usize> {
        self.first_begun(input, steps, |form| form.cut_off)
    }

    fn first_begun(&self, input: &[u8], steps: &Steps, least: impl Fn(&Form) -> usize) -> Option<usize> {
        let window = input.len().saturating_sub(self.longest * MAX_TOKEN);
        (window..input.len()).find(|at| {
            let begun = |form: &Form| {
                let met = walk(&form.bytes, 0, input, *at, steps).met;
                // An escape that is itself cut off has met nothing yet, and still has to wait.
                met.is_some_and(|met| met.max(1) >= least(form))
            };
            let begins_with =
                |first: u8| self.by_first[usize::from(first)].iter().any(|which| begun(&self.forms[*which]));
            match input[*at] {
                // An escape near the end may be cut off itself, and then could stand for anything.
                b'%' | b'\\' if input.len() - *at < MAX_TOKEN => self.forms.iter().any(begun),
                first @ (b'%' | b'\\') => {
                    let mut any = begins_with(first);
                    bytes_of_escape(input, *at, |byte| any = any || begins_with(byte));
                    any
                }
                first => begins_with(first),
            }
        })
    }
}

/// Where `%` and `\` stand. Whole blocks are looked at without branching, so that the compiler makes wide
/// instructions of it: most blocks of most bodies hold neither.
fn escapes(input: &[u8], mut with: impl FnMut(usize)) {
    let is_escape = |byte: &u8| (*byte == b'%') | (*byte == b'\\');
    for (nth, block) in input.chunks(BLOCK).enumerate() {
        if !block.iter().fold(false, |any, byte| any | is_escape(byte)) {
            continue;
        }
        for (at, _) in block.iter().enumerate().filter(|(_, byte)| is_escape(byte)) {
            with(nth * BLOCK + at);
        }
    }
}

/// `Basic <base64>` names no secret by its first word, with which many a harmless text ends.
fn without_basic(value: &[u8]) -> &[u8] {
    value.strip_prefix(b"Basic ").unwrap_or(value)
}

fn add_forms(value: &[u8], forms: &mut Vec<Form>) {
    let mut add = |bytes: Vec<u8>, cut_off| {
        let bytes = Zeroizing::new(bytes);
        if !forms.iter().any(|form| *form.bytes == *bytes) {
            forms.push(Form { bytes, cut_off });
        }
    };
    add(value.to_vec(), CUT_OFF);
    if !value.is_ascii() {
        // Read as Latin-1 and written as UTF-8 by the server.
        add(value.iter().map(|byte| char::from(*byte)).collect::<String>().into_bytes(), CUT_OFF);
    }
    if value.contains(&b' ') {
        // As forms are encoded.
        add(value.iter().map(|byte| if *byte == b' ' { b'+' } else { *byte }).collect(), CUT_OFF);
    }
    for before in 0..3 {
        add(base64_core(&STANDARD_NO_PAD, value, before), CUT_OFF_BASE64);
        add(base64_core(&URL_SAFE_NO_PAD, value, before), CUT_OFF_BASE64);
    }
}

/// The characters of base64 that this value alone decides, where so many other bytes (modulo 3) stand before it and
/// any number after it.
fn base64_core(engine: &impl Engine, value: &[u8], before: usize) -> Vec<u8> {
    let mut padded = Zeroizing::new(vec![0; before]);
    padded.extend_from_slice(value);
    let text = Zeroizing::new(engine.encode(&*padded));
    let first = (before * 8).div_ceil(6);
    let whole = padded.len() * 8 / 6;
    text.as_bytes()[first..whole].to_vec()
}

const BLOCK: usize = 64;
/// So many first bytes of a form lead to it; the shortest form has ten, the shortest value eight.
const ANCHOR: usize = MIN_NEEDLE;
/// So many bytes of a value at the very end of a body are taken out, so that no cut leaks a part (case A04).
const CUT_OFF: usize = 4;
/// The same in base64, where six characters hold four bytes.
const CUT_OFF_BASE64: usize = 6;
