//! RE2's regular expressions, which Envoy and Istio use, by way of the `regex` crate.
//!
//! The two share an engine and most of their syntax. Where they part, the expression is rewritten so that it means what it
//! means to RE2: `\d`, `\w`, `\s` and `\b` are ASCII, a brace that begins no repetition is itself (`/v1/{id}`), classes know
//! no set operations, `\Q…\E` quotes; repeated repetitions (`a**`) and counts above 1000 are errors.

use regex::Regex;

/// Envoy is told to accept large programs; Istio bounds the length instead.
pub const MAX_LENGTH: usize = 1024;

/// Compiles an RE2 expression that may match anywhere in a text. The error says what is wrong, in one line.
pub fn compile(re2: &str) -> Result<Regex, String> {
    build(&translate(re2)?)
}

/// Compiles an RE2 expression that must match the whole text, as Envoy's matchers do.
pub fn compile_full(re2: &str) -> Result<Regex, String> {
    build(&format!("^(?:{})$", translate(re2)?))
}

fn build(pattern: &str) -> Result<Regex, String> {
    Regex::new(pattern).map_err(|error| {
        // The crate's message draws a picture; its last line names the fault.
        let text = error.to_string();
        let last = text.lines().last().unwrap_or_default();
        last.trim().trim_start_matches("error: ").to_owned()
    })
}

struct Translator<'a> {
    rest: std::iter::Peekable<std::str::Chars<'a>>,
    out: String,
    /// What precedes: nothing to repeat, an atom, or a repetition already.
    last: Last,
}

#[derive(Clone, Copy, PartialEq)]
enum Last {
    Nothing,
    Atom,
    Repeat,
}

fn translate(re2: &str) -> Result<String, String> {
    let mut t = Translator {
        rest: re2.chars().peekable(),
        out: String::with_capacity(re2.len() + 16),
        last: Last::Nothing,
    };
    while let Some(c) = t.rest.next() {
        t.step(c)?;
    }
    Ok(t.out)
}

