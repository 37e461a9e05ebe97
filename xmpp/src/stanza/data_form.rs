//! Data forms (XEP-0004): what one side asks and the other fills in; also lists of results (section 3.4).

use crate::jid::Jid;
use crate::xml::Element;

/// The namespace.
pub const NS: &str = "jabber:x:data";
/// The field that says what a form is about (XEP-0068).
pub const FORM_TYPE: &str = "FORM_TYPE";
/// Most fields, options, values of one field, and items of results that are read; what comes after is left out.
const MAX_PARTS: usize = 1_000;

/// What a form is there for (section 3.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum FormKind {
    /// To be filled in.
    Form,
    /// Filled in.
    Submit,
    /// Filled in by nobody: the answer is no.
    Cancel,
    /// Data that was asked for.
    Result,
}

/// What a field holds (section 3.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum FieldKind {
    /// Yes or no: `1` or `true`, `0` or `false`.
    Boolean,
    /// Text for people, not to be changed.
    Fixed,
    /// Not shown, and sent back as it came.
    Hidden,
    /// Addresses, none of them twice.
    JidMulti,
    /// One address.
    JidSingle,
    /// Some of the options.
    ListMulti,
    /// One of the options.
    ListSingle,
    /// Lines of text.
    TextMulti,
    /// One line that is not to be seen on the screen.
    TextPrivate,
    /// One line.
    TextSingle,
}

/// The wire words.
const FIELD_KINDS: [(FieldKind, &str); 10] = [
    (FieldKind::Boolean, "boolean"),
    (FieldKind::Fixed, "fixed"),
    (FieldKind::Hidden, "hidden"),
    (FieldKind::JidMulti, "jid-multi"),
    (FieldKind::JidSingle, "jid-single"),
    (FieldKind::ListMulti, "list-multi"),
    (FieldKind::ListSingle, "list-single"),
    (FieldKind::TextMulti, "text-multi"),
    (FieldKind::TextPrivate, "text-private"),
    (FieldKind::TextSingle, "text-single"),
];

const FORM_KINDS: [(FormKind, &str); 4] = [
    (FormKind::Form, "form"),
    (FormKind::Submit, "submit"),
    (FormKind::Cancel, "cancel"),
    (FormKind::Result, "result"),
];

/// A choice of a list field (section 3.2).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Choice {
    /// For people.
    pub label: Option<String>,
    /// For machines.
    pub value: String,
}

/// One field (section 3.2).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Field {
    /// Its name; only a fixed field may have none.
    pub var: Option<String>,
    /// What it holds; in a submission it may be left out.
    pub kind: Option<FieldKind>,
    /// For people.
    pub label: Option<String>,
    /// More for people.
    pub desc: Option<String>,
    /// Must be filled in.
    pub required: bool,
    /// What it holds, or holds unless it is changed.
    pub values: Vec<String>,
    /// What a list may hold.
    pub options: Vec<Choice>,
    /// Other elements inside: validation (XEP-0122), media (XEP-0221).
    pub others: Vec<Element>,
}

/// A form.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Form {
    /// What it is there for.
    pub kind: FormKind,
    /// For people.
    pub title: Option<String>,
    /// For people, a paragraph each.
    pub instructions: Vec<String>,
    /// The fields.
    pub fields: Vec<Field>,
    /// The columns of results; empty when there are none.
    pub reported: Vec<Field>,
    /// The rows of results.
    pub items: Vec<Vec<Field>>,
}

/// A submission that does not fit its form.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FormFault {
    /// It is about something else (XEP-0068), or a cancellation.
    #[error("another kind of form")]
    OtherForm,
    /// A field that must be filled in is not.
    #[error("field {0} is missing")]
    Missing(String),
    /// What a field holds is not of its kind, or not among its options.
    #[error("field {0} cannot hold that")]
    BadValue(String),
}

impl Choice {
    /// A choice with a label.
    pub fn new(value: impl Into<String>, label: impl Into<String>) -> Self {
        Self { value: value.into(), label: Some(label.into()) }
    }
}

impl Field {
    /// A field of this kind without values.
    pub fn new(kind: FieldKind, var: impl Into<String>) -> Self {
        Self { kind: Some(kind), var: Some(var.into()), ..Self::default() }
    }

