use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;

const SMALL: Limits = Limits {
    bytes: 4096,
    depth: 8,
};

fn text(value: &Value) -> String {
    String::from_utf8(canonical(value).unwrap()).unwrap()
}

#[test]
fn keys_are_sorted_by_utf16_units() {
    let value = json!({"\u{20ac}": 1, "\r": 2, "\u{fb33}": 3, "1": 4, "\u{1f600}": 5, "\u{80}": 6, "\u{f6}": 7});
    let want = "{\"\\r\":2,\"1\":4,\"\u{80}\":6,\"\u{f6}\":7,\"\u{20ac}\":1,\"\u{1f600}\":5,\"\u{fb33}\":3}";
    assert_eq!(text(&value), want);
}

#[test]
fn integers_of_64_bits_stand_verbatim() {
    assert_eq!(
        text(&json!([i64::MIN, u64::MAX, 9_007_199_254_740_993_u64, 0])),
        "[-9223372036854775808,18446744073709551615,9007199254740993,0]"
    );
}

#[test]
fn floats_are_written_as_rfc_8785_says() {
    let cases = [
        (0.0, "0"),
        (-0.0, "0"),
        (5e-324, "5e-324"),
        (-1.797_693_134_862_315_7e308, "-1.7976931348623157e+308"),
        (9_007_199_254_740_992.0, "9007199254740992"),
        (1e21, "1e+21"),
        (999_999_999_999_999.9, "999999999999999.9"),
        (333_333_333.333_333_3, "333333333.3333333"),
        (1e-6, "0.000001"),
        (1e-7, "1e-7"),
        (1.5, "1.5"),
        (100.0, "100"),
        (-2.5e-9, "-2.5e-9"),
        (1.234e25, "1.234e+25"),
    ];
    for (float, want) in cases {
        assert_eq!(text(&json!(float)), want);
    }
}

#[test]
fn a_float_that_would_read_as_another_integer_is_refused() {
    for float in [
        9_007_199_254_740_994.0,
        1e20,
        -1e20,
        9_223_372_036_854_775_808.0,
    ] {
        assert!(
            matches!(canonical(&json!([float])), Err(JsonError::Number { .. })),
            "{float}"
        );
    }
}

#[test]
fn what_two_readers_could_read_differently_is_refused() {
    let refused: [&[u8]; 34] = [
        b"",
        b" ",
        b"\xef\xbb\xbf{}",
        b"{} x",
        b"{}{}",
        b"{\"a\":1,}",
        b"[1,]",
        b"{\"a\":1,\"a\":1}",
        b"{\"a\":1,\"\\u0061\":2}",
        b"{a:1}",
        b"{\"a\" 1}",
        b"'a'",
        b"\"a",
        b"\"\n\"",
        b"\"\\x\"",
        b"\"\\u12\"",
        b"\"\\u+123\"",
        b"\"\\ud800\"",
        b"\"\\udc00\"",
        b"\"\\ud800\\u0041\"",
        b"\"\\\xc3\xa9\"",
        b"\"\xff\"",
        b"01",
        b"-",
        b"+1",
        b".5",
        b"1.",
        b"1e",
        b"1e999",
        b"18446744073709551616",
        b"-9223372036854775809",
        b"NaN",
        b"tru",
        b"/**/1",
    ];
    for bytes in refused {
        assert!(
            parse(bytes, &SMALL).is_err(),
            "{}",
            String::from_utf8_lossy(bytes)
        );
    }
}

#[test]
fn size_and_depth_are_limited_at_the_limit_exactly() {
    assert!(parse("[[[[[[[[]]]]]]]]".as_bytes(), &SMALL).is_ok());
    assert_eq!(
        parse("[[[[[[[[{}]]]]]]]]".as_bytes(), &SMALL),
        Err(JsonError::TooDeep { max: 8 })
    );
    assert!(
        parse(
            &[b' '; 4095].into_iter().chain([b'1']).collect::<Vec<_>>(),
            &SMALL
        )
        .is_ok()
    );
    assert_eq!(
        parse(&[b' '; 4097], &SMALL),
        Err(JsonError::TooLarge {
            got: 4097,
            max: 4096
        })
    );
    let mut deep = json!(1);
    for _ in 0..129 {
        deep = json!([deep]);
    }
    assert_eq!(canonical(&deep), Err(JsonError::TooDeep { max: 128 }));
}

fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        any::<f64>()
            .prop_filter("has a canonical form", |f| canonical(&json!(f)).is_ok())
            .prop_map(Value::from),
        any::<String>().prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 32, 6, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..6).prop_map(Value::from),
            prop::collection::hash_map(any::<String>(), inner, 0..6)
                .prop_map(|map| Value::Object(map.into_iter().collect())),
        ]
    })
}

/// Numbers on which RFC 8785 and we agree.
fn below_2_53(value: &Value) -> bool {
    match value {
        Value::Number(number) => number
            .as_f64()
            .is_some_and(|f| number.is_f64() || f.abs() < 9_007_199_254_740_992.0),
        Value::Array(items) => items.iter().all(below_2_53),
        Value::Object(fields) => fields.values().all(below_2_53),
        _ => true,
    }
}

proptest! {
    #[test]
    fn canonical_bytes_are_those_of_rfc_8785_below_2_to_the_53(value in any_json().prop_filter("agreed", below_2_53)) {
        prop_assert_eq!(text(&value), serde_jcs::to_string(&value).unwrap());
    }

    #[test]
    fn canonical_bytes_read_back_give_the_same_bytes(value in any_json()) {
        let bytes = canonical(&value).unwrap();
        let read = parse(&bytes, &Limits::object()).unwrap();
        prop_assert_eq!(canonical(&read).unwrap(), bytes);
    }

    #[test]
    fn what_we_read_any_parser_reads_alike(text in "[\\[\\]{}:,0-9eE.+\\- tfn\"\\\\u]{0,24}") {
        if let Ok(ours) = parse(text.as_bytes(), &SMALL) {
            let theirs: Value = serde_json::from_str(&text).unwrap();
            prop_assert_eq!(ours, theirs);
        }
    }

    #[test]
    fn no_bytes_make_the_parser_panic(bytes in prop::collection::vec(any::<u8>(), 0..64)) {
        let _ = parse(&bytes, &SMALL);
    }
}
