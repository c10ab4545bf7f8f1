//! Whether a text is a CEL expression: the grammar only, no types (github.com/google/cel-spec, "Syntax").

/// The deepest nesting of parentheses and operators.
const MAX_DEPTH: usize = 50;

/// Parses the expression; the error says what was found where.
pub(super) fn parse(text: &str) -> Result<(), String> {
    let tokens = tokens(text)?;
    let mut parser = Parser {
        tokens: &tokens,
        at: 0,
        depth: 0,
    };
    parser.expression()?;
    match parser.peek() {
        None => Ok(()),
        Some(token) => Err(format!("unexpected {}", token.describe())),
    }
}

#[derive(Clone, Debug, PartialEq)]
enum Token {
    /// A name, `true`, `null`, …
    Name(String),
    /// A number, a string, or bytes.
    Literal,
    Symbol(&'static str),
}

impl Token {
    fn describe(&self) -> String {
        match self {
            Token::Name(name) => format!("\"{name}\""),
            Token::Literal => "a literal".to_owned(),
            Token::Symbol(symbol) => format!("\"{symbol}\""),
        }
    }
}

/// Longer ones first.
const SYMBOLS: &[&str] = &[
    "&&", "||", "==", "!=", "<=", ">=", "<", ">", "+", "-", "*", "/", "%", "!", "?", ":", ".", ",",
    "(", ")", "[", "]", "{", "}",
];

const RESERVED: &[&str] = &[
    "as",
    "break",
    "const",
    "continue",
    "else",
    "for",
    "function",
    "if",
    "import",
    "let",
    "loop",
    "package",
    "namespace",
    "return",
    "var",
    "void",
    "while",
];

fn tokens(text: &str) -> Result<Vec<Token>, String> {
    let mut out = Vec::new();
    let mut rest = text;
    loop {
        rest = rest.trim_start_matches([' ', '\t', '\n', '\r', '\x0c']);
        let Some(first) = rest.chars().next() else {
            return Ok(out);
        };
        if let Some(comment) = rest.strip_prefix("//") {
            rest = comment.find('\n').map_or("", |at| &comment[at..]);
        } else if let Some(after) = string(rest)? {
            out.push(Token::Literal);
            rest = after;
        } else if first.is_ascii_digit()
            || (first == '.' && rest[1..].starts_with(|c: char| c.is_ascii_digit()))
        {
            rest = number(rest);
            out.push(Token::Literal);
        } else if first.is_ascii_alphabetic() || first == '_' {
            let end = rest
                .find(|c: char| !(c.is_ascii_alphanumeric() || c == '_'))
                .unwrap_or(rest.len());
            let name = &rest[..end];
            if RESERVED.contains(&name) {
                return Err(format!("\"{name}\" is reserved"));
            }
            out.push(match name {
                "true" | "false" | "null" => Token::Literal,
                name => Token::Name(name.to_owned()),
            });
            rest = &rest[end..];
        } else if let Some(symbol) = SYMBOLS.iter().find(|s| rest.starts_with(**s)) {
            out.push(Token::Symbol(symbol));
            rest = &rest[symbol.len()..];
        } else {
            return Err(format!("unexpected character {first:?}"));
        }
    }
}

/// What follows a string or bytes literal, if one begins here.
fn string(text: &str) -> Result<Option<&str>, String> {
    let prefix = text.find(['"', '\'']).filter(|at| *at <= 2).unwrap_or(0);
    let (letters, rest) = text.split_at(prefix);
    let raw = letters.contains(['r', 'R']);
    let valid = matches!(
        letters.to_ascii_lowercase().as_str(),
        "" | "r" | "b" | "br" | "rb"
    );
    if !valid || !rest.starts_with(['"', '\'']) {
        return Ok(None);
    }
    let quote = &rest[..1];
    let triple = quote.repeat(3);
    let long = rest.starts_with(&triple);
    let end = if long { triple.as_str() } else { quote };
    let mut at = end.len();
    while let Some(c) = rest[at..].chars().next() {
        if rest[at..].starts_with(end) {
            return Ok(Some(&rest[at + end.len()..]));
        }
        if c == '\n' && !long {
            break;
        }
        at += c.len_utf8();
        if c == '\\' && !raw {
            at += rest[at..].chars().next().map_or(0, char::len_utf8);
        }
    }
    Err("a string is not closed".to_owned())
}

fn number(text: &str) -> &str {
    let digits = |s: &str| s.find(|c: char| !c.is_ascii_digit()).unwrap_or(s.len());
    if let Some(hex) = text.strip_prefix("0x") {
        let end = hex
            .find(|c: char| !c.is_ascii_hexdigit())
            .unwrap_or(hex.len());
        let rest = &hex[end..];
        return rest.strip_prefix(['u', 'U']).unwrap_or(rest);
    }
    let mut rest = &text[digits(text)..];
    if let Some(fraction) = rest.strip_prefix('.')
        && fraction.starts_with(|c: char| c.is_ascii_digit())
    {
        rest = &fraction[digits(fraction)..];
    }
    if let Some(exponent) = rest.strip_prefix(['e', 'E']) {
        let exponent = exponent.strip_prefix(['+', '-']).unwrap_or(exponent);
        if exponent.starts_with(|c: char| c.is_ascii_digit()) {
            rest = &exponent[digits(exponent)..];
        }
    }
    rest.strip_prefix(['u', 'U']).unwrap_or(rest)
}

struct Parser<'a> {
    tokens: &'a [Token],
    at: usize,
    depth: usize,
}

