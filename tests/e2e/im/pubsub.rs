//! XEP-0163, XEP-0084, XEP-0398, XEP-0402, XEP-0490 with slixmpp: profiles, bookmarks and private nodes.

use tandem_tests::Server;

#[test]
fn profiles_reach_contacts_and_private_nodes_stay_private() {
    let server = Server::start("localhost", &["ana", "julia", "carl"]).unwrap();
    let story = server.story("pubsub.py", &[]).unwrap();
    for step in [
        "the account is a publish-subscribe service",
        "avatar seen by a contact and not by a stranger",
        "hash of the avatar in presence",
        "avatar in the vcard",
        "photo of a vcard is the avatar",
        "new bookmark read by an old client",
        "old bookmarks reach new clients, extensions kept",
        "private nodes closed to others",
        "displayed state told to own devices",
        "conflict of options refused",
        "last item at the first presence",
    ] {
        assert!(story.contains(step), "{step}: {story}");
    }
}
