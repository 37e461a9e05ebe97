//! The settings of a room as a form (XEP-0045 sections 10.1.3 and 16.5.3).

use super::form::{Answers, Form, FormKind, Kind};
use crate::config::RoomLimits;
use crate::ports::{AllowPm, Role, RoomConfig};
use crate::stanza::{Condition, StanzaError};
use crate::xml::Element;

pub(super) const CONFIG: &str = "http://jabber.org/protocol/muc#roomconfig";
/// Settings that the specification has no name for.
const LOCK_NICKS: &str = "tandem#roomconfig_locknicks";
const SHOW_ABSENT: &str = "tandem#roomconfig_showabsent";
/// Most bytes of a text.
const MAX_TEXT: usize = 1_024;

const ROLES: &[(&str, &str)] =
    &[("Moderator", "moderator"), ("Participant", "participant"), ("Visitor", "visitor")];

/// The form with what is set now.
pub(super) fn form(
    config: &RoomConfig,
    limits: &RoomLimits,
    admins: &[&str],
    owners: &[&str],
) -> Element {
    let max_users = config.max_users.to_string();
    let history = config.history.to_string();
    let most = limits.max_people.to_string();
    let mut sizes = vec![("10", "10"), ("20", "20"), ("50", "50"), (&*most, &*most)];
    if !sizes.iter().any(|(_, n)| *n == max_users) {
        sizes.insert(0, (&max_users, &max_users));
    }
    sizes.dedup();
    let whois = if config.semi_anonymous { "moderators" } else { "anyone" };
    let allow_pm: Vec<_> = AllowPm::ALL.iter().map(|a| (a.name(), a.name())).collect();
    let names = |roles: &[Role]| roles.iter().map(|r| r.name()).collect::<Vec<_>>();
    let (broadcast, list) = (names(&config.broadcast), names(&config.member_list));
    Form::new(FormKind::Form, CONFIG)
        .titled("Room configuration", "What is left out stays as it is.")
        .field(Kind::TextSingle, "muc#roomconfig_roomname", "Name", [&*config.name])
        .field(Kind::TextSingle, "muc#roomconfig_roomdesc", "Description", [&*config.description])
        .field(Kind::TextSingle, "muc#roomconfig_lang", "Language", [&*config.language])
        .tick("muc#roomconfig_persistentroom", "Stays when everybody leaves", config.persistent)
        .tick("muc#roomconfig_publicroom", "Is listed", config.public)
        .tick("muc#roomconfig_membersonly", "For members only", config.members_only)
        .tick("muc#roomconfig_moderatedroom", "Only members may speak", config.moderated)
        .tick(
            "muc#roomconfig_passwordprotectedroom",
            "Needs a password",
            !config.password.is_empty(),
        )
        .field(Kind::TextPrivate, "muc#roomconfig_roomsecret", "Password", [&*config.password])
        .choice(
            Kind::ListSingle,
            "muc#roomconfig_whois",
            "Who sees real addresses",
            [whois],
            &[("Moderators", "moderators"), ("Everybody", "anyone")],
        )
        .tick(
            "muc#roomconfig_changesubject",
            "Everybody may set the subject",
            config.change_subject,
        )
        .tick("muc#roomconfig_allowinvites", "Members may invite", config.allow_invites)
        .choice(
            Kind::ListSingle,
            "muc#roomconfig_allowpm",
            "Who may send private messages",
            [config.allow_pm.name()],
            &allow_pm,
        )
        .choice(Kind::ListSingle, "muc#roomconfig_maxusers", "Most people", [&*max_users], &sizes)
        .tick("muc#roomconfig_enablelogging", "Keeps what is said", config.logging)
        .choice(
            Kind::ListMulti,
            "muc#roomconfig_presencebroadcast",
            "Roles whose presence is shown",
            broadcast,
            ROLES,
        )
        .choice(
            Kind::ListMulti,
            "muc#roomconfig_getmemberlist",
            "Roles that may read the lists of members",
            list,
            ROLES,
        )
        .field(Kind::TextSingle, "muc#maxhistoryfetch", "Messages for who enters", [&*history])
        .tick(LOCK_NICKS, "Only registered nicknames", config.locked_nicks)
        .tick(SHOW_ABSENT, "Shows absent members", config.show_absent)
        .field(Kind::JidMulti, "muc#roomconfig_roomadmins", "Admins", admins.iter().copied())
        .field(Kind::JidMulti, "muc#roomconfig_roomowners", "Owners", owners.iter().copied())
        .done()
}

/// The settings after an answer. What was not answered stays.
///
/// # Errors
///
/// `not-acceptable` for a value that cannot be: an empty password where one is needed, more people than the service
/// allows, a word that is none of the choices.
pub(super) fn read(
    before: &RoomConfig,
    answers: &Answers,
    limits: &RoomLimits,
) -> Result<RoomConfig, StanzaError> {
    let mut config = before.clone();
    let texts: [(&str, &mut String); 3] = [
        ("muc#roomconfig_roomname", &mut config.name),
        ("muc#roomconfig_roomdesc", &mut config.description),
        ("muc#roomconfig_lang", &mut config.language),
    ];
    for (var, value) in texts {
        if let Some(text) = answers.text(var) {
            if text.len() > MAX_TEXT {
                return unacceptable(var);
            }
            *value = text;
        }
    }
    let ticks: [(&str, &mut bool); 9] = [
        ("muc#roomconfig_persistentroom", &mut config.persistent),
        ("muc#roomconfig_publicroom", &mut config.public),
        ("muc#roomconfig_membersonly", &mut config.members_only),
        ("muc#roomconfig_moderatedroom", &mut config.moderated),
        ("muc#roomconfig_changesubject", &mut config.change_subject),
        ("muc#roomconfig_allowinvites", &mut config.allow_invites),
        ("muc#roomconfig_enablelogging", &mut config.logging),
        (LOCK_NICKS, &mut config.locked_nicks),
        (SHOW_ABSENT, &mut config.show_absent),
    ];
    for (var, value) in ticks {
        if let Some(tick) = answers.tick(var) {
            *value = tick;
        }
    }
    read_password(&mut config, answers)?;
    read_choices(&mut config, answers, limits)?;
    Ok(config)
}