impl Parser<'_> {
    fn peek(&self) -> Option<&Token> {
        self.tokens.get(self.at)
    }

    fn eat(&mut self, symbols: &[&str]) -> bool {
        let found = matches!(self.peek(), Some(Token::Symbol(s)) if symbols.contains(s));
        self.at += usize::from(found);
        found
    }

    fn expect(&mut self, symbol: &str) -> Result<(), String> {
        if self.eat(&[symbol]) {
            return Ok(());
        }
        let found = self.peek().map_or("the end".to_owned(), Token::describe);
        Err(format!("expected \"{symbol}\", found {found}"))
    }

    fn expression(&mut self) -> Result<(), String> {
        self.depth += 1;
        if self.depth > MAX_DEPTH {
            return Err("nested too deeply".to_owned());
        }
        self.operators()?;
        if self.eat(&["?"]) {
            self.operators()?;
            self.expect(":")?;
            self.expression()?;
        }
        self.depth -= 1;
        Ok(())
    }

    /// Operators of all precedences: which binds closer does not matter to whether it parses.
    fn operators(&mut self) -> Result<(), String> {
        loop {
            while self.eat(&["!", "-"]) {}
            self.member()?;
            let relation = matches!(self.peek(), Some(Token::Name(name)) if name == "in");
            if relation {
                self.at += 1;
            } else if !self.eat(&[
                "&&", "||", "==", "!=", "<=", ">=", "<", ">", "+", "-", "*", "/", "%",
            ]) {
                return Ok(());
            }
        }
    }

    fn member(&mut self) -> Result<(), String> {
        self.primary()?;
        loop {
            if self.eat(&["."]) {
                // A selected field may be optional: a.?b.
                self.eat(&["?"]);
                match self.peek() {
                    Some(Token::Name(_)) => self.at += 1,
                    other => {
                        return Err(format!(
                            "expected a name after \".\", found {}",
                            other.map_or("the end".to_owned(), Token::describe)
                        ));
                    }
                }
                self.call()?;
            } else if self.eat(&["["]) {
                self.expression()?;
                self.expect("]")?;
            } else if self.eat(&["{"]) {
                self.entries()?;
            } else {
                return Ok(());
            }
        }
    }

    fn call(&mut self) -> Result<(), String> {
        if self.eat(&["("]) {
            self.list(")")
        } else {
            Ok(())
        }
    }

    fn primary(&mut self) -> Result<(), String> {
        match self.peek() {
            Some(Token::Literal) => self.at += 1,
            Some(Token::Name(name)) if name != "in" => {
                self.at += 1;
                self.call()?;
            }
            Some(Token::Symbol("(")) => {
                self.at += 1;
                self.expression()?;
                self.expect(")")?;
            }
            Some(Token::Symbol("[")) => {
                self.at += 1;
                self.list("]")?;
            }
            Some(Token::Symbol("{")) => {
                self.at += 1;
                self.entries()?;
            }
            // A name looked up from the root.
            Some(Token::Symbol(".")) => {
                self.at += 1;
                match self.peek() {
                    Some(Token::Name(_)) => self.at += 1,
                    _ => return Err("expected a name after \".\"".to_owned()),
                }
                self.call()?;
            }
            Some(token) => return Err(format!("unexpected {}", token.describe())),
            None => return Err("unexpected end".to_owned()),
        }
        Ok(())
    }

    fn list(&mut self, close: &str) -> Result<(), String> {
        while !self.eat(&[close]) {
            self.expression()?;
            if !self.eat(&[","]) {
                return self.expect(close);
            }
        }
        Ok(())
    }

    fn entries(&mut self) -> Result<(), String> {
        while !self.eat(&["}"]) {
            self.expression()?;
            self.expect(":")?;
            self.expression()?;
            if !self.eat(&[","]) {
                return self.expect("}");
            }
        }
        Ok(())
    }
}
