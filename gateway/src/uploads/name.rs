//! Names of files: fit for a URL, a header and anybody's disk.

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

/// Bytes of a name; its ending is kept.
const MAX_BYTES: usize = 120;
/// RFC 3986 section 2.3: all but these are encoded.
const RESERVED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// The last part of a path without what a system could take for more than a name.
pub(super) fn clean(name: &str) -> String {
    let last = name.rsplit(['/', '\\']).next().unwrap_or_default();
    let is_plain = |c: &char| {
        // Characters that turn the direction of text around make `gpj.exe` look like `exe.jpg`.
        let turns = matches!(*c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
        !c.is_control() && !turns && !r#":*?"<>|"#.contains(*c)
    };
    let kept: String = last.chars().filter(is_plain).collect();
    let kept = kept.trim().trim_start_matches('.').trim_end_matches(['.', ' ']);
    if kept.is_empty() { "file".to_owned() } else { shorten(kept) }
}

/// As a part of a URL.
pub(super) fn encode(name: &str) -> String {
    utf8_percent_encode(name, RESERVED).to_string()
}

fn shorten(name: &str) -> String {
    if name.len() <= MAX_BYTES {
        return name.to_owned();
    }
    let (stem, ending) = match name.rsplit_once('.') {
        Some((stem, ending)) if ending.len() < 16 => (stem, format!(".{ending}")),
        _ => (name, String::new()),
    };
    let mut end = MAX_BYTES.saturating_sub(ending.len());
    while !stem.is_char_boundary(end) {
        end -= 1;
    }
    format!("{}{ending}", stem.get(..end).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_a_name_and_nothing_else() {
        let long = format!("{}.jpeg", "ü".repeat(100));
        let short = format!("{}.jpeg", "ü".repeat(57));
        for (given, kept) in [
            ("très cool.jpg", "très cool.jpg"),
            ("../../etc/passwd", "passwd"),
            ("C:\\Users\\ana\\x.png", "x.png"),
            ("a\r\nSet-Cookie: b", "aSet-Cookie b"),
            ("..", "file"),
            ("", "file"),
            (".htaccess", "htaccess"),
            ("photo\u{202e}gpj.exe", "photogpj.exe"),
            (long.as_str(), short.as_str()),
        ] {
            assert_eq!(clean(given), kept, "{given:?}");
        }
        assert_eq!(encode("très cool.jpg"), "tr%C3%A8s%20cool.jpg");
    }
}
