//! Errors of a configuration file as people read them: the line itself, the culprit underlined, and what to write instead.

use std::fmt;
use std::io::{self, IsTerminal};
use std::sync::Arc;

use miette::{Diagnostic, GraphicalReportHandler, GraphicalTheme, LabeledSpan, NamedSource, SourceCode};
use quorate_config::{ConfigError, ConfigErrors};

/// One error with the text it is about.
#[derive(Debug)]
struct Finding<'a> {
    error: &'a ConfigError,
    file: Option<Arc<NamedSource<String>>>,
}

impl fmt::Display for Finding<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.source_code() {
            Some(_) => self.error.problem.fmt(f), // the frame below names the place
            None => self.error.fmt(f),
        }
    }
}

impl std::error::Error for Finding<'_> {}

impl Diagnostic for Finding<'_> {
    fn help<'a>(&'a self) -> Option<Box<dyn fmt::Display + 'a>> {
        Some(Box::new(self.error.help()))
    }

    fn source_code(&self) -> Option<&dyn SourceCode> {
        let file: &NamedSource<String> = self.file.as_deref()?;
        self.error.span().is_some().then_some(file as &dyn SourceCode)
    }

    fn labels(&self) -> Option<Box<dyn Iterator<Item = LabeledSpan> + '_>> {
        let span = self.error.span()?;
        Some(Box::new(std::iter::once(LabeledSpan::underline(span))))
    }
}

/// Renders all errors for stderr, with colours and box drawing only where a terminal shows them.
#[must_use]
pub fn render(errors: &ConfigErrors) -> String {
    let plain = !io::stderr().is_terminal();
    let no_color = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    render_with(errors, theme(plain, no_color))
}

fn theme(plain: bool, no_color: bool) -> GraphicalTheme {
    match (plain, no_color) {
        (true, _) => GraphicalTheme::none(),
        (false, true) => GraphicalTheme::unicode_nocolor(),
        (false, false) => GraphicalTheme::unicode(),
    }
}

fn render_with(errors: &ConfigErrors, theme: GraphicalTheme) -> String {
    let named = |file: &quorate_config::SourceFile| NamedSource::new(file.path.display().to_string(), file.text.clone());
    let file = errors.file().map(named).map(Arc::new);
    let handler = GraphicalReportHandler::new_themed(theme).with_context_lines(1).with_links(false);
    let mut text = String::new();
    for error in errors.errors() {
        let finding = Finding { error, file: file.clone() };
        handler.render_report(&mut text, &finding).expect("a String takes all text");
    }
    text
}

#[cfg(test)]
mod tests {
    use quorate_config::{Config, SourceFile, Sources};

    use super::*;

    #[test]
    fn a_typo_is_underlined_with_its_place_and_the_word_that_was_meant() {
        let text = "[cluster]\nid = \"c\"\nreplica = 3\npartitions = 16\n[[cluster.node]]\nid = \"n1\"\naddress = \"127.0.0.1:7400\"\n";
        let file = SourceFile { path: "q.toml".into(), text: text.to_owned() };
        let set = vec!["node.id=n1".to_owned(), "node.data_dir=/d".to_owned(), "cluster.replicas=1".to_owned()];
        let errors = Config::from_sources(Sources { file: Some(file), env: Vec::new(), set }).expect_err("a typo");
        insta::assert_snapshot!(render_with(&errors, GraphicalTheme::none()), @r#"
         x unknown key cluster.replica
          ,-[q.toml:3:1]
        2 | id = "c"
        3 | replica = 3
          : ^^^^^^^
        4 | partitions = 16
          `----
         help: did you mean cluster.replicas? [cluster] has id, secret, partitions, replicas, node
        "#);
    }
}
