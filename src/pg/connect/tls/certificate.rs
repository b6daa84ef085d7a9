//! The few fields of a certificate that its verification does not tell (RFC 5280, section 4.1).

use ring::digest;

/// A certificate in DER, taken apart. Nothing in it is verified.
pub(super) struct Certificate<'a> {
    /// 1 or 3, as one says: 1 has no extensions.
    pub version: u8,
    pub issuer: &'a [u8],
    pub subject: &'a [u8],
    /// In seconds since 1970.
    pub not_before: u64,
    pub not_after: u64,
    /// Algorithm and bits of the public key, whole.
    pub public_key: &'a [u8],
    /// Whether it may sign others: it says so, or is a root from before one could say.
    pub may_sign: bool,
    /// How it is signed: object identifier and parameters.
    signature: Reader<'a>,
}

impl<'a> Certificate<'a> {
    /// Takes it apart; `None` where it is not one.
    pub fn read(der: &'a [u8]) -> Option<Certificate<'a>> {
        let mut parts = Reader(der).inside(SEQUENCE)?;
        let mut fields = parts.inside(SEQUENCE)?;
        let signature = parts.inside(SEQUENCE)?;
        let version = match fields.inside(VERSION) {
            Some(mut version) => version.content(INTEGER)?.first()?.checked_add(1)?,
            None => 1,
        };
        fields.content(INTEGER)?;
        fields.content(SEQUENCE)?;
        let issuer = fields.content(SEQUENCE)?;
        let mut validity = fields.inside(SEQUENCE)?;
        let (not_before, not_after) = (validity.time()?, validity.time()?);
        let subject = fields.content(SEQUENCE)?;
        let public_key = fields.whole(SEQUENCE)?;
        let may_sign = if version < 3 { issuer == subject } else { says_it_may_sign(fields) };
        Some(Certificate { version, issuer, subject, not_before, not_after, public_key, may_sign, signature })
    }

    /// Whether its issuer is itself, by name.
    pub fn is_self_issued(&self) -> bool {
        self.issuer == self.subject
    }
}

/// Whether the extensions, the last of these fields, have the basic constraint of an authority.
fn says_it_may_sign(mut fields: Reader) -> bool {
    let mut extensions = loop {
        match fields.next() {
            Some((EXTENSIONS, _, content)) => break Reader(content),
            Some(_) => {}
            None => return false,
        }
    };
    let Some(mut extensions) = extensions.inside(SEQUENCE) else { return false };
    while let Some(mut extension) = extensions.inside(SEQUENCE) {
        if extension.content(OBJECT_IDENTIFIER) == Some(BASIC_CONSTRAINTS) {
            let _is_critical = extension.content(BOOLEAN);
            let constraints = extension.inside(OCTET_STRING).and_then(|mut value| value.inside(SEQUENCE));
            return constraints.and_then(|mut constraints| constraints.content(BOOLEAN)) == Some(&[0xff]);
        }
    }
    false
}

/// What channel binding calls the certificate: its hash by the algorithm of its signature, but no weaker one than SHA-256
/// (RFC 5929, section 4.1). `None` where that algorithm has no hash of its own.
pub(super) fn end_point(der: &[u8]) -> Option<Vec<u8>> {
    let mut signature = Certificate::read(der)?.signature;
    let algorithm = match signature.content(OBJECT_IDENTIFIER)? {
        // RSASSA-PSS names its hash in the parameters; none is SHA-1.
        RSA_PSS => match signature.inside(SEQUENCE)?.inside(PSS_HASH) {
            Some(mut hash) => hash_of(hash.inside(SEQUENCE)?.content(OBJECT_IDENTIFIER)?)?,
            None => &digest::SHA256,
        },
        algorithm => hash_of(algorithm)?,
    };
    Some(digest::digest(algorithm, der).as_ref().to_vec())
}

const SEQUENCE: u8 = 0x30;
const BOOLEAN: u8 = 0x01;
const OCTET_STRING: u8 = 0x04;
const INTEGER: u8 = 0x02;
const OBJECT_IDENTIFIER: u8 = 0x06;
const UTC_TIME: u8 = 0x17;
const GENERALIZED_TIME: u8 = 0x18;
const VERSION: u8 = 0xa0;
const EXTENSIONS: u8 = 0xa3;
const PSS_HASH: u8 = 0xa0;
/// 2.5.29.19
const BASIC_CONSTRAINTS: &[u8] = &[0x55, 0x1d, 19];
/// 1.2.840.113549.1.1.10
const RSA_PSS: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 1, 10];

