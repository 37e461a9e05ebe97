//! XEP-0045 and the end of an account (XEP-0077 section 3.2): nothing of it is left in a room.

use super::*;
use crate::ports::{Affiliation, Rooms};

impl House {
    /// The account of a guest is removed.
    async fn removes(&self, account: &str) {
        assert!(self.world.server.remove_account(&jid(account)).await.unwrap());
    }

    /// What is kept of the people of the room, in order.
    async fn people(&self) -> Vec<(String, Affiliation)> {
        let stored = self.rooms.load(&jid("tea@rooms.d")).await.unwrap();
        let people = stored.map(|stored| stored.people).unwrap_or_default();
        let mut people: Vec<_> =
            people.iter().map(|(jid, member)| (jid.to_string(), member.affiliation)).collect();
        people.sort();
        people
    }
}

#[tokio::test]
async fn who_has_no_account_any_more_is_in_no_room() {
    let house = House::new();
    let ana = house.tea(&[]).await;
    let members =
        "<item affiliation='member' jid='bob@d'/><item affiliation='member' jid='carl@d'/>";
    ana.admin(members).await;
    let bob = house.online("bob@d/b").await;
    bob.enter("Bob").await;
    ana.read().await;
    house.removes("bob@d").await;
    let seen = ana.read().await;
    assert_eq!(seen[0], "-Bob member/none bob@d/b", "{seen:?}");
    assert_eq!(seen[1..], ["tea@rooms.d message none/none bob@d"], "{seen:?}");
    assert!(house.world.server.halls_are_tidy());
    // One who was not inside goes too.
    house.removes("carl@d").await;
    assert_eq!(ana.read().await, ["tea@rooms.d message none/none carl@d"]);
    assert_eq!(house.people().await, [("ana@d".to_owned(), Affiliation::Owner)]);
}

/// A new account of the name would be free of it.
#[tokio::test]
async fn a_ban_outlives_the_account() {
    let house = House::new();
    let ana = house.tea(&[]).await;
    ana.admin("<item affiliation='outcast' jid='bob@d'/>").await;
    house.removes("bob@d").await;
    assert!(house.people().await.contains(&("bob@d".to_owned(), Affiliation::Outcast)));
}

/// Section 10.4: a room has an owner.
#[tokio::test]
async fn admins_own_what_its_only_owner_leaves() {
    let house = House::new();
    let ana = house.tea(&[]).await;
    ana.admin("<item affiliation='admin' jid='bob@d'/><item affiliation='member' jid='carl@d'/>")
        .await;
    let bob = house.online("bob@d/b").await;
    bob.enter("Bob").await;
    house.removes("ana@d").await;
    let seen = bob.read().await;
    assert!(seen.contains(&"+Bob owner/moderator bob@d/b 110".to_owned()), "{seen:?}");
    let expected =
        [("bob@d".to_owned(), Affiliation::Owner), ("carl@d".to_owned(), Affiliation::Member)];
    assert_eq!(house.people().await, expected);
}

#[tokio::test]
async fn a_room_that_is_nobodys_ends() {
    let house = House::new();
    let ana = house.tea(&[("muc#roomconfig_membersonly", "0")]).await;
    ana.talk("mine").await;
    let bob = house.online("bob@d/b").await;
    bob.enter("Bob").await;
    house.removes("ana@d").await;
    let seen = bob.read().await;
    assert!(seen.iter().any(|s| s.contains("destroyed")), "{seen:?}");
    assert!(house.people().await.is_empty());
    assert!(house.world.server.halls_are_tidy());
    // Whoever makes it again starts from nothing.
    assert!(bob.enter("Bob").await[0].contains("201"));
}

/// What cannot be left stops the removal: no new account of the name finds an old one's place.
#[tokio::test]
async fn an_account_stays_when_its_rooms_cannot_be_left() {
    let house = House::new();
    let ana = house.tea(&[]).await;
    house.rooms.set_broken(true);
    assert!(house.world.server.remove_account(&jid("ana@d")).await.is_err());
    house.rooms.set_broken(false);
    assert_eq!(house.people().await, [("ana@d".to_owned(), Affiliation::Owner)]);
    house.removes("ana@d").await;
    assert!(house.people().await.is_empty());
    drop(ana);
}