impl Translator<'_> {
    fn step(&mut self, c: char) -> Result<(), String> {
        match c {
            '\\' => self.escape(false)?,
            '[' => self.class()?,
            '*' | '+' | '?' => self.repeat(&c.to_string())?,
            '{' => match self.count()? {
                Some(count) => self.repeat(&count)?,
                None => self.atom("\\{"),
            },
            '}' => self.atom("\\}"),
            ']' => self.atom("\\]"),
            '(' => {
                self.out.push('(');
                self.last = Last::Nothing;
                self.group()?;
            }
            '|' => {
                self.out.push('|');
                self.last = Last::Nothing;
            }
            other => self.atom(other.encode_utf8(&mut [0; 4])),
        }
        Ok(())
    }

    fn atom(&mut self, text: &str) {
        self.out.push_str(text);
        self.last = Last::Atom;
    }

    /// The head of a group: look-arounds do not exist, and a `?` there is no repetition.
    fn group(&mut self) -> Result<(), String> {
        if self.rest.peek() != Some(&'?') {
            return Ok(());
        }
        self.rest.next();
        self.out.push('?');
        let next = self.rest.peek().copied();
        if matches!(next, Some('=' | '!')) {
            return Err(format!(
                "look-ahead (?{} is not supported",
                next.unwrap_or_default()
            ));
        }
        while let Some(&c) = self.rest.peek() {
            if c == 'x'
                && !self
                    .out
                    .ends_with(|p: char| p == '<' || p.is_alphanumeric())
            {
                return Err("the flag x is not supported".to_owned());
            }
            self.rest.next();
            self.out.push(c);
            if self.out.ends_with("?<=") || self.out.ends_with("?<!") {
                return Err(format!("look-behind (?<{c} is not supported"));
            }
            if matches!(c, ':' | '>') {
                break;
            }
            if c == ')' {
                self.last = Last::Nothing;
                break;
            }
        }
        Ok(())
    }

    fn repeat(&mut self, operator: &str) -> Result<(), String> {
        match self.last {
            Last::Nothing => return Err(format!("nothing to repeat before {operator}")),
            Last::Repeat => return Err(format!("repetition of a repetition: {operator}")),
            Last::Atom => {}
        }
        self.out.push_str(operator);
        self.last = Last::Repeat;
        if self.rest.peek() == Some(&'?') {
            self.rest.next();
            self.out.push('?');
        }
        Ok(())
    }

    /// A count `{n}`, `{n,}` or `{n,m}` if the brace begins one.
    fn count(&mut self) -> Result<Option<String>, String> {
        let ahead: String = self
            .rest
            .clone()
            .take_while(|c| c.is_ascii_digit() || *c == ',')
            .collect();
        let closed = self.rest.clone().nth(ahead.chars().count()) == Some('}');
        let (low, high) = ahead
            .split_once(',')
            .map_or((ahead.as_str(), None), |(l, h)| (l, Some(h)));
        if !closed || low.is_empty() || high.is_some_and(|h| h.contains(',')) {
            return Ok(None);
        }
        for bound in [Some(low), high]
            .into_iter()
            .flatten()
            .filter(|b| !b.is_empty())
        {
            if bound.parse::<u32>().is_ok_and(|n| n > 1000) || bound.len() > 4 {
                return Err(format!("repetition count {bound} is larger than 1000"));
            }
        }
        for _ in 0..=ahead.len() {
            self.rest.next();
        }
        Ok(Some(format!("{{{ahead}}}")))
    }

    fn escape(&mut self, class: bool) -> Result<(), String> {
        let Some(c) = self.rest.next() else {
            return Err("a backslash at the end".to_owned());
        };
        let text = match (c, class) {
            ('d', false) => "[0-9]",
            ('D', false) => "[^0-9]",
            ('w', false) => "[0-9A-Za-z_]",
            ('W', false) => "[^0-9A-Za-z_]",
            ('s', false) => "[\\t\\n\\f\\r ]",
            ('S', false) => "[^\\t\\n\\f\\r ]",
            ('d', true) => "0-9",
            ('w', true) => "0-9A-Za-z_",
            ('s', true) => "\\t\\n\\f\\r ",
            ('D', true) => "[^0-9]",
            ('W', true) => "[^0-9A-Za-z_]",
            ('S', true) => "[^\\t\\n\\f\\r ]",
            ('b', false) => "(?-u:\\b)",
            ('C', false) => "(?s:.)",
            ('Q', false) => return self.quoted(),
            ('1'..='9', _) => return Err(format!("back reference \\{c} is not supported")),
            ('0', _) => "\\x00",
            ('<' | '>', _) => {
                self.atom(c.encode_utf8(&mut [0; 4]));
                return Ok(());
            }
            ('a' | 'f' | 't' | 'n' | 'r' | 'v' | 'A' | 'B' | 'z' | 'p' | 'P' | 'x', _) => {
                self.atom(&format!("\\{c}"));
                return self.braced(c);
            }
            (c, _) if c.is_ascii_alphanumeric() => return Err(format!("unknown escape \\{c}")),
            (c, _) => {
                let text = format!("\\{c}");
                self.atom(&text);
                return Ok(());
            }
        };
        self.atom(text);
        Ok(())
    }

    /// The braces of `\p{Greek}` and `\x{10FFFF}` are not those of a count.
    fn braced(&mut self, escape: char) -> Result<(), String> {
        if matches!(escape, 'p' | 'P' | 'x') && self.rest.peek() == Some(&'{') {
            for c in self.rest.by_ref() {
                self.out.push(c);
                if c == '}' {
                    return Ok(());
                }
            }
            return Err(format!("\\{escape}{{ is not closed"));
        }
        Ok(())
    }

    fn quoted(&mut self) -> Result<(), String> {
        let rest: String = self.rest.clone().collect();
        let (text, skip) = match rest.find("\\E") {
            Some(at) => (&rest[..at], rest[..at].chars().count() + 2),
            None => (rest.as_str(), rest.chars().count()),
        };
        for _ in 0..skip {
            self.rest.next();
        }
        if !text.is_empty() {
            self.atom(&regex::escape(text));
        }
        Ok(())
    }

    fn class(&mut self) -> Result<(), String> {
        self.out.push('[');
        if self.rest.peek() == Some(&'^') {
            self.rest.next();
            self.out.push('^');
        }
        let mut first = true;
        while let Some(c) = self.rest.next() {
            match c {
                ']' if !first => {
                    self.out.push(']');
                    self.last = Last::Atom;
                    return Ok(());
                }
                '\\' => self.escape(true)?,
                '[' if self.rest.peek() == Some(&':') => {
                    self.out.push('[');
                    for c in self.rest.by_ref() {
                        self.out.push(c);
                        if c == ']' {
                            break;
                        }
                    }
                }
                // Set operations of the regex crate are plain characters to RE2.
                '[' | ']' | '&' | '~' => {
                    self.out.push('\\');
                    self.out.push(c);
                }
                '-' if self.out.ends_with('-') || first => self.out.push_str("\\-"),
                other => self.out.push(other),
            }
            first = false;
        }
        Err("a class [ is not closed".to_owned())
    }
}
