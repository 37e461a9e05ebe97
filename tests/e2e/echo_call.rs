//! Calls to the echo address with aiortc: ICE, DTLS-SRTP and sound, by XEP-0353 and by Jingle alone (XEP-0166).

use tandem_tests::Server;

#[test]
fn whoever_calls_the_echo_address_hears_their_own_tone() {
    let server = Server::start("localhost", &["ana"]).unwrap();
    for (how, codec, hertz) in
        [("propose", "opus", "640"), ("direct", "PCMU", "520"), ("direct", "PCMA", "870")]
    {
        let story = server.story("call_echo.py", &[how, codec, hertz]).unwrap();
        assert!(story.contains(&format!("heard {hertz} Hz in {codec}")), "{story}");
        assert!(story.contains("hung up"), "{story}");
    }
}
