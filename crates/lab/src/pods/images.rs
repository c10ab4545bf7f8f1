//! Which command an image name stands for.

use std::collections::BTreeMap;

use serde::Deserialize;

use crate::sandbox::BIN;

/// The table shipped with the program.
const SHIPPED: &str = include_str!("../../../../samples/images.yaml");

/// What a container of some image runs unless the pod says otherwise.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Image {
    /// Image names meant: `*` stands for anything. A registry in front of the name is ignored.
    pub image: String,
    /// As an image's ENTRYPOINT; a container's `command` replaces it.
    pub entrypoint: Vec<String>,
    /// As an image's CMD; a container's `args` replace it.
    #[serde(default)]
    pub cmd: Vec<String>,
    /// Environment, before the container's own.
    #[serde(default)]
    pub env: BTreeMap<String, String>,
    /// The user id processes run as unless the pod says.
    #[serde(default)]
    pub user: u32,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    images: Vec<Image>,
}

/// The table of images: the first match counts.
#[derive(Debug, Clone)]
pub struct Images(Vec<Image>);

/// A table of images that cannot be read.
#[derive(Debug, thiserror::Error)]
#[error("{name}: {message}")]
pub struct ImagesError {
    name: String,
    message: String,
}

impl Images {
    /// The shipped table, after `own` (a user's file: its name and text) if given.
    pub fn load(own: Option<(&str, &str)>) -> Result<Images, ImagesError> {
        let mut images = Vec::new();
        for (name, text) in own.into_iter().chain([("samples/images.yaml", SHIPPED)]) {
            let file: File = serde_saphyr::from_str(text).map_err(|error| ImagesError {
                name: name.to_string(),
                message: error.to_string(),
            })?;
            if let Some(bad) = file.images.iter().find(|image| image.entrypoint.is_empty()) {
                let message = format!("image {:?} has an empty entrypoint", bad.image);
                return Err(ImagesError {
                    name: name.to_string(),
                    message,
                });
            }
            images.extend(file.images);
        }
        Ok(Images(images))
    }

    /// The entry for an image name as manifests write it.
    pub fn find(&self, name: &str) -> Option<&Image> {
        self.0.iter().find(|image| {
            glob(&image.image, name)
                || without_registry(name).is_some_and(|short| glob(&image.image, short))
        })
    }
}

/// The command line of a container: `command` replaces the image's entrypoint and then its cmd does
/// not count; `args` replace its cmd
/// (<https://kubernetes.io/docs/tasks/inject-data-application/define-command-argument-container/>).
pub fn command_line(image: Option<&Image>, command: &[String], args: &[String]) -> Vec<String> {
    let entrypoint = image.map_or(&[][..], |image| &image.entrypoint);
    let cmd = image.map_or(&[][..], |image| &image.cmd);
    let (first, rest) = match (command.is_empty(), args.is_empty()) {
        (true, true) => (entrypoint, cmd),
        (true, false) => (entrypoint, args),
        (false, _) => (command, args),
    };
    first
        .iter()
        .chain(rest)
        .map(|word| word.replace("{bin}", BIN))
        .collect()
}

/// `docker.io/istio/x` is `istio/x`: a first part with a dot or colon, or `localhost`, names a registry.
fn without_registry(name: &str) -> Option<&str> {
    let (first, rest) = name.split_once('/')?;
    (first.contains(['.', ':']) || first == "localhost").then_some(rest)
}

/// Whether `pattern`, in which `*` stands for any text, covers `text`.
fn glob(pattern: &str, text: &str) -> bool {
    let mut parts = pattern.split('*');
    let Some(first) = parts.next() else {
        return false;
    };
    let Some(mut rest) = text.strip_prefix(first) else {
        return false;
    };
    let mut last = None;
    for part in parts {
        if let Some(middle) = last.replace(part) {
            match rest.find(middle) {
                Some(at) => rest = &rest[at + middle.len()..],
                None => return false,
            }
        }
    }
    match last {
        None => rest.is_empty(),
        Some(end) => rest.ends_with(end),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn globs() {
        let cases = [
            ("a/b:*", "a/b:1.0", true),
            ("a/b:*", "a/b", false),
            ("a/b*", "a/b", true),
            ("*/proxyv2:*", "gcr.io/istio/proxyv2:1", true),
            ("a*c*e", "abcde", true),
            ("a*c*e", "abde", false),
            ("abc", "abc", true),
            ("abc", "abcd", false),
            ("a*a", "a", false),
        ];
        for (pattern, text, expected) in cases {
            assert_eq!(glob(pattern, text), expected, "{pattern} against {text}");
        }
    }

    fn words(text: &str) -> Vec<String> {
        text.split_whitespace().map(str::to_string).collect()
    }

    #[test]
    fn command_lines() {
        let image = Image {
            image: "x".into(),
            entrypoint: words("{bin}/x run"),
            cmd: words("--fast"),
            env: BTreeMap::new(),
            user: 0,
        };
        let cases = [
            (Some(&image), "", "", "/opt/hawser/bin/x run --fast"),
            (Some(&image), "", "--slow", "/opt/hawser/bin/x run --slow"),
            (Some(&image), "sleep", "", "sleep"),
            (Some(&image), "sleep", "1", "sleep 1"),
            (None, "sleep", "1", "sleep 1"),
            (None, "", "", ""),
        ];
        for (image, command, args, expected) in cases {
            assert_eq!(
                command_line(image, &words(command), &words(args)),
                words(expected),
                "{command} {args}"
            );
        }
    }

    #[test]
    fn shipped_table() {
        let images = Images::load(None).expect("samples/images.yaml");
        for name in [
            "istio/examples-bookinfo-productpage-v1:1.10.0",
            "docker.io/istio/examples-bookinfo-reviews-v3:1.20.3",
            "hawser/control-plane:dev",
            "hawser/proxyv2:dev",
            "hawser/init:dev",
        ] {
            assert!(images.find(name).is_some(), "{name}");
        }
        assert!(images.find("redis:7").is_none());
    }
}
