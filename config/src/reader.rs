//! Takes a merged tree apart, key by key, and remembers everything: errors, known keys, effective values, origins.
//!
//! Promise: each key is named in exactly one place of this crate (the `read` function of its section), and from that one
//! place follow its parsing, its range, its default, the list of valid keys, the suggestion for a typing error and its
//! line in `config show`.
//!
//! Upon a wrong or missing value the error is recorded, the path is marked as wrong, and a *stand-in* is returned, so that
//! reading goes on and finds the other errors. Checks across keys ask [`Decoder::sound`] first. A configuration with a
//! stand-in is never given out: its errors are.

use std::collections::BTreeSet;

use crate::effective::{Effective, EffectiveTable, Line};
use crate::error::{ConfigError, Found, Problem};
use crate::layer::{Item, Shape, Table};
use crate::origin::Origin;
use crate::setting::Setting;

/// What has been read so far.
pub(crate) struct Decoder {
    errors: Vec<ConfigError>,
    unknown: Vec<Unknown>,
    wrong: BTreeSet<String>,
    tables: Vec<EffectiveTable>,
}

/// One table while its keys are taken out.
pub(crate) struct TableReader<'d> {
    decoder: &'d mut Decoder,
    path: String,
    header: String,
    origin: Origin,
    remaining: Table,
    known: Vec<&'static str>,
    lines: Vec<Line>,
}

/// A table that is to be read, with its origin.
pub(crate) struct Subtable {
    pub(crate) origin: Origin,
    pub(crate) table: Table,
}

/// One key on its way from the tree to its value.
pub(crate) struct Key<'t, 'd, T> {
    reader: &'t mut TableReader<'d>,
    name: &'static str,
    state: State<T>,
}

enum State<T> {
    Absent,
    /// Of another type or form; not reported yet.
    Unreadable(Item),
    /// Reported.
    Wrong,
    Read(T, Origin),
}

struct Unknown {
    origin: Origin,
    path: String,
    name: String,
    table: String,
    valid: Vec<&'static str>,
}

impl Decoder {
    pub(crate) fn new(errors: Vec<ConfigError>) -> Self {
        Self { errors, unknown: Vec::new(), wrong: BTreeSet::new(), tables: Vec::new() }
    }

    /// Begins to read the table at `path`, which a file would introduce with `header`.
    pub(crate) fn table(&mut self, path: &str, header: &str, subtable: Subtable) -> TableReader<'_> {
        TableReader {
            decoder: self,
            path: path.to_owned(),
            header: header.to_owned(),
            origin: subtable.origin,
            remaining: subtable.table,
            known: Vec::new(),
            lines: Vec::new(),
        }
    }

    /// Records an error.
    pub(crate) fn refuse(&mut self, origin: Origin, problem: Problem) {
        self.errors.push(ConfigError { origin, problem });
    }

    /// True if no error has been recorded for the values at `paths`, so that comparing them makes sense.
    pub(crate) fn sound(&self, paths: &[&str]) -> bool {
        paths.iter().all(|path| !self.wrong.contains(*path))
    }

    /// The origin of the value at `path`, which has been read.
    pub(crate) fn origin(&self, path: &str) -> Origin {
        let line = self.tables.iter().find_map(|table| table.line(path));
        line.map_or(Origin::Default, |line| line.origin.clone())
    }

    /// The origin that an error about several values should name: the last of those written.
    pub(crate) fn latest_origin(&self, paths: &[&str]) -> Origin {
        paths.iter().map(|path| self.origin(path)).max_by_key(Origin::rank).unwrap_or(Origin::Default)
    }

    /// Refuses values of two keys in the wrong order, at the place of whichever was written.
    pub(crate) fn ordered<T: Setting + PartialOrd>(&mut self, lesser: (&str, &T), greater: (&str, &T), strict: bool) {
        let fine = if strict { lesser.1 < greater.1 } else { lesser.1 <= greater.1 };
        if fine || !self.sound(&[lesser.0, greater.0]) {
            return;
        }
        let origin = self.latest_origin(&[lesser.0, greater.0]);
        let problem = Problem::Disordered {
            lesser: lesser.0.to_owned(),
            lesser_value: lesser.1.show(),
            greater: greater.0.to_owned(),
            greater_value: greater.1.show(),
            strict,
        };
        self.refuse(origin, problem);
    }

    /// The effective values, or every error there is.
    pub(crate) fn finish(mut self) -> Result<Vec<EffectiveTable>, Vec<ConfigError>> {
        for unknown in std::mem::take(&mut self.unknown) {
            let suggestion = self.suggestion(&unknown);
            let Unknown { origin, path, table, valid, .. } = unknown;
            self.refuse(origin, Problem::UnknownKey { key: path, suggestion, table, valid });
        }
        if self.errors.is_empty() { Ok(self.tables) } else { Err(self.errors) }
    }

    /// The most similar key of its own table, else the one key of that name in another section.
    fn suggestion(&self, unknown: &Unknown) -> Option<String> {
        if let Some(key) = most_similar(&unknown.name, &unknown.valid) {
            let parent = unknown.path.strip_suffix(&unknown.name).unwrap_or_default();
            return Some(format!("{parent}{key}"));
        }
        let sections = self.tables.iter().filter(|table| !table.is_element());
        let mut elsewhere = sections.flat_map(EffectiveTable::lines).filter(|line| line.key == unknown.name);
        match (elsewhere.next(), elsewhere.next()) {
            (Some(only), None) => Some(only.path.clone()),
            _ => None,
        }
    }
}

