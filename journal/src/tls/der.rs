//! The few things of a certificate that the libraries underneath do not tell, read from its encoding (DER, X.690).
//!
//!     certificate = SEQUENCE { to be signed: SEQUENCE { ..., [3] { SEQUENCE of extensions } }, ... }
//!     extension   = SEQUENCE { which: OBJECT IDENTIFIER, critical: BOOLEAN or nothing, OCTET STRING }

use rustls::pki_types::CertificateDer;

pub(super) const SEQUENCE: u8 = 0x30;
pub(super) const SET: u8 = 0x31;
pub(super) const OBJECT: u8 = 0x06;
const OCTETS: u8 = 0x04;
const BITS: u8 = 0x03;
const EXTENSIONS: u8 = 0xa3;

/// 2.5.29.37, extended key usage.
const EXTENDED_KEY_USAGE: [u8; 3] = [0x55, 0x1d, 0x25];
/// 2.5.29.37.0, any use.
const ANY_USE: [u8; 4] = [0x55, 0x1d, 0x25, 0x00];
/// 1.3.6.1.5.5.7.3, and one number more for each use.
const USES: [u8; 7] = [0x2b, 0x06, 0x01, 0x05, 0x05, 0x07, 0x03];

/// The side of a connection that a certificate is shown by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Use {
    Server = 1,
    Client = 2,
}

/// Returns whether the certificate may be shown by that side: it names it, or names none. One that cannot be read may
/// not.
pub(super) fn is_for(certificate: &CertificateDer<'_>, side: Use) -> bool {
    let Some(usage) = extended_key_usage(certificate) else { return false };
    let Some(mut uses) = usage else { return true };
    while let Some((OBJECT, which, after)) = element(uses) {
        uses = after;
        if which == ANY_USE || which.strip_prefix(&USES) == Some(&[side as u8]) {
            return true;
        }
    }
    false
}

/// The uses that the certificate names, as they are encoded; `Some(None)` where it names none.
fn extended_key_usage<'a>(certificate: &'a CertificateDer<'_>) -> Option<Option<&'a [u8]>> {
    let (SEQUENCE, certificate, _) = element(certificate)? else { return None };
    let (SEQUENCE, mut fields, _) = element(certificate)? else { return None };
    while let Some((tag, content, after)) = element(fields) {
        fields = after;
        if tag != EXTENSIONS {
            continue;
        }
        let (SEQUENCE, mut extensions, _) = element(content)? else { return None };
        while let Some((SEQUENCE, extension, after)) = element(extensions) {
            extensions = after;
            let (OBJECT, which, mut rest) = element(extension)? else { return None };
            if which != EXTENDED_KEY_USAGE {
                continue;
            }
            while let Some((tag, value, after)) = element(rest) {
                rest = after;
                if tag == OCTETS {
                    let (SEQUENCE, uses, _) = element(value)? else { return None };
                    return Some(Some(uses));
                }
            }
            return None;
        }
    }
    Some(None)
}

/// The signature of a certificate: over what, by which algorithm.
#[derive(Clone, Copy, Debug)]
pub(super) struct Signature<'a> {
    pub(super) signed: &'a [u8],
    /// Content of the algorithm's identifier.
    pub(super) algorithm: &'a [u8],
    pub(super) bytes: &'a [u8],
}

/// Returns the signature of the certificate. `None` where it cannot be read.
pub(super) fn signature<'a>(certificate: &'a CertificateDer<'_>) -> Option<Signature<'a>> {
    let (SEQUENCE, content, &[]) = element(certificate)? else { return None };
    let (SEQUENCE, _, after) = element(content)? else { return None };
    let signed = &content[..content.len() - after.len()];
    let (SEQUENCE, algorithm, after) = element(after)? else { return None };
    let (BITS, [0, bytes @ ..], &[]) = element(after)? else { return None };
    Some(Signature { signed, algorithm, bytes })
}

/// Returns the algorithm and the bits of a public key, of the content of its SubjectPublicKeyInfo.
pub(super) fn public_key(info: &[u8]) -> Option<(&[u8], &[u8])> {
    let (SEQUENCE, algorithm, after) = element(info)? else { return None };
    let (BITS, [0, bits @ ..], &[]) = element(after)? else { return None };
    Some((algorithm, bits))
}

/// The first element of what is encoded: its tag, its content, and what follows. `None` where it is not whole.
pub(super) fn element(bytes: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let (tag, rest) = bytes.split_first()?;
    let (first, rest) = rest.split_first()?;
    let (length, rest) = match *first {
        short @ 0..=0x7f => (usize::from(short), rest),
        0x81 => (usize::from(*rest.first()?), rest.get(1..)?),
        0x82 => (usize::from(u16::from_be_bytes(*rest.first_chunk()?)), rest.get(2..)?),
        // No certificate is longer than that.
        _ => return None,
    };
    let (content, after) = rest.split_at_checked(length)?;
    Some((*tag, content, after))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rcgen::{CertificateParams, ExtendedKeyUsagePurpose, KeyPair};

    use super::*;

    #[test]
    fn a_certificate_is_for_the_uses_that_it_names() {
        let check = |uses: &[ExtendedKeyUsagePurpose], server: bool, client: bool| {
            let mut params = CertificateParams::new(vec!["localhost".to_owned()]).expect("it is a name");
            params.extended_key_usages = uses.to_vec();
            let key = KeyPair::generate().expect("there is chance");
            let certificate = params.self_signed(&key).expect("it signs");
            let found = (is_for(certificate.der(), Use::Server), is_for(certificate.der(), Use::Client));
            assert_eq!(found, (server, client), "{uses:?}");
        };
        check(&[], true, true);
        check(&[ExtendedKeyUsagePurpose::Any], true, true);
        check(&[ExtendedKeyUsagePurpose::ServerAuth], true, false);
        check(&[ExtendedKeyUsagePurpose::CodeSigning, ExtendedKeyUsagePurpose::ClientAuth], false, true);
        check(&[ExtendedKeyUsagePurpose::CodeSigning], false, false);
    }

    proptest! {
        #[test]
        fn no_bytes_are_too_odd(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            public_key(&bytes);
            let certificate = CertificateDer::from(bytes);
            is_for(&certificate, Use::Client);
            signature(&certificate);
        }
    }
}
