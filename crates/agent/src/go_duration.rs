//! Durations as Istio's settings write them (`24h0m0s`, `300ms`): the syntax of Go's `time.ParseDuration`.

use std::time::Duration;

/// Parses a positive duration; at most 100 years.
pub fn parse(text: &str) -> Option<Duration> {
    const LIMIT: f64 = 100.0 * 365.0 * 86_400.0;
    let mut rest = text.trim();
    let mut seconds = 0.0;
    if rest.is_empty() {
        return None;
    }
    while !rest.is_empty() {
        let digits =
            rest.find(|character: char| !character.is_ascii_digit() && character != '.')?;
        let (number, tail) = rest.split_at(digits);
        let unit_end = tail
            .find(|character: char| character.is_ascii_digit())
            .unwrap_or(tail.len());
        let (unit, tail) = tail.split_at(unit_end);
        let unit = match unit {
            "h" => 3600.0,
            "m" => 60.0,
            "s" => 1.0,
            "ms" => 0.001,
            _ => return None,
        };
        seconds += number.parse::<f64>().ok()? * unit;
        rest = tail;
    }
    (seconds <= LIMIT).then(|| Duration::from_secs_f64(seconds))
}

#[cfg(test)]
mod tests {
    use super::parse;

    #[test]
    fn durations() {
        for (text, expected) in [
            ("24h0m0s", Some(86_400_000)),
            ("1.5s", Some(1500)),
            ("300ms", Some(300)),
            ("5", None),
            ("-5s", None),
            ("5d", None),
            ("", None),
            ("9999999999999h", None),
        ] {
            assert_eq!(
                parse(text).map(|duration| duration.as_millis()),
                expected,
                "{text}"
            );
        }
    }
}