/// The candidate that `name` was probably meant to be: few edits away, or with `name` as one of its words.
fn most_similar(name: &str, candidates: &[&'static str]) -> Option<&'static str> {
    let edits = |candidate: &str| strsim::damerau_levenshtein(name, candidate);
    let edits_max = (name.chars().count() / 3).max(1);
    let nearest = candidates.iter().copied().min_by_key(|candidate| edits(candidate)).filter(|candidate| edits(candidate) <= edits_max);
    nearest.or_else(|| candidates.iter().copied().find(|candidate| candidate.split('_').any(|word| word == name)))
}

impl<'d> TableReader<'d> {
    fn path_of(&self, name: &str) -> String {
        if self.path.is_empty() { name.to_owned() } else { format!("{}.{name}", self.path) }
    }

    /// Takes the key `name` out of the table.
    pub(crate) fn key<T: Setting>(&mut self, name: &'static str) -> Key<'_, 'd, T> {
        self.known.push(name);
        let state = match self.remaining.remove(name).map(|entry| entry.item) {
            None => State::Absent,
            Some(item) => match T::read(&item) {
                Some(value) => State::Read(value, item.origin),
                None => State::Unreadable(item),
            },
        };
        Key { reader: self, name, state }
    }

    fn refuse_value(&mut self, name: &str, item: &Item, expected: &'static str, shown: bool) {
        let key = self.path_of(name);
        self.refuse(name, item.origin.clone(), Problem::BadValue { key, found: Found::of(item, shown), expected });
    }

    fn refuse(&mut self, name: &str, origin: Origin, problem: Problem) {
        self.decoder.wrong.insert(self.path_of(name));
        self.decoder.refuse(origin, problem);
    }

    /// Takes the table `name` out of this one; empty if it was not written.
    pub(crate) fn subtable(&mut self, name: &'static str) -> Subtable {
        self.known.push(name);
        let absent = Subtable { origin: self.origin.clone(), table: Table::new() };
        match self.remaining.remove(name).map(|entry| entry.item) {
            None => absent,
            Some(Item { origin, shape: Shape::Table(table), .. }) => Subtable { origin, table },
            Some(item) => {
                self.refuse_value(name, &item, "a table: its name in brackets, then one key = value per line", true);
                absent
            }
        }
    }

    /// Takes the list of tables `name` out of this one; empty if it was not written.
    pub(crate) fn subtables(&mut self, name: &'static str) -> Vec<Subtable> {
        const EXPECTED: &str = "one table per element: its name in double brackets, then one key = value per line";
        self.known.push(name);
        let items = match self.remaining.remove(name).map(|entry| entry.item) {
            None => return Vec::new(),
            Some(Item { shape: Shape::List(items), .. }) => items,
            Some(item) => {
                self.refuse_value(name, &item, EXPECTED, true);
                return Vec::new();
            }
        };
        let mut tables = Vec::new();
        for item in items {
            match item.shape {
                Shape::Table(table) => tables.push(Subtable { origin: item.origin, table }),
                _ => self.refuse_value(name, &item, EXPECTED, true),
            }
        }
        tables
    }

    fn effective<T: Setting>(&mut self, name: &'static str, value: Option<&T>, origin: Origin, meaning: &'static str) {
        let value = match value {
            Some(value) if T::SHOWN => Effective::Shown(value.show()),
            Some(_) => Effective::Hidden,
            None => Effective::Unset { meaning },
        };
        self.lines.push(Line { path: self.path_of(name), key: name, value, origin });
    }

    /// Ends the table: what is left in it is unknown, what was read is effective.
    pub(crate) fn finish(self) {
        for (name, entry) in &self.remaining {
            let (path, name) = (self.path_of(name), name.clone());
            let table = self.header.clone();
            self.decoder.unknown.push(Unknown { origin: entry.key.clone(), path, name, table, valid: self.known.clone() });
        }
        self.decoder.tables.push(EffectiveTable::new(self.header, self.lines));
    }
}

impl<T: Setting> Key<'_, '_, T> {
    /// Refuses values below `least` or above `most`.
    pub(crate) fn within(mut self, least: T, most: T) -> Self
    where
        T: PartialOrd,
    {
        let (value, origin) = match &self.state {
            State::Read(value, origin) if !(&least..=&most).contains(&value) => (value.show(), origin.clone()),
            State::Unreadable(item) if T::WHOLE && matches!(item.shape, Shape::Integer(_)) => (item.written.clone(), item.origin.clone()),
            State::Absent | State::Unreadable(_) | State::Wrong | State::Read(..) => return self,
        };
        let key = self.reader.path_of(self.name);
        self.reader.refuse(self.name, origin, Problem::OutOfRange { key, value, least: least.show(), most: most.show() });
        self.state = State::Wrong;
        self
    }

    /// Reports a value of the wrong type or form. Afterwards the state is absent, wrong or read.
    fn settle(&mut self) {
        if let State::Unreadable(item) = &self.state {
            self.reader.refuse_value(self.name, item, T::EXPECTED, T::SHOWN);
            self.state = State::Wrong;
        }
    }

    /// The value written, or `default`.
    pub(crate) fn or(mut self, default: T) -> T {
        self.settle();
        let (value, origin) = match self.state {
            State::Absent => (default, Origin::Default),
            State::Read(value, origin) => (value, origin),
            State::Unreadable(_) | State::Wrong => return default,
        };
        self.reader.effective(self.name, Some(&value), origin, "");
        value
    }

    /// The value written, or nothing, which means `meaning`.
    pub(crate) fn or_unset(mut self, meaning: &'static str) -> Option<T> {
        self.settle();
        let (value, origin) = match self.state {
            State::Absent => (None, Origin::Default),
            State::Read(value, origin) => (Some(value), origin),
            State::Unreadable(_) | State::Wrong => return None,
        };
        self.reader.effective(self.name, value.as_ref(), origin, meaning);
        value
    }

    /// The value written; if there is none, that is an error and `stand_in` is returned.
    pub(crate) fn required(mut self, stand_in: T) -> T {
        self.settle();
        match self.state {
            State::Unreadable(_) | State::Wrong => stand_in,
            State::Read(value, origin) => {
                self.reader.effective(self.name, Some(&value), origin, "");
                value
            }
            State::Absent => {
                let (key, origin) = (self.reader.path_of(self.name), self.reader.origin.clone());
                self.reader.refuse(self.name, origin, Problem::Missing { key, expected: T::EXPECTED });
                stand_in
            }
        }
    }
}
