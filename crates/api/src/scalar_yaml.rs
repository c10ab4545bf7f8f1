//! What a YAML scalar means to kubectl, which follows YAML 1.1 (sigs.k8s.io/yaml).

use serde_json::{Number, Value};
use std::borrow::Cow;

pub(crate) enum Resolved {
    /// The text itself.
    Text,
    /// Null, a boolean or a number.
    Value(Value),
    /// `.inf` and `.nan`.
    NotJson,
}

/// Resolves a scalar by its text, whether it is plain (unquoted), and its tag if any.
pub(crate) fn resolve(text: &str, plain: bool, tag: Option<(&str, &str)>) -> Resolved {
    match tag {
        Some(("tag:yaml.org,2002:", "str" | "binary" | "timestamp")) => return Resolved::Text,
        Some(("tag:yaml.org,2002:", _)) => {}
        _ if !plain => return Resolved::Text,
        _ => {}
    }
    match text {
        "" | "~" | "null" | "Null" | "NULL" => return Resolved::Value(Value::Null),
        "y" | "Y" | "yes" | "Yes" | "YES" | "true" | "True" | "TRUE" | "on" | "On" | "ON" => {
            return Resolved::Value(Value::Bool(true));
        }
        "n" | "N" | "no" | "No" | "NO" | "false" | "False" | "FALSE" | "off" | "Off" | "OFF" => {
            return Resolved::Value(Value::Bool(false));
        }
        ".inf" | ".Inf" | ".INF" | "+.inf" | "+.Inf" | "+.INF" | "-.inf" | "-.Inf" | "-.INF"
        | ".nan" | ".NaN" | ".NAN" => {
            return Resolved::NotJson;
        }
        _ => {}
    }
    match number(text) {
        Some(number) => Resolved::Value(Value::Number(number)),
        None => Resolved::Text,
    }
}

fn number(text: &str) -> Option<Number> {
    let first = text.bytes().next()?;
    if !(first.is_ascii_digit() || matches!(first, b'+' | b'-' | b'.')) || text.len() > 64 {
        return None;
    }
    let digits = if text.contains('_') {
        Cow::Owned(text.replace('_', ""))
    } else {
        Cow::Borrowed(text)
    };
    let (negative, magnitude) = match digits.as_bytes().first()? {
        b'-' => (true, &digits[1..]),
        b'+' => (false, &digits[1..]),
        _ => (false, &*digits),
    };
    let (radix, body) = match magnitude.get(..2) {
        Some("0x" | "0X") => (16, &magnitude[2..]),
        Some("0o" | "0O") => (8, &magnitude[2..]),
        Some("0b" | "0B") => (2, &magnitude[2..]),
        _ if magnitude.len() > 1 && magnitude.starts_with('0') => (8, &magnitude[1..]),
        _ => (10, magnitude),
    };
    if !body.is_empty()
        && body.bytes().all(|b| b.is_ascii_alphanumeric())
        && let Ok(n) = u64::from_str_radix(body, radix)
    {
        if !negative {
            return Some(Number::from(n));
        }
        if let Ok(n) = i64::try_from(-i128::from(n)) {
            return Some(Number::from(n));
        }
    }
    float(magnitude)
        .then(|| digits.parse::<f64>().ok().and_then(Number::from_f64))
        .flatten()
}

/// Digits with a point or an exponent: what Rust's parser accepts beyond that (`inf`, `nan`) is text in YAML.
fn float(text: &str) -> bool {
    let (mantissa, exponent) = match text.find(['e', 'E']) {
        Some(at) => (&text[..at], Some(&text[at + 1..])),
        None => (text, None),
    };
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let all_digits = |s: &str| s.bytes().all(|b| b.is_ascii_digit());
    let exponent = exponent.is_none_or(|e| {
        let e = e.strip_prefix(['+', '-']).unwrap_or(e);
        !e.is_empty() && all_digits(e)
    });
    exponent
        && all_digits(whole)
        && all_digits(fraction)
        && !(whole.is_empty() && fraction.is_empty())
}