/// The hash of a signature's or of a hash's own identifier.
fn hash_of(algorithm: &[u8]) -> Option<&'static digest::Algorithm> {
    match algorithm {
        // 1.2.840.113549.1.1: RSA with MD5, SHA-1, SHA-256, SHA-384, SHA-512
        [0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 1, 4 | 5 | 11] => Some(&digest::SHA256),
        [0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 1, 12] => Some(&digest::SHA384),
        [0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 1, 13] => Some(&digest::SHA512),
        // 1.2.840.10045.4: ECDSA with SHA-1, and in .3 with SHA-256, SHA-384, SHA-512
        [0x2a, 0x86, 0x48, 0xce, 0x3d, 4, 1] | [0x2a, 0x86, 0x48, 0xce, 0x3d, 4, 3, 2] => Some(&digest::SHA256),
        [0x2a, 0x86, 0x48, 0xce, 0x3d, 4, 3, 3] => Some(&digest::SHA384),
        [0x2a, 0x86, 0x48, 0xce, 0x3d, 4, 3, 4] => Some(&digest::SHA512),
        // 1.3.14.3.2.26 and 2.16.840.1.101.3.4.2: SHA-1, SHA-256, SHA-384, SHA-512 themselves
        [0x2b, 14, 3, 2, 26] | [0x60, 0x86, 0x48, 1, 0x65, 3, 4, 2, 1] => Some(&digest::SHA256),
        [0x60, 0x86, 0x48, 1, 0x65, 3, 4, 2, 2] => Some(&digest::SHA384),
        [0x60, 0x86, 0x48, 1, 0x65, 3, 4, 2, 3] => Some(&digest::SHA512),
        _ => None,
    }
}

