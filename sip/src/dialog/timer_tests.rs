//! RFC 4028 sections 7 to 10: who refreshes, how often, and when it is over.

use super::*;

const TERMS: Terms = Terms { interval: 1_800, least: 90 };

fn headers(fields: &[(&str, &str)]) -> Headers {
    let mut headers = Headers::new();
    fields.iter().for_each(|(name, value)| headers.push(*name, *value));
    headers
}

#[test]
fn a_2xx_of_ours_follows_table_2() {
    use Refresher::{Them, Us};
    type Row<'a> =
        (&'a [(&'a str, &'a str)], Option<Refresher>, Result<(u32, Refresher, bool), u32>);
    let timer = ("Supported", "100rel, timer");
    let table: &[Row<'_>] = &[
        (&[], None, Ok((1_800, Us, false))),
        (&[timer], None, Ok((1_800, Us, true))),
        (&[timer], Some(Them), Ok((1_800, Them, true))),
        (&[timer, ("Session-Expires", "600")], None, Ok((600, Us, true))),
        (&[timer, ("Session-Expires", "7200;refresher=uac")], None, Ok((1_800, Them, true))),
        (&[timer, ("Session-Expires", "600;refresher=uas")], Some(Them), Ok((600, Us, true))),
        // Never below what somebody on the way asked for.
        (&[timer, ("Min-SE", "3600"), ("Session-Expires", "7200")], None, Ok((3_600, Us, true))),
        // Too small: refused where the peer understands it, else taken.
        (&[timer, ("Session-Expires", "60")], None, Err(90)),
        (&[("Session-Expires", "60;refresher=uac")], None, Ok((60, Us, false))),
    ];
    for (fields, before, expected) in table {
        let said = TERMS.answer(&headers(fields), *before);
        let said = said.map(|agreed| agreed.unwrap());
        let said = said.map(|agreed| (agreed.seconds, agreed.refresher, agreed.is_known));
        assert_eq!(said, *expected, "{fields:?}");
    }
    let none = Terms { interval: 0, least: 90 };
    assert_eq!(none.answer(&headers(&[timer]), None), Ok(None));
    assert!(none.answer(&headers(&[timer, ("Session-Expires", "99")]), None).unwrap().is_some());
}

#[test]
fn our_2xx_names_the_refresher_and_requires_what_the_peer_knows() {
    let mut said = Headers::new();
    Agreed { seconds: 600, refresher: Refresher::Them, is_known: true }.write(&mut said);
    assert_eq!(said.get("Session-Expires"), Some("600;refresher=uac"));
    assert_eq!(said.get("Require"), Some("timer"));
    let mut said = Headers::new();
    Agreed { seconds: 600, refresher: Refresher::Us, is_known: false }.write(&mut said);
    assert_eq!(said.get("Session-Expires"), Some("600;refresher=uas"));
    assert!(!said.has("Require"));
}

#[test]
fn a_2xx_of_theirs_decides_or_leaves_it_to_us() {
    use Refresher::{Them, Us};
    for (value, expected) in [
        (None, (1_800, Us)),
        (Some("900;refresher=uas"), (900, Them)),
        (Some("900;refresher=uac"), (900, Us)),
        (Some("900"), (900, Us)),
        (Some("9000;refresher=uas"), (1_800, Them)),
        (Some("0;refresher=uac"), (FLOOR, Us)),
    ] {
        let fields: Vec<_> = value.map(|value| ("Session-Expires", value)).into_iter().collect();
        let agreed = TERMS.accepted(&headers(&fields), 0).unwrap();
        assert_eq!((agreed.seconds, agreed.refresher), expected, "{value:?}");
    }
}

#[test]
fn what_we_ask_grows_with_what_was_heard_and_keeps_the_role() {
    let mut asked = Headers::new();
    TERMS.ask(&mut asked, 0, None);
    assert_eq!(asked.get("Session-Expires"), Some("1800"));
    assert!(!asked.has("Min-SE"), "90 goes without saying");
    TERMS.ask(&mut asked, 3_600, Some(Refresher::Them));
    assert_eq!(asked.get("Session-Expires"), Some("3600;refresher=uas"));
    assert_eq!(asked.get("Min-SE"), Some("3600"));
    let mut none = Headers::new();
    Terms { interval: 0, least: 90 }.ask(&mut none, 0, None);
    assert!(none.is_empty());
}

#[test]
#[allow(clippy::disallowed_methods)] // an origin for virtual time
fn the_refresher_has_half_the_time_the_other_all_but_a_margin() {
    let start = Instant::now();
    let at = |seconds| start + Duration::from_secs(seconds);
    let agreed = |seconds, refresher| Agreed { seconds, refresher, is_known: true };
    let mut ours = SessionTimer::new(agreed(1_800, Refresher::Us), start);
    assert_eq!((ours.due(at(899)), ours.next()), (Due::Nothing, at(900)));
    assert_eq!(ours.due(at(900)), Due::Refresh);
    ours.sent();
    assert_eq!((ours.due(at(1_799)), ours.next()), (Due::Nothing, at(1_800)));
    ours.again(None, at(1_000));
    assert_eq!(ours.next(), at(1_005));
    assert_eq!(ours.due(at(1_800)), Due::Over);
    for (seconds, over) in [(1_800, 1_768), (90, 60)] {
        let mut theirs = SessionTimer::new(agreed(seconds, Refresher::Them), start);
        theirs.again(None, start);
        assert_eq!((theirs.due(at(over - 1)), theirs.next()), (Due::Nothing, at(over)));
        assert_eq!(theirs.due(at(over)), Due::Over);
    }
}
