//! How each type of setting is read from TOML and written back.
//!
//! Law: what [`Setting::show`] writes, [`Setting::read`] reads back as the same value (except a secret, which is not shown).

use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use bytesize::ByteSize;
use quorate_protocol::Level;
use quorate_protocol::record::WriteMode;
use quorate_ring::{NodeId, Zone};

use crate::address::{Address, ClusterId, Secret};
use crate::bucket::BucketName;
use crate::layer::{Item, Shape};
use crate::log::{LogFilter, LogFormat};

/// A type that a key of the configuration can have.
pub(crate) trait Setting: Sized {
    /// What to write, with an example; completes the sentence "write ..".
    const EXPECTED: &'static str;
    /// Whether every TOML integer is of the right form, so that one which does not fit is out of range.
    const WHOLE: bool = false;
    /// Whether the value may be printed.
    const SHOWN: bool = true;

    /// The value, unless it is of another type or form.
    fn read(item: &Item) -> Option<Self>;

    /// The value as TOML.
    fn show(&self) -> String;
}

impl Setting for bool {
    const EXPECTED: &'static str = "true or false";

    fn read(item: &Item) -> Option<Self> {
        match item.shape {
            Shape::Boolean(value) => Some(value),
            _ => None,
        }
    }

    fn show(&self) -> String {
        self.to_string()
    }
}

macro_rules! whole_numbers {
    ($($number:ty),*) => {$(
        impl Setting for $number {
            const EXPECTED: &'static str = "a whole number, without quotes, such as 3";
            const WHOLE: bool = true;

            fn read(item: &Item) -> Option<Self> {
                match item.shape {
                    Shape::Integer(Some(value)) => value.try_into().ok(),
                    _ => None,
                }
            }

            fn show(&self) -> String {
                self.to_string()
            }
        }
    )*};
}

whole_numbers!(u8, u16, usize);

impl Setting for f64 {
    const EXPECTED: &'static str = "a number, without quotes, such as 0.1";

    fn read(item: &Item) -> Option<Self> {
        match item.shape {
            Shape::Float(value) => value,
            Shape::Integer(Some(value)) => i32::try_from(value).ok().map(Self::from),
            _ => None,
        }
    }

    fn show(&self) -> String {
        format!("{self:?}")
    }
}

impl Setting for Duration {
    const EXPECTED: &'static str = "a time with its unit, in quotes, such as \"500ms\", \"2s\" or \"3h\"";

    fn read(item: &Item) -> Option<Self> {
        humantime::parse_duration(item.text()?).ok()
    }

    fn show(&self) -> String {
        const UNITS: [(u128, &str); 6] =
            [(3_600_000_000_000, "h"), (60_000_000_000, "m"), (1_000_000_000, "s"), (1_000_000, "ms"), (1_000, "us"), (1, "ns")];
        if self.is_zero() {
            return quoted("0s");
        }
        quoted(&in_largest_unit(self.as_nanos(), &UNITS, ""))
    }
}

impl Setting for ByteSize {
    const EXPECTED: &'static str = "a size with its unit, in quotes, such as \"64 MiB\" or \"1 GiB\", or a number of bytes";

    fn read(item: &Item) -> Option<Self> {
        match item.shape {
            Shape::Integer(Some(bytes)) => bytes.try_into().ok().map(Self::b),
            _ => item.text()?.parse().ok(),
        }
    }

