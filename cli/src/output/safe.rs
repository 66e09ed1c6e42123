//! Takes from a text the power over a terminal: escape sequences, control characters, and characters that turn the
//! direction of text around or are invisible.

use serde_json::Value;

/// The text with each such character written as `\u{…}`. One line stays one line.
pub fn safe(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        if dangerous(c) {
            out.extend(c.escape_unicode());
        } else {
            out.push(c);
        }
    }
    out
}

/// The same for text that is JSON: such characters can only stand in its strings, line ends between them.
pub(super) fn safe_json(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        if c != '\n' && dangerous(c) {
            for unit in c.encode_utf16(&mut [0; 2]) {
                out.push_str(&format!("\\u{unit:04x}"));
            }
        } else {
            out.push(c);
        }
    }
    out
}

/// The same for all strings and keys of a value.
pub fn safe_value(value: &mut Value) {
    match value {
        Value::String(text) => *text = safe(text),
        Value::Array(list) => list.iter_mut().for_each(safe_value),
        Value::Object(map) => {
            let entries = std::mem::take(map);
            for (key, mut value) in entries {
                safe_value(&mut value);
                map.insert(safe(&key), value);
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

fn dangerous(c: char) -> bool {
    c.is_control()
        || matches!(c,
            '\u{00ad}' | '\u{061c}' | '\u{180e}'
            | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}'
            | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}')
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// What THREATS 1.8 lists: ESC, OSC 8, OSC 52, C1, bidirectional controls.
    const ATTACKS: [&str; 8] = [
        "\x1b[2J",
        "\x1b]8;;https://evil.example\x1b\\click\x1b]8;;\x1b\\",
        "\x1b]52;c;ZXZpbA==\x07",
        "\u{9b}31m",
        "safe\u{202e}gpj.exe",
        "a\rb",
        "a\nb",
        "\u{feff}\u{200b}\u{e0041}",
    ];

    #[test]
    fn no_attack_keeps_its_power() {
        for attack in ATTACKS {
            let shown = safe(attack);
            assert!(!shown.chars().any(dangerous), "{shown:?}");
            let json = safe_json(&serde_json::to_string(attack).unwrap());
            assert!(!json.chars().any(dangerous), "{json:?}");
            assert_eq!(
                serde_json::from_str::<String>(&json).unwrap(),
                attack,
                "JSON keeps the value"
            );
        }
    }

    #[test]
    fn ordinary_text_of_any_language_is_left_alone() {
        for text in [
            "cart",
            "Käse für Zoë",
            "日本語",
            "عربى",
            "🚀 x",
            "Deployment.apps/shop/cart",
        ] {
            assert_eq!(safe(text), text);
        }
    }

    proptest! {
        #[test]
        fn nothing_dangerous_ever_comes_out(text in any::<String>()) {
            prop_assert!(!safe(&text).chars().any(dangerous));
            let json = safe_json(&serde_json::to_string(&text).unwrap());
            prop_assert!(!json.chars().any(dangerous));
            prop_assert_eq!(serde_json::from_str::<String>(&json).unwrap(), text);
        }
    }
}
