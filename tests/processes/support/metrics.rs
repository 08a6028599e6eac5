//! Metrics in Prometheus' text format, as a reader of them sees them.

/// The samples of one node.
#[derive(Debug)]
pub(crate) struct Metrics {
    samples: Vec<(String, f64)>,
    families: Vec<String>,
}

impl Metrics {
    /// Reads the text.
    ///
    /// # Panics
    /// If a line is neither a comment nor a sample.
    pub(crate) fn read(text: &str) -> Self {
        let sample = |line: &str| {
            let (name, value) = line.rsplit_once(' ').unwrap_or_else(|| panic!("not a sample: {line}"));
            (name.to_owned(), value.parse().unwrap_or_else(|_| panic!("not a sample: {line}")))
        };
        let samples = text.lines().filter(|line| !line.starts_with('#') && !line.is_empty()).map(sample).collect();
        let families = text.lines().filter_map(|line| Some(line.strip_prefix("# TYPE ")?.split(' ').next()?.to_owned())).collect();
        Self { samples, families }
    }

    /// The sum of the samples of this name, over all labels.
    pub(crate) fn sum(&self, name: &str) -> f64 {
        let is_of = |sample: &str| sample.strip_prefix(name).is_some_and(|rest| rest.is_empty() || rest.starts_with('{'));
        self.samples.iter().filter(|(sample, _)| is_of(sample)).map(|(_, value)| value).sum()
    }

    /// The names that are announced.
    pub(crate) fn families(&self) -> &[String] {
        &self.families
    }

    /// The labels of one of the samples of this name.
    pub(crate) fn labels(&self, name: &str) -> Option<&str> {
        self.samples.iter().find_map(|(sample, _)| sample.strip_prefix(name)?.strip_prefix('{')?.strip_suffix('}'))
    }
}
