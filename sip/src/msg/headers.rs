//! The header fields of a message: kept in order and as written, read as types on demand (RFC 3261 section 7.3).

use bytes::Bytes;

use super::header::{Header, HeaderError, ListHeader, Problem};
use super::name::{AsName, Name};
use super::scan;

/// One header field.
#[derive(Debug, Clone)]
pub struct Field {
    id: Name,
    name: Bytes,
    value: Bytes,
}

impl Field {
    pub(crate) fn new(id: Name, name: Bytes, value: Bytes) -> Field {
        Field { id, name, value }
    }

    /// Which field it is.
    pub fn id(&self) -> Name {
        self.id
    }

    /// The name as written.
    pub fn name(&self) -> &str {
        std::str::from_utf8(&self.name).unwrap_or_default()
    }

    /// The value, unfolded; `None` when it is not UTF-8.
    pub fn value(&self) -> Option<&str> {
        std::str::from_utf8(&self.value).ok()
    }

    /// The value's bytes, unfolded.
    pub fn value_bytes(&self) -> &Bytes {
        &self.value
    }

    fn is(&self, id: Name, text: &str) -> bool {
        self.id == id && (id != Name::Other || self.name.eq_ignore_ascii_case(text.as_bytes()))
    }
}

/// Known fields are equal under any spelling of the name, since compact and long forms are one.
impl PartialEq for Field {
    fn eq(&self, other: &Field) -> bool {
        self.is(other.id, other.name()) && self.value == other.value
    }
}
impl Eq for Field {}

/// Header fields in their order.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Headers(Vec<Field>);

impl Headers {
    /// No fields.
    pub const fn new() -> Self {
        Headers(Vec::new())
    }

    pub(crate) fn with_capacity(fields: usize) -> Self {
        Headers(Vec::with_capacity(fields))
    }

    pub(crate) fn push_field(&mut self, field: Field) {
        self.0.push(field);
    }

    /// The first value of that name; `None` too when it is not UTF-8.
    pub fn get(&self, name: impl AsName) -> Option<&str> {
        self.field(name).and_then(Field::value)
    }

    /// The first field of that name.
    pub fn field(&self, name: impl AsName) -> Option<&Field> {
        let (id, text) = (name.id(), name.text());
        self.0.iter().find(|field| field.is(id, text))
    }

    /// Every value of that name, one a field: lists are not split (see [`Headers::list`]).
    pub fn get_all<'a>(&'a self, name: impl AsName + 'a) -> impl Iterator<Item = &'a str> {
        let id = name.id();
        self.0.iter().filter(move |field| field.is(id, name.text())).filter_map(Field::value)
    }

    /// How many fields bear that name.
    pub fn count(&self, name: impl AsName) -> usize {
        let (id, text) = (name.id(), name.text());
        self.0.iter().filter(|field| field.is(id, text)).count()
    }

    /// Whether there is a field of that name.
    pub fn has(&self, name: impl AsName) -> bool {
        self.field(name).is_some()
    }

    /// Appends a field. Line ends and NUL in it become spaces, so that a value from elsewhere cannot add fields.
    pub fn push(&mut self, name: impl AsName, value: impl AsRef<str>) {
        self.0.push(written(name, value.as_ref()));
    }

    /// Puts a field before all others.
    pub fn push_front(&mut self, name: impl AsName, value: impl AsRef<str>) {
        self.0.insert(0, written(name, value.as_ref()));
    }

    /// Replaces the first field of that name and removes the rest, or appends one.
    pub fn set(&mut self, name: impl AsName, value: impl AsRef<str>) {
        let (id, text) = (name.id(), name.text());
        let at = self.0.iter().position(|field| field.is(id, text));
        let Some(at) = at else { return self.push(name, value) };
        let mut index = 0;
        self.0.retain(|field| {
            index += 1;
            index - 1 <= at || !field.is(id, text)
        });
        if let Some(slot) = self.0.get_mut(at) {
            *slot = written(name, value.as_ref());
        }
    }

    /// Removes every field of that name; how many there were.
    pub fn remove(&mut self, name: impl AsName) -> usize {
        let (before, id, text) = (self.0.len(), name.id(), name.text());
        self.0.retain(|field| !field.is(id, text));
        before - self.0.len()
    }

    /// Copies every field of that name from `other`, in order.
    pub fn copy_from(&mut self, other: &Headers, name: impl AsName) {
        let (id, text) = (name.id(), name.text());
        self.0.extend(other.0.iter().filter(|field| field.is(id, text)).cloned());
    }

