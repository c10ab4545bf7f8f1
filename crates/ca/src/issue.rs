//! Making certificates: roots, intermediates, workloads' leaves.

use std::time::Duration;

use hawser_model::Identity;
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, PublicKeyData, SanType, SerialNumber, SigningKey,
};
use time::OffsetDateTime;

use crate::csr::CsrError;
use crate::rotation::Validity;

/// Clocks differ: a new certificate is valid since a little while ago (Istio allows two minutes).
const CLOCK_SKEW: Duration = Duration::from_secs(120);

/// Why no certificate was made.
#[derive(Debug, thiserror::Error)]
pub enum IssueError {
    /// The request is no good.
    #[error(transparent)]
    Csr(#[from] CsrError),
    /// The authority's own certificate ends before `now`.
    #[error("the authority's certificate ended on {0}")]
    AuthorityExpired(OffsetDateTime),
    /// An identity that cannot stand in a certificate.
    #[error("{0:?} cannot be a subject alternative name")]
    BadName(String),
    /// The signing library refused.
    #[error("signing: {0}")]
    Sign(#[from] rcgen::Error),
}

/// A certificate just made.
#[derive(Clone, Debug)]
pub struct Issued {
    /// The certificate.
    pub pem: String,
    /// Its lifetime.
    pub validity: Validity,
}

/// A self-signed root.
pub fn root(
    key: &KeyPair,
    organization: &str,
    name: &str,
    validity: Validity,
    serial: u128,
) -> Result<Issued, IssueError> {
    let params = authority_params(organization, name, validity, serial, None);
    Ok(Issued {
        pem: params.self_signed(key)?.pem(),
        validity,
    })
}

/// An intermediate authority, signed by `issuer`, that may sign leaves but no further authorities.
pub fn intermediate(
    key: &KeyPair,
    organization: &str,
    name: &str,
    issuer: &Issuer<'_, impl SigningKey>,
    validity: Validity,
    serial: u128,
) -> Result<Issued, IssueError> {
    let mut params = authority_params(organization, name, validity, serial, Some(0));
    params.use_authority_key_identifier_extension = true;
    Ok(Issued {
        pem: params.signed_by(key, issuer)?.pem(),
        validity,
    })
}

/// A workload's certificate: its SPIFFE URI is the only name, as in Istio.
pub fn leaf(
    key: &impl PublicKeyData,
    identity: &Identity,
    issuer: &Issuer<'_, impl SigningKey>,
    validity: Validity,
    serial: u128,
) -> Result<Issued, IssueError> {
    let uri = identity.to_string();
    let name = rcgen::string::Ia5String::try_from(uri.as_str())
        .map_err(|_| IssueError::BadName(uri.clone()))?;
    let params = leaf_params(vec![SanType::URI(name)], validity, serial);
    Ok(Issued {
        pem: params.signed_by(key, issuer)?.pem(),
        validity,
    })
}

/// A server's certificate for DNS names: the control plane's own, and its webhook's.
pub fn server(
    key: &impl PublicKeyData,
    names: &[String],
    issuer: &Issuer<'_, impl SigningKey>,
    validity: Validity,
    serial: u128,
) -> Result<Issued, IssueError> {
    let names = names
        .iter()
        .map(|n| rcgen::string::Ia5String::try_from(n.as_str()).map(SanType::DnsName))
        .collect::<Result<Vec<_>, _>>()
        .map_err(|e| IssueError::BadName(e.to_string()))?;
    let params = leaf_params(names, validity, serial);
    Ok(Issued {
        pem: params.signed_by(key, issuer)?.pem(),
        validity,
    })
}

/// Lifetime of a leaf made now: what was asked for, at most `greatest`, and never beyond the authority's own end.
pub fn leaf_validity(
    now: OffsetDateTime,
    asked: Option<Duration>,
    default: Duration,
    greatest: Duration,
    authority: Validity,
) -> Result<Validity, IssueError> {
    if now >= authority.until {
        return Err(IssueError::AuthorityExpired(authority.until));
    }
    let lifetime = asked.unwrap_or(default).min(greatest);
    Ok(Validity {
        from: now - CLOCK_SKEW,
        until: (now + lifetime).min(authority.until),
    })
}

fn authority_params(
    organization: &str,
    name: &str,
    validity: Validity,
    serial: u128,
    path_length: Option<u8>,
) -> CertificateParams {
    let mut params = params(validity, serial);
    params
        .distinguished_name
        .push(DnType::OrganizationName, organization);
    params.distinguished_name.push(DnType::CommonName, name);
    params.is_ca = IsCa::Ca(path_length.map_or(
        BasicConstraints::Unconstrained,
        BasicConstraints::Constrained,
    ));
    params.key_usages = vec![
        KeyUsagePurpose::KeyCertSign,
        KeyUsagePurpose::CrlSign,
        KeyUsagePurpose::DigitalSignature,
    ];
    params
}

fn leaf_params(names: Vec<SanType>, validity: Validity, serial: u128) -> CertificateParams {
    let mut params = params(validity, serial);
    params.subject_alt_names = names;
    params.is_ca = IsCa::ExplicitNoCa;
    params.use_authority_key_identifier_extension = true;
    params.key_usages = vec![
        KeyUsagePurpose::DigitalSignature,
        KeyUsagePurpose::KeyEncipherment,
    ];
    params.extended_key_usages = vec![
        ExtendedKeyUsagePurpose::ServerAuth,
        ExtendedKeyUsagePurpose::ClientAuth,
    ];
    params
}

fn params(validity: Validity, serial: u128) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = rcgen::DistinguishedName::new();
    params.not_before = validity.from;
    params.not_after = validity.until;
    // RFC 5280, 4.1.2.2: positive, at most 20 octets.
    params.serial_number = Some(SerialNumber::from_slice(&(serial >> 1).to_be_bytes()));
    params
}
