//! Every form, every split, whole and in bytes.

use super::*;
use base64::Engine;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD, URL_SAFE, URL_SAFE_NO_PAD};
use proptest::prelude::*;
use std::sync::Arc;

const CANARY: &[u8] = b"s3cr/t+\"?canary=%~\\Zq9";

fn needles(values: &[&[u8]]) -> Arc<Needles> {
    Arc::new(Needles::new(values.iter().copied()).unwrap())
}

fn scrub(needles: &Arc<Needles>, chunks: &[&[u8]]) -> (Vec<u8>, bool) {
    let mut scrubber = Scrubber::new(Arc::clone(needles));
    let mut out = Vec::new();
    chunks.iter().for_each(|chunk| scrubber.push(chunk, &mut out));
    scrubber.finish(&mut out);
    (out, scrubber.reflected())
}

fn percent(value: &[u8], lower: bool, plain: impl Fn(usize, u8) -> bool) -> Vec<u8> {
    let one = |(at, byte): (usize, &u8)| match (plain(at, *byte), lower) {
        (true, _) => vec![*byte],
        (false, true) => format!("%{byte:02x}").into_bytes(),
        (false, false) => format!("%{byte:02X}").into_bytes(),
    };
    value.iter().enumerate().flat_map(one).collect()
}

fn json_all(value: &[u8], lower: bool) -> Vec<u8> {
    let units = String::from_utf8(value.to_vec()).unwrap();
    let one = |unit: u16| if lower { format!("\\u{unit:04x}") } else { format!("\\u{unit:04X}") };
    units.encode_utf16().map(one).collect::<String>().into_bytes()
}

fn json_short(value: &[u8]) -> Vec<u8> {
    let text = serde_json::to_string(std::str::from_utf8(value).unwrap()).unwrap();
    text.as_bytes()[1..text.len() - 1].to_vec()
}

/// Named renderings of a value that an upstream may send back.
fn renderings(value: &[u8]) -> Vec<(String, Vec<u8>)> {
    let mut all = vec![
        ("raw".to_owned(), value.to_vec()),
        ("percent, all, upper".to_owned(), percent(value, false, |_, _| false)),
        ("percent, all, lower".to_owned(), percent(value, true, |_, _| false)),
        ("percent, least, upper".to_owned(), percent(value, false, |_, b| b.is_ascii_alphanumeric() || b == b'-')),
        (
            "percent, least, lower".to_owned(),
            percent(value, true, |_, b| b.is_ascii_alphanumeric() || b"~/".contains(&b)),
        ),
        ("percent, every second".to_owned(), percent(value, false, |at, _| at % 2 == 0)),
        ("percent, every third plain".to_owned(), percent(value, true, |at, _| at % 3 == 0)),
        ("percent, only the last".to_owned(), percent(value, true, |at, _| at + 1 < value.len())),
        ("percent, twice".to_owned(), percent(&percent(value, false, |_, _| false), false, |_, b| b != b'%')),
        ("json, all, lower".to_owned(), json_all(value, true)),
        ("json, all, upper".to_owned(), json_all(value, false)),
        ("json, short".to_owned(), json_short(value)),
        ("json, slashes".to_owned(), String::from_utf8(json_short(value)).unwrap().replace('/', "\\/").into_bytes()),
        ("json in json".to_owned(), json_short(&json_short(value))),
        ("json in json in json".to_owned(), json_short(&json_short(&json_short(value)))),
        ("json, first as unicode".to_owned(), [&json_all(&value[..1], true)[..], &json_short(&value[1..])].concat()),
        ("percent in json".to_owned(), json_short(&percent(value, false, |_, b| b == b'\\' || b == b'"'))),
    ];
    for (name, encoded) in [
        ("standard", STANDARD.encode(value)),
        ("standard, no padding", STANDARD_NO_PAD.encode(value)),
        ("url", URL_SAFE.encode(value)),
        ("url, no padding", URL_SAFE_NO_PAD.encode(value)),
    ] {
        all.push((
            format!("base64 {name}, percent"),
            percent(encoded.as_bytes(), false, |_, b| b.is_ascii_alphanumeric()),
        ));
        all.push((format!("base64 {name}, json slashes"), encoded.replace('/', "\\/").into_bytes()));
    }
    for before in 0..4 {
        for after in 0..3 {
            let whole = [&b"x: "[..before.min(3)], &b"?"[..before / 3], value, &b"\n\xff"[..after]].concat();
            all.push((format!("base64 {before}+{after}"), STANDARD.encode(&whole).into_bytes()));
            all.push((format!("base64url {before}+{after}"), URL_SAFE_NO_PAD.encode(&whole).into_bytes()));
        }
    }
    all
}