    /// A value of a submission or a result, which says nothing of its kind.
    pub fn value_of(var: impl Into<String>, value: impl Into<String>) -> Self {
        Self { var: Some(var.into()), values: vec![value.into()], ..Self::default() }
    }

    /// With a label for people.
    #[must_use]
    pub fn with_label(mut self, label: impl Into<String>) -> Self {
        self.label = Some(label.into());
        self
    }

    /// With one value more.
    #[must_use]
    pub fn with_value(mut self, value: impl Into<String>) -> Self {
        self.values.push(value.into());
        self
    }

    /// With these values more.
    #[must_use]
    pub fn with_values<T: Into<String>>(mut self, values: impl IntoIterator<Item = T>) -> Self {
        self.values.extend(values.into_iter().map(Into::into));
        self
    }

    /// With yes or no as its value.
    #[must_use]
    pub fn with_bool(self, value: bool) -> Self {
        self.with_value(if value { "1" } else { "0" })
    }

    /// With these choices.
    #[must_use]
    pub fn with_options(mut self, options: impl IntoIterator<Item = Choice>) -> Self {
        self.options.extend(options);
        self
    }

    /// That must be filled in.
    #[must_use]
    pub fn required(mut self) -> Self {
        self.required = true;
        self
    }

    /// The first value.
    pub fn value(&self) -> Option<&str> {
        self.values.first().map(String::as_str)
    }

    /// Reads a `<field/>`.
    pub fn from_element(element: &Element) -> Self {
        let texts = |name: &'static str| {
            let named = element.elements().filter(move |e| e.is(name, NS));
            named.map(Element::text).take(MAX_PARTS)
        };
        let options = element.elements().filter(|e| e.is("option", NS)).take(MAX_PARTS);
        let kind = element.attr("type").and_then(|t| FIELD_KINDS.iter().find(|(_, w)| *w == t));
        Self {
            var: element.attr("var").map(str::to_owned),
            kind: kind.map(|(kind, _)| *kind),
            label: element.attr("label").map(str::to_owned),
            desc: texts("desc").next(),
            required: element.child("required", NS).is_some(),
            values: texts("value").collect(),
            options: options
                .map(|e| Choice {
                    label: e.attr("label").map(str::to_owned),
                    value: e.child("value", NS).map(Element::text).unwrap_or_default(),
                })
                .collect(),
            others: element.elements().filter(|e| e.ns() != NS).take(MAX_PARTS).cloned().collect(),
        }
    }

    /// The `<field/>`.
    pub fn to_element(&self) -> Element {
        let kind = self.kind.and_then(|kind| FIELD_KINDS.iter().find(|(k, _)| *k == kind));
        let text = |name: &str, text: &String| Element::new(name, NS).with_text(text);
        let option = |option: &Choice| {
            Element::new("option", NS)
                .with_attr_opt("label", option.label.as_deref())
                .with_child(text("value", &option.value))
        };
        Element::new("field", NS)
            .with_attr_opt("var", self.var.as_deref())
            .with_attr_opt("type", kind.map(|(_, word)| *word))
            .with_attr_opt("label", self.label.as_deref())
            .with_children(self.desc.iter().map(|d| text("desc", d)))
            .with_children(self.required.then(|| Element::new("required", NS)))
            .with_children(self.values.iter().map(|v| text("value", v)))
            .with_children(self.options.iter().map(option))
            .with_children(self.others.iter().cloned())
    }

    /// Whether `given` may stand in this field (section 3.3). Choices bind: no form of ours takes others.
    fn allows(&self, given: &Field) -> bool {
        let values = &given.values;
        let listed = |v: &String| self.options.iter().any(|o| o.value == *v);
        match self.kind.unwrap_or(FieldKind::TextSingle) {
            FieldKind::Boolean => {
                values.len() <= 1 && values.iter().all(|v| parse_bool(v).is_some())
            }
            FieldKind::JidSingle => {
                values.len() <= 1 && values.iter().all(|v| v.is_empty() || Jid::parse(v).is_ok())
            }
            FieldKind::JidMulti => values.iter().all(|v| Jid::parse(v).is_ok()),
            FieldKind::ListSingle => values.len() <= 1 && values.iter().all(listed),
            FieldKind::ListMulti => values.iter().all(listed),
            FieldKind::TextSingle | FieldKind::TextPrivate => values.len() <= 1,
            FieldKind::Hidden | FieldKind::Fixed | FieldKind::TextMulti => true,
        }
    }
}

