//! The authority that a control plane is: loaded from the `cacerts` secret, or a self-signed root.

use std::time::Duration;

use hawser_model::Identity;
use rcgen::{Issuer, KeyPair};
use time::OffsetDateTime;
use x509_parser::certificate::X509Certificate;
use x509_parser::prelude::{FromDer, Pem};

use crate::csr;
use crate::issue::{self, IssueError, Issued};
use crate::rotation::Validity;

/// Default lifetime of workloads' certificates (Istio: `DEFAULT_WORKLOAD_CERT_TTL`).
pub const DEFAULT_LEAF: Duration = Duration::from_secs(24 * 3600);
/// Greatest lifetime of workloads' certificates (Istio: `MAX_WORKLOAD_CERT_TTL`).
pub const GREATEST_LEAF: Duration = Duration::from_secs(90 * 24 * 3600);

/// The four files of the `cacerts` secret, as PEM.
#[derive(Clone, Copy, Debug)]
pub struct CaFiles<'a> {
    /// `ca-cert.pem`: the authority's certificate.
    pub ca_cert: &'a str,
    /// `ca-key.pem`: its key.
    pub ca_key: &'a str,
    /// `root-cert.pem`: the roots that the mesh trusts.
    pub root_cert: &'a str,
    /// `cert-chain.pem`: from the authority's certificate towards the root.
    pub cert_chain: &'a str,
}

/// Why a `cacerts` secret was refused. Each names the file to look at.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// Not PEM, or not a certificate.
    #[error("{file}: {message}")]
    Malformed {
        /// The file.
        file: &'static str,
        /// What is wrong.
        message: String,
    },
    /// The key is not of the certificate.
    #[error("ca-key.pem: the key does not belong to the certificate in ca-cert.pem")]
    KeyMismatch,
    /// The certificate may not sign others.
    #[error(
        "ca-cert.pem: not a CA certificate (basic constraints CA:TRUE and key usage keyCertSign are needed)"
    )]
    NotAnAuthority,
    /// Over, or not yet valid.
    #[error("{file}: valid from {from} until {until}, which is not now")]
    NotValidNow {
        /// The file.
        file: &'static str,
        /// Begin.
        from: OffsetDateTime,
        /// End.
        until: OffsetDateTime,
    },
    /// The chain does not begin with the authority's certificate, or breaks.
    #[error("cert-chain.pem: {0}")]
    BrokenChain(String),
    /// The chain does not end at a root.
    #[error("root-cert.pem: no root here signed the last certificate of the chain ({0})")]
    NotUnderRoot(String),
}

/// An authority that signs workloads' certificates.
pub struct Authority {
    issuer: Issuer<'static, KeyPair>,
    validity: Validity,
    /// Certificates between a leaf and the root, the authority's own first; empty for a self-signed root.
    intermediates: Vec<String>,
    roots: String,
}

impl Authority {
    /// Loads the files of `cacerts` and checks that they fit each other and the time.
    pub fn load(files: CaFiles<'_>, now: OffsetDateTime) -> Result<Self, LoadError> {
        let own = certificates("ca-cert.pem", files.ca_cert)?;
        let roots = certificates("root-cert.pem", files.root_cert)?;
        let chain = if files.cert_chain.trim().is_empty() {
            own.clone()
        } else {
            certificates("cert-chain.pem", files.cert_chain)?
        };
        let key = KeyPair::from_pem(files.ca_key).map_err(|e| LoadError::Malformed {
            file: "ca-key.pem",
            message: format!("not a private key: {e}"),
        })?;
        let own_pem = &own[0];
        let own_parsed = parse("ca-cert.pem", own_pem)?;
        let key_bits = own_parsed
            .public_key()
            .subject_public_key
            .data
            .as_ref()
            .to_vec();
        if key_bits != key.public_key_raw() {
            return Err(LoadError::KeyMismatch);
        }
        let signs = own_parsed
            .key_usage()
            .ok()
            .flatten()
            .is_none_or(|u| u.value.key_cert_sign());
        if !own_parsed.is_ca() || !signs {
            return Err(LoadError::NotAnAuthority);
        }
        let validity = validity(&own_parsed);
        if validity.is_over(now) {
            return Err(LoadError::NotValidNow {
                file: "ca-cert.pem",
                from: validity.from,
                until: validity.until,
            });
        }
        let self_signed = roots.iter().any(|r| r.contents == own_pem.contents);
        if !self_signed {
            check_chain(own_pem, &chain, &roots)?;
        }
        let issuer =
            Issuer::from_ca_cert_pem(files.ca_cert, key).map_err(|e| LoadError::Malformed {
                file: "ca-cert.pem",
                message: e.to_string(),
            })?;
        let is_root = |c: &Pem| roots.iter().any(|r| r.contents == c.contents);
        let intermediates = chain.iter().filter(|c| !is_root(c)).map(to_pem).collect();
        Ok(Self {
            issuer,
            validity,
            intermediates,
            roots: roots.iter().map(to_pem).collect(),
        })
    }

