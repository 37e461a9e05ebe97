//! What is served, as data (XEP-0453): the list behind `conf/tandem.doap`.
//!
//! A specification stands here when its server side works; its note says what is special about it, or left out.

/// How much of a specification is served.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// All that a server must do.
    Complete,
    /// A part; the note says what is missing.
    Partial,
}

/// One extension.
#[derive(Debug, Clone, Copy)]
pub struct Extension {
    /// Its number, with four digits.
    pub number: &'static str,
    /// The version that was read.
    pub version: &'static str,
    /// How much of it.
    pub state: State,
    /// What is special, or left out.
    pub note: &'static str,
}

/// The RFCs.
pub const RFCS: &[u16] = &[4422, 4616, 5802, 6120, 6121, 7395, 7590, 7622, 7628, 7677, 9266];

/// The extensions, by number.
pub const EXTENSIONS: &[Extension] = &[
    complete("0004", "2.13.2", ""),
    complete("0030", "2.5.0", ""),
    partial("0045", "1.35.5", "no gateways to other protocols' rooms"),
    complete("0048", "1.2", "read and written as XEP-0402"),
    complete("0049", "1.2", ""),
    complete("0050", "1.3.0", ""),
    complete("0054", "1.3.0", ""),
    complete("0059", "1.0", ""),
    partial("0060", "1.30.0", "on accounts; no collections"),
    complete("0077", "2.4", "registration off unless set, or by invitation"),
    complete("0084", "1.1.4", ""),
    complete("0085", "2.1", "passed, never kept"),
    complete("0092", "1.1", ""),
    complete("0114", "1.6", ""),
    complete("0115", "1.6.0", ""),
    complete("0124", "1.11.2", ""),
    partial("0133", "1.3.1", "the commands that an operator uses"),
    complete("0153", "1.1.1", ""),
    complete("0156", "1.4.0", ""),
    complete("0157", "1.1.1", ""),
    complete("0160", "1.0.1", ""),
    complete("0163", "1.2.2", ""),
    complete("0172", "1.1", ""),
    complete("0178", "1.2", ""),
    complete("0184", "1.4.0", "passed and kept"),
    complete("0191", "1.3", ""),
    complete("0198", "1.6.3", ""),
    complete("0199", "2.0.1", ""),
    complete("0202", "2.0", ""),
    complete("0203", "2.0", ""),
    complete("0206", "1.4", ""),
    complete("0215", "1.0.0", ""),
    complete("0220", "1.1.1", ""),
    complete("0223", "1.1.1", ""),
    complete("0237", "1.3", ""),
    complete("0249", "1.2", ""),
    complete("0280", "1.0.1", ""),
    complete("0292", "0.12.0", ""),
    complete("0297", "1.0", ""),
    complete("0308", "1.2.1", "passed and kept"),
    complete("0313", "1.1.3", ""),
    complete("0317", "0.3.1", ""),
    complete("0333", "1.0.0", "passed and kept"),
    complete("0334", "1.0.0", ""),
    complete("0352", "1.0.0", ""),
    complete("0353", "0.8.0", "passed, kept, and bridged to phones"),
    complete("0357", "0.4.1", ""),
    complete("0359", "0.7.0", ""),
    complete("0363", "1.2.0", ""),
    complete("0368", "1.1.0", ""),
    complete("0372", "0.5.0", "understood for notifications"),
    complete("0377", "0.4.1", ""),
    complete("0379", "0.3.3", ""),
    complete("0386", "1.1.0", ""),
    complete("0388", "1.0.4", ""),
    complete("0390", "0.3.2", ""),
    complete("0393", "1.1.1", "passed"),
    complete("0398", "1.0.0", ""),
    complete("0401", "0.6.0", ""),
    complete("0402", "1.2.0", ""),
    complete("0410", "1.1.0", ""),
    complete("0421", "1.0.1", ""),
    complete("0424", "0.4.2", "tombstones in the archives"),
    complete("0425", "0.3.0", ""),
    complete("0428", "0.2.1", "passed and kept"),
    complete("0440", "1.0.0", ""),
    complete("0441", "0.2.0", ""),
    complete("0444", "0.2.1", "passed and kept"),
    complete("0445", "0.2.0", ""),
    complete("0461", "0.2.1", "passed and kept"),
    complete("0469", "0.1.0", ""),
    complete("0474", "0.5.0", ""),
    complete("0478", "0.2.0", ""),
    complete("0480", "0.2.0", ""),
    complete("0484", "0.2.0", ""),
    complete("0486", "0.1.0", ""),
    partial("0490", "1.0.1", "without the server's help"),
    complete("0492", "0.2.0", "obeyed by push"),
    complete("0513", "0.1.0", "understood for notifications"),
];

