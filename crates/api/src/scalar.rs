//! Foreign scalars: durations, times, base64 bytes, and numbers that may be names.

use crate::message::{FaultKind, Field, Reader};
use crate::shape::Shape;
use serde_json::Value;
use std::fmt;

/// A span of time with nanosecond precision, as `google.protobuf.Duration`; may be negative.
///
/// Read as Go reads durations (`1.5s`, `300ms`, `1h30m`), for Istio's decoder does; written as proto3's JSON (`1.5s`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Duration {
    nanos: i64,
}

impl Duration {
    pub const ZERO: Duration = Duration { nanos: 0 };

    pub const fn from_nanos(nanos: i64) -> Self {
        Duration { nanos }
    }

    pub const fn from_millis(millis: i64) -> Self {
        Duration {
            nanos: millis.saturating_mul(1_000_000),
        }
    }

    pub const fn from_secs(secs: i64) -> Self {
        Duration {
            nanos: secs.saturating_mul(1_000_000_000),
        }
    }

    pub const fn nanos(self) -> i64 {
        self.nanos
    }

    pub const fn is_zero(self) -> bool {
        self.nanos == 0
    }

    /// As the standard library's duration; a negative one is zero.
    pub fn to_std(self) -> std::time::Duration {
        std::time::Duration::from_nanos(u64::try_from(self.nanos).unwrap_or(0))
    }

    /// Parses Go's syntax: an optional sign, then numbers each with a unit; `0` needs none.
    pub fn parse(text: &str) -> Result<Self, String> {
        let bad = || {
            format!(
                "bad duration \"{}\"",
                text.chars().take(40).collect::<String>()
            )
        };
        let (negative, mut rest) = match text.as_bytes().first() {
            Some(b'-') => (true, &text[1..]),
            Some(b'+') => (false, &text[1..]),
            _ => (false, text),
        };
        if rest == "0" {
            return Ok(Self::ZERO);
        }
        if rest.is_empty() {
            return Err(bad());
        }
        let mut total: i128 = 0;
        while !rest.is_empty() {
            let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
            let (whole, after) = rest.split_at(digits);
            let (fraction, after) = match after.strip_prefix('.') {
                Some(after) => after.split_at(after.bytes().take_while(u8::is_ascii_digit).count()),
                None => ("", after),
            };
            if whole.is_empty() && fraction.is_empty() {
                return Err(bad());
            }
            let unit_len = after
                .char_indices()
                .find(|(_, c)| c.is_ascii_digit() || *c == '.')
                .map_or(after.len(), |(i, _)| i);
            let (unit, after) = after.split_at(unit_len);
            let unit: i128 = match unit {
                "ns" => 1,
                "us" | "µs" | "μs" => 1_000,
                "ms" => 1_000_000,
                "s" => 1_000_000_000,
                "m" => 60_000_000_000,
                "h" => 3_600_000_000_000,
                "" => {
                    return Err(format!(
                        "missing unit in duration \"{}\"",
                        text.chars().take(40).collect::<String>()
                    ));
                }
                _ => return Err(bad()),
            };
            if whole.len() > 19 {
                return Err(bad());
            }
            let whole: i128 = if whole.is_empty() {
                0
            } else {
                whole.parse().map_err(|_| bad())?
            };
            total += whole * unit;
            let mut scale = unit;
            for digit in fraction.bytes().take(18) {
                scale /= 10;
                total += i128::from(digit - b'0') * scale;
            }
            rest = after;
        }
        let total = if negative { -total } else { total };
        i64::try_from(total)
            .map(Self::from_nanos)
            .map_err(|_| bad())
    }
}

impl fmt::Display for Duration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sign = if self.nanos < 0 { "-" } else { "" };
        let nanos = self.nanos.unsigned_abs();
        let (secs, rest) = (nanos / 1_000_000_000, nanos % 1_000_000_000);
        if rest == 0 {
            write!(f, "{sign}{secs}s")
        } else if rest.is_multiple_of(1_000_000) {
            write!(f, "{sign}{secs}.{:03}s", rest / 1_000_000)
        } else if rest.is_multiple_of(1_000) {
            write!(f, "{sign}{secs}.{:06}s", rest / 1_000)
        } else {
            write!(f, "{sign}{secs}.{rest:09}s")
        }
    }
}

