//! What becomes of a path before any filter sees it (`HttpConnectionManager.normalize_path`, `merge_slashes`,
//! `path_with_escaped_slashes_action`).

use hawser_proto::envoy::extensions::filters::network::http_connection_manager::v3::HttpConnectionManager;
use hawser_proto::envoy::extensions::filters::network::http_connection_manager::v3::http_connection_manager::PathWithEscapedSlashesAction as Escaped;

/// What is done with a request because of its path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Normalized {
    /// It goes on with this path.
    Path(String),
    /// It is answered with 400.
    Refused,
    /// It is redirected to this path.
    Redirected(String),
}

/// Applies the manager's settings to a path with its query.
pub(crate) fn normalize(manager: &HttpConnectionManager, path: &str) -> Normalized {
    // By itself Envoy refuses a path with a fragment; the runtime that our proxies start with has it dropped, as Istio's.
    let path = path.split('#').next().unwrap_or_default();
    let (mut path, query) = match path.split_once('?') {
        Some((path, query)) => (path.to_owned(), format!("?{query}")),
        None => (path.to_owned(), String::new()),
    };
    let mut redirect = false;
    let has_escaped = ["%2f", "%2F", "%5c", "%5C"]
        .iter()
        .any(|e| path.contains(e));
    match Escaped::try_from(manager.path_with_escaped_slashes_action) {
        Ok(Escaped::RejectRequest) if has_escaped => return Normalized::Refused,
        Ok(action @ (Escaped::UnescapeAndRedirect | Escaped::UnescapeAndForward))
            if has_escaped =>
        {
            path = path
                .replace("%2f", "/")
                .replace("%2F", "/")
                .replace("%5c", "\\")
                .replace("%5C", "\\");
            redirect = action == Escaped::UnescapeAndRedirect;
        }
        _ => {}
    }
    if manager.normalize_path.as_ref().is_some_and(|v| v.value) {
        match rfc3986(&path) {
            Some(normal) => path = normal,
            None => return Normalized::Refused,
        }
    }
    if manager.merge_slashes {
        while path.contains("//") {
            path = path.replace("//", "/");
        }
    }
    let whole = path + &query;
    if redirect {
        Normalized::Redirected(whole)
    } else {
        Normalized::Path(whole)
    }
}

/// Dot segments removed, backslashes made slashes, unreserved characters unescaped, other escapes in upper case (what
/// Envoy's URL library does). `None` for what is no absolute path.
fn rfc3986(path: &str) -> Option<String> {
    if !path.starts_with('/') {
        return None;
    }
    if path.contains("%00") {
        return None;
    }
    let path = unescape(&without_parameters(&path.replace('\\', "/")));
    let mut out: Vec<&str> = Vec::new();
    let segments: Vec<&str> = path[1..].split('/').collect();
    for (i, segment) in segments.iter().enumerate() {
        let last = i + 1 == segments.len();
        match *segment {
            "." => {
                if last {
                    out.push("");
                }
            }
            ".." => {
                out.pop();
                if last {
                    out.push("");
                }
            }
            other => out.push(other),
        }
    }
    Some(format!("/{}", out.join("/")))
}

/// Dot segments lose their parameters (`..;x`), unless they are escaped: so Envoy 1.40 does.
fn without_parameters(path: &str) -> String {
    let plain = |segment: &str| match segment.split_once(';') {
        Some((dots @ ("." | ".."), _)) => dots.to_owned(),
        _ => segment.to_owned(),
    };
    path.split('/').map(plain).collect::<Vec<_>>().join("/")
}

fn unescape(path: &str) -> String {
    let bytes = path.as_bytes();
    let mut out = Vec::with_capacity(bytes.len());
    let mut i = 0;
    while i < bytes.len() {
        let escaped = (bytes[i] == b'%')
            .then(|| {
                path.get(i + 1..i + 3)
                    .and_then(|h| u8::from_str_radix(h, 16).ok())
            })
            .flatten();
        match escaped {
            Some(b) if b.is_ascii_alphanumeric() || b"-._~".contains(&b) => {
                out.push(b);
                i += 3;
            }
            Some(b) => {
                out.extend(format!("%{b:02X}").bytes());
                i += 3;
            }
            None => {
                out.push(bytes[i]);
                i += 1;
            }
        }
    }
    String::from_utf8_lossy(&out).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn manager(merge: bool, action: Escaped) -> HttpConnectionManager {
        HttpConnectionManager {
            normalize_path: Some(hawser_proto::google::protobuf::BoolValue { value: true }),
            merge_slashes: merge,
            path_with_escaped_slashes_action: action as i32,
            ..HttpConnectionManager::default()
        }
    }

    #[test]
    fn paths_are_normalised_as_the_manager_says() {
        use Normalized::{Path, Refused};
        let keep = Escaped::KeepUnchanged;
        for (merge, action, path, expected) in [
            (false, keep, "/a/../b", Path("/b".into())),
            (false, keep, "/a/./b?x=../y", Path("/a/b?x=../y".into())),
            (false, keep, "/a//b", Path("/a//b".into())),
            (true, keep, "/a//b", Path("/a/b".into())),
            (false, keep, "/a%2Fb", Path("/a%2Fb".into())),
            (
                true,
                Escaped::UnescapeAndForward,
                "/a%2F%2fb",
                Path("/a/b".into()),
            ),
            (false, Escaped::RejectRequest, "/a%2fb", Refused),
            (false, keep, "/%61dmin", Path("/admin".into())),
            (false, keep, "/a\\b", Path("/a/b".into())),
            (false, keep, "/..", Path("/".into())),
            (false, keep, "/a/..;x/b", Path("/b".into())),
            (false, keep, "/a/%2e%2e;x/b", Path("/a/..;x/b".into())),
            (false, keep, "/%00", Refused),
            (false, keep, "/a#b", Path("/a".into())),
        ] {
            assert_eq!(normalize(&manager(merge, action), path), expected, "{path}");
        }
    }
}
