//! Three sources, one tree: the file, under the environment, under the command line.
//!
//! Promise: every value in the tree knows its [`Origin`], and the later source wins key by key. Tables merge; lists and
//! single values are replaced as a whole.
//!
//! Upon `QUORATE__PEER__QUEUE_MAX=9` or `--set peer.queue_max=9` the key `peer.queue_max` gets the TOML value `9`. Text that
//! is no TOML value counts as a string, so that `--set node.id=n2` needs no quotes; and where text is wanted, text that
//! happens to be a TOML number is taken as it was typed.
//!
//! What is deliberately missing: a way to address one element of a list. A list is replaced whole, with a TOML array of
//! inline tables as the value.

use std::collections::BTreeMap;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use crate::error::{ConfigError, Problem};
use crate::origin::{Origin, SourceFile};

/// Environment variables that begin with this belong to the configuration; the rest of the name is the path.
pub const ENVIRONMENT_PREFIX: &str = "QUORATE__";

/// Where the configuration comes from. Later fields win over earlier ones.
#[derive(Clone, Debug, Default)]
pub struct Sources {
    /// The configuration file, already read.
    pub file: Option<SourceFile>,
    /// Environment variables, name and value. Names without the prefix `QUORATE__` are ignored.
    pub env: Vec<(String, String)>,
    /// Arguments of `--set`, each `section.key=value`, in the order given.
    pub set: Vec<String>,
}

/// A table of the merged tree.
pub(crate) type Table = BTreeMap<String, Entry>;

/// One key of a table: where the key itself stands, and what it holds.
#[derive(Clone, Debug)]
pub(crate) struct Entry {
    pub(crate) key: Origin,
    pub(crate) item: Item,
}

/// A value somebody wrote.
#[derive(Clone, Debug)]
pub(crate) struct Item {
    pub(crate) origin: Origin,
    /// The value as it was typed; empty for tables.
    pub(crate) written: String,
    pub(crate) shape: Shape,
}

/// What kind of value it is, and the value.
#[derive(Clone, Debug)]
pub(crate) enum Shape {
    Text(String),
    /// `None`: more than 64 bits.
    Integer(Option<i64>),
    /// `None`: out of range.
    Float(Option<f64>),
    Boolean(bool),
    Date,
    List(Vec<Item>),
    Table(Table),
}

/// Merges all sources into one tree. Errors go to `errors`; what they concern is left out.
pub(crate) fn merge_sources(sources: &Sources, errors: &mut Vec<ConfigError>) -> Table {
    let mut root = sources.file.as_ref().map_or_else(Table::new, |file| read_file(file, errors));
    let mut env: Vec<_> = sources.env.iter().filter(|(name, _)| name.starts_with(ENVIRONMENT_PREFIX)).collect();
    env.sort();
    for (name, value) in env {
        let path: Vec<String> = name[ENVIRONMENT_PREFIX.len()..].split("__").map(str::to_lowercase).collect();
        let origin = Origin::Environment { variable: name.clone() };
        override_key(&mut root, &path, value, origin, errors);
    }
    for argument in &sources.set {
        let end = argument.find(|c: char| !c.is_ascii_alphanumeric() && !"_-.".contains(c)).unwrap_or(argument.len());
        let (key, rest) = argument.split_at(end);
        let origin = Origin::Set { key: key.to_owned() };
        let path: Vec<String> = key.split('.').map(str::to_owned).collect();
        match rest.trim_start().strip_prefix('=') {
            Some(value) => override_key(&mut root, &path, value.trim(), origin, errors),
            None => errors.push(ConfigError { origin, problem: Problem::MalformedOverride }),
        }
    }
    root
}

fn read_file(file: &SourceFile, errors: &mut Vec<ConfigError>) -> Table {
    let (document, broken) = DeTable::parse_recoverable(&file.text);
    if broken.is_empty() {
        return table(&document.into_inner(), &file.text, &|span| Origin::File(file.place(span)));
    }
    for mut error in broken {
        error.set_input(None); // its own rendering would quote the text, secrets included
        let origin = Origin::File(file.place(error.span().unwrap_or(0..0)));
        errors.push(ConfigError { origin, problem: Problem::Syntax { error } });
    }
    Table::new()
}

fn override_key(root: &mut Table, path: &[String], value: &str, origin: Origin, errors: &mut Vec<ConfigError>) {
    if path.iter().any(String::is_empty) {
        errors.push(ConfigError { origin, problem: Problem::MalformedOverride });
        return;
    }
    let shape = match DeValue::parse(value) {
        Ok(parsed) => shape(parsed.get_ref(), value, &|_| origin.clone()),
        Err(_not_toml) => Shape::Text(value.to_owned()),
    };
    let leaf = Item { origin: origin.clone(), written: value.to_owned(), shape };
    let nested = path.iter().rev().fold(leaf, |item, key| Item {
        origin: origin.clone(),
        written: String::new(),
        shape: Shape::Table(Table::from([(key.clone(), Entry { key: origin.clone(), item })])),
    });
    if let Shape::Table(over) = nested.shape {
        merge(root, over);
    }
}

