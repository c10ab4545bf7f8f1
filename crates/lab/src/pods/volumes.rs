//! A pod's volumes as directories of the lab, kept as fresh as their sources.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::os::unix::fs::{PermissionsExt, chown, symlink};
use std::path::{Component, Path, PathBuf};
use std::time::{Duration, Instant};

use k8s_openapi::api::core::v1::{DownwardAPIVolumeFile, KeyToPath, Pod, Volume};

use super::fields::{self, Placed};
use super::source::Reader;

/// One file of a volume: where, what, and its mode bits.
#[derive(Clone, PartialEq, Eq)]
struct VolumeFile {
    content: Vec<u8>,
    mode: u32,
}

type Files = BTreeMap<PathBuf, VolumeFile>;

/// Why a volume cannot be made (yet). The message names the volume.
#[derive(Debug, thiserror::Error)]
#[error("volume {volume:?}: {message}")]
pub(crate) struct VolumeError {
    volume: String,
    message: String,
}

/// Tokens are replaced when this share of their life is left, as kubelets do.
const TOKEN_RENEW_AT: f64 = 0.8;
const DEFAULT_TOKEN_SECONDS: i64 = 3600;
const DEFAULT_MODE: i32 = 0o644;

struct Token {
    text: String,
    renew: Instant,
}

/// The volumes of one pod.
pub(crate) struct Volumes {
    base: PathBuf,
    written: BTreeMap<String, Files>,
    tokens: BTreeMap<(String, PathBuf), Token>,
    turn: u64,
}

impl Volumes {
    /// Volumes are kept under `base`, which is made.
    pub(crate) fn new(base: &Path) -> io::Result<Volumes> {
        fs::create_dir_all(base)?;
        Ok(Volumes {
            base: base.to_path_buf(),
            written: BTreeMap::new(),
            tokens: BTreeMap::new(),
            turn: 0,
        })
    }

    /// Makes or refreshes every volume; the host's path of each by name.
    pub(crate) async fn refresh(
        &mut self,
        pod: &Pod,
        placed: &Placed,
        reader: &Reader,
    ) -> Result<BTreeMap<String, PathBuf>, VolumeError> {
        let mut paths = BTreeMap::new();
        let Some(spec) = &pod.spec else {
            return Ok(paths);
        };
        let group = spec
            .security_context
            .as_ref()
            .and_then(|context| context.fs_group);
        let group = group.and_then(|group| u32::try_from(group).ok());
        for volume in spec.volumes.iter().flatten() {
            let path = self
                .one(pod, volume, placed, reader, group)
                .await
                .map_err(|message| VolumeError {
                    volume: volume.name.clone(),
                    message,
                })?;
            paths.insert(volume.name.clone(), path);
        }
        Ok(paths)
    }

    /// Whether anything in the pod's volumes can change while it runs.
    pub(crate) fn can_change(pod: &Pod) -> bool {
        pod.spec
            .iter()
            .flat_map(|spec| spec.volumes.iter().flatten())
            .any(|volume| {
                volume.config_map.is_some()
                    || volume.secret.is_some()
                    || volume.projected.is_some()
                    || volume.downward_api.is_some()
            })
    }

    async fn one(
        &mut self,
        pod: &Pod,
        volume: &Volume,
        placed: &Placed,
        reader: &Reader,
        group: Option<u32>,
    ) -> Result<PathBuf, String> {
        if let Some(host) = &volume.host_path {
            return host_path(&host.path, host.type_.as_deref().unwrap_or(""));
        }
        let path = self.base.join(&volume.name);
        if volume.empty_dir.is_some() {
            if !path.exists() {
                fs::create_dir(&path).map_err(text)?;
                fs::set_permissions(&path, fs::Permissions::from_mode(0o777)).map_err(text)?;
                chown(&path, None, group).map_err(text)?;
            }
            return Ok(path);
        }
        let files = self.files(pod, volume, placed, reader).await?;
        if self.written.get(&volume.name) != Some(&files) {
            self.turn += 1;
            publish(&path, &files, group, self.turn).map_err(text)?;
            self.written.insert(volume.name.clone(), files);
        }
        Ok(path)
    }