    /// All fields in order.
    pub fn iter(&self) -> impl Iterator<Item = &Field> {
        self.0.iter()
    }

    /// How many fields there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// Typed access.
impl Headers {
    /// The field as its type; of a list, the first element (the topmost Via, the first Route).
    ///
    /// # Errors
    /// The field is missing, not UTF-8 or malformed.
    pub fn typed<T: Header>(&self) -> Result<T, HeaderError> {
        self.optional()?.ok_or(HeaderError::new(T::NAME, Problem::Missing))
    }

    /// Like [`Headers::typed`], but absence is no error.
    ///
    /// # Errors
    /// The field is there but not UTF-8 or malformed.
    pub fn optional<T: Header>(&self) -> Result<Option<T>, HeaderError> {
        let Some(field) = self.field(T::NAME) else { return Ok(None) };
        let value = field.value().ok_or(HeaderError::new(T::NAME, Problem::NotText))?;
        let value =
            if T::IS_LIST { scan::split(value, b',').next().unwrap_or_default() } else { value };
        T::parse(value).map(Some)
    }

    /// Every element of every field of that name, in order. Absent: an empty list.
    ///
    /// # Errors
    /// One element is malformed: the whole list is refused.
    pub fn list<T: ListHeader>(&self) -> Result<Vec<T>, HeaderError> {
        let mut out = Vec::new();
        for field in self.0.iter().filter(|field| field.id == T::NAME) {
            let value = field.value().ok_or(HeaderError::new(T::NAME, Problem::NotText))?;
            if T::MAY_BE_EMPTY && scan::trim(value).is_empty() {
                continue;
            }
            for part in scan::split(value, b',') {
                out.push(T::parse(part)?);
            }
        }
        Ok(out)
    }

    /// Appends a typed field.
    pub fn push_typed<T: Header>(&mut self, header: &T) {
        self.push(T::NAME, header.to_string());
    }

    /// Puts a typed field before all others.
    pub fn push_front_typed<T: Header>(&mut self, header: &T) {
        self.push_front(T::NAME, header.to_string());
    }

    /// Replaces every field of that type by this one.
    pub fn set_typed<T: Header>(&mut self, header: &T) {
        self.set(T::NAME, header.to_string());
    }

    /// Replaces a list by these elements, one a field; removes it when there are none.
    pub fn set_list<T: ListHeader>(&mut self, elements: &[T]) {
        self.remove(T::NAME);
        for element in elements {
            self.push_typed(element);
        }
    }

    /// Replaces the first element of a list and keeps the rest as written (the topmost Via gets `received`).
    pub fn replace_first<T: ListHeader>(&mut self, element: &T) {
        self.rewrite_first::<T>(|rest| {
            Some(rest.map_or(element.to_string(), |rest| format!("{element}, {rest}")))
        });
    }

    /// Takes the first element of a list away (the topmost Via of a response, the Route that was us).
    pub fn remove_first<T: ListHeader>(&mut self) {
        self.rewrite_first::<T>(|rest| rest.map(str::to_owned));
    }

    /// `rewrite` gets what follows the first element in its field and gives the field's new value; `None` removes it.
    fn rewrite_first<T: ListHeader>(
        &mut self,
        rewrite: impl FnOnce(Option<&str>) -> Option<String>,
    ) {
        let Some(at) = self.0.iter().position(|field| field.id == T::NAME) else { return };
        let Some(field) = self.0.get_mut(at) else { return };
        let value = field.value().unwrap_or_default();
        let rest = scan::find_outside(value, b',')
            .and_then(|comma| value.get(comma + 1..))
            .map(scan::trim);
        match rewrite(rest) {
            Some(value) => field.value = clean(&value),
            None => drop(self.0.remove(at)),
        }
    }
}

fn written(name: impl AsName, value: &str) -> Field {
    let id = name.id();
    // A long name as RFC 3261 spells it costs no copy.
    let text = match id.as_str() {
        long if !long.is_empty() && long == name.text() => Bytes::from_static(long.as_bytes()),
        _ => Bytes::from(
            name.text().chars().filter(|c| !c.is_control() && *c != ':').collect::<String>(),
        ),
    };
    Field::new(id, text, clean(value))
}

/// A value that stays on its line.
fn clean(value: &str) -> Bytes {
    let value = scan::trim(value);
    if memchr::memchr3(b'\r', b'\n', 0, value.as_bytes()).is_some() {
        return Bytes::from(value.replace(['\r', '\n', '\0'], " "));
    }
    Bytes::copy_from_slice(value.as_bytes())
}