fn read_password(config: &mut RoomConfig, answers: &Answers) -> Result<(), StanzaError> {
    let secret = answers.text("muc#roomconfig_roomsecret");
    let needed = answers.tick("muc#roomconfig_passwordprotectedroom");
    let is_protected = needed.unwrap_or(!config.password.is_empty());
    if !is_protected {
        config.password.clear();
    } else if let Some(secret) = secret {
        config.password = secret;
    }
    if is_protected && (config.password.is_empty() || config.password.len() > MAX_TEXT) {
        return unacceptable("muc#roomconfig_roomsecret");
    }
    Ok(())
}

fn read_choices(
    config: &mut RoomConfig,
    answers: &Answers,
    limits: &RoomLimits,
) -> Result<(), StanzaError> {
    match answers.text("muc#roomconfig_whois").as_deref() {
        None => {}
        Some("anyone") => config.semi_anonymous = false,
        Some("moderators") => config.semi_anonymous = true,
        Some(_) => return unacceptable("muc#roomconfig_whois"),
    }
    if let Some(word) = answers.text("muc#roomconfig_allowpm") {
        match AllowPm::from_name(&word) {
            Some(allow) => config.allow_pm = allow,
            None => return unacceptable("muc#roomconfig_allowpm"),
        }
    }
    if let Some(number) = answers.text("muc#roomconfig_maxusers") {
        config.max_users = match number.parse() {
            Ok(number) if (1..=limits.max_people).contains(&number) => number,
            // As many as the service allows.
            Err(_) if number == "none" || number.is_empty() => limits.max_people,
            _ => return unacceptable("muc#roomconfig_maxusers"),
        };
    }
    if let Some(number) = answers.text("muc#maxhistoryfetch") {
        match number.parse::<usize>() {
            Ok(number) => config.history = number.min(limits.history),
            Err(_) => return unacceptable("muc#maxhistoryfetch"),
        }
    }
    let roles: [(&str, &mut Vec<Role>); 2] = [
        ("muc#roomconfig_presencebroadcast", &mut config.broadcast),
        ("muc#roomconfig_getmemberlist", &mut config.member_list),
    ];
    for (var, value) in roles {
        if let Some(words) = answers.values(var) {
            let read: Option<Vec<Role>> = words.iter().map(|w| Role::from_name(w)).collect();
            match read {
                Some(read) if read.len() <= Role::ALL.len() => *value = read,
                _ => return unacceptable(var),
            }
        }
    }
    Ok(())
}

fn unacceptable<T>(var: &str) -> Result<T, StanzaError> {
    Err(StanzaError::new(Condition::NotAcceptable).with_text(format!("not possible: {var}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(fields: &[(&str, &[&str])]) -> Result<RoomConfig, StanzaError> {
        let mut form = Form::new(FormKind::Submit, CONFIG);
        for (var, values) in fields {
            form = form.field(Kind::TextMulti, var, "", values.iter().copied());
        }
        let form = form.done();
        let before = RoomConfig { password: "old".into(), ..RoomConfig::default() };
        read(&before, &Answers::of(&form, CONFIG).unwrap(), &RoomLimits::default())
    }

    #[test]
    fn what_is_answered_changes_and_nothing_else() {
        let config = answer(&[
            ("muc#roomconfig_roomname", &["Tea"]),
            ("muc#roomconfig_membersonly", &["0"]),
            ("muc#roomconfig_maxusers", &["20"]),
            ("muc#roomconfig_whois", &["moderators"]),
            ("muc#roomconfig_presencebroadcast", &["moderator"]),
            ("unknown", &["x"]),
        ]);
        let expected = RoomConfig {
            name: "Tea".into(),
            members_only: false,
            max_users: 20,
            semi_anonymous: true,
            broadcast: vec![Role::Moderator],
            password: "old".into(),
            ..RoomConfig::default()
        };
        assert_eq!(config, Ok(expected));
    }

    #[test]
    fn what_cannot_be_is_refused() {
        let table: &[(&str, &[&str])] = &[
            ("muc#roomconfig_roomsecret", &[""]),
            ("muc#roomconfig_maxusers", &["0"]),
            ("muc#roomconfig_maxusers", &["201"]),
            ("muc#roomconfig_whois", &["nobody"]),
            ("muc#roomconfig_allowpm", &["friends"]),
            ("muc#maxhistoryfetch", &["-1"]),
            ("muc#roomconfig_getmemberlist", &["king"]),
        ];
        for (var, values) in table {
            let error = answer(&[(var, values)]).unwrap_err();
            assert_eq!(error.condition, Condition::NotAcceptable, "{var} {values:?}");
        }
    }

    #[test]
    fn a_form_answered_as_it_is_changes_nothing() {
        let config =
            RoomConfig { password: "p".into(), semi_anonymous: true, ..Default::default() };
        let mut form = form(&config, &RoomLimits::default(), &[], &["a@d"]);
        form.set_attr("type", "submit");
        let answers = Answers::of(&form, CONFIG).unwrap();
        assert_eq!(read(&config, &answers, &RoomLimits::default()), Ok(config));
    }
}
