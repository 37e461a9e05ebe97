//! What a stanza says is what comes out, whatever its prefixes (Namespaces in XML 1.0, RFC 6120 section 4.8).

use super::*;

fn printed(text: &str) -> String {
    let stanza = Stanza::parse(text.to_owned().into()).unwrap();
    String::from_utf8(stanza.bytes().to_vec()).unwrap()
}

#[test]
fn a_prefixed_root_keeps_the_meaning_of_its_children() {
    let table = [
        (
            "<c:message xmlns:c='jabber:client'><c:body>x</c:body></c:message>",
            "<message xmlns:c='jabber:client'><c:body>x</c:body></message>",
        ),
        (
            "<c:message xmlns:c='jabber:client' xmlns='urn:x'>t<a/><b c='>'>\
             <a/></b><y xmlns='urn:y'/><c:body>x</c:body></c:message>",
            "<message xmlns:c='jabber:client'>t<a xmlns='urn:x'/><b xmlns='urn:x' c='>'>\
             <a/></b><y xmlns='urn:y'/><c:body>x</c:body></message>",
        ),
        (
            "<c:iq xmlns:c='jabber:client' type='get' id='&lt;'/>",
            "<iq xmlns:c='jabber:client' type='get' id='&lt;'/>",
        ),
        (
            "<message xmlns='jabber:client'><body>x</body></message>",
            "<message><body>x</body></message>",
        ),
    ];
    for (given, expected) in table {
        assert_eq!(printed(given), expected);
        let (given, expected) =
            (Element::parse(given.as_bytes()), Element::parse(expected.as_bytes()));
        assert_eq!(given, expected);
    }
}

#[test]
fn a_long_namespace_is_not_multiplied() {
    let children = "<a/>".repeat(1000);
    let long = "x".repeat(10_000);
    let text = format!("<c:message xmlns:c='jabber:client' xmlns='{long}'>{children}</c:message>");
    assert!(matches!(Stanza::parse(text.into()), Err(StanzaFault::Xml(XmlError::TooMuch(_)))));
}

#[test]
fn a_child_more_leaves_the_rest_as_it_was() {
    let text = "<message to='a@b'><x:y xmlns:x='urn:x' x:z='1'/></message>";
    let stanza = Stanza::parse(text.into()).unwrap();
    let more = stanza.bytes_with(&Element::new("delay", "urn:xmpp:delay"));
    let expected = text.replace("</message>", "<delay xmlns='urn:xmpp:delay'/></message>");
    assert_eq!(more, expected.as_bytes());
}