/// Elements of DER, one after the other.
#[derive(Clone, Copy)]
struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    /// The next element: its tag, all of it, and its content.
    fn next(&mut self) -> Option<(u8, &'a [u8], &'a [u8])> {
        let (&tag, rest) = self.0.split_first()?;
        let (&length, rest) = rest.split_first()?;
        let (length, rest) = match length {
            0..=0x7f => (usize::from(length), rest),
            0x81..=0x83 => {
                let (bytes, rest) = rest.split_at_checked(usize::from(length & 0x7f))?;
                (bytes.iter().fold(0, |sum, &byte| sum << 8 | usize::from(byte)), rest)
            }
            _ => return None,
        };
        let (content, behind) = rest.split_at_checked(length)?;
        let whole = &self.0[..self.0.len() - behind.len()];
        self.0 = behind;
        Some((tag, whole, content))
    }

    /// The next element if it has this tag.
    fn element(&mut self, tag: u8) -> Option<(&'a [u8], &'a [u8])> {
        let mut ahead = *self;
        let (found, whole, content) = ahead.next()?;
        if found != tag {
            return None;
        }
        *self = ahead;
        Some((whole, content))
    }

    fn whole(&mut self, tag: u8) -> Option<&'a [u8]> {
        self.element(tag).map(|(whole, _)| whole)
    }

    fn content(&mut self, tag: u8) -> Option<&'a [u8]> {
        self.element(tag).map(|(_, content)| content)
    }

    fn inside(&mut self, tag: u8) -> Option<Reader<'a>> {
        self.content(tag).map(Reader)
    }

    /// A point in time, in seconds since 1970; what was before is 1970.
    fn time(&mut self) -> Option<u64> {
        let (tag, _, text) = self.next()?;
        let year_digits = match tag {
            UTC_TIME => 2,
            GENERALIZED_TIME => 4,
            _ => return None,
        };
        let digits = text.strip_suffix(b"Z")?;
        if !digits.iter().all(u8::is_ascii_digit) || digits.len() != year_digits + 10 {
            return None;
        }
        let (year, rest) = digits.split_at(year_digits);
        let number = |digits: &[u8]| digits.iter().fold(0, |sum, digit| sum * 10 + i64::from(digit - b'0'));
        let year = match number(year) {
            year if year_digits == 4 => year,
            year if year < 50 => 2000 + year,
            year => 1900 + year,
        };
        let field = |index: usize| number(&rest[index * 2..index * 2 + 2]);
        let (month, day) = (field(0), field(1));
        if !(1..=12).contains(&month) {
            return None;
        }
        // Days by the civil calendar, counted from March, so that a leap day ends the year.
        let (year, month) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
        let days = year * 365 + year / 4 - year / 100 + year / 400 + (153 * month + 2) / 5 + day - 1 - 719_468;
        let seconds = days * 86_400 + field(2) * 3600 + field(3) * 60 + field(4);
        Some(u64::try_from(seconds).unwrap_or(0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn time(tag: u8, text: &str) -> Option<u64> {
        let der = [&[tag, u8::try_from(text.len()).unwrap()], text.as_bytes()].concat();
        Reader(&der).time()
    }

    #[test]
    fn times_of_both_kinds() {
        assert_eq!(time(UTC_TIME, "700101000000Z"), Some(0));
        assert_eq!(time(UTC_TIME, "000229235959Z"), Some(951_868_799));
        assert_eq!(time(UTC_TIME, "491231235959Z"), Some(2_524_607_999));
        assert_eq!(time(UTC_TIME, "500101000000Z"), Some(0), "1950");
        assert_eq!(time(GENERALIZED_TIME, "21000301000000Z"), Some(4_107_542_400));
        assert_eq!(time(GENERALIZED_TIME, "99991231235959Z"), Some(253_402_300_799));
        for text in ["", "Z", "7001010000Z", "700101000000", "701301000000Z", "70010100000xZ", "20700101000000Z"] {
            assert_eq!(time(UTC_TIME, text), None, "{text}");
        }
    }

    #[test]
    fn hashes_for_channel_binding() {
        // An otherwise empty certificate with this signature algorithm.
        let certificate = |algorithm: &[u8]| {
            let element = |tag: u8, content: &[u8]| [&[tag, u8::try_from(content.len()).unwrap()], content].concat();
            let validity =
                element(SEQUENCE, &[element(UTC_TIME, b"700101000000Z"), element(UTC_TIME, b"700101000000Z")].concat());
            let empty = element(SEQUENCE, &[]);
            let fields =
                [element(INTEGER, &[1]), empty.clone(), empty.clone(), validity, empty.clone(), empty].concat();
            element(SEQUENCE, &[element(SEQUENCE, &fields), element(SEQUENCE, algorithm)].concat())
        };
        let length = |algorithm: &[u8]| end_point(&certificate(algorithm)).map(|hash| hash.len());
        let rsa = |last: u8| [&[6, 9][..], &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 1, last]].concat();
        assert_eq!([4, 5, 11, 12, 13].map(|last| length(&rsa(last))), [32, 32, 32, 48, 64].map(Some));
        assert_eq!(length(&[6, 8, 0x2a, 0x86, 0x48, 0xce, 0x3d, 4, 3, 3]), Some(48));
        assert_eq!(length(&[6, 3, 0x2b, 0x65, 0x70]), None, "Ed25519");
        let pss = |parameters: &[u8]| length(&[&rsa(10)[..], parameters].concat());
        assert_eq!(pss(&[0x30, 0]), Some(32));
        let sha512 = [0x30, 15, 0xa0, 13, 0x30, 11, 6, 9, 0x60, 0x86, 0x48, 1, 0x65, 3, 4, 2, 3];
        assert_eq!(pss(&sha512), Some(64));
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = end_point(&bytes);
            let _ = end_point(&[&[0x30, 0x81, 0xc8, 0x30, 0x81, 0xb0][..], &bytes].concat());
        }
    }
}