const fn complete(number: &'static str, version: &'static str, note: &'static str) -> Extension {
    Extension { number, version, state: State::Complete, note }
}

const fn partial(number: &'static str, version: &'static str, note: &'static str) -> Extension {
    Extension { number, version, state: State::Partial, note }
}

/// The description of the project (XEP-0453) that `conf/tandem.doap` holds.
pub fn doap() -> String {
    let mut out = String::from(
        "<?xml version='1.0' encoding='UTF-8'?>\n\
         <rdf:RDF xmlns:rdf='http://www.w3.org/1999/02/22-rdf-syntax-ns#' xmlns='http://usefulinc.com/ns/doap#'\n\
         \x20   xmlns:xmpp='https://linkmauve.fr/ns/xmpp-doap#'>\n\
         \x20 <Project>\n\
         \x20   <name>Tandem</name>\n\
         \x20   <shortdesc xml:lang='en'>XMPP server and SIP gateway in one program</shortdesc>\n\
         \x20   <programming-language>Rust</programming-language>\n\
         \x20   <os>Linux</os>\n\
         \x20   <license rdf:resource='https://spdx.org/licenses/MIT'/>\n\
         \x20   <category rdf:resource='https://linkmauve.fr/ns/xmpp-doap#category-server'/>\n",
    );
    for number in RFCS {
        out.push_str(&format!(
            "    <implements rdf:resource='https://www.rfc-editor.org/info/rfc{number}'/>\n"
        ));
    }
    for extension in EXTENSIONS {
        let Extension { number, version, state, note } = extension;
        let state = if *state == State::Complete { "complete" } else { "partial" };
        out.push_str(&format!(
            "    <implements>\n      <xmpp:SupportedXep>\n\
             \x20       <xmpp:xep rdf:resource='https://xmpp.org/extensions/xep-{number}.html'/>\n\
             \x20       <xmpp:status>{state}</xmpp:status>\n\
             \x20       <xmpp:version>{version}</xmpp:version>\n"
        ));
        if !note.is_empty() {
            out.push_str("        <xmpp:note>");
            crate::xml::escape(&mut out, note);
            out.push_str("</xmpp:note>\n");
        }
        out.push_str("      </xmpp:SupportedXep>\n    </implements>\n");
    }
    out.push_str("  </Project>\n</rdf:RDF>\n");
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_shipped_description_is_generated_from_this_list() {
        assert_eq!(
            include_str!("../../conf/tandem.doap"),
            doap(),
            "run `tandem doap > conf/tandem.doap`"
        );
    }

    #[test]
    fn the_list_is_in_order_and_says_what_is_left_out() {
        assert!(EXTENSIONS.windows(2).all(|pair| pair[0].number < pair[1].number));
        assert!(EXTENSIONS.iter().all(|e| e.state == State::Complete || !e.note.is_empty()));
    }

    /// The table at the head of the crate is for people; it leaves nothing out and names nothing else.
    #[test]
    fn the_table_of_the_crate_has_what_this_list_has() {
        let rows = include_str!("lib.rs").lines().filter_map(|line| line.strip_prefix("//! | "));
        let mut named: Vec<&str> = rows
            .filter_map(|row| row.split(" |").next()?.split_once("XEP-"))
            .flat_map(|(_, numbers)| numbers.split(", "))
            .collect();
        named.sort_unstable();
        let listed: Vec<&str> = EXTENSIONS.iter().map(|e| e.number).collect();
        assert_eq!(named, listed);
    }
}
