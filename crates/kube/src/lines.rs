//! A response body cut into lines, as watches are framed: one JSON document per line.

use crate::Error;
use bytes::{Buf, Bytes, BytesMut};
use http_body_util::BodyExt;
use kube::client::Body;

/// The longest line taken: etcd holds objects of about 1.5 MB, and a line holds one object.
const MAX_LINE: usize = 32 << 20;

/// Reads lines; dropping a call of [`Lines::next`] midway loses nothing.
pub(crate) struct Lines {
    body: Body,
    buffer: BytesMut,
    /// Bytes of `buffer` already seen to hold no newline.
    searched: usize,
}

impl Lines {
    pub(crate) fn new(body: Body) -> Lines {
        Lines {
            body,
            buffer: BytesMut::new(),
            searched: 0,
        }
    }

    /// The next line without its newline; `None` at the end. A last line without newline was cut off and is dropped.
    pub(crate) async fn next(&mut self) -> Option<Result<Bytes, Error>> {
        loop {
            let unseen = self.buffer.get(self.searched..).unwrap_or_default();
            if let Some(at) = unseen.iter().position(|byte| *byte == b'\n') {
                let line = self.buffer.split_to(self.searched + at).freeze();
                self.buffer.advance(1);
                self.searched = 0;
                if line.is_empty() {
                    continue;
                }
                return Some(Ok(line));
            }
            self.searched = self.buffer.len();
            if self.searched > MAX_LINE {
                return Some(Err(Error::Unreadable(format!(
                    "a line of more than {MAX_LINE} bytes"
                ))));
            }
            match self.body.frame().await? {
                Ok(frame) => {
                    if let Ok(data) = frame.into_data() {
                        self.buffer.extend_from_slice(&data);
                    }
                }
                Err(error) => return Some(Err(Error::from_exchange(&error))),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn check(name: &str, body: &str, expected: &[&str]) {
        let mut lines = Lines::new(Body::from(body.as_bytes().to_vec()));
        let mut seen = Vec::new();
        while let Some(Ok(line)) = lines.next().await {
            seen.push(String::from_utf8_lossy(&line).into_owned());
        }
        assert_eq!(seen, expected, "{name}");
    }

    #[tokio::test]
    async fn bodies_become_lines() {
        check("nothing", "", &[]).await;
        check("two", "a\nb\n", &["a", "b"]).await;
        check("empty lines", "\na\n\n", &["a"]).await;
        check("cut off", "a\nb", &["a"]).await;
    }
}
