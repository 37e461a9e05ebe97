//! What is done with calls to an account, as a form (XEP-0050): forwarding, do not disturb, second calls, who may be answered by
//! itself.

use super::Server;
use super::adhoc::{Call, Command, Done, Step, Whom};
use crate::ports::{BoxFuture, CallWishes};
use crate::stanza::data_form::{Field, FieldKind, Form, FormKind};
use crate::stanza::{Condition, StanzaError};

const NODE: &str = "urn:tandem:calls";

/// The commands of this file.
pub(super) const COMMANDS: &[Command] =
    &[Command { node: NODE, name: "Calls to me", for_whom: Whom::Callees, run: settle }];

fn settle<'a>(server: &'a Server, call: Call<'a>) -> BoxFuture<'a, Done> {
    Box::pin(async move {
        let account = call.by.bare();
        let foreign = &server.0.ports.foreign;
        let Some(now) = foreign.call_wishes(&account) else {
            return Ok(Step::Refuse(StanzaError::new(Condition::ServiceUnavailable)));
        };
        let [given] = call.forms else {
            return Ok(Step::Ask { form: form(&now), last: true });
        };
        let text = |var: &str, was: &str| given.value(var).unwrap_or(was).trim().to_owned();
        let wanted = CallWishes {
            undisturbed: given.bool("dnd").unwrap_or(now.undisturbed),
            always: text("always", &now.always),
            busy: text("busy", &now.busy),
            no_answer: text("no-answer", &now.no_answer),
            seconds: text("seconds", &now.seconds),
            one_call: given.bool("second-calls").map_or(now.one_call, |ring| !ring),
            answers: match given.field("auto-answer") {
                Some(field) => field.values.clone(),
                None => now.answers,
            },
        };
        Ok(match foreign.set_call_wishes(&account, &wanted).await? {
            Ok(()) => Step::done(),
            Err(why) => Step::bad_payload(why),
        })
    })
}

fn form(now: &CallWishes) -> Form {
    let text = |var: &str, label: &str, value: &str| {
        Field::new(FieldKind::TextSingle, var).with_label(label).with_value(value)
    };
    let choice = |var: &str, label: &str, value: bool| {
        Field::new(FieldKind::Boolean, var).with_label(label).with_bool(value)
    };
    let mut answers = Field::new(FieldKind::JidMulti, "auto-answer")
        .with_label("My phones may answer by themselves when these call and ask for it");
    answers.values.clone_from(&now.answers);
    Form::about(FormKind::Form, NODE)
        .with_title("Calls to me")
        .with_instructions("Who is called instead is an address, a number, or nobody.")
        .with_field(choice("dnd", "Do not disturb", now.undisturbed))
        .with_field(text("always", "Forward all calls to", &now.always))
        .with_field(text("busy", "Forward to, when I am busy", &now.busy))
        .with_field(text("no-answer", "Forward to, when I do not answer", &now.no_answer))
        .with_field(text("seconds", "after so many seconds", &now.seconds))
        .with_field(choice("second-calls", "Ring while I am in a call", !now.one_call))
        .with_field(answers)
}
