//! What a `cacerts` secret may look like, and what a signed chain must look like.

use rcgen::CertificateParams;

use super::*;

fn now() -> OffsetDateTime {
    OffsetDateTime::UNIX_EPOCH + Duration::from_secs(1_800_000_000)
}

fn years(n: u64) -> Validity {
    Validity {
        from: now() - Duration::from_secs(60),
        until: now() + Duration::from_secs(n * 365 * 86_400),
    }
}

struct Set {
    root: String,
    cert: String,
    key: String,
}

fn set() -> Set {
    let root_key = KeyPair::generate().unwrap();
    let root = issue::root(&root_key, "Hawser", "Root CA", years(10), 1 << 20).unwrap();
    let issuer = Issuer::from_ca_cert_pem(&root.pem, root_key).unwrap();
    let key = KeyPair::generate().unwrap();
    let cert = issue::intermediate(&key, "Hawser", "cluster1", &issuer, years(2), 2 << 20).unwrap();
    Set {
        root: root.pem,
        cert: cert.pem,
        key: key.serialize_pem(),
    }
}

fn load(
    cert: &str,
    key: &str,
    root: &str,
    chain: &str,
    at: OffsetDateTime,
) -> Result<Authority, String> {
    let files = CaFiles {
        ca_cert: cert,
        ca_key: key,
        root_cert: root,
        cert_chain: chain,
    };
    Authority::load(files, at).map_err(|e| e.to_string())
}

fn csr() -> String {
    let key = KeyPair::generate().unwrap();
    CertificateParams::new(vec!["liar.example".to_owned()])
        .unwrap()
        .serialize_request(&key)
        .unwrap()
        .pem()
        .unwrap()
}

fn identity() -> Identity {
    Identity::parse("spiffe://cluster.local/ns/default/sa/reviews").unwrap()
}

#[test]
fn a_signed_chain_leads_from_the_identity_to_the_root() {
    let s = set();
    let authority = load(&s.cert, &s.key, &s.root, &(s.cert.clone() + &s.root), now()).unwrap();
    let chain = authority
        .sign(
            &csr(),
            &identity(),
            Some(Duration::from_secs(3600)),
            now(),
            7 << 20,
        )
        .unwrap();
    assert_eq!(chain.len(), 3, "leaf, one intermediate, the root");
    let pems: Vec<Pem> = chain
        .iter()
        .map(|c| Pem::iter_from_buffer(c.as_bytes()).next().unwrap().unwrap())
        .collect();
    let certs: Vec<_> = pems.iter().map(|p| parse("", p).unwrap()).collect();
    certs[0]
        .verify_signature(Some(certs[1].public_key()))
        .unwrap();
    certs[1]
        .verify_signature(Some(certs[2].public_key()))
        .unwrap();
    let names = certs[0]
        .subject_alternative_name()
        .unwrap()
        .unwrap()
        .value
        .general_names
        .clone();
    assert_eq!(
        format!("{names:?}"),
        r#"[URI("spiffe://cluster.local/ns/default/sa/reviews")]"#,
        "the request's own name is ignored"
    );
    assert!(!certs[0].is_ca());
    assert_eq!(
        certs[0].validity().not_after.timestamp(),
        now().unix_timestamp() + 3600
    );
}

#[test]
fn bad_secrets_are_refused_with_the_file_named() {
    let (s, other) = (set(), set());
    let later = now() + Duration::from_secs(3 * 365 * 86_400);
    for (name, cert, key, root, chain, at, expected) in [
        (
            "not PEM",
            "hello",
            &*s.key,
            &*s.root,
            &*s.cert,
            now(),
            "ca-cert.pem: no certificate found",
        ),
        (
            "key of another",
            &s.cert,
            &other.key,
            &s.root,
            &s.cert,
            now(),
            "ca-key.pem: the key does not belong",
        ),
        (
            "no key",
            &s.cert,
            "",
            &s.root,
            &s.cert,
            now(),
            "ca-key.pem: not a private key",
        ),
        (
            "other root",
            &s.cert,
            &s.key,
            &other.root,
            &s.cert,
            now(),
            "root-cert.pem: no root here signed",
        ),
        (
            "other chain",
            &s.cert,
            &s.key,
            &s.root,
            &other.cert,
            now(),
            "cert-chain.pem: its first certificate",
        ),
        (
            "key for cert",
            &s.key,
            &s.key,
            &s.root,
            &s.cert,
            now(),
            "ca-cert.pem: expected a CERTIFICATE, found a PRIVATE KEY",
        ),
        (
            "expired",
            &s.cert,
            &s.key,
            &s.root,
            &s.cert,
            later,
            "ca-cert.pem: valid from",
        ),
    ] {
        let error = load(cert, key, root, chain, at).err().unwrap_or_default();
        assert!(error.starts_with(expected), "{name}: {error:?}");
    }
}

#[test]
fn a_leaf_never_outlives_its_authority() {
    let key = KeyPair::generate().unwrap();
    let (authority, _) = Authority::self_signed(
        key,
        "cluster.local",
        now(),
        Duration::from_secs(600),
        1 << 20,
    )
    .unwrap();
    let chain = authority
        .sign(&csr(), &identity(), None, now(), 1 << 20)
        .unwrap();
    assert_eq!(chain.len(), 2);
    let pem = Pem::iter_from_buffer(chain[0].as_bytes())
        .next()
        .unwrap()
        .unwrap();
    assert_eq!(
        parse("", &pem).unwrap().validity().not_after.timestamp(),
        now().unix_timestamp() + 600
    );
    let late = authority.sign(
        &csr(),
        &identity(),
        None,
        now() + Duration::from_secs(601),
        1 << 20,
    );
    assert!(matches!(late, Err(IssueError::AuthorityExpired(_))));
}

#[test]
fn requests_without_proof_are_refused() {
    let key = KeyPair::generate().unwrap();
    let (authority, _) =
        Authority::self_signed(key, "cluster.local", now(), DEFAULT_LEAF, 1 << 20).unwrap();
    let forged = {
        use base64::Engine;
        let engine = base64::engine::general_purpose::STANDARD;
        let (_, block) = x509_parser::pem::parse_x509_pem(csr().as_bytes()).unwrap();
        let mut der = block.contents;
        let last = der.len() - 1;
        der[last] ^= 1;
        format!(
            "-----BEGIN CERTIFICATE REQUEST-----\n{}\n-----END CERTIFICATE REQUEST-----\n",
            engine.encode(der)
        )
    };
    for (name, text) in [
        ("garbage", "garbage".to_owned()),
        ("long", "x".repeat(20_000)),
        ("forged", forged),
    ] {
        let result = authority.sign(&text, &identity(), None, now(), 1 << 20);
        assert!(matches!(result, Err(IssueError::Csr(_))), "{name}");
    }
}
