//! Kubernetes quantities: `500m`, `1.5Gi`, `2e3`.

/// A quantity, exact to a billionth of a unit.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Quantity {
    /// In nano-units, saturating.
    nanos: i128,
    binary: bool,
}

const NANO: i128 = 1_000_000_000;

impl Quantity {
    /// Reads the serialised form, `None` if it is none.
    pub(crate) fn parse(text: &str) -> Option<Quantity> {
        if text.len() > 64 {
            return None;
        }
        let end = text
            .find(|c: char| !(c.is_ascii_digit() || matches!(c, '+' | '-' | '.')))
            .unwrap_or(text.len());
        let (number, suffix) = text.split_at(end);
        let (negative, digits) = match number.strip_prefix('-') {
            Some(rest) => (true, rest),
            None => (false, number.strip_prefix('+').unwrap_or(number)),
        };
        let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
        if whole.is_empty() && fraction.is_empty() {
            return None;
        }
        let all_digits = |s: &str| s.bytes().all(|b| b.is_ascii_digit());
        if !all_digits(whole) || !all_digits(fraction) {
            return None;
        }
        let (factor, divisor, binary) = factor(suffix)?;
        let mut nanos = if whole.is_empty() {
            0
        } else {
            whole.parse::<i128>().ok()?.checked_mul(NANO)?
        };
        let mut scale = NANO / 10;
        for b in fraction.bytes() {
            nanos = nanos.checked_add(i128::from(b - b'0') * scale)?;
            scale /= 10;
        }
        let nanos = nanos.checked_mul(factor)?.checked_div(divisor)?;
        Some(Quantity {
            nanos: if negative { -nanos } else { nanos },
            binary,
        })
    }

    /// The canonical form: the largest suffix that leaves no fraction.
    pub(crate) fn canonical(self) -> String {
        if self.nanos == 0 {
            return "0".to_owned();
        }
        if self.binary && self.nanos % NANO == 0 && self.nanos.abs() >= 1024 * NANO {
            let mut value = self.nanos / NANO;
            let mut suffix = "";
            for next in ["Ki", "Mi", "Gi", "Ti", "Pi", "Ei"] {
                if value % 1024 != 0 {
                    break;
                }
                value /= 1024;
                suffix = next;
            }
            return format!("{value}{suffix}");
        }
        let (mut value, mut suffix) = (self.nanos, "n");
        for next in ["u", "m", "", "k", "M", "G", "T", "P", "E"] {
            if value % 1000 != 0 {
                break;
            }
            value /= 1000;
            suffix = next;
        }
        format!("{value}{suffix}")
    }

    pub(crate) fn exceeds(self, other: Quantity) -> bool {
        self.nanos > other.nanos
    }
}

/// A suffix as a factor and a divisor, and whether it is a power of 1024.
fn factor(suffix: &str) -> Option<(i128, i128, bool)> {
    let decimal = |power: u32| Some((10i128.pow(power), 1, false));
    let binary = |power: u32| Some((1i128 << (10 * power), 1, true));
    match suffix {
        "n" => Some((1, NANO, false)),
        "u" => Some((1, 1_000_000, false)),
        "m" => Some((1, 1_000, false)),
        "" => decimal(0),
        "k" => decimal(3),
        "M" => decimal(6),
        "G" => decimal(9),
        "T" => decimal(12),
        "P" => decimal(15),
        "E" => decimal(18),
        "Ki" => binary(1),
        "Mi" => binary(2),
        "Gi" => binary(3),
        "Ti" => binary(4),
        "Pi" => binary(5),
        "Ei" => binary(6),
        exponent => {
            let power: i32 = exponent.strip_prefix(['e', 'E'])?.parse().ok()?;
            match power {
                0..=18 => decimal(power.unsigned_abs()),
                -9..0 => Some((1, 10i128.pow(power.unsigned_abs()), false)),
                _ => None,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Quantity;

    #[test]
    fn quantities_are_written_canonically() {
        let cases = [
            ("0.5", Some("500m")),
            ("1000m", Some("1")),
            ("1.5Gi", Some("1536Mi")),
            ("1024Ki", Some("1Mi")),
            ("2e3", Some("2k")),
            ("100m", Some("100m")),
            ("-1", Some("-1")),
            ("0", Some("0")),
            ("12345", Some("12345")),
            ("", None),
            ("x", None),
            ("1.2.3", None),
            ("1Zi", None),
        ];
        for (input, expected) in cases {
            assert_eq!(
                Quantity::parse(input).map(Quantity::canonical).as_deref(),
                expected,
                "{input}"
            );
        }
    }
}
