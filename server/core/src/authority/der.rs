//! The two pieces of DER that rcgen cannot be asked for: taking the signed part out of a certificate that carries a
//! dummy signature, and putting the real signature under exactly those bytes.

/// The TBSCertificate inside a certificate: header and content.
pub(super) fn signed_part(certificate: &[u8]) -> Option<&[u8]> {
    let (_, content, rest) = sequence(certificate)?;
    if !rest.is_empty() {
        return None;
    }
    let (tbs, _, _) = sequence(content)?;
    Some(tbs)
}

/// A certificate of a signed part and an ECDSA-with-SHA-256 signature in ASN.1.
pub(super) fn certificate(signed_part: &[u8], signature: &[u8]) -> Vec<u8> {
    let mut bits = Vec::with_capacity(signature.len() + 1);
    bits.push(0);
    bits.extend_from_slice(signature);
    let mut content = Vec::with_capacity(signed_part.len() + ECDSA_WITH_SHA256.len() + bits.len() + 8);
    content.extend_from_slice(signed_part);
    content.extend_from_slice(ECDSA_WITH_SHA256);
    put(BIT_STRING, &bits, &mut content);
    let mut whole = Vec::with_capacity(content.len() + 8);
    put(SEQUENCE, &content, &mut whole);
    whole
}

/// SubjectPublicKeyInfo of an uncompressed point on P-256.
pub(super) fn p256_spki(point: &[u8]) -> Vec<u8> {
    [P256_SPKI, point].concat()
}

/// SubjectPublicKeyInfo of an RSAPublicKey.
pub(super) fn rsa_spki(public_key: &[u8]) -> Vec<u8> {
    let mut content = RSA_ENCRYPTION.to_vec();
    put(BIT_STRING, &[&[0], public_key].concat(), &mut content);
    let mut whole = Vec::with_capacity(content.len() + 4);
    put(SEQUENCE, &content, &mut whole);
    whole
}

/// The whole element, its content, and what follows it.
fn sequence(bytes: &[u8]) -> Option<(&[u8], &[u8], &[u8])> {
    let (&tag, after_tag) = bytes.split_first()?;
    let (&first, after_length) = after_tag.split_first()?;
    let (length, header) = match first {
        0..=0x7f => (usize::from(first), 2),
        0x81..=0x83 => {
            let digits = usize::from(first & 0x7f);
            let length = after_length.get(..digits)?.iter().fold(0, |sum, byte| sum << 8 | usize::from(*byte));
            (length, 2 + digits)
        }
        _ => return None,
    };
    if tag != SEQUENCE {
        return None;
    }
    let whole = bytes.get(..header + length)?;
    Some((whole, &whole[header..], &bytes[header + length..]))
}

fn put(tag: u8, content: &[u8], out: &mut Vec<u8>) {
    out.push(tag);
    let length = content.len();
    let bytes = length.to_be_bytes();
    if length < 0x80 {
        out.push(bytes[bytes.len() - 1]);
    } else {
        let digits = &bytes[bytes.iter().take_while(|byte| **byte == 0).count()..];
        out.push(0x80 | digits.len() as u8);
        out.extend_from_slice(digits);
    }
    out.extend_from_slice(content);
}

const SEQUENCE: u8 = 0x30;
const BIT_STRING: u8 = 0x03;
/// AlgorithmIdentifier of ecdsa-with-SHA256 (RFC 5758 §3.2).
const ECDSA_WITH_SHA256: &[u8] = &[0x30, 0x0a, 0x06, 0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x04, 0x03, 0x02];
/// AlgorithmIdentifier of rsaEncryption (RFC 3279 §2.3.1).
const RSA_ENCRYPTION: &[u8] =
    &[0x30, 0x0d, 0x06, 0x09, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x01, 0x05, 0x00];
/// Everything of a SubjectPublicKeyInfo on P-256 that stands before the point (RFC 5480 §2).
const P256_SPKI: &[u8] = &[
    0x30, 0x59, 0x30, 0x13, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01, 0x06, 0x08, 0x2a, 0x86, 0x48, 0xce,
    0x3d, 0x03, 0x01, 0x07, 0x03, 0x42, 0x00,
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_certificate_is_put_together_as_rcgen_does() {
        let key = rcgen::KeyPair::generate().unwrap();
        let whole = rcgen::CertificateParams::default().self_signed(&key).unwrap().der().to_vec();
        let (_, parsed) = x509_parser::parse_x509_certificate(&whole).unwrap();
        let tbs = signed_part(&whole).unwrap();
        assert_eq!(tbs, parsed.tbs_certificate.as_ref());
        assert_eq!(certificate(tbs, &parsed.signature_value.data), whole);
    }

    #[test]
    fn cut_and_lengthened_bytes_are_none() {
        let whole = certificate(&[0x30, 0x03, 1, 2, 3], &[7; 70]);
        assert_eq!(signed_part(&whole), Some(&[0x30, 0x03, 1, 2, 3][..]));
        for length in 0..whole.len() {
            assert_eq!(signed_part(&whole[..length]), None, "{length}");
        }
        assert_eq!(signed_part(&[&whole[..], &[0]].concat()), None);
        assert_eq!(signed_part(&[0x30, 0x84, 0, 0, 0, 1, 0]), None);
    }
}
