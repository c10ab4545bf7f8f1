//! More calls than anybody writes: what a table's calls are made of, put together anew and twisted.

use crate::call::Line;

/// Random numbers of a seed (xorshift): the same calls each time.
pub struct Chance(u64);

impl Chance {
    pub fn new(seed: &str) -> Self {
        // FNV-1a.
        Self(seed.bytes().fold(0xcbf2_9ce4_8422_2325, |h, b| {
            (h ^ u64::from(b)).wrapping_mul(0x0100_0000_01b3)
        }))
    }

    pub fn below(&mut self, n: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 % u64::try_from(n.max(1)).unwrap_or(1)).unwrap_or(0)
    }

    pub fn of<'a, T>(&mut self, items: &'a [T]) -> &'a T {
        &items[self.below(items.len())]
    }
}

const METHODS: &[&str] = &["GET", "POST", "PUT", "DELETE", "OPTIONS"];

/// `n` calls made of the parts of these.
pub fn more(seed: &str, lines: &[Line], n: usize) -> Vec<Line> {
    let known: Vec<&Line> = lines.iter().filter(|l| !l.beyond_the_walker).collect();
    let mut chance = Chance::new(seed);
    let mut out = Vec::new();
    while out.len() < n && !known.is_empty() {
        let other = *chance.of(&known);
        let mut line = Line {
            expected: None,
            sees: Vec::new(),
            unseen: Vec::new(),
            ..(*chance.of(&known)).clone()
        };
        if let (Some(own), Some(theirs)) = (&mut line.call.http, &other.call.http) {
            match chance.below(5) {
                0 => own.path = theirs.path.clone(),
                1 => own.headers = theirs.headers.clone(),
                2 => own.authority = theirs.authority.clone(),
                3 => own.method = (*chance.of(METHODS)).to_owned(),
                _ => own.headers.extend(theirs.headers.clone()),
            }
            own.denied_externally = own.headers.iter().any(|(n, _)| n == crate::echo::REFUSE);
            own.path = twist(&mut chance, &own.path);
            if chance.below(8) == 0 {
                own.authority = own.authority.to_ascii_uppercase();
            }
            if let Some((_, value)) = own
                .headers
                .first_mut()
                .filter(|(n, _)| n != "authorization")
                && chance.below(4) == 0
            {
                value.push('x');
            }
            let headers: Vec<String> = own
                .headers
                .iter()
                .map(|(n, v)| format!("{n}: {v}"))
                .collect();
            line.text = format!(
                "(generated) {} {} {} {headers:?} to {}",
                own.method, own.authority, own.path, line.call.destination
            );
        }
        out.push(line);
    }
    out
}

fn twist(chance: &mut Chance, path: &str) -> String {
    let (bare, query) = path.split_once('?').unwrap_or((path, ""));
    let mut bare = match chance.below(12) {
        0 => format!("{bare}/"),
        1 => format!("/{bare}"),
        2 => bare.to_ascii_uppercase(),
        3 => format!("{bare}/../x"),
        4 => format!("{bare}%2Fy"),
        5 => format!("/./{}", bare.trim_start_matches('/')),
        6 => format!("{bare};v=1"),
        7 => bare.trim_end_matches(|c: char| c != '/').to_owned(),
        _ => bare.to_owned(),
    };
    if !bare.starts_with('/') {
        bare.insert(0, '/');
    }
    if query.is_empty() {
        bare
    } else {
        format!("{bare}?{query}")
    }
}
