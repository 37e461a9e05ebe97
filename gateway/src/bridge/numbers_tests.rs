//! What people dial, which trunk takes it, whose it is (E.164, RFC 3966).

use super::*;

fn plan() -> Plan {
    let config = Config::parse(
        "domains = [\"example.org\"]\n\
         [[trunks]]\nname = \"world\"\nuri = \"sip:world.example\"\ncaller = \"+43100\"\n\
         [[trunks]]\nname = \"vienna\"\nuri = \"sip:vienna.example\"\nprefixes = [\"+431\", \"+4366\"]\n\
         [numbers]\ncountry = \"43\"\nemergency = { 112 = \"vienna\" }\n\
         accounts = { \"+4312345\" = \"ana@example.org\" }\n",
        "test",
        [],
    );
    Plan::new(&config.unwrap())
}

#[test]
fn what_people_dial() {
    let plan = plan();
    let table = [
        ("+4312345", Some("+4312345")),
        ("004312345", Some("+4312345")),
        ("0043 1 234-5", Some("+4312345")),
        ("012345", Some("+4312345")),
        ("(01) 23.45", Some("+4312345")),
        ("+1-201-555-0123;phone-context=x", Some("+12015550123")),
        ("112", Some("112")),
        ("144", None),
        ("1", None),
        ("ana", None),
        ("+", None),
        ("+12", None),
        ("+01234567", None),
        ("+1234567890123456", None),
        ("0", None),
        ("", None),
        ("+12ab34", None),
    ];
    for (dialled, number) in table {
        assert_eq!(plan.read(dialled).as_ref().map(Dialled::as_str), number, "{dialled}");
    }
    let tel = Uri::parse("tel:+43-1-2345").unwrap();
    assert_eq!(plan.read_uri(&tel).unwrap().as_str(), "+4312345");
}

#[test]
fn the_trunk_that_knows_more_is_tried_first_and_emergencies_go_where_they_are_sent() {
    let plan = plan();
    let names = |dialled: &str| -> Vec<String> {
        let number = plan.read(dialled).unwrap();
        plan.ways(&number).iter().map(|trunk| trunk.name.clone()).collect()
    };
    assert_eq!(names("012345"), ["vienna", "world"]);
    assert_eq!(names("+4930123"), ["world"]);
    assert_eq!(names("112"), ["vienna"]);
}

#[test]
fn numbers_belong_to_accounts_and_are_addresses() {
    let plan = plan();
    let number = plan.read("012345").unwrap();
    let ana = Jid::parse("ana@example.org").unwrap();
    assert_eq!(plan.account(&number), Some(ana.clone()));
    let [vienna] = &plan.ways(&plan.read("112").unwrap())[..] else { panic!() };
    let world = &plan.ways(&plan.read("+4930123").unwrap())[0];
    assert_eq!(plan.shown(&ana, vienna).as_deref(), Some("+4312345"));
    let carl = Jid::parse("carl@example.org").unwrap();
    assert_eq!(plan.shown(&carl, vienna), None);
    assert_eq!(plan.shown(&carl, world).as_deref(), Some("+43100"));
    let address = plan.address(&number).unwrap();
    assert_eq!(address.as_str(), "+4312345@tel.example.org");
    assert_eq!(plan.number(&address), Some(number));
    assert_eq!(plan.number(&ana), None);
    assert!(plan.may_dial(&ana) && !plan.may_dial(&address));
    assert!(!plan.may_dial(&Jid::parse("x@elsewhere.example").unwrap()));
}

/// A plan with limits.
fn tight() -> Plan {
    let config = Config::parse(
        "domains = [\"example.org\"]\n\
         [[trunks]]\nname = \"world\"\nuri = \"sip:world.example\"\ncaller = \"+43100\"\ndenied = [\"+43\"]\n\
         trusted = false\nmax_calls_per_hour = 1\n\
         [[trunks]]\nname = \"vienna\"\nuri = \"sip:care@vienna.example\"\nprefixes = [\"+431\"]\ndenied = [\"+4319\"]\n\
         username = \"care\"\n\
         [numbers]\ncountry = \"43\"\nemergency = { 112 = \"world\" }\nmax_calls_per_hour = 2\nmax_messages_per_hour = 1\n\
         denied = [\"+49900\"]\npremium = [\"+49137\"]\npremium_accounts = [\"ana@example.org\"]\n\
         accounts = { \"+4312345\" = \"ana@example.org\" }\n",
        "test",
        [],
    );
    Plan::new(&config.unwrap())
}

