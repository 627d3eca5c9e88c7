//! The values of an entry: looked up in the entry, its environment's table and the defaults, and converted.

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::problems::{Problems, Read, Wrong, suggestion};

/// A value of the file, with its position.
pub(super) type Value<'a> = Spanned<DeValue<'a>>;

/// The values of one entry.
pub(super) struct Fields<'a, 'p> {
    own: &'a DeTable<'a>,
    /// The tables to look up values that the entry lacks, in this order.
    fallbacks: Vec<&'a DeTable<'a>>,
    /// Where the entry begins.
    pub(super) start: usize,
    pub(super) problems: &'p mut Problems<'a>,
}

impl<'a, 'p> Fields<'a, 'p> {
    pub(super) fn new(
        own: &'a DeTable<'a>,
        fallbacks: Vec<&'a DeTable<'a>>,
        start: usize,
        problems: &'p mut Problems<'a>,
    ) -> Self {
        Self { own, fallbacks, start, problems }
    }

    /// The value in the file.
    pub(super) fn find(&self, key: &str) -> Option<&'a Value<'a>> {
        std::iter::once(self.own).chain(self.fallbacks.iter().copied()).find_map(|table| get(table, key))
    }

    /// The entry itself.
    pub(super) fn own(&self) -> &'a DeTable<'a> {
        self.own
    }

    /// Whether the entry itself has it.
    pub(super) fn has(&self, key: &str) -> bool {
        get(self.own, key).is_some()
    }

    /// The converted value; if that fails, the problem is recorded.
    pub(super) fn read<T>(&mut self, key: &str, convert: impl FnOnce(&'a Value<'a>) -> Read<T>) -> Option<T> {
        let value = self.find(key)?;
        match convert(value) {
            Ok(read) => Some(read),
            Err(all) => {
                for Wrong { at, why } in all {
                    self.problems.note(at, format_args!("{key}: {why}"));
                }
                None
            }
        }
    }

    /// The position of a value, else of the entry.
    pub(super) fn place(&self, key: &str) -> usize {
        self.find(key).map_or(self.start, |value| value.span().start)
    }
}

/// The value of a key in a table.
pub(super) fn get<'a>(table: &'a DeTable<'a>, key: &str) -> Option<&'a Value<'a>> {
    table.iter().find(|(name, _)| name.get_ref() == key).map(|(_, value)| value)
}

/// Records each key that is not among these as a problem.
pub(super) fn refuse_unknown(table: &DeTable<'_>, known: &[&str], problems: &mut Problems<'_>) {
    for key in table.keys() {
        let name = key.get_ref().as_ref();
        if !known.contains(&name) {
            let hint = suggestion(name, known.iter().copied());
            problems.note(key.span().start, format_args!("\"{name}\" is no setting here{hint}"));
        }
    }
}

/// A single problem of a value.
pub(super) fn wrong<T>(value: &Value<'_>, why: impl Into<String>) -> Read<T> {
    Err(vec![Wrong { at: value.span().start, why: why.into() }])
}

/// A text.
pub(super) fn text(value: &Value<'_>) -> Read<String> {
    value.get_ref().as_str().map_or_else(|| wrong(value, "must be text"), |text| Ok(text.to_owned()))
}

/// `true` or `false`.
pub(super) fn boolean(value: &Value<'_>) -> Read<bool> {
    value.get_ref().as_bool().map_or_else(|| wrong(value, "must be true or false"), Ok)
}

/// A whole number in the range of this type.
pub(super) fn whole<T: TryFrom<i64>>(value: &Value<'_>) -> Read<T> {
    let number = value.get_ref().as_integer().and_then(|it| i64::from_str_radix(it.as_str(), it.radix()).ok());
    match number.and_then(|number| T::try_from(number).ok()) {
        Some(number) => Ok(number),
        None => wrong(value, "must be a whole number that is not negative, nor very large"),
    }
}

/// A number, with or without a fraction.
pub(super) fn number(value: &Value<'_>) -> Read<f64> {
    let text = match value.get_ref() {
        DeValue::Float(number) => number.as_str(),
        DeValue::Integer(number) => number.as_str(),
        _ => return wrong(value, "must be a number"),
    };
    text.parse().or_else(|_| wrong(value, "must be a number"))
}

/// A list, with this conversion for each element; returns the problems of all elements.
pub(super) fn list<'a, T>(value: &'a Value<'a>, each: impl Fn(&'a Value<'a>) -> Read<T>) -> Read<Vec<T>> {
    let Some(array) = value.get_ref().as_array() else { return wrong(value, "must be a list") };
    let (mut read, mut all) = (Vec::with_capacity(array.len()), Vec::new());
    for element in array.iter() {
        match each(element) {
            Ok(element) => read.push(element),
            Err(wrong) => all.extend(wrong),
        }
    }
    if all.is_empty() { Ok(read) } else { Err(all) }
}

/// A list of texts.
pub(super) fn texts(value: &Value<'_>) -> Read<Vec<String>> {
    list(value, text)
}
