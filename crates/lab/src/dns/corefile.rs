//! The Corefile's syntax (<https://coredns.io/manual/configuration/>): server blocks with plugins, nothing about what
//! the plugins mean.

/// One plugin's line with its own block, if it has one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Directive {
    pub(super) name: String,
    pub(super) args: Vec<String>,
    pub(super) block: Vec<Vec<String>>,
    pub(super) line: usize,
}

/// A server block.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Block {
    /// Zones as written, `.:53` or `global:53`.
    pub(super) zones: Vec<String>,
    pub(super) directives: Vec<Directive>,
    pub(super) line: usize,
}

/// What is wrong with a Corefile, and where.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("Corefile line {line}: {message}")]
pub(super) struct SyntaxError {
    pub(super) line: usize,
    pub(super) message: String,
}

/// More than any real Corefile has.
const MAX_BYTES: usize = 1 << 20;
const MAX_BLOCKS: usize = 1000;

/// Reads the server blocks of a Corefile.
pub(super) fn parse(text: &str) -> Result<Vec<Block>, SyntaxError> {
    if text.len() > MAX_BYTES {
        return Err(error(1, format!("larger than {MAX_BYTES} bytes")));
    }
    let mut lines = lines(text)?.into_iter().peekable();
    let mut blocks = Vec::new();
    while let Some((line, mut words)) = lines.next() {
        // `a, b {`: commas between zones are allowed.
        let opens = words.last().is_some_and(|word| word == "{");
        if !opens {
            return Err(error(
                line,
                format!("expected ZONE {{, found {:?}", words.join(" ")),
            ));
        }
        words.pop();
        let zones: Vec<String> = words
            .iter()
            .flat_map(|word| word.split(','))
            .filter(|zone| !zone.is_empty())
            .map(str::to_owned)
            .collect();
        let mut directives = Vec::new();
        loop {
            let Some((at, words)) = lines.next() else {
                return Err(error(line, "the block is never closed".to_owned()));
            };
            if words == ["}"] {
                break;
            }
            directives.push(directive(at, words, &mut lines)?);
        }
        blocks.push(Block {
            zones,
            directives,
            line,
        });
        if blocks.len() > MAX_BLOCKS {
            return Err(error(line, format!("more than {MAX_BLOCKS} server blocks")));
        }
    }
    Ok(blocks)
}

fn directive(
    line: usize,
    mut words: Vec<String>,
    lines: &mut impl Iterator<Item = (usize, Vec<String>)>,
) -> Result<Directive, SyntaxError> {
    let opens = words.last().is_some_and(|word| word == "{");
    if opens {
        words.pop();
    }
    if words.iter().any(|word| word == "{" || word == "}") || words.is_empty() {
        return Err(error(
            line,
            "a brace where a plugin was expected".to_owned(),
        ));
    }
    let name = words.remove(0);
    let mut directive = Directive {
        name,
        args: words,
        block: Vec::new(),
        line,
    };
    if !opens {
        return Ok(directive);
    }
    for (at, words) in lines {
        if words == ["}"] {
            return Ok(directive);
        }
        if words.iter().any(|word| word == "{" || word == "}") {
            return Err(error(
                at,
                format!("unexpected brace in the block of {}", directive.name),
            ));
        }
        directive.block.push(words);
    }
    Err(error(
        line,
        format!("the block of {} is never closed", directive.name),
    ))
}

/// Words of each line that has any. A closing brace stands on a line of its own, whatever follows or precedes it.
fn lines(text: &str) -> Result<Vec<(usize, Vec<String>)>, SyntaxError> {
    let mut lines = Vec::new();
    for (index, line) in text.lines().enumerate() {
        let number = index + 1;
        let mut words = Vec::new();
        for word in words_of(line).map_err(|message| error(number, message))? {
            if word == "}" {
                if !words.is_empty() {
                    lines.push((number, std::mem::take(&mut words)));
                }
                lines.push((number, vec![word]));
            } else if word == "{" {
                words.push(word);
                lines.push((number, std::mem::take(&mut words)));
            } else {
                words.push(word);
            }
        }
        if !words.is_empty() {
            lines.push((number, words));
        }
    }
    Ok(lines)
}

fn words_of(line: &str) -> Result<Vec<String>, String> {
    let mut words = Vec::new();
    let mut word = String::new();
    let mut quoted = false;
    let mut was_quoted = false;
    for c in line.chars() {
        match c {
            '"' => {
                quoted = !quoted;
                was_quoted = true;
            }
            '#' if !quoted && word.is_empty() => break,
            c if c.is_whitespace() && !quoted => {
                if !word.is_empty() || was_quoted {
                    words.push(std::mem::take(&mut word));
                }
                was_quoted = false;
            }
            c => word.push(c),
        }
    }
    if quoted {
        return Err("a quote is never closed".to_owned());
    }
    if !word.is_empty() || was_quoted {
        words.push(word);
    }
    Ok(words)
}

fn error(line: usize, message: String) -> SyntaxError {
    SyntaxError { line, message }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Blocks as `zones: plugin args (block words), …`, or the error.
    fn check(name: &str, text: &str, expected: &str) {
        let shown = match parse(text) {
            Ok(blocks) => blocks.iter().map(show).collect::<Vec<_>>().join(" | "),
            Err(error) => error.to_string(),
        };
        assert_eq!(shown, expected, "{name}");
    }

    fn show(block: &Block) -> String {
        let directives: Vec<String> = block
            .directives
            .iter()
            .map(|d| {
                let inner: Vec<String> = d.block.iter().map(|words| words.join(" ")).collect();
                let mut text = [std::slice::from_ref(&d.name), &d.args].concat().join(" ");
                if !inner.is_empty() {
                    text.push_str(&format!(" ({})", inner.join("; ")));
                }
                text
            })
            .collect();
        format!("{}: {}", block.zones.join("+"), directives.join(", "))
    }

    #[test]
    fn corefiles() {
        check("nothing", "", "");
        check(
            "comments",
            "# a\n.:53 { # b\n  errors # c\n}\n",
            ".:53: errors",
        );
        check("one line", "global:53 { errors }", "global:53: errors");
        check(
            "nested",
            ".:53 {\n kubernetes cluster.local in-addr.arpa {\n  pods insecure\n  upstream\n }\n cache 30\n}",
            ".:53: kubernetes cluster.local in-addr.arpa (pods insecure; upstream), cache 30",
        );
        check(
            "two blocks",
            "a, b:54 {\n log\n}\nc {\n}\n",
            "a+b:54: log | c: ",
        );
        check("quotes", ". {\n forward \"a b\" c\n}", ".: forward a b c");
        check(
            "not closed",
            ".:53 {\n errors",
            "Corefile line 1: the block is never closed",
        );
        check(
            "no block",
            "errors",
            "Corefile line 1: expected ZONE {, found \"errors\"",
        );
        check(
            "one brace too many",
            ".:53 {\n}\n}",
            "Corefile line 3: expected ZONE {, found \"}\"",
        );
        check(
            "open quote",
            ".:53 {\n log \"\n}",
            "Corefile line 2: a quote is never closed",
        );
    }

    proptest! {
        #[test]
        fn never_panics(text in "[a-z.:{}\"# \n]{0,80}") {
            let _ = parse(&text);
        }
    }
}
