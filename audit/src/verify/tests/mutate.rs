//! Changes to single entries and to their order, everywhere in the log.

use super::*;

/// Where the entries are among the parts.
fn places(parts: &[Part]) -> Vec<usize> {
    (0..parts.len()).filter(|at| matches!(parts[*at], Part::Entry(_))).collect()
}

fn bytes(part: &Part) -> &[u8] {
    match part {
        Part::Entry(bytes) => bytes,
        _ => panic!("not an entry"),
    }
}

/// Every value in it, as JSON pointers.
fn leaves(value: &Value, at: &str, found: &mut Vec<String>) {
    match value {
        Value::Object(map) => map.iter().for_each(|(key, value)| leaves(value, &format!("{at}/{key}"), found)),
        Value::Array(items) => {
            items.iter().enumerate().for_each(|(n, value)| leaves(value, &format!("{at}/{n}"), found));
        }
        _ => found.push(at.to_owned()),
    }
}

/// Another value of the same type, and if it can be one that the field takes.
fn changed(value: &Value) -> Value {
    match value {
        Value::Bool(b) => Value::Bool(!b),
        Value::Number(n) => Value::from(n.as_u64().unwrap() + 1),
        Value::String(s) => {
            let mut text = s.clone();
            let last = text.pop().unwrap();
            text.push(if last == '1' { '2' } else { '1' });
            if let Ok(number) = s.parse::<u64>() {
                text = number.wrapping_add(1).to_string();
            }
            Value::String(text)
        }
        _ => panic!("no such value in a record"),
    }
}

#[test]
fn each_changed_field_of_each_entry_is_named() {
    let parts = sound().parts;
    let mut tried = 0;
    for (index, place) in places(&parts).into_iter().enumerate() {
        let value: Value = serde_json::from_slice(bytes(&parts[place])).unwrap();
        let mut fields = Vec::new();
        leaves(&value, "", &mut fields);
        for field in fields {
            let mut other = value.clone();
            let spot = other.pointer_mut(&field).unwrap();
            *spot = changed(spot);
            let mut parts = parts.clone();
            parts[place] = Part::Entry(encode(&other).unwrap());
            let fault = check(&parts).expect_err(&field);
            assert_eq!(fault.index(), Some(index as u64), "{field}: {fault}");
            tried += 1;
        }
    }
    assert!(tried > 150, "{tried}");
}

#[test]
fn a_field_added_or_taken_away_is_named() {
    let parts = sound().parts;
    for (index, place) in places(&parts).into_iter().enumerate() {
        let value: Value = serde_json::from_slice(bytes(&parts[place])).unwrap();
        let inner = if value.get("event").is_some() { "/event" } else { "/record/event" };
        for spot in ["", inner] {
            let mut more = value.clone();
            more.pointer_mut(spot).unwrap()["note"] = Value::from("x");
            let mut less = value.clone();
            let object = less.pointer_mut(spot).unwrap().as_object_mut().unwrap();
            let first = object.keys().next().unwrap().clone();
            object.remove(&first);
            for other in [more, less] {
                let mut parts = parts.clone();
                parts[place] = Part::Entry(encode(&other).unwrap());
                assert_eq!(check(&parts).unwrap_err().index(), Some(index as u64));
            }
        }
    }
}

#[test]
fn a_flipped_bit_is_named() {
    let parts = sound().parts;
    for (index, place) in places(&parts).into_iter().enumerate() {
        for at in (0..bytes(&parts[place]).len()).step_by(5) {
            let mut other = bytes(&parts[place]).to_vec();
            other[at] ^= 1 << (at % 8);
            let mut parts = parts.clone();
            parts[place] = Part::Entry(other);
            let fault = check(&parts).unwrap_err();
            // A flipped bit can make the number itself a lower one.
            let named = fault.index().unwrap();
            let renumbered = matches!(fault, Fault::Entry { why: EntryFault::Number, .. }) && named < index as u64;
            assert!(named == index as u64 || renumbered, "bit of byte {at} of entry {index}: {fault}");
        }
    }
}

#[test]
fn dropped_inserted_repeated_and_swapped_entries_are_named() {
    let parts = sound().parts;
    let places = places(&parts);
    for (index, &place) in places.iter().enumerate() {
        let mut dropped = parts.clone();
        dropped.remove(place);
        assert_eq!(check(&dropped).unwrap_err().index(), Some(index as u64), "dropped {index}");

        let mut repeated = parts.clone();
        repeated.insert(place, parts[place].clone());
        assert_eq!(check(&repeated).unwrap_err().index(), Some(index as u64), "repeated {index}");

        if let Some(&next) = places.get(index + 1) {
            let mut swapped = parts.clone();
            swapped.swap(place, next);
            assert_eq!(check(&swapped).unwrap_err().index(), Some(index as u64), "swapped {index}");
        }

        // One that fits in front, number and link, so that only what follows shows it.
        let original = Entry::decode(bytes(&parts[place])).unwrap();
        let foreign = Entry {
            writer: id("spiffe://td/issuer"),
            body: Body::Event(IssuerEvent::TokenExpired { token: Digest::of(&[b"x"]) }),
            ..original
        };
        let mut inserted = parts.clone();
        inserted.insert(place, Part::Entry(foreign.encode().unwrap()));
        assert_eq!(check(&inserted).unwrap_err().index(), Some(index as u64), "inserted {index}");

        let mut replaced = parts.clone();
        replaced[place] = Part::Entry(foreign.encode().unwrap());
        assert_eq!(check(&replaced).unwrap_err().index(), Some(index as u64), "replaced {index}");
    }
}

#[test]
fn an_entry_in_another_spelling_is_refused() {
    let parts = sound().parts;
    for (index, place) in places(&parts).into_iter().enumerate() {
        let text = String::from_utf8(bytes(&parts[place]).to_vec()).unwrap();
        for other in [text.replacen(':', ": ", 1), format!("{text} "), text.replacen("\"v\"", "\"\\u0076\"", 1)] {
            assert_ne!(other, text);
            let mut parts = parts.clone();
            parts[place] = Part::Entry(other.into_bytes());
            let fault = check(&parts).unwrap_err();
            assert!(
                matches!(fault, Fault::Entry { index: at, why: EntryFault::Form(_) } if at == index as u64),
                "{fault}"
            );
        }
    }
}
