//! Who is logged in: a name kept in a cookie. The sample has no passwords worth the name, and
//! neither have we: any name is let in.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::{HeaderMap, header};

const COOKIE: &str = "session";
/// The longest user name, in bytes.
const NAME_LIMIT: usize = 64;

/// The name the session cookie of a request holds, if it is one that we could have set.
pub fn user(headers: &HeaderMap) -> Option<String> {
    let cookies = headers.get_all(header::COOKIE);
    let mut pairs = cookies
        .iter()
        .filter_map(|line| line.to_str().ok())
        .flat_map(|line| line.split(';'));
    let value = pairs.find_map(|pair| pair.trim().strip_prefix(COOKIE)?.strip_prefix('='))?;
    let name = String::from_utf8(URL_SAFE_NO_PAD.decode(value).ok()?).ok()?;
    acceptable(&name).then_some(name)
}

/// The `Set-Cookie` value that logs a user in; `None` if the name is empty, too long or has control characters.
pub fn login(name: &str) -> Option<String> {
    let name = name.trim();
    acceptable(name).then(|| {
        format!(
            "{COOKIE}={}; Path=/; HttpOnly; SameSite=Lax",
            URL_SAFE_NO_PAD.encode(name)
        )
    })
}

/// The `Set-Cookie` value that logs a user out.
pub fn logout() -> String {
    format!("{COOKIE}=; Path=/; HttpOnly; SameSite=Lax; Max-Age=0")
}

fn acceptable(name: &str) -> bool {
    !name.is_empty() && name.len() <= NAME_LIMIT && !name.chars().any(char::is_control)
}