/// Whether any four bytes in a row of the value, or six of its base64, are still to be seen.
fn leaks(out: &[u8], value: &[u8]) -> bool {
    let seen = |part: &[u8]| out.windows(part.len()).any(|window| window == part);
    if value.windows(4).any(seen) {
        return true;
    }
    (0..3).any(|before| {
        let encoded = STANDARD_NO_PAD.encode([&vec![b'!'; before][..], value].concat());
        let core = &encoded.as_bytes()[before * 2..encoded.len() - 1];
        core.windows(6).any(seen)
    })
}

#[test]
fn every_form_is_taken_out_wherever_chunks_begin() {
    for value in [
        CANARY,
        "pässwörd-😀-ключ".as_bytes(),
        b"ghp_0123456789abcdefABCDEF",
        b"%25%2541%%41\\\\u0041\\n",
        b"aaaaaaaaaaaa",
    ] {
        let needles = needles(&[value]);
        for (name, form) in renderings(value) {
            let body = [b"{\"echo\": \"" as &[u8], &form, b"\", \"n\": 1}"].concat();
            let (whole, reflected) = scrub(&needles, &[&body]);
            assert!(reflected, "{name}: {}", String::from_utf8_lossy(&body));
            assert!(!leaks(&whole, value), "{name}: {}", String::from_utf8_lossy(&whole));
            for split in 0..=body.len() {
                assert_eq!(scrub(&needles, &[&body[..split], &body[split..]]).0, whole, "{name} at {split}");
            }
            for size in [1, 2, 3, 7] {
                let chunks: Vec<_> = body.chunks(size).collect();
                assert_eq!(scrub(&needles, &chunks).0, whole, "{name} by {size}");
            }
        }
    }
}

#[test]
fn raw_percent_and_json_forms_leave_nothing_at_all() {
    for (name, form) in renderings(CANARY).iter().filter(|(name, _)| !name.contains("base64")) {
        let body = [b"<" as &[u8], form, b">"].concat();
        assert_eq!(scrub(&needles(&[CANARY]), &[&body]).0, [b"<", MARKER, b">"].concat(), "{name}");
    }
}

#[test]
fn latin_1_read_and_written_as_utf_8_is_found() {
    let value = "pässwörd-ß".as_bytes();
    let twice: String = value.iter().map(|byte| char::from(*byte)).collect();
    for form in
        [twice.as_bytes().to_vec(), json_all(twice.as_bytes(), true), percent(twice.as_bytes(), true, |_, _| false)]
    {
        assert_eq!(scrub(&needles(&[value]), &[&form]).0, MARKER);
    }
}

#[test]
fn bytes_that_are_no_text_are_found() {
    let value = b"\xff\x00\xfe\x01\x80\x7f\xc3\x28\xa0";
    for form in [value.to_vec(), percent(value, true, |_, _| false), URL_SAFE.encode(value).into_bytes()] {
        assert!(scrub(&needles(&[value]), &[&form]).1);
    }
}

#[test]
fn spaces_are_found_as_form_fields_write_them() {
    let needles = needles(&[b"correct horse & battery"]);
    for form in ["correct+horse+%26+battery", "correct%20horse+%26%20battery", "correct horse \\u0026 battery"] {
        // A value that mixes both spellings of a space is not one that an encoder writes.
        assert_eq!(scrub(&needles, &[form.as_bytes()]).1, !form.contains("%20horse+"), "{form}");
    }
}

#[test]
fn clean_text_passes_byte_for_byte() {
    let needles = needles(&[CANARY, b"another-secret"]);
    for text in [
        &b""[..],
        b"nothing here",
        b"100% of it \\ and \\u0041 %41 %zz \\u00zz %",
        b"s3cr/t+\"?canary=%~\\Zq8 is not it",
        b"\\\\\\\\\\\\\\\\\\\\\\\\\\\\\\\\\\\\\\\\\\\\\\\\ n",
        b"%25%25%25%25%25%25%25",
        b"[avouch:removed]",
    ] {
        for size in [1, 5, 64] {
            let chunks: Vec<_> = text.chunks(size).collect();
            assert_eq!(scrub(&needles, &chunks), (text.to_vec(), false), "{}", String::from_utf8_lossy(text));
        }
    }
}

