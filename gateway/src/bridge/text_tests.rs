//! What phones get, and what XMPP gets from them.

use proptest::prelude::*;

use super::*;

fn message(inner: &str) -> Element {
    Element::parse(format!("<message>{inner}</message>").as_bytes()).unwrap()
}

fn text(inner: &str) -> PhoneText {
    for_phone(&message(inner), "bob", Some("shall we meet at the  old\nbridge tomorrow at noon?"))
}

#[test]
fn what_phones_get_for_what_they_cannot_show() {
    let table = [
        ("<body>hi</body>", "hi"),
        ("<body xml:lang='de'>hallo</body><body>hi</body>", "hi"),
        ("<body xml:lang='de'>hallo</body>", "hallo"),
        (
            "<x xmlns='jabber:x:conference' jid='tea@rooms.h'/>",
            "bob invites you to the room sip:tea@rooms.h: write there to come in.",
        ),
        (
            "<body>secret</body><ephemeral xmlns='urn:xmpp:ephemeral:0' timer='3600'/>",
            "secret (expires in 60 min)",
        ),
        (
            "<body>hi!</body><replace xmlns='urn:xmpp:message-correct:0' id='1'/>",
            "* corrected: hi!",
        ),
        (
            "<body>/me retracted</body><retract xmlns='urn:xmpp:message-retract:1' id='1'/>",
            "A message was deleted by its sender.",
        ),
        (
            "<retract xmlns='urn:xmpp:message-retract:1' id='1'><moderated xmlns='urn:xmpp:message-moderate:1'/></retract>",
            "A moderator removed a message.",
        ),
        (
            "<reactions xmlns='urn:xmpp:reactions:0' id='1'><reaction>👍</reaction><reaction>👍</reaction>\
             <reaction>🎉</reaction></reactions>",
            "bob reacted 👍 🎉 to: \"shall we meet at the old bridge tomorrow...\"",
        ),
    ];
    for (inner, expected) in table {
        assert_eq!(text(inner), PhoneText::Text(expected.into()), "{inner}");
    }
    assert_eq!(text("<reactions xmlns='urn:xmpp:reactions:0' id='1'/>"), PhoneText::Nothing);
    assert_eq!(text("<active xmlns='http://jabber.org/protocol/chatstates'/>"), PhoneText::Nothing);
    let omemo = "<encrypted xmlns='eu.siacs.conversations.axolotl'/>";
    assert_eq!(text(omemo), PhoneText::Encrypted(None));
    let hint = format!("{omemo}<body>This is OMEMO</body>");
    assert_eq!(text(&hint), PhoneText::Encrypted(Some("This is OMEMO".into())));
}

#[test]
fn fallback_ranges_count_code_points() {
    let reply = message(
        "<body>&gt; ü🎉\nyes</body><fallback xmlns='urn:xmpp:fallback:0' for='urn:xmpp:reply:0'><body start='0' end='5'/></fallback>",
    );
    assert_eq!(without_fallback(&reply, "urn:xmpp:reply:0").as_deref(), Some("yes"));
    assert_eq!(without_fallback(&reply, "other").as_deref(), Some("> ü🎉\nyes"));
    let whole = message("<body>x</body><fallback xmlns='urn:xmpp:fallback:0' for='f'/>");
    assert_eq!(without_fallback(&whole, "f").as_deref(), Some(""));
    let odd = message(
        "<body>abc</body><fallback xmlns='urn:xmpp:fallback:0' for='f'><body start='2' end='1'/><body start='99'/></fallback>",
    );
    assert_eq!(without_fallback(&odd, "f").as_deref(), Some("abc"));
}

#[test]
fn character_sets() {
    let plain =
        |set: &str, body: &[u8]| from_phone(Some(&format!("text/plain;charset={set}")), body);
    assert_eq!(from_phone(None, "grüß".as_bytes()).as_deref(), Ok("grüß"));
    assert_eq!(plain("\"UTF-8\"", b"\xef\xbb\xbfhi").as_deref(), Ok("hi"));
    assert_eq!(plain("iso-8859-1", b"gr\xfc\xdf \x80").as_deref(), Ok("grüß €"));
    assert_eq!(plain("iso-8859-15", b"\xa4").as_deref(), Ok("€"));
    assert_eq!(plain("utf-8", b"\xff"), Err(Unshowable));
    assert_eq!(plain("koi8-r", b"x"), Err(Unshowable));
    assert_eq!(from_phone(Some("image/png"), b"x"), Err(Unshowable));
    assert_eq!(from_phone(Some("Text/Plain ; x=y"), b"a\0b\r\nc\x1f").as_deref(), Ok("ab\nc"));
}

#[test]
fn html_becomes_text() {
    let table = [
        ("<p>Hello &amp; <b>welcome</b></p><p>again</p>", "Hello & welcome\nagain"),
        ("a<br>b<br/>c", "a\nb\nc"),
        ("<html><head><title>t</title><style>p{}</style></head><body>x</body></html>", "x"),
        ("x<script>alert('<b>')</script>y", "xy"),
        ("x<!-- <b>hidden</b> -->y", "xy"),
        ("1 < 2 &lt; 3 &#x1F600; &#228;", "1 < 2 < 3 😀 ä"),
        ("<ul><li>one<li>two</ul>", "- one\n- two"),
        ("&unknown; & &;", "&unknown; & &;"),
        ("<a href='http://x'>link", "link"),
        ("cut <a href=", "cut"),
        ("  many \n spaces&nbsp;here ", "many spaces here"),
    ];
    for (html, expected) in table {
        assert_eq!(html_to_text(html), expected, "{html}");
    }
    assert_eq!(from_phone(Some("text/html"), b"<i>hi</i>").as_deref(), Ok("hi"));
}

proptest! {
    #[test]
    fn cleaned_text_goes_through_xml(text in any::<String>()) {
        let cleaned = clean(&text);
        let element = Element::new("body", "jabber:client").with_text(&cleaned);
        let again = Element::parse(&element.to_bytes()).unwrap();
        prop_assert_eq!(again.text(), cleaned.clone());
        prop_assert_eq!(clean(&cleaned), cleaned);
    }

    #[test]
    fn nothing_panics(html in "[<>/!&;#a-zé \\-]{0,60}", bytes in prop::collection::vec(any::<u8>(), 0..60)) {
        let _ = html_to_text(&html);
        for set in ["utf-8", "latin1", "iso-8859-15", "x"] {
            let _ = from_phone(Some(&format!("text/html; charset={set}")), &bytes);
        }
    }
}
