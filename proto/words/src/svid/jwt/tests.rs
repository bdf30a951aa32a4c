//! The tester holds all keys and mints whatever it likes. Every row has a control that differs in one thing.

mod tester;

use super::*;
use ring::signature::KeyPair;
use serde_json::json;
use tester::Keys;

const NOW: Millis = Millis(1_800_000_000_000);
const SUB: &str = "spiffe://tester.test/agent/a";
const NINE: [&str; 9] = ["ES256", "ES384", "ES512", "RS256", "RS384", "RS512", "PS256", "PS384", "PS512"];

fn header() -> Value {
    json!({"alg": "ES256", "kid": "p256", "typ": "JWT"})
}

fn claims() -> Value {
    json!({"sub": SUB, "aud": ["me"], "exp": NOW.seconds() + 300, "iat": NOW.seconds(), "jti": "1"})
}

fn changed(mut value: Value, member: &str, to: Option<Value>) -> Value {
    let object = value.as_object_mut().unwrap();
    match to {
        Some(to) => object.insert(member.to_owned(), to),
        None => object.remove(member),
    };
    value
}

fn bundles(keys: &Keys) -> Bundles {
    keys.bundle("tester.test", &["p256", "p384", "p521", "rsa"]).into()
}

fn verify(token: &str, bundles: &Bundles) -> Result<JwtSvid, BadJwtSvid> {
    JwtSvid::parse_and_verify(token, &["me"], bundles, NOW, Duration::from_secs(5))
}

#[test]
fn a_valid_token_says_what_it_is() {
    let keys = Keys::new();
    let svid = verify(&keys.token(&header(), &claims()), &bundles(&keys)).unwrap();
    assert_eq!(svid.id().as_str(), SUB);
    assert_eq!(svid.audience(), ["me"]);
    assert_eq!(svid.expires(), Millis(NOW.0 + 300_000));
    assert_eq!(svid.claims()["jti"], "1");
    assert!(!format!("{svid:?}").contains("jti"));
}

/// JWTV-02, JWTV-08: with `kid` and without.
#[test]
fn all_nine_algorithms_verify() {
    let keys = Keys::new();
    for algorithm in NINE {
        let kid = match algorithm {
            "ES256" => "p256",
            "ES384" => "p384",
            "ES512" => "p521",
            _ => "rsa",
        };
        let bundles = bundles(&keys);
        let with = keys.token(&json!({"alg": algorithm, "kid": kid}), &claims());
        assert!(verify(&with, &bundles).is_ok(), "{algorithm}");
        let without = keys.token(&json!({"alg": algorithm}), &claims());
        assert!(verify(&without, &bundles).is_ok(), "{algorithm} without kid");
        let other = keys.token(&json!({"alg": algorithm, "kid": "unknown"}), &claims());
        assert_eq!(verify(&other, &bundles), Err(BadJwtSvid::Signature), "{algorithm} with another kid");
    }
}

/// JWTV-01.
#[test]
fn no_other_algorithm_is_processed() {
    let keys = Keys::new();
    let with_ed = keys.bundle("tester.test", &["p256", "ed25519"]).into();
    for algorithm in
        ["none", "None", "NONE", "", "HS256", "HS384", "HS512", "EdDSA", "ES256K", "es256", "ES256 ", "RS1"]
    {
        for kid in ["p256", "ed25519"] {
            let token = keys.token(&json!({"alg": algorithm, "kid": kid}), &claims());
            assert_eq!(verify(&token, &with_ed), Err(BadJwtSvid::Algorithm), "{algorithm}");
        }
    }
    for alg in [json!(null), json!(7), json!(["ES256"]), json!({"alg": "ES256"})] {
        let token = keys.token(&json!({"alg": alg, "kid": "p256"}), &claims());
        assert_eq!(verify(&token, &with_ed), Err(BadJwtSvid::Algorithm));
    }
    let absent = keys.raw("{\"kid\":\"p256\"}", &claims().to_string(), "ES256");
    assert_eq!(verify(&absent, &with_ed), Err(BadJwtSvid::Algorithm));
    assert!(verify(&keys.token(&header(), &claims()), &with_ed).is_ok(), "the control");
}

