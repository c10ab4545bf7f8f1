//! URLs as Go's `net/url` reads them, for Istio and API servers judge URLs by it.

/// The parts of a URL that decide whether one is accepted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Uri {
    /// In lower case; empty for `/path`.
    pub scheme: String,
    /// Host and port as written; empty for what is not `scheme://host`.
    pub host: String,
}

/// What Go's `url.ParseRequestURI` accepts: an absolute URL, or an absolute path.
pub fn parse(text: &str) -> Result<Uri, &'static str> {
    if text.is_empty() {
        return Err("it is empty");
    }
    if text.bytes().any(|b| b < b' ' || b == 0x7f) {
        return Err("it has control characters");
    }
    let (scheme, rest) = split_scheme(text)?;
    let scheme = scheme.to_ascii_lowercase();
    let rest = rest.split_once('?').map_or(rest, |(path, _)| path);
    if !rest.starts_with('/') {
        return if scheme.is_empty() {
            Err("it has no scheme such as https://")
        } else {
            Ok(Uri {
                scheme,
                host: String::new(),
            })
        };
    }
    let (host, path) = match rest.strip_prefix("//").filter(|_| !scheme.is_empty()) {
        Some(rest) => {
            let authority = rest.split('/').next().unwrap_or_default();
            let host = authority.rsplit('@').next().unwrap_or_default();
            check_host(host)?;
            (host, &rest[authority.len()..])
        }
        None => ("", rest),
    };
    if !escapes_are_whole(path) {
        return Err("a % is not followed by two hexadecimal digits");
    }
    Ok(Uri {
        scheme,
        host: host.to_owned(),
    })
}

fn split_scheme(text: &str) -> Result<(&str, &str), &'static str> {
    for (i, b) in text.bytes().enumerate() {
        match b {
            b'a'..=b'z' | b'A'..=b'Z' => {}
            b'0'..=b'9' | b'+' | b'-' | b'.' if i > 0 => {}
            b':' if i == 0 => return Err("the scheme before : is missing"),
            b':' => return Ok((&text[..i], &text[i + 1..])),
            _ => break,
        }
    }
    Ok(("", text))
}

fn check_host(host: &str) -> Result<(), &'static str> {
    let port = if host.starts_with('[') {
        let (_, after) = host.rsplit_once(']').ok_or("a ] is missing in the host")?;
        after
    } else {
        host.rfind(':').map_or("", |at| &host[at..])
    };
    let digits = port.strip_prefix(':').unwrap_or(port);
    if port.len() == digits.len() && !port.is_empty() || !digits.bytes().all(|b| b.is_ascii_digit())
    {
        return Err("the port is not a number");
    }
    let allowed = |b: u8| {
        b.is_ascii_alphanumeric() || !b.is_ascii() || b"-_.~!$&'()*+,;=:[]<>\"%".contains(&b)
    };
    if host.bytes().all(allowed) && escapes_are_whole(host) {
        Ok(())
    } else {
        Err("the host has a character that no host can have")
    }
}

fn escapes_are_whole(text: &str) -> bool {
    text.split('%')
        .skip(1)
        .all(|after| after.len() >= 2 && after.bytes().take(2).all(|b| b.is_ascii_hexdigit()))
}

#[cfg(test)]
mod tests {
    use super::parse;

    #[test]
    fn as_go_reads_them() {
        for (text, scheme) in [
            ("https://x.test/keys", Some("https")),
            ("HTTP://x.test:8080", Some("http")),
            ("oci://reg.test/a b", Some("oci")),
            ("file:///opt/x.wasm", Some("file")),
            ("/opt/x.wasm", Some("")),
            // What looks like host:port is a scheme to Go.
            ("reg.test:5000/x", Some("reg.test")),
            ("http://[::1]:80/x", Some("http")),
            ("reg.test/x:1", None),
            ("", None),
            (":80", None),
            ("http://a b/x", None),
            ("http://{x}", None),
            ("http://x:http/", None),
            ("http://x/%zz", None),
            ("http://[::1", None),
            ("http://x\n", None),
        ] {
            let got = parse(text).ok().map(|uri| uri.scheme);
            assert_eq!(got.as_deref(), scheme, "{text}");
        }
    }
}