    async fn files(
        &mut self,
        pod: &Pod,
        volume: &Volume,
        placed: &Placed,
        reader: &Reader,
    ) -> Result<Files, String> {
        let mut files = Files::new();
        if let Some(source) = &volume.config_map {
            let data = reader.config_map(&source.name).await?;
            let mode = source.default_mode.unwrap_or(DEFAULT_MODE);
            let what = format!("configmap {:?}", source.name);
            keys(
                &mut files,
                data,
                source.items.as_deref(),
                source.optional,
                mode,
                &what,
            )?;
        } else if let Some(source) = &volume.secret {
            let name = source.secret_name.as_deref().unwrap_or_default();
            let data = reader.secret(name).await?;
            let mode = source.default_mode.unwrap_or(DEFAULT_MODE);
            keys(
                &mut files,
                data,
                source.items.as_deref(),
                source.optional,
                mode,
                &format!("secret {name:?}"),
            )?;
        } else if let Some(source) = &volume.downward_api {
            let mode = source.default_mode.unwrap_or(DEFAULT_MODE);
            downward(&mut files, pod, placed, source.items.as_deref(), mode)?;
        } else if let Some(source) = &volume.projected {
            let mode = source.default_mode.unwrap_or(DEFAULT_MODE);
            for part in source.sources.iter().flatten() {
                if let Some(map) = &part.config_map {
                    let data = reader.config_map(&map.name).await?;
                    let what = format!("configmap {:?}", map.name);
                    keys(
                        &mut files,
                        data,
                        map.items.as_deref(),
                        map.optional,
                        mode,
                        &what,
                    )?;
                } else if let Some(secret) = &part.secret {
                    let data = reader.secret(&secret.name).await?;
                    let what = format!("secret {:?}", secret.name);
                    keys(
                        &mut files,
                        data,
                        secret.items.as_deref(),
                        secret.optional,
                        mode,
                        &what,
                    )?;
                } else if let Some(fields) = &part.downward_api {
                    downward(&mut files, pod, placed, fields.items.as_deref(), mode)?;
                } else if let Some(token) = &part.service_account_token {
                    let seconds = token.expiration_seconds.unwrap_or(DEFAULT_TOKEN_SECONDS);
                    let path = relative(&token.path)?;
                    let key = (volume.name.clone(), path.clone());
                    let text = self
                        .token(key, reader, pod, token.audience.as_deref(), seconds)
                        .await?;
                    insert(&mut files, path, text.into_bytes(), mode);
                } else {
                    return Err(
                        "a projected source of this kind is not supported in a lab".to_string()
                    );
                }
            }
        } else {
            return Err("a volume of this kind is not supported in a lab".to_string());
        }
        Ok(files)
    }

    async fn token(
        &mut self,
        key: (String, PathBuf),
        reader: &Reader,
        pod: &Pod,
        audience: Option<&str>,
        seconds: i64,
    ) -> Result<String, String> {
        if let Some(token) = self
            .tokens
            .get(&key)
            .filter(|token| token.renew > Instant::now())
        {
            return Ok(token.text.clone());
        }
        let asked = Instant::now();
        let (text, lifetime) = reader.token(pod, audience, seconds).await?;
        let renew = asked + Duration::from_secs_f64(lifetime.as_secs_f64() * TOKEN_RENEW_AT);
        self.tokens.insert(
            key,
            Token {
                text: text.clone(),
                renew,
            },
        );
        Ok(text)
    }
}

fn text(error: io::Error) -> String {
    error.to_string()
}

/// A directory or file of the host, checked as its `type` asks. In a lab nothing is made on the host.
fn host_path(path: &str, kind: &str) -> Result<PathBuf, String> {
    let at = PathBuf::from(path);
    if !at.is_absolute() {
        return Err(format!("hostPath {path:?} is not absolute"));
    }
    let fits = match kind {
        "Directory" | "DirectoryOrCreate" => at.is_dir(),
        "File" | "FileOrCreate" => at.is_file(),
        _ => at.exists(),
    };
    if fits {
        Ok(at)
    } else {
        Err(format!(
            "hostPath {path:?} is not there, and a lab makes nothing on the host"
        ))
    }
}

/// A path inside a volume must stay inside.
fn relative(path: &str) -> Result<PathBuf, String> {
    let path = PathBuf::from(path);
    let plain = path
        .components()
        .all(|part| matches!(part, Component::Normal(_)));
    if plain && path.components().next().is_some() {
        Ok(path)
    } else {
        Err(format!("path {:?} leaves the volume", path.display()))
    }
}

fn insert(files: &mut Files, path: PathBuf, content: Vec<u8>, mode: i32) {
    files.insert(
        path,
        VolumeFile {
            content,
            mode: mode.unsigned_abs() & 0o777,
        },
    );
}

fn keys(
    files: &mut Files,
    data: Option<BTreeMap<String, Vec<u8>>>,
    items: Option<&[KeyToPath]>,
    optional: Option<bool>,
    mode: i32,
    what: &str,
) -> Result<(), String> {
    let optional = optional == Some(true);
    let Some(mut data) = data else {
        return if optional {
            Ok(())
        } else {
            Err(format!("{what} not found"))
        };
    };
    let Some(items) = items.filter(|items| !items.is_empty()) else {
        for (key, content) in data {
            insert(files, relative(&key)?, content, mode);
        }
        return Ok(());
    };
    for item in items {
        match data.remove(&item.key) {
            Some(content) => insert(
                files,
                relative(&item.path)?,
                content,
                item.mode.unwrap_or(mode),
            ),
            None if optional => {}
            None => return Err(format!("{what} has no key {:?}", item.key)),
        }
    }
    Ok(())
}