    /// A root of its own, for a control plane without `cacerts`: also returns the certificate's PEM for keeping.
    pub fn self_signed(
        key: KeyPair,
        trust_domain: &str,
        now: OffsetDateTime,
        lifetime: Duration,
        serial: u128,
    ) -> Result<(Self, String), IssueError> {
        let validity = Validity {
            from: now - Duration::from_secs(120),
            until: now + lifetime,
        };
        let root = issue::root(&key, trust_domain, "Root CA", validity, serial)?;
        let issuer = Issuer::from_ca_cert_pem(&root.pem, key)?;
        Ok((
            Self {
                issuer,
                validity,
                intermediates: Vec::new(),
                roots: root.pem.clone(),
            },
            root.pem,
        ))
    }

    /// Signs a workload's request: `[leaf, intermediates…, roots]`, as `CreateCertificate` answers.
    pub fn sign(
        &self,
        csr_pem: &str,
        identity: &Identity,
        asked: Option<Duration>,
        now: OffsetDateTime,
        serial: u128,
    ) -> Result<Vec<String>, IssueError> {
        let key = csr::public_key(csr_pem)?;
        let validity =
            issue::leaf_validity(now, asked, DEFAULT_LEAF, GREATEST_LEAF, self.validity)?;
        let leaf = issue::leaf(&key, identity, &self.issuer, validity, serial)?;
        let mut chain = vec![leaf.pem];
        chain.extend(self.intermediates.iter().cloned());
        chain.push(self.roots.clone());
        Ok(chain)
    }

    /// A certificate for a server of the control plane itself; the chain without the roots, as a TLS server sends it.
    pub fn server(
        &self,
        key: &KeyPair,
        names: &[String],
        now: OffsetDateTime,
        serial: u128,
    ) -> Result<Issued, IssueError> {
        let validity = issue::leaf_validity(
            now,
            None,
            DEFAULT_LEAF * 365,
            DEFAULT_LEAF * 365,
            self.validity,
        )?;
        let leaf = issue::server(key, names, &self.issuer, validity, serial)?;
        Ok(Issued {
            pem: leaf.pem + &self.intermediates.concat(),
            validity,
        })
    }

    /// PEM of the roots that the mesh trusts.
    pub fn roots(&self) -> &str {
        &self.roots
    }

    /// The authority's own lifetime.
    pub fn validity(&self) -> Validity {
        self.validity
    }
}

fn check_chain(own: &Pem, chain: &[Pem], roots: &[Pem]) -> Result<(), LoadError> {
    if chain[0].contents != own.contents {
        return Err(LoadError::BrokenChain(
            "its first certificate is not the one in ca-cert.pem".to_owned(),
        ));
    }
    for pair in chain.windows(2) {
        let (child, parent) = (
            parse("cert-chain.pem", &pair[0])?,
            parse("cert-chain.pem", &pair[1])?,
        );
        if child.verify_signature(Some(parent.public_key())).is_err() {
            return Err(LoadError::BrokenChain(format!(
                "{} is not signed by {}",
                child.subject(),
                parent.subject()
            )));
        }
    }
    // `chain` has at least one certificate: `certificates` sees to that.
    let last = &chain[chain.len() - 1];
    let child = parse("cert-chain.pem", last)?;
    for root in roots {
        let parent = parse("root-cert.pem", root)?;
        if root.contents == last.contents
            || child.verify_signature(Some(parent.public_key())).is_ok()
        {
            return Ok(());
        }
    }
    Err(LoadError::NotUnderRoot(child.subject().to_string()))
}

fn certificates(file: &'static str, text: &str) -> Result<Vec<Pem>, LoadError> {
    let malformed = |message: String| LoadError::Malformed { file, message };
    let blocks: Vec<Pem> = Pem::iter_from_buffer(text.as_bytes())
        .collect::<Result<_, _>>()
        .map_err(|e| malformed(format!("not PEM: {e}")))?;
    if blocks.is_empty() {
        return Err(malformed("no certificate found".to_owned()));
    }
    for block in &blocks {
        if block.label != "CERTIFICATE" {
            return Err(malformed(format!(
                "expected a CERTIFICATE, found a {}",
                block.label
            )));
        }
        parse(file, block)?;
    }
    Ok(blocks)
}

fn parse<'a>(file: &'static str, block: &'a Pem) -> Result<X509Certificate<'a>, LoadError> {
    X509Certificate::from_der(&block.contents)
        .map(|(_, c)| c)
        .map_err(|e| LoadError::Malformed {
            file,
            message: format!("not a certificate: {e}"),
        })
}

fn validity(certificate: &X509Certificate<'_>) -> Validity {
    let v = certificate.validity();
    Validity {
        from: v.not_before.to_datetime(),
        until: v.not_after.to_datetime(),
    }
}

fn to_pem(block: &Pem) -> String {
    use base64::Engine;
    let encoded = base64::engine::general_purpose::STANDARD.encode(&block.contents);
    let mut text = String::from("-----BEGIN CERTIFICATE-----\n");
    for line in encoded.as_bytes().chunks(64) {
        text.push_str(&String::from_utf8_lossy(line));
        text.push('\n');
    }
    text + "-----END CERTIFICATE-----\n"
}

#[cfg(test)]
mod tests;
