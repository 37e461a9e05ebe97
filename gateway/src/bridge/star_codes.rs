//! What a phone dials to set what is done with calls to it: the codes of 3GPP TS 22.030 (section 6.5.2 and annex B, which ETSI
//! ETS 300 738 has for fixed telephones too) for call forwarding (21, 67, 61, all of them 002) and call waiting (43), and
//! `*78` and `*79`, by which desk phones and exchanges turn do not disturb on and off.
//!
//! `*21*200#` and `**21*200#` forward, `#21#` and `##21#` do no more; `*61*200**15#` after 15 seconds. The last `#` may be
//! missing: many phones take it as the order to dial.

/// The words of [`super::call_desk`] that a code stands for. `None`: it is no code. `Some(None)`: one that is not known.
pub fn read(dialled: &str) -> Option<Option<Vec<String>>> {
    let (is_on, code) = match dialled.as_bytes().first()? {
        b'*' => (true, dialled.trim_start_matches('*')),
        b'#' => (false, dialled.trim_start_matches('#')),
        _ => return None,
    };
    let code = code.strip_suffix('#').unwrap_or(code);
    let mut parts = code.split('*');
    let service = parts.next().unwrap_or_default();
    let to = parts.next().filter(|to| !to.is_empty());
    // Which kind of call is meant: all kinds are one here.
    let _ = parts.next();
    let seconds = parts.next();
    Some(words(is_on, service, to, seconds))
}

fn words(
    is_on: bool,
    service: &str,
    to: Option<&str>,
    seconds: Option<&str>,
) -> Option<Vec<String>> {
    let forward = |name: &str| match (is_on, to) {
        (true, Some(to)) => Some(vec![format!("{name}={to}")]),
        // What was dialled before is not remembered.
        (true, None) => None,
        (false, _) => Some(vec![format!("{name}=off")]),
    };
    match (service, is_on) {
        ("21", _) => forward("always"),
        ("67", _) => forward("busy"),
        ("61", _) => {
            let mut words = forward("no-answer")?;
            words.extend(seconds.filter(|_| is_on).map(|s| format!("seconds={s}")));
            Some(words)
        }
        ("002", false) => {
            Some(["always=off", "busy=off", "no-answer=off"].map(str::to_owned).to_vec())
        }
        ("43", _) => Some(vec![format!("second-calls={}", if is_on { "ring" } else { "busy" })]),
        ("78", true) => Some(vec!["dnd=on".to_owned()]),
        ("79", true) => Some(vec!["dnd=off".to_owned()]),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_people_dial() {
        let table: [(&str, Option<Option<&str>>); 22] = [
            ("*21*200#", Some(Some("always=200"))),
            ("**21*200#", Some(Some("always=200"))),
            ("*21*+4930123", Some(Some("always=+4930123"))),
            ("#21#", Some(Some("always=off"))),
            ("##21#", Some(Some("always=off"))),
            ("*67*bob#", Some(Some("busy=bob"))),
            ("#67#", Some(Some("busy=off"))),
            ("*61*200#", Some(Some("no-answer=200"))),
            ("*61*200**15#", Some(Some("no-answer=200 seconds=15"))),
            ("**61*200*11*15#", Some(Some("no-answer=200 seconds=15"))),
            ("#61#", Some(Some("no-answer=off"))),
            ("##002#", Some(Some("always=off busy=off no-answer=off"))),
            ("*43#", Some(Some("second-calls=ring"))),
            ("#43#", Some(Some("second-calls=busy"))),
            ("*78", Some(Some("dnd=on"))),
            ("*79#", Some(Some("dnd=off"))),
            ("*21#", Some(None)),
            ("*21*#", Some(None)),
            ("*99", Some(None)),
            ("#", Some(None)),
            ("200", None),
            ("", None),
        ];
        for (dialled, expected) in table {
            let said = read(dialled).map(|words| words.map(|words| words.join(" ")));
            assert_eq!(said, expected.map(|words| words.map(str::to_owned)), "{dialled}");
        }
    }
}
