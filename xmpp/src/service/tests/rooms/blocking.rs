//! XEP-0191 section 3.3 where a room is between the two: whoever blocks hears what is said to everybody, and nothing else.

use super::*;

const OPEN: (&str, &str) = ("muc#roomconfig_membersonly", "0");
const SEMI: (&str, &str) = ("muc#roomconfig_whois", "moderators");

impl Guest {
    async fn block(&self, jid: &str) -> Vec<String> {
        self.say(&format!(
            "<iq type='set' id='b'><block xmlns='urn:xmpp:blocking'><item jid='{jid}'/></block></iq>"
        ))
        .await;
        self.read().await
    }

    async fn whisper(&self, nick: &str) -> Vec<String> {
        self.say(&format!(
            "<message to='tea@rooms.d/{nick}' type='chat' id='w'><body>psst</body></message>"
        ))
        .await;
        self.read().await
    }

    async fn invite(&self, whom: &str) -> Vec<String> {
        self.say(&format!(
            "<message to='tea@rooms.d'><x xmlns='{USER}'><invite to='{whom}'/></x></message>"
        ))
        .await;
        self.read().await
    }
}

#[tokio::test]
async fn whispers_of_who_is_blocked_do_not_arrive() {
    // The person, a device of it, its domain, its name in a room that hides addresses.
    let other = ("bob@d/c", OPEN);
    for (blocked, fields, passes) in [
        ("bob@d", OPEN, false),
        ("bob@d/b", OPEN, false),
        (other.0, other.1, true),
        ("tea@rooms.d/Bob", SEMI, false),
        ("tea@rooms.d/Carl", SEMI, true),
    ] {
        let house = House::new();
        let ana = house.tea(&[OPEN, fields]).await;
        let bob = house.online("bob@d/b").await;
        bob.enter("Bob").await;
        ana.block(blocked).await;
        let told = bob.whisper("Ana").await;
        let heard = ana.read().await;
        assert_eq!(heard == ["Bobwhispers: psst"], passes, "{blocked}: {heard:?}");
        assert_eq!(told == ["message service-unavailable"], !passes, "{blocked}: {told:?}");
        let asked = bob.ask("tea@rooms.d/Ana", "get", "<query xmlns='jabber:iq:version'/>").await;
        assert_eq!(asked == ["iq service-unavailable"], !passes, "{blocked}: {asked:?}");
        ana.read().await;
        // What is for everybody is the room's.
        bob.talk("hello").await;
        assert_eq!(ana.read().await, ["Bob: hello"], "{blocked}");
    }
}

/// The inviter learns what it would if there were nobody, and nobody becomes a member by it.
#[tokio::test]
async fn invitations_of_who_is_blocked_do_not_arrive() {
    for blocked in ["ana@d", "tea@rooms.d", "rooms.d", "tea@rooms.d/Ana"] {
        let house = House::new();
        let ana = house.tea(&[]).await;
        let bob = house.online("bob@d/b").await;
        bob.block(blocked).await;
        assert_eq!(ana.invite("bob@d").await, ["message item-not-found"], "{blocked}");
        assert!(bob.read().await.is_empty(), "{blocked}");
        assert!(ana.invite("carl@d").await.is_empty());
        // Nor does a membership that is given bring one.
        ana.admin("<item affiliation='member' jid='bob@d'/>").await;
        let told = bob.read().await;
        assert_eq!(told.is_empty(), blocked != "tea@rooms.d/Ana", "{blocked}: {told:?}");
    }
}

#[tokio::test]
async fn a_refusal_of_who_is_blocked_does_not_arrive() {
    let house = House::new();
    let ana = house.tea(&[]).await;
    let bob = house.online("bob@d/b").await;
    ana.invite("bob@d").await;
    bob.read().await;
    ana.block("bob@d").await;
    bob.say(&format!(
        "<message to='tea@rooms.d'><x xmlns='{USER}'><decline to='ana@d'/></x></message>"
    ))
    .await;
    assert!(ana.read().await.is_empty());
}

#[tokio::test]
async fn who_blocks_a_room_leaves_it_and_hears_nothing_of_it() {
    for blocked in ["tea@rooms.d", "rooms.d"] {
        let house = House::new();
        let ana = house.tea(&[OPEN]).await;
        let bob = house.online("bob@d/b").await;
        bob.enter("Bob").await;
        ana.read().await;
        let told = bob.block(blocked).await;
        assert!(told[0].starts_with("-Bob none/none"), "{told:?}");
        let seen = ana.read().await;
        assert!(seen[0].starts_with("-Bob none/none"), "{seen:?}");
        ana.talk("hello").await;
        assert!(bob.read().await.is_empty());
        assert_eq!(bob.enter("Bob").await, ["presence not-acceptable"]);
        assert!(house.world.server.halls_are_tidy());
    }
}