/// JWTV-03.
#[test]
fn the_algorithm_has_to_fit_the_key() {
    let keys = Keys::new();
    let cases = [
        ("RS256", "p256"),
        ("ES256", "rsa"),
        ("ES384", "p256"),
        ("ES256", "p384"),
        ("ES512", "p384"),
        ("PS256", "p256"),
    ];
    for (algorithm, kid) in cases {
        let token = keys.token(&json!({"alg": algorithm, "kid": kid}), &claims());
        assert_eq!(verify(&token, &bundles(&keys)), Err(BadJwtSvid::Signature), "{algorithm} {kid}");
    }
    // A curve's signature under another curve's name, by a key that made it.
    for (said, kid, made) in [("ES384", "p256", "ES256"), ("ES256", "p384", "ES384"), ("ES512", "p256", "ES256")] {
        let token = keys.raw(&json!({"alg": said, "kid": kid}).to_string(), &claims().to_string(), made);
        assert_eq!(verify(&token, &bundles(&keys)), Err(BadJwtSvid::Signature), "{said}");
    }
    // What RS256 made is not what PS256 or RS384 says.
    for said in ["PS256", "RS384", "RS512"] {
        let token = keys.raw(&json!({"alg": said, "kid": "rsa"}).to_string(), &claims().to_string(), "RS256");
        assert_eq!(verify(&token, &bundles(&keys)), Err(BadJwtSvid::Signature), "{said}");
    }
}

/// JWTV-04, AMB-04.
#[test]
fn the_audience_has_to_be_an_exact_element() {
    let keys = Keys::new();
    let with = |aud: Option<Value>| verify(&keys.token(&header(), &changed(claims(), "aud", aud)), &bundles(&keys));
    for good in [json!(["me"]), json!("me"), json!(["x", "me"]), json!(["me", "x"])] {
        assert!(with(Some(good.clone())).is_ok(), "{good}");
    }
    let bad = [
        json!([]),
        json!(""),
        json!([""]),
        json!(["other"]),
        json!(["ME"]),
        json!(["me2"]),
        json!("m"),
        json!(null),
        json!(7),
        json!(["me", 7]),
        json!([["me"]]),
        json!({"me": "me"}),
        json!(" me"),
        json!("me,other"),
        json!("*"),
    ];
    for bad in bad {
        assert_eq!(with(Some(bad.clone())), Err(BadJwtSvid::Audience), "{bad}");
    }
    assert_eq!(with(None), Err(BadJwtSvid::Audience));
    let token = keys.token(&header(), &claims());
    let for_nobody = JwtSvid::parse_and_verify(&token, &[], &bundles(&keys), NOW, Duration::ZERO);
    assert_eq!(for_nobody, Err(BadJwtSvid::Audience));
    let list = with(Some(json!(["me", "x"]))).unwrap();
    assert_eq!(list.audience(), ["me", "x"]);
}

/// JWTV-05, JWTV-06, SIL-06.
#[test]
fn times_are_demanded_and_kept() {
    let keys = Keys::new();
    let now = NOW.seconds();
    let with = |member: &str, to: Option<Value>| {
        verify(&keys.token(&header(), &changed(claims(), member, to)), &bundles(&keys)).map(|_| ())
    };
    for good in [json!(now + 1), json!(now), json!(now - 4), json!(now as f64 + 0.5), json!(u64::MAX), json!(1e300)] {
        assert_eq!(with("exp", Some(good.clone())), Ok(()), "{good}");
    }
    for past in [json!(now - 5), json!(now - 300), json!(0), json!(-1), json!(-1e300)] {
        assert_eq!(with("exp", Some(past.clone())), Err(BadJwtSvid::Expired), "{past}");
    }
    for bad in [None, Some(json!(null)), Some(json!("1900000000")), Some(json!([now + 300])), Some(json!(true))] {
        assert_eq!(with("exp", bad), Err(BadJwtSvid::NoExpiry));
    }
    for good in [None, Some(json!(now)), Some(json!(now - 300)), Some(json!(now + 5))] {
        assert_eq!(with("nbf", good), Ok(()));
    }
    for bad in [json!(now + 6), json!(now + 300), json!("0"), json!(null)] {
        assert_eq!(with("nbf", Some(bad.clone())), Err(BadJwtSvid::NotYet), "{bad}");
    }
    assert_eq!(with("iat", Some(json!(now + 300))), Ok(()), "iat is no not-before");
    let late = keys.token(&header(), &changed(claims(), "exp", Some(json!(now - 61))));
    let generous = JwtSvid::parse_and_verify(&late, &["me"], &bundles(&keys), NOW, Duration::from_secs(3600));
    assert_eq!(generous, Err(BadJwtSvid::Expired), "leeway ends at a minute");
}

