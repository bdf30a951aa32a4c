use super::*;

fn values(file: &str) -> Vec<(usize, String, String, String)> {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let parsed = parse(file.as_bytes());
    assert_eq!(parsed.left, [], "{file:?}");
    let entries = parsed.entries.iter();
    entries
        .map(|one| (one.line, one.key.clone(), text(one.value.expose()), text(&file.as_bytes()[one.place.clone()])))
        .collect()
}

fn one(file: &str) -> (String, String) {
    let all = values(file);
    assert_eq!(all.len(), 1, "{file:?}");
    (all[0].2.clone(), all[0].3.clone())
}

#[test]
fn values_are_read_as_the_usual_readers_do() {
    for (file, value) in [
        ("A=b", "b"),
        ("A=b\n", "b"),
        ("A=b\r\n", "b"),
        ("\u{feff}A=b", "b"),
        ("  export\tA = b  ", "b"),
        ("exportA=b", "b"),
        ("export=b", "b"),
        ("A=", ""),
        ("A=b # what it is", "b"),
        ("A=b c\td  # x", "b c\td"),
        ("A='b # c' # x", "b # c"),
        ("A=\"b c\"", "b c"),
        ("A=\"b\\nc\"", "b\nc"),
        ("A='b\\nc'", "b\\nc"),
        ("A=`b 'c' \"d\"`", "b 'c' \"d\""),
        ("A=''", ""),
        ("A.b-c_1=x", "x"),
        ("A=b=c==", "b=c=="),
        ("A=p$5", "p$5"),
        ("A='${B}'", "${B}"),
    ] {
        assert_eq!(one(file).0, value, "{file:?}");
    }
}

#[test]
fn a_value_of_several_lines_is_one_and_lines_are_counted() {
    let file = "# first\n\nKEY=\"-----BEGIN\nmiddle\n-----END\"\nB=c\n";
    let all = values(file);
    assert_eq!((all[0].0, all[0].2.as_str()), (3, "-----BEGIN\nmiddle\n-----END"));
    assert_eq!((all[1].0, all[1].2.as_str()), (6, "c"));
}

#[test]
fn the_place_is_the_value_without_quotes_blanks_and_comment() {
    for file in ["A=secret", "A = 'secret' # x", "export A=\"secret\"\n", "A=secret   # x\r\n"] {
        assert_eq!(one(file).1, "secret", "{file:?}");
    }
}

#[test]
fn what_readers_take_differently_is_left_with_its_number_and_the_rest_is_read() {
    for (bad, key, why) in [
        ("just words", None, NO_ASSIGNMENT),
        ("=b", None, NO_ASSIGNMENT),
        ("1A=b", None, NO_ASSIGNMENT),
        ("A: b", None, NO_ASSIGNMENT),
        ("A='b", Some("A"), OPEN),
        ("A=\"b\"c", Some("A"), BEHIND),
        ("A=\"b\\\"c\"", Some("A"), BACKSLASH),
        ("A=\"b\\", Some("A"), BACKSLASH),
        ("A=b#c", Some("A"), HASH),
        ("A=$B", Some("A"), REFERS),
        ("A=\"x${B}\"", Some("A"), REFERS),
        ("A=`$(id)`", Some("A"), REFERS),
    ] {
        let parsed = parse(format!("# x\n{bad}\nC=d\n").as_bytes());
        assert_eq!(parsed.left, [Left { line: 2, key: key.map(ToOwned::to_owned), why }], "{bad:?}");
        let read: Vec<_> = parsed.entries.iter().map(|entry| (entry.line, entry.key.as_str())).collect();
        assert_eq!(read, [(3, "C")], "{bad:?}");
    }
}

#[test]
fn a_name_with_two_values_is_left_and_the_same_value_twice_is_not() {
    let parsed = parse(b"A=one-value\nB=x\nA=another-value\nC=same\nC=same\n");
    assert_eq!(parsed.left.iter().map(|left| (left.line, left.why)).collect::<Vec<_>>(), [(1, TWICE), (3, TWICE)]);
    assert_eq!(parsed.entries.iter().map(|entry| entry.key.as_str()).collect::<Vec<_>>(), ["B", "C", "C"]);
}

#[test]
fn no_bytes_make_it_panic_and_every_place_lies_in_the_file() {
    let alphabet = b"A=\"'`\\n$#{ \n\r\t\xff.";
    let mut state = 7_u32;
    for _ in 0..20_000 {
        let mut file = Vec::new();
        for _ in 0..12 {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            file.push(alphabet[(state >> 16) as usize % alphabet.len()]);
        }
        for entry in parse(&file).entries {
            assert!(entry.place.start <= entry.place.end && entry.place.end <= file.len(), "{file:?}");
        }
    }
}
