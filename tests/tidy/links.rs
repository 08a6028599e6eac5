//! Links of pages: that they lead to files, and that the tests they name are there.
//!
//! A page names a test as the text of a link to its file: `` [`processes/cli.rs::a_test`](../tests/processes/cli.rs) ``. The file may
//! be as short as the reader can bear; it must be how the path ends. A label stands for a path as usual, `[text][label]` and
//! `[label]: path`.
//!
//! **Deliberately missing.** Links to other sites and to headings are not followed. A link stands on one line, or is not seen.

use super::tree::{Text, Violation};

/// Where a link says that it leads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Goal<'a> {
    /// A path, or a site.
    Address(&'a str),
    /// What a definition of the page stands for.
    Label(&'a str),
}

/// Links that lead to no file, that stand for nothing, or that name a test which is not in the file.
pub(crate) fn broken(texts: &[Text]) -> Vec<Violation> {
    let pages = texts.iter().filter(|file| file.path.ends_with(".md"));
    pages.flat_map(|page| broken_in(page, texts)).collect()
}

fn broken_in(page: &Text, texts: &[Text]) -> Vec<Violation> {
    let mut violations = Vec::new();
    let mut complain = |line: usize, says: Option<String>| violations.extend(says.map(|says| Violation::at(&page.path, line, says)));
    for (number, line) in prose(&page.text) {
        if let Some((_, address)) = definition(line) {
            complain(number, complaint(&page.path, "", address, texts));
            continue;
        }
        for (text, goal) in links(line) {
            let address = match goal {
                Goal::Address(address) => Some(address),
                Goal::Label(label) => address_of(&page.text, label),
            };
            match address {
                Some(address) => complain(number, complaint(&page.path, text, address, texts)),
                None => complain(number, Some(format!("`[{text}]` has a label that the page does not define"))),
            }
        }
    }
    violations
}

/// The numbered lines that are not within a block of code.
fn prose(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let mut in_code = false;
    text.lines().enumerate().filter_map(move |(at, line)| {
        let is_fence = line.trim_start().starts_with("```");
        in_code ^= is_fence;
        (!is_fence && !in_code).then_some((at + 1, line))
    })
}

/// The label and the address of `[label]: address`. A line may also begin with a link that a colon follows.
fn definition(line: &str) -> Option<(&str, &str)> {
    line.strip_prefix('[')?.split_once("]: ").filter(|(label, _)| !label.contains(']'))
}

fn address_of<'a>(page: &'a str, label: &str) -> Option<&'a str> {
    prose(page).filter_map(|(_, line)| definition(line)).find(|(defined, _)| *defined == label).map(|(_, address)| address)
}

/// The links of a line: their texts, and where they lead.
fn links(line: &str) -> Vec<(&str, Goal<'_>)> {
    let ends = line.match_indices(']').map(|(at, _)| at);
    let link = |end: usize| {
        let rest = &line[end + 1..];
        let goal = match rest.strip_prefix('(') {
            Some(rest) => Goal::Address(rest.split_once(')')?.0),
            None => Goal::Label(rest.strip_prefix('[')?.split_once(']')?.0),
        };
        let begin = line[..end].rfind('[')?;
        let in_code = line[..begin].matches('`').count() % 2 == 1;
        (!in_code).then_some((&line[begin + 1..end], goal))
    };
    ends.filter_map(link).collect()
}

/// What is wrong with a link of the page at this path.
fn complaint(page: &str, text: &str, address: &str, texts: &[Text]) -> Option<String> {
    let path = address.split('#').next().unwrap_or(address);
    if path.is_empty() || address.contains("://") {
        return None;
    }
    let is_there = |path: &String| {
        let below = |file: &Text| file.path.strip_prefix(path.as_str()).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
        texts.iter().any(below)
    };
    let Some(target) = resolved(page, path).filter(is_there) else {
        return Some(format!("`{address}` leads to no file"));
    };
    let (file, test) = text.trim_matches('`').split_once("::").filter(|(file, _)| file.ends_with(".rs"))?;
    if target != file && !target.ends_with(&format!("/{file}")) {
        return Some(format!("names `{file}`, and leads to `{target}`"));
    }
    let has_test = texts.iter().any(|text| text.path == target && text.text.contains(&format!("fn {test}(")));
    (!has_test).then(|| format!("`{target}` has no `fn {test}`"))
}

/// A path that a page gives, from the root of the repository; `None` if it leads out of it.
fn resolved(page: &str, path: &str) -> Option<String> {
    let mut parts: Vec<&str> = page.split('/').collect();
    parts.pop();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop()?;
            }
            _ => parts.push(part),
        }
    }
    Some(parts.join("/"))
}

#[test]
fn a_broken_link_is_found() {
    let lines = |page: &str| -> Vec<usize> {
        let texts = [Text::new("docs/a.md", page), Text::new("docs/b.md", "B."), Text::new("x/tests/c.rs", "fn works() {}")];
        broken(&texts).iter().map(|violation| violation.line).collect()
    };
    let good = "[b](b.md#part), [x](../x/) and [here](#part)\n[`c.rs::works`](../x/tests/c.rs) [site](https://a.b/c)\n| [no][c] |\n\n[c]: ../x/tests/c.rs";
    assert!(lines(good).is_empty());
    assert_eq!(lines("\n[b](c.md)"), [2]);
    assert_eq!(lines("[b](../../b.md)\n[b](tests/c.rs)\n[x](../x/test)"), [1, 2, 3]);
    assert_eq!(lines("[no][d]\n\n[c]: ../x/tests/c.rs\n[e]: e.md"), [1, 4]);
    assert_eq!(lines("[`c.rs::fails`](../x/tests/c.rs)\n[`d.rs::works`](../x/tests/c.rs)"), [1, 2]);
    assert_eq!(lines("[`tests/c.rs::work`][c]: so\n\n[c]: ../x/tests/c.rs"), [1]);
    assert_eq!(lines("```\n[b](c.md)\n```\nin code `[b](c.md)`, not [b](c.md)"), [4]);
}