/// JWTV-07, JWTV-09, AMB-06.
#[test]
fn the_header_may_say_only_so_much() {
    let keys = Keys::new();
    let with = |member: &str, to: Option<Value>| {
        verify(&keys.token(&changed(header(), member, to), &claims()), &bundles(&keys)).map(|_| ())
    };
    for good in [None, Some(json!("JWT")), Some(json!("JOSE"))] {
        assert_eq!(with("typ", good), Ok(()));
    }
    for bad in [json!("at+jwt"), json!("wit+jwt"), json!("jwt"), json!(""), json!(null), json!(["JWT"])] {
        assert_eq!(with("typ", Some(bad.clone())), Err(BadJwtSvid::Type), "{bad}");
    }
    for crit in [json!(["exp"]), json!(["b64"]), json!([]), json!(null)] {
        assert_eq!(with("crit", Some(crit)), Err(BadJwtSvid::Critical));
    }
    for b64 in [json!(false), json!(true)] {
        assert_eq!(with("b64", Some(b64)), Err(BadJwtSvid::Critical));
    }
    for kid in [json!(7), json!(null), json!(["p256"])] {
        assert_eq!(with("kid", Some(kid)), Err(BadJwtSvid::Malformed));
    }
    for kid in ["../p256", "p256\0", "P256", "", "*", "p256' OR '1'='1"] {
        assert_eq!(with("kid", Some(json!(kid))), Err(BadJwtSvid::Signature), "{kid:?}");
    }
    for (member, value) in [("x5c", json!(["AA=="])), ("jku", json!("https://evil.test/jwks")), ("cty", json!("x"))] {
        assert_eq!(with(member, Some(value)), Ok(()), "{member} has no effect");
    }
}

/// S02: a key in the token is nobody's.
#[test]
fn a_key_never_comes_from_the_token() {
    let (keys, evil) = (Keys::new(), Keys::new());
    let bundle = evil.bundle("tester.test", &["p256"]);
    let jwk = Value::Object(bundle.jwt[0].jwk().unwrap());
    let forged = evil.token(&changed(header(), "jwk", Some(jwk)), &claims());
    assert!(verify(&forged, &bundle.into()).is_ok(), "the control: its own bundle");
    assert_eq!(verify(&forged, &bundles(&keys)), Err(BadJwtSvid::Signature));
}

/// JWTV-10.
#[test]
fn the_subject_has_to_be_a_workloads_id() {
    let keys = Keys::new();
    let with = |sub: Option<Value>| {
        verify(&keys.token(&header(), &changed(claims(), "sub", sub)), &bundles(&keys)).map(|_| ())
    };
    assert_eq!(with(Some(json!("spiffe://tester.test/x"))), Ok(()));
    for bad in [None, Some(json!(null)), Some(json!(7)), Some(json!([SUB])), Some(json!("spiffe://tester.test"))] {
        assert_eq!(with(bad), Err(BadJwtSvid::NoSubject));
    }
    for bad in [
        "",
        "a",
        "https://tester.test/a",
        "spiffe://tester.test/",
        "spiffe://tester.test//a",
        "spiffe://tester.test/a/../b",
        "spiffe://tester.test/%61",
        "spiffe://Tester.test/a",
        "spiffe://tester.test:1/a",
        "spiffe://u@tester.test/a",
        "spiffe://tester.test/a?x",
        "spiffe://tester.test/a#x",
        "spiffe:///a",
    ] {
        assert!(matches!(with(Some(json!(bad))), Err(BadJwtSvid::Subject(_))), "{bad}");
    }
}

/// JWTV-11, JWTV-15.
#[test]
fn the_key_comes_from_the_subjects_own_trust_domain() {
    let (a, b) = (Keys::new(), Keys::new());
    let both: Bundles = [a.bundle("tester.test", &["p256"]), b.bundle("other.test", &["p256"])].into_iter().collect();
    let of = |keys: &Keys, sub: &str| {
        verify(&keys.token(&header(), &changed(claims(), "sub", Some(json!(sub)))), &both).map(|_| ())
    };
    assert_eq!(of(&a, "spiffe://tester.test/x"), Ok(()));
    assert_eq!(of(&b, "spiffe://other.test/x"), Ok(()));
    assert_eq!(of(&a, "spiffe://other.test/x"), Err(BadJwtSvid::Signature));
    assert_eq!(of(&b, "spiffe://tester.test/x"), Err(BadJwtSvid::Signature));
    let third = TrustDomain::parse("third.test").unwrap();
    assert_eq!(of(&a, "spiffe://third.test/x"), Err(BadJwtSvid::NoBundle(third)));
    let empty = a.bundle("tester.test", &[]).into();
    assert_eq!(verify(&a.token(&header(), &claims()), &empty), Err(BadJwtSvid::Signature));
}