#[test]
fn what_cannot_be_a_beginning_is_not_held() {
    let needles = needles(&[b"zzzz-secret-zzzz"]);
    let mut scrubber = Scrubber::new(needles);
    let mut out = Vec::new();
    scrubber.push(b"data: hello\n\n", &mut out);
    assert_eq!((out.as_slice(), scrubber.held()), (&b"data: hello\n\n"[..], 0));
    scrubber.push(b"data: zzzz-sec", &mut out);
    assert_eq!((out.len(), scrubber.held()), (13 + 6, 8));
    scrubber.push(b"ond\n\n", &mut out);
    assert_eq!((out.as_slice(), scrubber.held()), (&b"data: hello\n\ndata: zzzz-second\n\n"[..], 0));
    assert!(!scrubber.reflected());
}

#[test]
fn a_body_cut_off_within_a_form_shows_less_than_four_bytes() {
    let needles = needles(&[CANARY]);
    for (name, form) in renderings(CANARY) {
        for cut in 0..form.len() {
            let body = [b"x=" as &[u8], &form[..cut]].concat();
            assert!(!leaks(&scrub(&needles, &[&body]).0, CANARY), "{name} at {cut}");
        }
    }
    assert_eq!(scrub(&needles, &[b"x=s3cr/t"]), ([b"x=", MARKER].concat(), true));
    assert_eq!(scrub(&needles, &[b"x=s3c"]), (b"x=s3c".to_vec(), false));
}

#[test]
fn overlapping_repeated_and_nested_values_are_all_taken_out() {
    let pair = needles(&[b"abcdefgh", b"efghijkl"]);
    assert_eq!(scrub(&pair, &[b"<abcdefghijkl>"]).0, [b"<", MARKER, b">"].concat());
    let twice = scrub(&pair, &[b"abcdefghabcdefgh"]).0;
    assert_eq!(twice, [MARKER, MARKER].concat());
    let same = needles(&[b"aaaaaaaa"]);
    let long = vec![b'a'; 1000];
    assert_eq!(scrub(&same, &[&long]).0, MARKER);
    assert_eq!(scrub(&same, &long.chunks(3).collect::<Vec<_>>()).0, MARKER);
}

#[test]
fn a_form_inside_another_waits_for_the_outer_one() {
    let inner: &[u8] = b"hunter2-hunter2";
    let outer = format!("first-half.{}.last-half", STANDARD_NO_PAD.encode(inner));
    let needles = needles(&[inner, outer.as_bytes()]);
    for split in 0..outer.len() {
        let (one, two) = outer.as_bytes().split_at(split);
        assert_eq!(scrub(&needles, &[one, two]).0, MARKER, "at {split}");
    }
}

#[test]
fn an_endless_overlap_is_not_held_forever() {
    let mut scrubber = Scrubber::new(needles(&[b"aaaaaaaa"]));
    let mut out = Vec::new();
    for _ in 0..100_000 {
        scrubber.push(b"a", &mut out);
        assert!(scrubber.held() <= 8);
    }
    assert_eq!(out, MARKER);
}

#[test]
fn the_basic_pair_is_found_in_its_header_and_inside_other_encodings() {
    let value: &[u8] = b"hunter2-hunter2";
    let pair = b"alice:hunter2-hunter2";
    let token = STANDARD.encode(pair);
    let header = format!("Basic {token}");
    let needles = needles(&[value, pair, header.as_bytes()]);
    for echo in
        [header.clone(), token.clone(), STANDARD.encode(&header), STANDARD.encode(&token), header.replace('=', "%3D")]
    {
        let (out, reflected) = scrub(&needles, &[echo.as_bytes()]);
        assert!(reflected && !leaks(&out, token.as_bytes()), "{echo} {}", String::from_utf8_lossy(&out));
    }
    // The scheme alone is no secret, wherever it stands.
    assert_eq!(scrub(&needles, &[b"Basic"]), (b"Basic".to_vec(), false));
}

#[test]
fn a_bearer_header_adds_nothing_to_its_value() {
    let needles = needles(&[b"Bearer hunter2-hunter2", b"hunter2-hunter2"]);
    assert_eq!(scrub(&needles, &[b"Bearer"]), (b"Bearer".to_vec(), false));
    assert_eq!(scrub(&needles, &[b"Bearer hunter2-hunter2"]).0, [b"Bearer ", MARKER].concat());
}

#[test]
fn header_values_are_borrowed_when_clean() {
    let needles = needles(&[CANARY]);
    assert!(matches!(needles.scrub_value(b"text/plain"), std::borrow::Cow::Borrowed(b"text/plain")));
    let location = [b"https://x.test/?k=" as &[u8], &percent(CANARY, false, |_, _| false)].concat();
    assert_eq!(&*needles.scrub_value(&location), [b"https://x.test/?k=", MARKER].concat());
}