#[test]
fn what_costs_too_much_or_goes_nowhere_is_refused_by_name() {
    let (plan, now) = (tight(), Instant::now());
    let table = [
        ("ana@example.org", "+4930123", Ok(vec!["world"])),
        ("ana@example.org", "+4399123", Err(Refused::NoTrunk)),
        ("ana@example.org", "+49900123", Err(Refused::Denied)),
        ("ana@example.org", "+49137123", Ok(vec!["world"])),
        ("carl@example.org", "+49137123", Err(Refused::Premium)),
        ("carl@example.org", "+4312345", Ok(vec!["vienna"])),
        ("carl@example.org", "+4319345", Err(Refused::NoTrunk)),
        ("carl@elsewhere.example", "+4930123", Err(Refused::Stranger)),
        ("+4930123@tel.example.org", "+4930123", Err(Refused::Stranger)),
        ("anonymous@example.org", "+4930123", Err(Refused::Stranger)),
    ];
    for (account, number, expected) in table {
        let account = Jid::parse(account).unwrap();
        let number = plan.read(number).unwrap();
        let ways = plan.admit(&account, &number, Item::Call, now);
        let ways: Result<Vec<String>, Refused> =
            ways.map(|ways| ways.iter().map(|trunk| trunk.name.clone()).collect());
        let expected = expected.map(|names| names.into_iter().map(str::to_owned).collect());
        assert_eq!(ways, expected, "{account} {number:?}");
    }
}

#[test]
fn an_hour_has_its_end_for_accounts_and_trunks_but_not_for_an_emergency() {
    let (plan, now) = (tight(), Instant::now());
    let carl = Jid::parse("carl@example.org/phone").unwrap();
    let number = plan.read("+4930123").unwrap();
    let begin = |item| plan.admit(&carl, &number, item, now).map(|ways| ways.len());
    let calls = [begin(Item::Call), begin(Item::Call), begin(Item::Call)];
    assert_eq!(calls, [Ok(1), Ok(1), Err(Refused::Hourly)]);
    let messages = [begin(Item::Message), begin(Item::Message)];
    assert_eq!(messages, [Ok(1), Err(Refused::Hourly)]);
    let world = &plan.ways(&number)[0];
    let room = |number: &Dialled| plan.has_room(world, number, Item::Call, now);
    assert_eq!([room(&number), room(&number)], [true, false]);
    let emergency = plan.read("112").unwrap();
    assert_eq!([room(&emergency), room(&emergency)], [true, true]);
    assert_eq!(plan.admit(&carl, &emergency, Item::Call, now).unwrap().len(), 1);
    let stranger = Jid::parse("x@elsewhere.example").unwrap();
    assert_eq!(plan.admit(&stranger, &emergency, Item::Call, now), Err(Refused::Stranger));
}

/// RFC 3325 sections 5 and 7: who is trusted learns who calls, and that others may not; who is not learns what all may.
#[test]
fn a_trusted_trunk_is_told_who_calls_and_another_only_what_is_shown() {
    let plan = tight();
    let ana = Jid::parse("ana@example.org").unwrap();
    let [vienna] = &plan.ways(&plan.read("+4312345").unwrap())[..] else { panic!() };
    let [world] = &plan.ways(&plan.read("+4930123").unwrap())[..] else { panic!() };
    let asserted = ("P-Asserted-Identity", "<sip:+4312345@vienna.example>");
    let private = ("Privacy", "id");
    let table = [
        (vienna, false, "<sip:+4312345@vienna.example>", vec![asserted]),
        (vienna, true, "\"Anonymous\" <sip:anonymous@anonymous.invalid>", vec![asserted, private]),
        (world, false, "<sip:+4312345@world.example>", vec![]),
        (world, true, "\"Anonymous\" <sip:anonymous@anonymous.invalid>", vec![private]),
    ];
    for (trunk, is_hidden, from, headers) in table {
        let said = plan.sender(&ana, trunk, is_hidden).unwrap();
        let headers: Vec<_> =
            headers.into_iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
        assert_eq!((said.0.to_string().as_str(), said.1), (from, headers));
    }
}

#[test]
fn who_a_trunk_means_and_who_is_behind_it() {
    let plan = plan();
    let uri = |text: &str| Uri::parse(text).unwrap();
    let called =
        |to: &str, field: &str| plan.called(&uri(to), Some(&uri(field))).map(|jid| jid.to_string());
    assert_eq!(called("sip:+4312345@x.example", "sip:x@y").as_deref(), Some("ana@example.org"));
    // Of a registration: our contact in the Request-URI, the number in To.
    assert_eq!(called("sip:care@192.0.2.1", "sip:012345@y").as_deref(), Some("ana@example.org"));
    assert_eq!(called("sip:ben@example.org", "sip:x@y").as_deref(), Some("ben@example.org"));
    assert_eq!(called("sip:+4999@tel.example.org", "sip:x@y"), None);
    let caller = |said: &str| plan.caller(said).map(|jid| jid.to_string());
    assert_eq!(caller("+4930123@world.example").as_deref(), Some("+4930123@tel.example.org"));
    assert_eq!(caller("012345@world.example").as_deref(), Some("+4312345@tel.example.org"));
    assert_eq!(caller("").as_deref(), Some("anonymous@tel.example.org"));
    // Never an account of ours, nor a number that calls for help.
    assert_eq!(caller("ana@example.org").as_deref(), Some("ana\\40example.org@tel.example.org"));
    assert_eq!(
        caller("112@world.example").as_deref(),
        Some("112\\40world.example@tel.example.org")
    );
}
