//! What a file is by its first bytes (WHATWG MIME Sniffing section 6): a declared picture must be one.

/// Media types of pictures and how such files begin, from which byte on.
const SIGNATURES: [(&str, usize, &[u8]); 8] = [
    ("image/jpeg", 0, b"\xff\xd8\xff"),
    ("image/png", 0, b"\x89PNG\r\n\x1a\n"),
    ("image/gif", 0, b"GIF8"),
    ("image/webp", 8, b"WEBP"),
    ("image/avif", 4, b"ftyp"),
    ("image/heic", 4, b"ftyp"),
    ("image/heif", 4, b"ftyp"),
    ("image/bmp", 0, b"BM"),
];

/// Bytes needed to tell.
pub(super) const NEEDED: usize = 12;

/// Whether a file of this declared type may begin like this. What is no known picture may begin as it likes: it is
/// never shown in place, see `tandem_web::files`.
pub(super) fn fits(content_type: &str, first: &[u8]) -> bool {
    let signature = SIGNATURES.iter().find(|(name, ..)| *name == content_type);
    let Some((_, at, wanted)) = signature else { return true };
    // A picture that is shorter than its own beginning is none.
    first.get(*at..at + wanted.len()) == Some(*wanted)
}

/// Whether a thumbnail can be made of it.
pub(super) fn is_picture(content_type: &str) -> bool {
    matches!(content_type, "image/jpeg" | "image/png" | "image/webp")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_declared_picture_must_begin_like_one() {
        for (content_type, first, expected) in [
            ("image/jpeg", &b"\xff\xd8\xff\xe0abcdefgh"[..], true),
            ("image/jpeg", b"<html><script>", false),
            ("image/png", b"\x89PNG\r\n\x1a\nabcd", true),
            ("image/png", b"\xff\xd8\xff\xe0abcdefgh", false),
            ("image/webp", b"RIFF\0\0\0\0WEBPVP8 ", true),
            ("image/webp", b"RIFF", false),
            ("application/octet-stream", b"<html>", true),
            ("image/svg+xml", b"<svg", true),
        ] {
            assert_eq!(fits(content_type, first), expected, "{content_type}");
        }
    }
}
