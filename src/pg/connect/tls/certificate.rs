//! The few fields of a certificate that its verification does not tell (RFC 5280, section 4.1).

use ring::digest::{self, Algorithm, SHA256, SHA384, SHA512};
use x509_parser::asn1_rs::{oid, Any, FromDer, Oid};
use x509_parser::certificate::X509Certificate;
use x509_parser::oid_registry as known;
use x509_parser::signature_algorithm::RsaSsaPssParams;
use x509_parser::x509::{AlgorithmIdentifier, X509Name};

/// A certificate in DER, taken apart. Nothing in it is verified.
pub(super) struct Certificate<'a> {
    /// Whether it is of X.509 version 1 or 2, which know no extensions, so that it says neither names nor purposes.
    pub is_old: bool,
    pub issuer: &'a [u8],
    pub subject: &'a [u8],
    /// In seconds since 1970.
    pub not_before: i64,
    pub not_after: i64,
    /// Algorithm and bits of the public key, whole.
    pub public_key: &'a [u8],
    /// Whether it may sign others: it says so, or is a root from before one could say.
    pub may_sign: bool,
}

impl<'a> Certificate<'a> {
    /// Takes it apart; `None` where it is not one.
    pub fn read(der: &'a [u8]) -> Option<Certificate<'a>> {
        let certificate = parse(der)?;
        let is_old = certificate.version().0 < 2;
        let (issuer, subject) = (content(&certificate.issuer)?, content(&certificate.subject)?);
        let validity = certificate.validity();
        let may_sign = if is_old {
            issuer == subject
        } else {
            certificate.basic_constraints().ok().flatten().is_some_and(|constraints| constraints.value.ca)
        };
        Some(Certificate {
            is_old,
            issuer,
            subject,
            not_before: validity.not_before.timestamp(),
            not_after: validity.not_after.timestamp(),
            public_key: certificate.subject_pki.raw,
            may_sign,
        })
    }

    /// Whether its issuer is itself, by name.
    pub fn is_self_issued(&self) -> bool {
        self.issuer == self.subject
    }
}

fn parse(der: &[u8]) -> Option<X509Certificate<'_>> {
    let (rest, certificate) = X509Certificate::from_der(der).ok()?;
    rest.is_empty().then_some(certificate)
}

/// The name without the head of its element, as rustls has the names of roots.
fn content<'a>(name: &X509Name<'a>) -> Option<&'a [u8]> {
    Some(Any::from_der(name.as_raw()).ok()?.1.data)
}

/// What channel binding calls the certificate: its hash by the algorithm of its signature, but no weaker one than SHA-256
/// (RFC 5929, section 4.1). `None` where that algorithm has no hash of its own.
pub(super) fn end_point(der: &[u8]) -> Option<Vec<u8>> {
    let hash = hash_of_signature(&parse(der)?.signature_algorithm)?;
    Some(digest::digest(hash, der).as_ref().to_vec())
}

/// RSASSA-PSS names its hash in the parameters, the others by their own name.
fn hash_of_signature(signature: &AlgorithmIdentifier) -> Option<&'static Algorithm> {
    if signature.algorithm == known::OID_PKCS1_RSASSAPSS {
        return find(&HASHES, RsaSsaPssParams::try_from(signature.parameters()?).ok()?.hash_algorithm_oid());
    }
    find(&SIGNATURES, &signature.algorithm)
}

type Hashes<const N: usize> = [(Oid<'static>, &'static Algorithm); N];

const HASHES: Hashes<4> = [
    (known::OID_HASH_SHA1, &SHA256),
    (known::OID_NIST_HASH_SHA256, &SHA256),
    (known::OID_NIST_HASH_SHA384, &SHA384),
    (known::OID_NIST_HASH_SHA512, &SHA512),
];

const SIGNATURES: Hashes<9> = [
    (known::OID_PKCS1_MD5WITHRSAENC, &SHA256),
    (known::OID_PKCS1_SHA1WITHRSA, &SHA256),
    (known::OID_PKCS1_SHA256WITHRSA, &SHA256),
    (known::OID_PKCS1_SHA384WITHRSA, &SHA384),
    (known::OID_PKCS1_SHA512WITHRSA, &SHA512),
    // ECDSA with SHA-1
    (oid!(1.2.840 .10045 .4 .1), &SHA256),
    (known::OID_SIG_ECDSA_WITH_SHA256, &SHA256),
    (known::OID_SIG_ECDSA_WITH_SHA384, &SHA384),
    (known::OID_SIG_ECDSA_WITH_SHA512, &SHA512),
];

fn find<const N: usize>(hashes: &Hashes<N>, name: &Oid) -> Option<&'static Algorithm> {
    hashes.iter().find(|(known, _)| known == name).map(|(_, hash)| *hash)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn hashes_for_channel_binding() {
        let length = |der: &[u8]| {
            let der = [&[0x30, u8::try_from(der.len()).unwrap()], der].concat();
            let (_, algorithm) = AlgorithmIdentifier::from_der(&der).unwrap();
            hash_of_signature(&algorithm).map(|hash| hash.output_len())
        };
        let rsa = |last: u8| [&[6, 9][..], &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 1, last]].concat();
        assert_eq!([4, 5, 11, 12, 13].map(|last| length(&rsa(last))), [32, 32, 32, 48, 64].map(Some));
        assert_eq!(length(&[6, 7, 0x2a, 0x86, 0x48, 0xce, 0x3d, 4, 1]), Some(32));
        assert_eq!(length(&[6, 8, 0x2a, 0x86, 0x48, 0xce, 0x3d, 4, 3, 3]), Some(48));
        assert_eq!(length(&[6, 3, 0x2b, 0x65, 0x70]), None, "Ed25519");
        let pss = |parameters: &[u8]| length(&[&rsa(10)[..], parameters].concat());
        assert_eq!(pss(&[0x30, 0]), Some(32));
        let sha512 = [0x30, 15, 0xa0, 13, 0x30, 11, 6, 9, 0x60, 0x86, 0x48, 1, 0x65, 3, 4, 2, 3];
        assert_eq!(pss(&sha512), Some(64));
        assert_eq!(pss(&[5, 0]), None, "parameters that are none");
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(place in 0usize..300, byte: u8, bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = (Certificate::read(&bytes).is_some(), end_point(&bytes));
            let key = rcgen::KeyPair::generate().unwrap();
            let mut der = rcgen::CertificateParams::new(vec!["localhost".to_owned()]).unwrap().self_signed(&key).unwrap().der().to_vec();
            prop_assert!(Certificate::read(&der).is_some() && end_point(&der).is_some_and(|hash| hash.len() == 32));
            let place = place % der.len();
            der[place] = byte;
            let _ = (Certificate::read(&der).is_some(), end_point(&der));
        }
    }
}