/// JWTV-12.
#[test]
fn damage_is_found() {
    let keys = Keys::new();
    let bundles = bundles(&keys);
    let good = keys.token(&header(), &claims());
    let parts: Vec<&str> = good.split('.').collect();
    let [head, payload, signature] = parts[..] else { panic!() };
    assert!(verify(&[head, payload, signature].join("."), &bundles).is_ok(), "the control");

    let mut bytes = URL_SAFE_NO_PAD.decode(signature).unwrap();
    bytes[40] ^= 1;
    let flipped = format!("{head}.{payload}.{}", URL_SAFE_NO_PAD.encode(&bytes));
    assert_eq!(verify(&flipped, &bundles), Err(BadJwtSvid::Signature));
    let admin = URL_SAFE_NO_PAD.encode(changed(claims(), "sub", Some(json!("spiffe://tester.test/admin"))).to_string());
    assert_eq!(verify(&[head, &admin, signature].join("."), &bundles), Err(BadJwtSvid::Signature));
    for short in ["", "AA", &signature[..84]] {
        assert_eq!(verify(&[head, payload, short].join("."), &bundles), Err(BadJwtSvid::Signature));
    }
    let jws = json!({"payload": payload, "protected": head, "signature": signature}).to_string();
    let bad_base64 = URL_SAFE_NO_PAD.encode("{\"alg\":\"ES256\"");
    let malformed = [
        String::new(),
        ".".to_owned(),
        "..".to_owned(),
        [head, payload].join("."),
        format!("{good}."),
        format!(".{good}"),
        format!("{good}.{signature}"),
        format!("{good}="),
        format!("{good}\n"),
        format!(" {good}"),
        [head, &format!("{payload}=="), signature].join("."),
        [head, &payload.replacen('e', "+", 1), signature].join("."),
        ["", payload, signature].join("."),
        [head, "", signature].join("."),
        [&bad_base64, payload, signature].join("."),
        jws,
        format!("Bearer {good}"),
        "\u{e9}.\u{e9}.\u{e9}".to_owned(),
    ];
    for bad in malformed {
        assert_eq!(verify(&bad, &bundles), Err(BadJwtSvid::Malformed), "{bad}");
    }
}

