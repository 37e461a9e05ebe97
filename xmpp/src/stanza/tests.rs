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

/// XML 1.0 section 2, Namespaces in XML 1.0 sections 3 to 6: what is passed on as it came ends no one else's stream.
#[test]
fn what_the_parser_of_a_reader_would_refuse_is_not_passed_on() {
    let refused = |inner: &str| {
        let text = format!("<message to='a@d'>{inner}</message>");
        let element = Element::parse(text.as_bytes()).is_err();
        let stanza = Stanza::parse(text.into()).is_err();
        assert_eq!(stanza, element, "{inner}");
        stanza
    };
    for bad in [
        "<body>]]></body>",
        "<body>&#+65;</body>",
        "<body>&#x+41;</body>",
        "<body>&#;</body>",
        "<body>&#x;</body>",
        "<x xmlns:p=''/>",
        "<x xmlns:xml='u'/>",
        "<x xmlns:xmlns='u'/>",
        "<x xmlns='http://www.w3.org/2000/xmlns/'/>",
        "<x xmlns='http://www.w3.org/XML/1998/namespace'/>",
        "<x xmlns:p='http://www.w3.org/XML/1998/namespace'/>",
        "<x xmlns='u' xmlns='v'/>",
        "<x xmlns:p='u' xmlns:q='u' p:a='1' q:a='2'/>",
        "<p:1 xmlns:p='u'/>",
        "<p: xmlns:p='u'/>",
        "<:p/>",
        "<a\u{aa}/>",
        "<a\u{b2}/>",
        "<a\u{10400}/>",
    ] {
        assert!(refused(bad), "{bad}");
    }
    for good in [
        "<body>]] ></body>",
        "<body>]]&gt;</body>",
        "<body>&#65;&#x41;&#x1F600;</body>",
        "<x a=']]>'/>",
        "<x xmlns:xml='http://www.w3.org/XML/1998/namespace' xml:lang='de'/>",
        "<x xmlns=''/>",
        "<x xmlns:p='u' xmlns:q='v' p:a='1' q:a='2' a='3'/>",
        "<p:x xmlns:p='u'/>",
        "<gr\u{f6}\u{df}e xmlns='u' \u{434}\u{430}='\u{4f60}'/>",
    ] {
        assert!(!refused(good), "{good}");
    }
}

/// RFC 7395 section 3.3.3: a frame has no stream around it that would declare the prefix.
#[test]
fn the_prefix_of_the_stream_is_declared_where_it_is_used() {
    let stanza = Stanza::parse("<message><stream:x/></message>".to_owned().into()).unwrap();
    let text = String::from_utf8(stanza.bytes().to_vec()).unwrap();
    assert_eq!(
        text,
        "<message xmlns:stream='http://etherx.jabber.org/streams'><stream:x/></message>"
    );
    // What is printed anew declares it too.
    let tree = stanza.element().unwrap().to_bytes();
    assert_eq!(&tree[..], b"<message><x xmlns='http://etherx.jabber.org/streams'/></message>");
    let plain = Stanza::parse("<message><x/></message>".to_owned().into()).unwrap();
    assert_eq!(&plain.bytes()[..], b"<message><x/></message>");
}
