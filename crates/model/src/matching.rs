//! Small values that several kinds share: string matches, fractions.

use crate::name::Str;

/// How a text must look (Istio's `StringMatch`).
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub enum StringMatch {
    /// The whole text.
    Exact(Str),
    /// Its beginning.
    Prefix(Str),
    /// Its end.
    Suffix(Str),
    /// A regular expression (RE2) over the whole text.
    Regex(Str),
    /// Anything, so long as it is there (a header or claim that must be present).
    Present,
}

/// A share, in millionths.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug, Default)]
pub struct Fraction(pub u32);

impl Fraction {
    /// The whole.
    pub const ONE: Self = Self(1_000_000);

    /// From percent; what is below 0 or not a number is 0, what is above 100 is the whole.
    pub fn from_percent(percent: f64) -> Self {
        let millionths = (percent * 10_000.0).round();
        if millionths.is_nan() || millionths <= 0.0 {
            Self(0)
        } else {
            // In range: clamped to 1,000,000.
            Self(millionths.min(1_000_000.0) as u32)
        }
    }
}

/// A share of requests, counted as it was written: Envoy knows hundredths and millionths, and so do those who read its
/// configuration.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub enum Share {
    /// Whole percent: `mirrorPercent`, and what nobody said.
    Percent(u32),
    /// `percentage.value`, in millionths.
    Exact(Fraction),
}

impl Share {
    /// All requests.
    pub const ALL: Self = Self::Percent(100);
    /// None of them.
    pub const NONE: Self = Self::Percent(0);

    /// From a percentage with a fraction, of which less than a millionth is dropped, as in Istio.
    pub fn exact(percent: f64) -> Self {
        // Out of range is clamped, and what is not a number is 0.
        Self::Exact(Fraction((percent * 10_000.0).clamp(0.0, 1_000_000.0) as u32))
    }

    /// True if no request is meant.
    pub fn is_none(self) -> bool {
        matches!(self, Self::Percent(0) | Self::Exact(Fraction(0)))
    }
}

/// Changes to headers, in the order in which they were written (by name where the source is a map).
#[derive(Clone, PartialEq, Eq, Hash, Debug, Default)]
pub struct HeaderOps {
    /// Overwrites.
    pub set: Vec<(Str, Str)>,
    /// Appends.
    pub add: Vec<(Str, Str)>,
    /// Removes.
    pub remove: Vec<Str>,
}

impl HeaderOps {
    /// True if it changes nothing.
    pub fn is_empty(&self) -> bool {
        self.set.is_empty() && self.add.is_empty() && self.remove.is_empty()
    }
}