/// Lays `over` on top of `base`: tables merge, everything else is replaced.
fn merge(base: &mut Table, over: Table) {
    for (key, entry) in over {
        match (base.get_mut(&key).map(|below| &mut below.item.shape), entry.item.shape) {
            (Some(Shape::Table(below)), Shape::Table(above)) => merge(below, above),
            (_, shape) => {
                base.insert(key, Entry { key: entry.key, item: Item { shape, ..entry.item } });
            }
        }
    }
}

type OriginOf<'a> = &'a dyn Fn(std::ops::Range<usize>) -> Origin;

fn table(parsed: &DeTable<'_>, text: &str, origin: OriginOf<'_>) -> Table {
    let entry = |(key, value): (&Spanned<_>, &Spanned<DeValue<'_>>)| Entry { key: origin(key.span()), item: item(value, text, origin) };
    parsed.iter().map(|(key, value)| (key.get_ref().to_string(), entry((key, value)))).collect()
}

fn item(value: &Spanned<DeValue<'_>>, text: &str, origin: OriginOf<'_>) -> Item {
    let shape = shape(value.get_ref(), text, origin);
    let written = match shape {
        Shape::Table(_) | Shape::List(_) => String::new(),
        Shape::Text(_) | Shape::Integer(_) | Shape::Float(_) | Shape::Boolean(_) | Shape::Date => {
            text.get(value.span()).unwrap_or_default().to_owned()
        }
    };
    Item { origin: origin(value.span()), written, shape }
}

fn shape(value: &DeValue<'_>, text: &str, origin: OriginOf<'_>) -> Shape {
    match value {
        DeValue::String(text) => Shape::Text(text.to_string()),
        DeValue::Integer(digits) => Shape::Integer(i64::from_str_radix(digits.as_str(), digits.radix()).ok()),
        DeValue::Float(digits) => Shape::Float(digits.as_str().parse().ok().filter(|number: &f64| number.is_finite())),
        DeValue::Boolean(value) => Shape::Boolean(*value),
        DeValue::Datetime(_) => Shape::Date,
        DeValue::Array(items) => Shape::List(items.iter().map(|value| item(value, text, origin)).collect()),
        DeValue::Table(parsed) => Shape::Table(table(parsed, text, origin)),
    }
}

impl Item {
    /// The text of this value where text is wanted: a string, or what was typed outside the file where quotes are optional.
    pub(crate) fn text(&self) -> Option<&str> {
        match (&self.shape, &self.origin) {
            (Shape::Text(text), _) => Some(text),
            (Shape::Table(_) | Shape::List(_), _) | (_, Origin::File(_) | Origin::Default) => None,
            (_, Origin::Environment { .. } | Origin::Set { .. }) => Some(&self.written),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn merged(file: &str, env: &[(&str, &str)], set: &[&str]) -> (Table, Vec<ConfigError>) {
        let sources = Sources {
            file: Some(SourceFile { path: "q.toml".into(), text: file.to_owned() }),
            env: env.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect(),
            set: set.iter().map(|argument| (*argument).to_owned()).collect(),
        };
        let mut errors = Vec::new();
        let table = merge_sources(&sources, &mut errors);
        (table, errors)
    }

    fn leaf<'t>(table: &'t Table, section: &str, key: &str) -> &'t Item {
        let Shape::Table(section) = &table[section].item.shape else { panic!("{section} is a table") };
        &section[key].item
    }

    #[test]
    fn the_command_line_wins_over_the_environment_and_that_over_the_file() {
        let file = "[peer]\nqueue_max = 1\nbatch_max = 1\nconnect_timeout = '1s'\n";
        let env = [("QUORATE__PEER__QUEUE_MAX", "2"), ("QUORATE__PEER__BATCH_MAX", "2"), ("QUORATE_CLUSTER", "ignored")];
        let (table, errors) = merged(file, &env, &["peer.queue_max=3"]);
        assert!(errors.is_empty(), "{errors:?}");
        assert!(matches!(leaf(&table, "peer", "queue_max").shape, Shape::Integer(Some(3))));
        assert!(matches!(leaf(&table, "peer", "batch_max").shape, Shape::Integer(Some(2))));
        assert_eq!(leaf(&table, "peer", "connect_timeout").origin.to_string(), "q.toml:4:19");
        assert_eq!(leaf(&table, "peer", "batch_max").origin.to_string(), "environment variable QUORATE__PEER__BATCH_MAX");
        assert!(!table.contains_key("_cluster") && table.len() == 1);
    }

    #[test]
    fn unquoted_text_is_a_string_and_numbers_can_serve_as_text() {
        let (table, _) = merged("", &[], &["node.id=n2", "cluster.id=2024", "node.data_dir=\"a b\""]);
        assert_eq!(leaf(&table, "node", "id").text(), Some("n2"));
        assert_eq!(leaf(&table, "cluster", "id").text(), Some("2024"));
        assert_eq!(leaf(&table, "node", "data_dir").text(), Some("a b"));
        let (table, _) = merged("[cluster]\nid = 2024\n", &[], &[]);
        assert_eq!(leaf(&table, "cluster", "id").text(), None, "in the file, text has quotes");
    }

    #[test]
    fn malformed_overrides_are_errors() {
        let (table, errors) = merged("", &[("QUORATE__PEER__", "1")], &["peer.queue_max", "=1", "a..b=1", "cluster.secret:hush=1"]);
        assert_eq!(errors.len(), 5, "{errors:?}");
        assert!(!format!("{errors:?}").contains("hush"));
        assert!(table.is_empty());
    }
}