fn downward(
    files: &mut Files,
    pod: &Pod,
    placed: &Placed,
    items: Option<&[DownwardAPIVolumeFile]>,
    mode: i32,
) -> Result<(), String> {
    for item in items.unwrap_or_default() {
        let value = if let Some(selector) = &item.field_ref {
            fields::field(pod, placed, &selector.field_path)?
        } else if let Some(selector) = &item.resource_field_ref {
            let containers = pod.spec.as_ref().map_or(&[][..], |spec| &spec.containers);
            fields::resource(containers, None, placed, selector)?
        } else {
            return Err(format!(
                "item {:?} has neither fieldRef nor resourceFieldRef",
                item.path
            ));
        };
        insert(
            files,
            relative(&item.path)?,
            value.into_bytes(),
            item.mode.unwrap_or(mode),
        );
    }
    Ok(())
}

/// Writes a volume so that readers see either all old or all new files: a new directory, then one
/// link moved (Kubernetes `pkg/volume/util/atomic_writer.go` lays volumes out the same way).
fn publish(volume: &Path, files: &Files, group: Option<u32>, turn: u64) -> io::Result<()> {
    let data = volume.join(format!("..{turn}"));
    fs::create_dir_all(&data)?;
    fs::set_permissions(volume, fs::Permissions::from_mode(0o755))?;
    fs::set_permissions(&data, fs::Permissions::from_mode(0o755))?;
    for (path, file) in files {
        let at = data.join(path);
        if let Some(parent) = at.parent() {
            fs::create_dir_all(parent)?;
        }
        fs::write(&at, &file.content)?;
        // A pod with an fsGroup reads its files through the group.
        let mode = if group.is_some() {
            file.mode | 0o440
        } else {
            file.mode
        };
        fs::set_permissions(&at, fs::Permissions::from_mode(mode))?;
        chown(&at, None, group)?;
    }
    let old = fs::read_link(volume.join("..data")).ok();
    let next = volume.join("..data_tmp");
    symlink(format!("..{turn}"), &next)?;
    fs::rename(&next, volume.join("..data"))?;
    let tops: std::collections::BTreeSet<_> =
        files.keys().filter_map(|path| path.iter().next()).collect();
    for top in &tops {
        let link = volume.join(top);
        if fs::symlink_metadata(&link).is_err() {
            symlink(Path::new("..data").join(top), link)?;
        }
    }
    for entry in fs::read_dir(volume)? {
        let entry = entry?;
        let name = entry.file_name();
        if !name.to_string_lossy().starts_with("..") && !tops.contains(name.as_os_str()) {
            fs::remove_file(entry.path())?;
        }
    }
    match old {
        Some(old) => fs::remove_dir_all(volume.join(old)),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn files(entries: &[(&str, &str)]) -> Files {
        let mut files = Files::new();
        for (path, content) in entries {
            insert(
                &mut files,
                PathBuf::from(path),
                content.as_bytes().to_vec(),
                DEFAULT_MODE,
            );
        }
        files
    }

    #[test]
    fn volumes_change_as_a_whole() {
        let dir = std::env::temp_dir().join(format!("hawser-volume-{}", std::process::id()));
        publish(&dir, &files(&[("a", "1"), ("sub/b", "2")]), None, 1).expect("first");
        assert_eq!(fs::read_to_string(dir.join("sub/b")).expect("b"), "2");
        publish(&dir, &files(&[("a", "3")]), None, 2).expect("second");
        assert_eq!(fs::read_to_string(dir.join("a")).expect("a"), "3");
        assert!(!dir.join("sub").exists());
        let mut names: Vec<_> = fs::read_dir(&dir)
            .expect("the volume")
            .map(|entry| {
                entry
                    .expect("an entry")
                    .file_name()
                    .to_string_lossy()
                    .into_owned()
            })
            .collect();
        names.sort();
        assert_eq!(names, ["..2", "..data", "a"]);
        fs::remove_dir_all(&dir).expect("removing");
    }

    #[test]
    fn paths_stay_inside() {
        for (path, fine) in [
            ("a", true),
            ("a/b", true),
            ("../a", false),
            ("/a", false),
            ("", false),
            ("a/../b", false),
        ] {
            assert_eq!(relative(path).is_ok(), fine, "{path:?}");
        }
    }

    #[test]
    fn missing_keys_are_named() {
        let data = || Some(BTreeMap::from([("k".to_string(), b"v".to_vec())]));
        let item = |key: &str| KeyToPath {
            key: key.into(),
            path: "p".into(),
            mode: None,
        };
        let mut out = Files::new();
        assert!(
            keys(
                &mut out,
                data(),
                Some(&[item("k")]),
                None,
                0o600,
                "secret \"s\""
            )
            .is_ok()
        );
        assert_eq!(out.keys().collect::<Vec<_>>(), [Path::new("p")]);
        let missing = keys(
            &mut out,
            data(),
            Some(&[item("x")]),
            None,
            0o600,
            "secret \"s\"",
        );
        assert_eq!(missing, Err("secret \"s\" has no key \"x\"".to_string()));
        assert_eq!(
            keys(&mut out, None, None, None, 0, "secret \"s\""),
            Err("secret \"s\" not found".to_string())
        );
        assert_eq!(
            keys(&mut out, None, None, Some(true), 0, "secret \"s\""),
            Ok(())
        );
    }
}