#[test]
fn limits_have_their_own_errors() {
    assert_eq!(Needles::new([&b"1234567"[..]]).err(), Some(BadNeedle::TooShort));
    assert!(Needles::new([&b"12345678"[..]]).is_ok());
    assert!(Needles::new([&vec![b'x'; MAX_NEEDLE][..]]).is_ok());
    assert_eq!(Needles::new([&vec![b'x'; MAX_NEEDLE + 1][..]]).err(), Some(BadNeedle::TooLong));
    assert_eq!(Needles::new([&b"12345678"[..]; MAX_NEEDLES + 1]).err(), Some(BadNeedle::TooMany));
    assert!(Needles::new([]).is_ok());
}

#[test]
fn no_needles_let_everything_pass() {
    assert_eq!(scrub(&needles(&[]), &[b"any % \\ text"]), (b"any % \\ text".to_vec(), false));
}

#[test]
fn a_hostile_body_cannot_make_the_walk_blow_up() {
    // Readings of `%25` and of backslashes multiply; each place is walked from once.
    let value = b"%25%25%25%25%25%25%25%25%25%25\\\\\\\\\\\\\\\\\\\\\\\\\\\\\\\\\\\\\\\\!";
    let needles = needles(&[value]);
    let body = [b"%25".repeat(2000), b"\\".repeat(4000)].concat();
    let (out, _) = scrub(&needles, &[&body]);
    assert!(!out.is_empty());
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn chunks_do_not_change_the_result(
        value in "[ab%\\\\2-5u]{8,12}",
        pieces in prop::collection::vec((0usize..7, 0usize..40), 1..8),
        sizes in prop::collection::vec(1usize..20, 1..6),
    ) {
        let needles = needles(&[value.as_bytes()]);
        let forms = renderings(value.as_bytes());
        let mut body = Vec::new();
        for (kind, which) in pieces {
            let form = &forms[which % forms.len()].1;
            match kind {
                0 => body.extend_from_slice(form),
                1 => body.extend_from_slice(&form[..form.len() / 2]),
                2 => body.extend_from_slice(&form[form.len() / 3..]),
                3 => body.extend_from_slice(b"\\"),
                4 => body.extend_from_slice(b"%"),
                5 => body.extend_from_slice(&value.as_bytes()[..which % value.len()]),
                _ => body.extend_from_slice(b" plain "),
            }
        }
        let whole = scrub(&needles, &[&body]);
        let mut chunks = Vec::new();
        let mut rest = &body[..];
        for size in sizes.iter().cycle() {
            if rest.is_empty() { break; }
            let (chunk, after) = rest.split_at((*size).min(rest.len()));
            chunks.push(chunk);
            rest = after;
        }
        prop_assert_eq!(scrub(&needles, &chunks), whole);
    }

    #[test]
    fn any_mix_of_escapes_is_found(
        value in prop::collection::vec(any::<char>(), 8..24),
        how in prop::collection::vec(0usize..5, 24),
    ) {
        let mut form = Vec::new();
        for (character, how) in value.iter().zip(how) {
            let mut bytes = [0; 4];
            let bytes = character.encode_utf8(&mut bytes).as_bytes();
            match how {
                0 => form.extend_from_slice(bytes),
                1 => form.extend(percent(bytes, true, |_, _| false)),
                2 => form.extend(percent(bytes, false, |_, _| false)),
                3 => form.extend(json_all(bytes, true)),
                _ => form.extend(json_short(bytes)),
            }
        }
        let value: String = value.into_iter().collect();
        let (out, reflected) = scrub(&needles(&[value.as_bytes()]), &[&form]);
        prop_assert!(reflected);
        prop_assert_eq!(out, MARKER);
    }

    #[test]
    fn text_without_the_value_is_untouched(text in prop::collection::vec(any::<u8>(), 0..300)) {
        let (out, reflected) = scrub(&needles(&[CANARY]), &[&text]);
        prop_assert!(!reflected);
        prop_assert_eq!(out, text);
    }
}

/// Each escape of such a value has many readings, from each place on: without a bound this takes minutes.
#[test]
fn a_value_of_nothing_but_escapes_is_not_searched_for_without_end() {
    for (value, body) in [("%", "%"), ("%25", "%25"), ("\\", "\\"), ("%\\", "\\u0025%")] {
        let value = value.repeat(1 << 12);
        let body =
            [b"before ", body.repeat((15 << 10) / body.len()).as_bytes(), b" behind ", value.as_bytes()].concat();
        let (out, reflected) = scrub(&needles(&[value.as_bytes()]), &body.chunks(1 << 10).collect::<Vec<_>>());
        let stands = out.windows(value.len()).any(|window| window == value.as_bytes());
        assert!(reflected && !stands, "what cannot be searched does not go on");
    }
}