/// S02.
#[test]
fn names_that_stand_twice_are_refused() {
    let keys = Keys::new();
    let payload = claims().to_string();
    let head = header().to_string();
    let doubled = |text: &str, member: &str| text.replacen('{', &format!("{{{member},"), 1);
    let tokens = [
        keys.raw(&head, &doubled(&payload, r#""sub":"spiffe://tester.test/admin""#), "ES256"),
        keys.raw(&head, &doubled(&payload, r#""aud":["me"]"#), "ES256"),
        keys.raw(&head, &doubled(&payload, r#""s\u0075b":"spiffe://tester.test/admin""#), "ES256"),
        keys.raw(&doubled(&head, r#""alg":"none""#), &payload, "ES256"),
        keys.raw(&head, &doubled(&payload, r#""x":{"a":1,"a":2}"#), "ES256"),
    ];
    for token in tokens {
        assert_eq!(verify(&token, &bundles(&keys)), Err(BadJwtSvid::Malformed));
    }
    let once = keys.raw(&head, &doubled(&payload, r#""x":{"a":1}"#), "ES256");
    assert!(verify(&once, &bundles(&keys)).is_ok(), "the control");
}

/// N09, N10: one over the line, and far over it.
#[test]
fn tokens_have_limits() {
    let keys = Keys::new();
    let padded = |size: usize| keys.token(&header(), &changed(claims(), "pad", Some(json!("x".repeat(size)))));
    let size = (0..).find(|size| padded(11_800 + size).len() > JwtSvid::MAX).unwrap() + 11_800;
    assert!(verify(&padded(size - 1), &bundles(&keys)).is_ok());
    assert_eq!(verify(&padded(size), &bundles(&keys)), Err(BadJwtSvid::TooLarge));
    assert_eq!(verify(&".".repeat(1_000_000), &bundles(&keys)), Err(BadJwtSvid::TooLarge));
    assert_eq!(verify(&".".repeat(JwtSvid::MAX), &bundles(&keys)), Err(BadJwtSvid::Malformed));
    let deep = format!("{}{}", "[".repeat(5000), "]".repeat(5000));
    let nested = keys.raw(&header().to_string(), &format!("{{\"a\":{deep}}}"), "ES256");
    assert_eq!(verify(&nested, &bundles(&keys)), Err(BadJwtSvid::Malformed));
}

/// JWTV-14.
#[test]
fn the_same_token_may_be_shown_twice() {
    let keys = Keys::new();
    let token = keys.token(&header(), &claims());
    assert!(verify(&token, &bundles(&keys)).is_ok() && verify(&token, &bundles(&keys)).is_ok());
}

#[test]
fn tokens_without_kid_try_a_limited_number_of_keys() {
    let (keys, others) = (Keys::new(), Keys::new());
    let mut bundle = others.bundle("tester.test", &["p256"]);
    let filler = bundle.jwt[0].clone();
    bundle.jwt = vec![filler.clone(); MAX_KEYS_TRIED - 1];
    bundle.jwt.push(keys.bundle("tester.test", &["p256"]).jwt.remove(0));
    let token = keys.token(&json!({"alg": "ES256"}), &claims());
    assert!(verify(&token, &bundle.clone().into()).is_ok());
    bundle.jwt.insert(0, filler);
    assert_eq!(verify(&token, &bundle.into()), Err(BadJwtSvid::Signature));
}

/// WAJ-10, WAJ-11, JWTB-01, JWTB-02.
#[test]
fn the_bundle_is_written_as_a_jwk_set() {
    let keys = Keys::new();
    let bundle = keys.bundle("tester.test", &["p256", "p384", "p521", "rsa", "ed25519"]);
    let set: Value = serde_json::from_str(&bundle.jwks()).unwrap();
    let written = set["keys"].as_array().unwrap();
    assert_eq!(written.len(), 4, "a key of another kind is left out");
    let text = |bytes: &[u8]| json!(URL_SAFE_NO_PAD.encode(bytes));
    let point = keys.p256.public_key().as_ref();
    assert_eq!(
        written[0],
        json!({
            "kty": "EC", "crv": "P-256", "kid": "p256", "use": "jwt-svid", "x": text(&point[1..33]), "y": text(&point[33..]),
        })
    );
    for (at, crv, length) in [(1, "P-384", 48), (2, "P-521", 66)] {
        assert_eq!(written[at]["crv"], crv);
        for coordinate in ["x", "y"] {
            let bytes = URL_SAFE_NO_PAD.decode(written[at][coordinate].as_str().unwrap()).unwrap();
            assert_eq!(bytes.len(), length, "{crv}");
        }
    }
    let rsa = &written[3];
    // RSAPublicKey: two headers and a zero, the modulus, the exponent.
    let modulus = keys.rsa.public_key().as_ref()[9..265].to_vec();
    assert_eq!(rsa, &json!({"kty": "RSA", "kid": "rsa", "use": "jwt-svid", "n": text(&modulus), "e": "AQAB"}));
    assert_eq!(keys.bundle("tester.test", &[]).jwks(), r#"{"keys":[]}"#);
}

/// SID-22: what a broker shows to a source is nobody, whatever it is for and whoever asks.
#[test]
fn a_brokered_token_is_a_brokers_alone() {
    let keys = Keys::new();
    let of = |sub: &str| keys.token(&header(), &changed(claims(), "sub", Some(json!(sub))));
    let brokered = |token: &str| {
        JwtSvid::parse_and_verify_brokered(token, &["me"], &bundles(&keys), NOW, Duration::ZERO).map(|_| ())
    };
    let plain = of("spiffe://tester.test/agent/a");
    assert_eq!(verify(&plain, &bundles(&keys)).map(|_| ()), Ok(()));
    assert_eq!(brokered(&plain), Err(BadJwtSvid::NotBrokered));
    for path in ["agent/a", "node/laptop"] {
        let token = of(&format!("spiffe://tester.test/brokered/{path}"));
        assert_eq!(verify(&token, &bundles(&keys)).map(|_| ()), Err(BadJwtSvid::Brokered), "{path}");
        assert_eq!(brokered(&token), Ok(()), "{path}");
    }
}
