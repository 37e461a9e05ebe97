//! XML as the documents of event packages (RFC 3857, RFC 4235, RFC 4662) need it: text that is written, never read.

use std::fmt::Write;

/// `text` as it may stand in an attribute or between tags. Characters that XML has no form for are left out.
pub(super) fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\t' | '\n' | '\r' => {
                // Writing into memory does not fail.
                let _ = write!(out, "&#{};", u32::from(c));
            }
            '\u{0}'..='\u{1f}' | '\u{fffe}' | '\u{ffff}' => {}
            _ => out.push(c),
        }
    }
    out
}

/// ` name="value"`, or nothing where there is no value.
pub(super) fn attribute(name: &str, value: Option<&str>) -> String {
    value.map(|value| format!(" {name}=\"{}\"", escaped(value))).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_written_ends_what_it_stands_in() {
        assert_eq!(escaped("a<b>&\"c\"\r\u{1}'"), "a&lt;b&gt;&amp;&quot;c&quot;&#13;'");
        assert_eq!(attribute("x", Some("\"")), " x=\"&quot;\"");
        assert_eq!(attribute("x", None), "");
    }
}
