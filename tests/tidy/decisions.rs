//! Pages under `docs/decisions/`: one decision that closes a door, on one page, `0001-its-idea.md`.

use super::tree::{Text, Violation};

const FOLDER: &str = "docs/decisions/";
/// The sections of a page, in this order.
const SECTIONS: [&str; 3] = ["## Context", "## Choice", "## Consequence"];
/// One page.
const LINES_MAX: usize = 80;

/// Pages not numbered one after the other, without title, with other sections than agreed, or longer than a page.
pub(crate) fn malformed(texts: &[Text]) -> Vec<Violation> {
    let pages = texts.iter().filter(|file| file.path.starts_with(FOLDER));
    let complaints = pages.enumerate().flat_map(|(at, page)| {
        let of_page = name_complaint(at + 1, page).into_iter().chain(text_complaints(&page.text));
        of_page.map(|says| Violation::of(&page.path, says))
    });
    complaints.collect()
}

/// `number` is the page's place among all pages, sorted by path.
fn name_complaint(number: usize, page: &Text) -> Option<String> {
    let prefix = format!("{FOLDER}{number:04}-");
    let idea = page.path.strip_prefix(&prefix).and_then(|rest| rest.strip_suffix(".md"));
    let plain = idea.is_some_and(|idea| idea.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-'));
    (!plain).then(|| format!("name it `{prefix}its-idea.md`: pages are numbered one after the other"))
}

fn text_complaints(text: &str) -> Vec<String> {
    let mut complaints = Vec::new();
    if !text.starts_with("# ") {
        complaints.push("begin with the title: `# ..`".to_owned());
    }
    let sections: Vec<&str> = text.lines().filter(|line| line.starts_with("## ")).collect();
    if sections != SECTIONS {
        complaints.push(format!("its sections are {}, in this order", SECTIONS.join(", ")));
    }
    for section in sections {
        let body = text.split_once(section).map_or("", |(_, rest)| rest.split("\n## ").next().unwrap_or(""));
        if body.trim().is_empty() {
            complaints.push(format!("`{section}` is empty"));
        }
    }
    let lines = text.lines().count();
    if lines > LINES_MAX {
        complaints.push(format!("{lines} lines; a page has {LINES_MAX} at most"));
    }
    complaints
}

#[test]
fn a_malformed_decision_is_found() {
    let page = "# Use one profile\n\n## Context\n\nA.\n\n## Choice\n\nB.\n\n## Consequence\n\nC.\n";
    let found = |name: &str, text: &str| malformed(&[Text::new(&format!("docs/decisions/{name}"), text)]).len();
    assert_eq!(found("0001-one-profile.md", page), 0);
    assert_eq!(found("0002-one-profile.md", page), 1);
    assert_eq!(found("0001-One profile.md", page), 1);
    assert_eq!(found("0001-one-profile.md", &page.replace("# Use", "Use")), 1);
    assert_eq!(found("0001-one-profile.md", &page.replace("Choice", "Decision")), 1);
    assert_eq!(found("0001-one-profile.md", &page.replace("B.", "")), 1);
    assert_eq!(found("0001-one-profile.md", &format!("{page}{}", "\n".repeat(LINES_MAX))), 1);
    assert_eq!(malformed(&[Text::new("docs/levels.md", "anything")]), []);
}
