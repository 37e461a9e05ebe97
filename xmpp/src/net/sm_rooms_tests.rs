//! XEP-0198 and rooms (XEP-0045), in virtual time: who waits for its client is inside, and who is given up is not.

use std::time::Duration;

use super::tests::{Client, World};

const MUC: &str = "http://jabber.org/protocol/muc";

impl Client {
    /// Enters the room `tea`, which is made and configured by the first.
    async fn enter(&mut self, nick: &str) -> String {
        let enter = format!("<presence to='tea@rooms.d/{nick}'><x xmlns='{MUC}'/></presence>");
        let entered = self.say(&enter, "code='110'").await;
        if entered.contains("code='201'") {
            let form = "<x xmlns='jabber:x:data' type='submit'>\
                 <field var='muc#roomconfig_membersonly'><value>0</value></field></x>";
            let owner = format!(
                "<iq to='tea@rooms.d' type='set' id='c'>\
                 <query xmlns='{MUC}#owner'>{form}</query></iq>"
            );
            self.say(&owner, "id='c'").await;
        }
        entered + &self.rest().await
    }

    async fn talk(&mut self, body: &str) {
        self.say(
            &format!("<message to='tea@rooms.d' type='groupchat'><body>{body}</body></message>"),
            &format!("<body>{body}</body>"),
        )
        .await;
    }
}

fn after(seconds: u64) -> tokio::time::Sleep {
    tokio::time::sleep(Duration::from_secs(seconds))
}

fn bodies(heard: &str) -> Vec<&str> {
    heard.split("<body>").skip(1).filter_map(|s| s.split('<').next()).collect()
}

/// Nobody sees it go, it misses nothing, and it speaks on without entering again.
#[tokio::test(start_paused = true)]
async fn who_comes_back_was_inside_all_the_time() {
    let world = World::new();
    let mut bob = world.login("bob", "x").await;
    bob.enter("Bob").await;
    let mut ana = world.login("ana", "r").await;
    let id = ana.enable().await;
    ana.enter("Ana").await;
    bob.rest().await;
    drop(ana.pipe);
    after(10).await;
    bob.talk("one").await;
    bob.talk("two").await;
    let seen = bob.rest().await;
    assert!(!seen.contains("unavailable"), "{seen}");

    let mut ana = world.connect();
    ana.log_in("ana").await;
    // Nothing of what it was sent before is acknowledged: that comes again, then what it missed, in order.
    let heard = ana.resume(&id, 0).await + &ana.rest().await;
    assert!(heard.contains("<resumed "), "{heard}");
    assert_eq!(bodies(&heard), ["one", "two"], "{heard}");
    bob.talk("three").await;
    assert_eq!(bodies(&ana.rest().await), ["three"]);
    ana.talk("four").await;
    let heard = bob.rest().await;
    assert!(heard.contains("from='tea@rooms.d/Ana'") && !heard.contains("<presence"), "{heard}");
    assert!(world.server.halls_are_tidy());
}

/// No ghost: it goes when its time is over, and its name is free.
#[tokio::test(start_paused = true)]
async fn who_does_not_come_back_leaves_when_the_session_ends() {
    let world = World::new();
    let mut bob = world.login("bob", "x").await;
    bob.enter("Bob").await;
    let mut ana = world.login("ana", "r").await;
    ana.enable().await;
    ana.enter("Ana").await;
    bob.rest().await;
    drop(ana.pipe);
    after(290).await;
    let seen = bob.rest().await;
    assert!(!seen.contains("unavailable"), "{seen}");
    after(20).await;
    let seen = bob.rest().await;
    assert_eq!(seen.matches("<presence from='tea@rooms.d/Ana'").count(), 1, "{seen}");
    assert!(seen.contains("type='unavailable'"), "{seen}");
    assert!(world.server.halls_are_tidy());
    let info = "<iq to='tea@rooms.d' type='get' id='i'>\
         <query xmlns='http://jabber.org/protocol/disco#info'/></iq>";
    let inside = bob.say(info, "</iq>").await;
    let inside = inside.split_once("var='muc#roominfo_occupants'").unwrap().1;
    assert!(inside.split_once("<value>").unwrap().1.starts_with("1<"), "{inside}");
    // A new session is outside, and enters under the same name.
    let mut ana = world.login("ana", "r").await;
    assert!(ana.enter("Ana").await.contains("code='110'"));
    assert!(world.server.halls_are_tidy());
}