    fn show(&self) -> String {
        const UNITS: [(u128, &str); 5] = [(1 << 40, "TiB"), (1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB"), (1, "B")];
        quoted(&in_largest_unit(self.as_u64().into(), &UNITS, " "))
    }
}

/// Implements [`Setting`] for types that are text with a form of their own.
macro_rules! texts {
    ($($text:ty: $expected:literal,)*) => {$(
        impl Setting for $text {
            const EXPECTED: &'static str = $expected;

            fn read(item: &Item) -> Option<Self> {
                Self::from_str(item.text()?).ok()
            }

            fn show(&self) -> String {
                quoted(&self.to_string())
            }
        }
    )*};
}

texts! {
    NodeId: "the name of a node: n and a number, in quotes, such as \"n1\"",
    Zone: "the name of a zone, in quotes, such as \"eu-west-1a\"",
    Address: "a host and a port, in quotes, such as \"127.0.0.1:7400\"",
    ClusterId: "1 to 64 letters, digits, dots, hyphens or underscores, in quotes, such as \"shop-production\"",
    BucketName: "1 to 64 lower-case letters, digits, hyphens or underscores, in quotes, such as \"carts\"",
    Level: "one, quorum, all, linearizable or rXwY, in quotes, such as \"quorum\" or \"r2w1\"",
    LogFormat: "\"text\" or \"json\"",
    LogFilter: "a level (off, error, warn, info, debug or trace), or levels per module, in quotes, such as \"info\" or \"info,quorate_node=debug\"; \
                a word alone must be a level",
}

impl Setting for WriteMode {
    const EXPECTED: &'static str = "\"mixed\" or \"lin_only\"";

    fn read(item: &Item) -> Option<Self> {
        [Self::Mixed, Self::LinOnly].into_iter().find(|mode| item.text() == Some(write_mode(*mode)))
    }

    fn show(&self) -> String {
        quoted(write_mode(*self))
    }
}

fn write_mode(mode: WriteMode) -> &'static str {
    match mode {
        WriteMode::Mixed => "mixed",
        WriteMode::LinOnly => "lin_only",
    }
}

impl Setting for String {
    const EXPECTED: &'static str = "text in quotes, not empty";

    fn read(item: &Item) -> Option<Self> {
        item.text().filter(|text| !text.is_empty()).map(str::to_owned)
    }

    fn show(&self) -> String {
        quoted(self)
    }
}

impl Setting for PathBuf {
    const EXPECTED: &'static str = "a path in quotes, such as \"/var/lib/quorate\"";

    fn read(item: &Item) -> Option<Self> {
        String::read(item).map(Self::from)
    }

    fn show(&self) -> String {
        quoted(&self.to_string_lossy())
    }
}

impl Setting for Secret {
    const EXPECTED: &'static str = "text in quotes, at least 16 random characters, the same on every node";
    const SHOWN: bool = false;

    fn read(item: &Item) -> Option<Self> {
        Self::from_text(item.text()?)
    }

    fn show(&self) -> String {
        quoted("********")
    }
}

/// `amount` in the first of `units` that divides it: rounding would show another value than the one in force. Nothing is shown in
/// the smallest.
fn in_largest_unit(amount: u128, units: &[(u128, &str)], space: &str) -> String {
    let fits = |unit: u128| if amount == 0 { unit == 1 } else { amount.is_multiple_of(unit) };
    let (unit, name) = units.iter().find(|(unit, _)| fits(*unit)).expect("the last unit is 1");
    format!("{}{space}{name}", amount / unit)
}

/// `text` as a TOML string.
pub(crate) fn quoted(text: &str) -> String {
    toml::Value::String(text.to_owned()).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::origin::Origin;

    fn number(value: i64) -> Item {
        Item { origin: Origin::Default, written: value.to_string(), shape: Shape::Integer(Some(value)) }
    }

    fn text(value: &str) -> Item {
        Item { origin: Origin::Default, written: quoted(value), shape: Shape::Text(value.to_owned()) }
    }

    #[test]
    fn sizes_are_shown_without_rounding() {
        for (size, shown) in
            [("64 MiB", "64 MiB"), ("1024 MiB", "1 GiB"), ("1000 KiB", "1000 KiB"), ("1 MB", "1000000 B"), ("1537", "1537 B"), ("0", "0 B")]
        {
            let size = ByteSize::read(&text(size)).expect("a size");
            assert_eq!(size.show(), format!("{shown:?}"));
            assert_eq!(ByteSize::read(&text(shown)), Some(size));
        }
        assert_eq!(ByteSize::read(&number(4096)), Some(ByteSize::kib(4)));
        assert_eq!(ByteSize::read(&number(-1)), None);
    }

    #[test]
    fn durations_need_a_unit() {
        assert_eq!(Duration::read(&number(500)), None);
        assert_eq!(Duration::read(&text("500")), None);
        assert_eq!(Duration::read(&text("1500ms")), Some(Duration::from_millis(1500)));
        for shown in ["1500ms", "2s", "90m", "3h", "1ns", "0s"] {
            assert_eq!(Duration::read(&text(shown)).expect("a time").show(), format!("{shown:?}"));
        }
    }

    #[test]
    fn numbers_outside_their_type_are_refused() {
        assert_eq!(u8::read(&number(256)), None);
        assert_eq!(usize::read(&number(-1)), None);
        assert_eq!(f64::read(&number(1)), Some(1.0));
    }
}