impl Form {
    /// A form without fields.
    pub fn new(kind: FormKind) -> Self {
        Self {
            kind,
            title: None,
            instructions: Vec::new(),
            fields: Vec::new(),
            reported: Vec::new(),
            items: Vec::new(),
        }
    }

    /// A form that says what it is about in the hidden field of XEP-0068.
    pub fn about(kind: FormKind, form_type: &str) -> Self {
        Self::new(kind).with_field(Field::new(FieldKind::Hidden, FORM_TYPE).with_value(form_type))
    }

    /// With a title for people.
    #[must_use]
    pub fn with_title(mut self, title: impl Into<String>) -> Self {
        self.title = Some(title.into());
        self
    }

    /// With a paragraph for people.
    #[must_use]
    pub fn with_instructions(mut self, text: impl Into<String>) -> Self {
        self.instructions.push(text.into());
        self
    }

    /// With one field more.
    #[must_use]
    pub fn with_field(mut self, field: Field) -> Self {
        self.fields.push(field);
        self
    }

    /// What it is about (XEP-0068).
    pub fn form_type(&self) -> Option<&str> {
        self.value(FORM_TYPE)
    }

    /// The field of this name.
    pub fn field(&self, var: &str) -> Option<&Field> {
        self.fields.iter().find(|f| f.var.as_deref() == Some(var))
    }

    /// The first value of a field.
    pub fn value(&self, var: &str) -> Option<&str> {
        self.field(var).and_then(Field::value)
    }

    /// All values of a field; none when it is not there.
    pub fn values(&self, var: &str) -> &[String] {
        self.field(var).map(|f| f.values.as_slice()).unwrap_or_default()
    }

    /// A field's yes or no; `None` when it is not there or neither.
    pub fn bool(&self, var: &str) -> Option<bool> {
        self.value(var).and_then(parse_bool)
    }

    /// Reads an `<x/>`; `None` when it is no form or of a kind that is not known.
    pub fn from_element(element: &Element) -> Option<Self> {
        if !element.is("x", NS) {
            return None;
        }
        let word = element.attr("type")?;
        let (kind, _) = FORM_KINDS.iter().find(|(_, w)| *w == word)?;
        let named =
            |name: &'static str| element.elements().filter(move |e| e.is(name, NS)).take(MAX_PARTS);
        Some(Self {
            kind: *kind,
            title: named("title").next().map(Element::text),
            instructions: named("instructions").map(Element::text).collect(),
            fields: named("field").map(Field::from_element).collect(),
            reported: element.child("reported", NS).map(fields_of).unwrap_or_default(),
            items: named("item").map(fields_of).collect(),
        })
    }

    /// The first form inside an element.
    pub fn in_element(element: &Element) -> Option<Self> {
        element.elements().find_map(Self::from_element)
    }

    /// The `<x/>`.
    pub fn to_element(&self) -> Element {
        let kind = FORM_KINDS.iter().find(|(kind, _)| *kind == self.kind);
        let text = |name: &str, text: &String| Element::new(name, NS).with_text(text);
        let row = |name: &str, fields: &[Field]| {
            Element::new(name, NS).with_children(fields.iter().map(Field::to_element))
        };
        let reported = (!self.reported.is_empty()).then(|| row("reported", &self.reported));
        Element::new("x", NS)
            .with_attr_opt("type", kind.map(|(_, word)| *word))
            .with_children(self.title.iter().map(|t| text("title", t)))
            .with_children(self.instructions.iter().map(|t| text("instructions", t)))
            .with_children(self.fields.iter().map(Field::to_element))
            .with_children(reported)
            .with_children(self.items.iter().map(|item| row("item", item)))
    }

    /// Whether a submission fits this form: about the same, each value of its field's kind, and what is required
    /// there. Fields that the form does not have are left alone (section 3.2).
    ///
    /// # Errors
    ///
    /// [`FormFault`] names the first field at fault.
    pub fn check(&self, given: &Form) -> Result<(), FormFault> {
        let other = given.form_type().is_some_and(|given| self.form_type() != Some(given));
        if given.kind != FormKind::Submit || other {
            return Err(FormFault::OtherForm);
        }
        for field in &self.fields {
            let Some(var) = field.var.as_deref().filter(|_| field.kind != Some(FieldKind::Fixed))
            else {
                continue;
            };
            match given.field(var) {
                Some(value) if !field.allows(value) => {
                    return Err(FormFault::BadValue(var.to_owned()));
                }
                Some(value) if value.values.iter().any(|v| !v.is_empty()) => {}
                _ if field.required => return Err(FormFault::Missing(var.to_owned())),
                _ => {}
            }
        }
        Ok(())
    }
}

