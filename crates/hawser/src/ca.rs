//! `hawser ca`: a root and per-cluster intermediates, without openssl.

use std::fs::OpenOptions;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use hawser_ca::rotation::Validity;
use hawser_ca::{Authority, CaFiles, issue};
use rcgen::{Issuer, KeyPair};
use time::OffsetDateTime;

const DAY: Duration = Duration::from_secs(86_400);

/// Make the mesh's root and an intermediate authority for each cluster.
#[derive(clap::Args, Debug)]
pub struct CaArgs {
    #[command(subcommand)]
    command: Command,
}

#[derive(clap::Subcommand, Debug)]
enum Command {
    /// Make a root: root-cert.pem and root-key.pem. Keep the key offline; no cluster needs it.
    Init {
        /// Folder of the files.
        #[arg(long, value_name = "DIR", default_value = ".")]
        dir: PathBuf,
        /// Organization in the certificate.
        #[arg(long, default_value = "Hawser")]
        organization: String,
        /// Lifetime in days.
        #[arg(long, default_value_t = 3650)]
        days: u32,
    },
    /// Make one cluster's authority under the root: the four files of its secret `cacerts`, in a folder of its name.
    Intermediate {
        /// The cluster's name.
        cluster: String,
        /// Folder of root-cert.pem and root-key.pem.
        #[arg(long, value_name = "DIR", default_value = ".")]
        dir: PathBuf,
        /// Organization in the certificate.
        #[arg(long, default_value = "Hawser")]
        organization: String,
        /// Lifetime in days.
        #[arg(long, default_value_t = 730)]
        days: u32,
    },
}

/// Runs the command; says on standard output which files it wrote.
pub fn run(args: &CaArgs) -> Result<()> {
    let now = OffsetDateTime::now_utc();
    let serial = uuid::Uuid::new_v4().as_u128();
    match &args.command {
        Command::Init {
            dir,
            organization,
            days,
        } => {
            let key = KeyPair::generate().context("generating a key")?;
            let root = issue::root(&key, organization, "Root CA", validity(now, *days), serial)?;
            std::fs::create_dir_all(dir).with_context(|| format!("making {}", dir.display()))?;
            write_new(&dir.join("root-key.pem"), &key.serialize_pem(), 0o600)?;
            write_new(&dir.join("root-cert.pem"), &root.pem, 0o644)?;
        }
        Command::Intermediate {
            cluster,
            dir,
            organization,
            days,
        } => {
            if cluster.is_empty()
                || !cluster
                    .chars()
                    .all(|c| c.is_ascii_alphanumeric() || "-_.".contains(c))
                || cluster.starts_with('.')
            {
                bail!(
                    "{cluster:?} is no cluster name: letters, digits, '-', '_' and '.' are allowed"
                );
            }
            let read = |name: &str| {
                let path = dir.join(name);
                std::fs::read_to_string(&path).with_context(|| {
                    format!("reading {} (made by `hawser ca init`)", path.display())
                })
            };
            let (root_cert, root_key) = (read("root-cert.pem")?, read("root-key.pem")?);
            let root_key =
                KeyPair::from_pem(&root_key).context("root-key.pem: not a private key")?;
            let issuer = Issuer::from_ca_cert_pem(&root_cert, root_key)
                .context("root-cert.pem: not a CA certificate")?;
            let key = KeyPair::generate().context("generating a key")?;
            let name = format!("Intermediate CA of {cluster}");
            let own = issue::intermediate(
                &key,
                organization,
                &name,
                &issuer,
                validity(now, *days),
                serial,
            )?;
            let chain = own.pem.clone() + &root_cert;
            let key_pem = key.serialize_pem();
            let files = CaFiles {
                ca_cert: &own.pem,
                ca_key: &key_pem,
                root_cert: &root_cert,
                cert_chain: &chain,
            };
            // What a control plane would refuse is not written.
            Authority::load(files, now)?;
            let folder = dir.join(cluster);
            std::fs::create_dir_all(&folder)
                .with_context(|| format!("making {}", folder.display()))?;
            write_new(&folder.join("ca-key.pem"), &key_pem, 0o600)?;
            write_new(&folder.join("ca-cert.pem"), &own.pem, 0o644)?;
            write_new(&folder.join("cert-chain.pem"), &chain, 0o644)?;
            write_new(&folder.join("root-cert.pem"), &root_cert, 0o644)?;
        }
    }
    Ok(())
}

fn validity(now: OffsetDateTime, days: u32) -> Validity {
    Validity {
        from: now - Duration::from_secs(120),
        until: now + DAY * days,
    }
}

/// Writes a file that must not exist yet: an authority overwritten by mistake is a mesh that falls apart.
fn write_new(path: &Path, text: &str, mode: u32) -> Result<()> {
    let file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(mode)
        .open(path);
    let mut file = file.with_context(|| {
        format!(
            "writing {} (existing files are never overwritten)",
            path.display()
        )
    })?;
    file.write_all(text.as_bytes())
        .with_context(|| format!("writing {}", path.display()))?;
    println!("{}", path.display());
    Ok(())
}
