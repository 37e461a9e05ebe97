//! Data forms (XEP-0004) as rooms use them: questions in one line, answers by name.

use crate::stanza::data_form::{Choice, Field, Form as DataForm};
pub(super) use crate::stanza::data_form::{FieldKind as Kind, FormKind, NS as DATA};
use crate::xml::Element;

/// A form that is being written.
pub(super) struct Form(DataForm);

impl Form {
    /// For this `FORM_TYPE`.
    pub(super) fn new(kind: FormKind, form_type: &str) -> Self {
        Self(DataForm::about(kind, form_type))
    }

    /// With a title and a line of instructions.
    pub(super) fn titled(self, title: &str, instructions: &str) -> Self {
        Self(self.0.with_title(title).with_instructions(instructions))
    }

    /// With a field; an empty label is left out.
    pub(super) fn field<'a>(
        self,
        kind: Kind,
        var: &str,
        label: &str,
        values: impl IntoIterator<Item = &'a str>,
    ) -> Self {
        self.choice(kind, var, label, values, &[])
    }

    /// With a field of these choices: label and value.
    pub(super) fn choice<'a>(
        self,
        kind: Kind,
        var: &str,
        label: &str,
        values: impl IntoIterator<Item = &'a str>,
        options: &[(&str, &str)],
    ) -> Self {
        let mut field = Field::new(kind, var).with_values(values);
        field.label = Some(label.to_owned()).filter(|l| !l.is_empty());
        field.options = options.iter().map(|(label, value)| Choice::new(*value, *label)).collect();
        Self(self.0.with_field(field))
    }

    /// With a box to tick.
    pub(super) fn tick(self, var: &str, label: &str, value: bool) -> Self {
        self.field(Kind::Boolean, var, label, [if value { "1" } else { "0" }])
    }

    /// With a column of results.
    pub(super) fn column(mut self, var: &str) -> Self {
        self.0.reported.push(Field { var: Some(var.to_owned()), ..Field::default() });
        self
    }

    /// With a row of results.
    pub(super) fn row(mut self, values: &[(&str, &str)]) -> Self {
        self.0.items.push(values.iter().map(|(var, v)| Field::value_of(*var, *v)).collect());
        self
    }

    /// The `<x/>`.
    pub(super) fn done(self) -> Element {
        self.0.to_element()
    }
}

/// The answer to a form.
pub(super) struct Answers(DataForm);

impl Answers {
    /// The submitted form, if it is of this `FORM_TYPE` or says none.
    pub(super) fn of(form: &Element, form_type: &str) -> Option<Self> {
        let form = DataForm::from_element(form).filter(|f| f.kind == FormKind::Submit)?;
        form.form_type().is_none_or(|t| t == form_type).then_some(Self(form))
    }

    /// All values of a field; `None` when the field is not there.
    pub(super) fn values(&self, var: &str) -> Option<Vec<String>> {
        let values = self.0.field(var)?.values.iter();
        Some(values.map(|v| v.trim().to_owned()).filter(|v| !v.is_empty()).collect())
    }

    /// The first value of a field; empty when the field is there without one.
    pub(super) fn text(&self, var: &str) -> Option<String> {
        self.values(var).map(|values| values.into_iter().next().unwrap_or_default())
    }

    /// A box that was ticked or not.
    pub(super) fn tick(&self, var: &str) -> Option<bool> {
        self.text(var).map(|value| value == "1" || value == "true")
    }

    /// Whether anything but the `FORM_TYPE` is answered.
    pub(super) fn is_empty(&self) -> bool {
        use crate::stanza::data_form::FORM_TYPE;
        !self.0.fields.iter().any(|f| f.var.as_deref() != Some(FORM_TYPE))
    }
}