fn fields_of(element: &Element) -> Vec<Field> {
    let fields = element.elements().filter(|e| e.is("field", NS)).take(MAX_PARTS);
    fields.map(Field::from_element).collect()
}

/// Both spellings of yes and no (section 3.3).
fn parse_bool(text: &str) -> Option<bool> {
    match text.trim() {
        "1" | "true" => Some(true),
        "0" | "false" => Some(false),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked() -> Form {
        Form::about(FormKind::Form, "urn:test")
            .with_title("Room")
            .with_instructions("Fill in & send.")
            .with_field(Field::new(FieldKind::TextSingle, "name").with_label("Name").required())
            .with_field(Field::new(FieldKind::Boolean, "open").with_bool(true))
            .with_field(
                Field::new(FieldKind::ListSingle, "size")
                    .with_options([Choice::new("5", "Few"), Choice::new("10", "Many")])
                    .with_value("5"),
            )
            .with_field(Field::new(FieldKind::JidMulti, "who"))
    }

    fn filled(var: &str, values: &[&str]) -> Form {
        let mut form = Form::about(FormKind::Submit, "urn:test");
        if var != "name" {
            form = form.with_field(Field::value_of("name", "Tea"));
        }
        let values = values.iter().map(|v| (*v).to_owned()).collect();
        form.with_field(Field { var: Some(var.into()), values, ..Field::default() })
    }

    #[test]
    fn a_form_round_trips_with_all_it_has() {
        let mut form = asked();
        form.reported = vec![Field::new(FieldKind::JidSingle, "jid").with_label("Address")];
        form.items = vec![vec![Field::value_of("jid", "a@d")], vec![Field::value_of("jid", "b@d")]];
        form.fields[1].others.push(Element::new("validate", "urn:v"));
        form.fields[1].desc = Some("More".into());
        let read = Element::parse(&form.to_element().to_bytes()).unwrap();
        assert_eq!(Form::from_element(&read), Some(form));
    }

    #[test]
    fn what_is_no_form_is_none() {
        assert_eq!(Form::from_element(&Element::new("x", NS)), None);
        assert_eq!(Form::from_element(&Element::new("x", NS).with_attr("type", "odd")), None);
        assert_eq!(Form::from_element(&Element::new("x", "other")), None);
    }

    #[test]
    fn a_submission_is_held_against_its_form() {
        let bad = |var: &str| Err(FormFault::BadValue(var.into()));
        let cases: [(&str, &[&str], Result<(), FormFault>); 12] = [
            ("name", &["x"], Ok(())),
            ("name", &[""], Err(FormFault::Missing("name".into()))),
            ("name", &[], Err(FormFault::Missing("name".into()))),
            ("name", &["x", "y"], bad("name")),
            ("open", &["true"], Ok(())),
            ("open", &["yes"], bad("open")),
            ("size", &["10"], Ok(())),
            ("size", &["11"], bad("size")),
            ("size", &[], Ok(())),
            ("who", &["a@d", "b@d"], Ok(())),
            ("who", &["a@@d"], bad("who")),
            ("unknown", &["anything"], Ok(())),
        ];
        for (var, values, expected) in cases {
            assert_eq!(asked().check(&filled(var, values)), expected, "{var} {values:?}");
        }
        let mut cancelled = filled("name", &["x"]);
        cancelled.kind = FormKind::Cancel;
        assert_eq!(asked().check(&cancelled), Err(FormFault::OtherForm));
        let other = Form::about(FormKind::Submit, "urn:other");
        assert_eq!(asked().check(&other), Err(FormFault::OtherForm));
    }

    #[test]
    fn yes_and_no_are_read_in_both_spellings() {
        for (text, expected) in [
            ("1", Some(true)),
            ("true", Some(true)),
            ("0", Some(false)),
            ("false", Some(false)),
            ("?", None),
        ] {
            assert_eq!(filled("open", &[text]).bool("open"), expected);
        }
    }
}
