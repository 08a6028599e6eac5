//! The report as one page that opens from disk.
//!
//! **Promise.** [`render`] puts a report into the page's template, with all styles and scripts inside: the page fetches nothing, and
//! whatever texts the report holds, they end up as text. The same report gives the same page.
//!
//! The files of the page are in `page/`: `report.html` names styles and scripts as any page does, each of which is replaced by what it
//! holds. A new script is added in two places, there and in [`FILES`]; a test says so if one is forgotten. `page/report.example.json` is
//! a report that shows every part of the page; `scripts/check-report` checks a page in a browser.
//!
//! **Deliberately missing.** A build step, and a framework.

/// The template; `REPORT_JSON` stands where the report goes.
const TEMPLATE: &str = include_str!("page/report.html");

/// What the template names, with what it holds.
const FILES: [(&str, &str); 25] = [
    ("report.css", include_str!("page/report.css")),
    ("charts.css", include_str!("page/charts.css")),
    ("timeline.css", include_str!("page/timeline.css")),
    ("elements.js", include_str!("page/elements.js")),
    ("units.js", include_str!("page/units.js")),
    ("scales.js", include_str!("page/scales.js")),
    ("theme.js", include_str!("page/theme.js")),
    ("marks.js", include_str!("page/marks.js")),
    ("chart.js", include_str!("page/chart.js")),
    ("faults.js", include_str!("page/faults.js")),
    ("tables.js", include_str!("page/tables.js")),
    ("availability.js", include_str!("page/availability.js")),
    ("latency.js", include_str!("page/latency.js")),
    ("staleness.js", include_str!("page/staleness.js")),
    ("timeline/words.js", include_str!("page/timeline/words.js")),
    ("timeline/view.js", include_str!("page/timeline/view.js")),
    ("timeline/stories.js", include_str!("page/timeline/stories.js")),
    ("timeline/lanes.js", include_str!("page/timeline/lanes.js")),
    ("timeline/arrows.js", include_str!("page/timeline/arrows.js")),
    ("timeline/overview.js", include_str!("page/timeline/overview.js")),
    ("timeline/plot.js", include_str!("page/timeline/plot.js")),
    ("timeline/panel.js", include_str!("page/timeline/panel.js")),
    ("timeline/pointer.js", include_str!("page/timeline/pointer.js")),
    ("timeline/timeline.js", include_str!("page/timeline/timeline.js")),
    ("report.js", include_str!("page/report.js")),
];

/// The page that shows a report, given as JSON in the format of `docs/report-format.md`.
#[must_use]
pub fn render(report_json: &str) -> String {
    let mut page = TEMPLATE.to_owned();
    for (name, text) in FILES {
        let style = (format!("<link rel=\"stylesheet\" href=\"{name}\">"), format!("<style>\n{text}</style>"));
        let script = (format!("<script src=\"{name}\"></script>"), format!("<script>\n{text}</script>"));
        let (tag, inlined) = if name.ends_with(".css") { style } else { script };
        page = page.replace(&tag, &inlined);
    }
    page.replacen("REPORT_JSON", &within_script(report_json), 1)
}

/// JSON that may stand in a `<script>`: nothing in it ends the element, and it is JavaScript too.
///
/// Outside of strings JSON has none of these characters, and within strings an escape means the same.
fn within_script(json: &str) -> String {
    json.replace('<', "\\u003c").replace('\u{2028}', "\\u2028").replace('\u{2029}', "\\u2029")
}

#[cfg(test)]
mod tests {
    use super::*;

    const EXAMPLE: &str = include_str!("page/report.example.json");

    #[test]
    fn a_page_names_no_other_file_that_it_needs() {
        let page = render(EXAMPLE);
        let tags = page.lines().filter(|line| line.starts_with("<script src") || line.starts_with("<link rel=\"stylesheet\""));
        assert_eq!(tags.collect::<Vec<_>>(), Vec::<&str>::new(), "add these to FILES");
        assert!(!page.contains("REPORT_JSON"));
        assert!(page.len() > EXAMPLE.len() + FILES.iter().map(|(_, text)| text.len()).sum::<usize>(), "a file is not in the template");
    }

    #[test]
    fn no_text_of_a_report_ends_the_script_that_holds_it() {
        let page = render("{\"key\":\"</script><script>alert(1)</script>\u{2028}\u{2029}<!--\"}");
        assert!(page.contains("{\"key\":\"\\u003c/script>\\u003cscript>alert(1)\\u003c/script>\\u2028\\u2029\\u003c!--\"}"));
    }

    #[test]
    fn a_report_that_speaks_of_the_template_is_left_alone() {
        let page = render("{\"key\":\"REPORT_JSON\"}");
        assert!(page.contains("{\"key\":\"REPORT_JSON\"}"));
    }

    #[test]
    fn no_script_or_style_ends_its_own_element() {
        for (name, text) in FILES {
            assert!(!text.contains("</script") && !text.contains("</style"), "{name}");
        }
    }
}