impl Field for Duration {
    fn read(value: Value, cx: &mut Reader) -> Self {
        match &value {
            Value::Null => Self::ZERO,
            Value::String(text) => Self::parse(text).unwrap_or_else(|message| {
                cx.fault(
                    FaultKind::Type,
                    message,
                    "write a number and a unit, such as 5s, 300ms, 1m30s or 2h",
                );
                Self::ZERO
            }),
            other => {
                cx.wrong_type("a duration such as 5s", other);
                Self::ZERO
            }
        }
    }
    fn write(&self) -> Value {
        Value::String(self.to_string())
    }
    fn is_default(&self) -> bool {
        false
    }
    fn shape() -> Shape {
        Shape::Duration
    }
}

/// A moment, in whole seconds since 1970 (Kubernetes keeps seconds).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(pub i64);

impl Timestamp {
    /// Parses RFC 3339; fractions of a second are dropped.
    pub fn parse(text: &str) -> Option<Self> {
        time::OffsetDateTime::parse(text, &time::format_description::well_known::Rfc3339)
            .ok()
            .map(|t| Timestamp(t.unix_timestamp()))
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = time::OffsetDateTime::from_unix_timestamp(self.0)
            .ok()
            .and_then(|t| {
                t.format(&time::format_description::well_known::Rfc3339)
                    .ok()
            });
        f.write_str(text.as_deref().unwrap_or("1970-01-01T00:00:00Z"))
    }
}

impl Field for Timestamp {
    fn read(value: Value, cx: &mut Reader) -> Self {
        match value.as_str().and_then(Self::parse) {
            Some(time) => time,
            None => {
                cx.wrong_type("a time such as 2026-01-31T12:00:00Z", &value);
                Self::default()
            }
        }
    }
    fn write(&self) -> Value {
        Value::String(self.to_string())
    }
    fn is_default(&self) -> bool {
        false
    }
    fn shape() -> Shape {
        Shape::Time
    }
}

/// Bytes that JSON carries as base64. Never printed: they may be a key.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Bytes(pub Vec<u8>);

impl fmt::Debug for Bytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "<{} bytes>", self.0.len())
    }
}

impl Field for Bytes {
    fn read(value: Value, cx: &mut Reader) -> Self {
        use base64::Engine as _;
        match &value {
            Value::Null => Self::default(),
            Value::String(text) => {
                match base64::engine::general_purpose::STANDARD.decode(text.trim()) {
                    Ok(bytes) => Bytes(bytes),
                    Err(_) => {
                        cx.fault(
                            FaultKind::Type,
                            "must be base64",
                            "encode the value with base64",
                        );
                        Self::default()
                    }
                }
            }
            _ => {
                cx.fault(FaultKind::Type, "must be a base64 string", "");
                Self::default()
            }
        }
    }
    fn write(&self) -> Value {
        use base64::Engine as _;
        Value::String(base64::engine::general_purpose::STANDARD.encode(&self.0))
    }
    fn is_default(&self) -> bool {
        self.0.is_empty()
    }
    fn shape() -> Shape {
        Shape::Bytes
    }
}

/// A port by number or by name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum IntOrString {
    Int(i32),
    String(String),
}

impl Default for IntOrString {
    fn default() -> Self {
        IntOrString::Int(0)
    }
}

impl Field for IntOrString {
    fn read(value: Value, cx: &mut Reader) -> Self {
        match value {
            Value::String(s) => IntOrString::String(s),
            other => IntOrString::Int(i32::read(other, cx)),
        }
    }
    fn write(&self) -> Value {
        match self {
            IntOrString::Int(n) => Value::from(*n),
            IntOrString::String(s) => Value::String(s.clone()),
        }
    }
    fn is_default(&self) -> bool {
        *self == IntOrString::Int(0)
    }
    fn shape() -> Shape {
        Shape::IntOrString
    }
}
