//! Stories worth reading: each script under `scripts/` plays a small cluster step by step, and its trace is the expectation.
//!
//! **Promise.** A script says exactly what happens when its commands are performed, message by message; its name is the claim that this
//! shows. Whoever changes the protocol changes the stories that it tells, and sees in the difference what is told otherwise now.
//!
//! **Shape.** Comments begin with `#` and open with the story and where it comes from. A command stands at the margin (`quorate_sim::script`
//! lists them); the lines below it, indented, are what it answered. Run with `UPDATE_SCRIPTS=1`, the tests write the answers instead of
//! comparing them. Nothing else ever does: read the difference before you commit it.
//!
//! The shape follows Goldenscript and datadriven. Its crate is not used: as a dependency of tests it compiles libraries of the binary again,
//! with more features, which `tests/tidy.rs` forbids; and a transcript reads better than blocks with a rule between them.

use std::fmt;
use std::path::{Path, PathBuf};

use quorate_protocol::notes::Mark;
use quorate_sim::campaign::RARE;
use quorate_sim::script::{INDENT, MistakeAt, TOLD, Told, Transcript};

/// Lines shown of either side of a difference.
const SHOWN: usize = 6;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/scripts")
}

/// The paths in a folder, in order.
fn entries(folder: &Path) -> Vec<PathBuf> {
    let listed = folder.read_dir().unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    let mut paths: Vec<PathBuf> = listed.map(|entry| entry.expect("a folder can be listed to its end").path()).collect();
    paths.sort();
    paths
}

fn name(path: &Path) -> &str {
    path.file_name().and_then(|name| name.to_str()).expect("scripts have plain names")
}

/// Performs a script. Returns it with what its commands answer now, in place of the answers that it had.
fn perform(script: &str) -> Result<String, MistakeAt> {
    Transcript::perform(script).map(|transcript| transcript.text)
}

/// All that a script's commands of this name have answered.
fn answers<'a>(script: &'a str, command: &str) -> Vec<&'a str> {
    let mut is_asked = false;
    let mut answers = Vec::new();
    for line in script.lines() {
        match line.strip_prefix(INDENT) {
            Some(answer) if is_asked => answers.push(answer),
            Some(_) => {}
            None => is_asked = line.split(' ').next() == Some(command),
        }
    }
    answers
}

/// Where two transcripts first differ.
#[derive(Debug)]
struct Wrong<'a> {
    line: usize,
    expected: Vec<&'a str>,
    found: Vec<&'a str>,
}

impl<'a> Wrong<'a> {
    fn first(expected: &'a str, found: &'a str) -> Self {
        let same = expected.lines().zip(found.lines()).take_while(|(expected, found)| expected == found).count();
        let from = |text: &'a str| text.lines().skip(same).take(SHOWN).collect();
        Self { line: same + 1, expected: from(expected), found: from(found) }
    }
}

impl fmt::Display for Wrong<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "from line {} on", self.line)?;
        for (mark, lines) in [('-', &self.expected), ('+', &self.found)] {
            for line in lines {
                write!(f, "\n{mark} {line}")?;
            }
        }
        Ok(())
    }
}

/// Plays every script of a folder; fails with all that came out otherwise.
#[track_caller]
fn play(folder: &str) {
    let updates = std::env::var_os("UPDATE_SCRIPTS").is_some_and(|value| value == "1");
    let mut wrong = Vec::new();
    for path in entries(&root().join(folder)) {
        let expected = std::fs::read_to_string(&path).expect("a script can be read");
        match perform(&expected) {
            Ok(found) if found == expected => {}
            Ok(found) if updates => std::fs::write(&path, found).expect("a script can be written"),
            Ok(found) => wrong.push(format!("{folder}/{}: {}", name(&path), Wrong::first(&expected, &found))),
            Err(mistake) => wrong.push(format!("{folder}/{}: {mistake}", name(&path))),
        }
    }
    assert!(wrong.is_empty(), "{} scripts tell another story (UPDATE_SCRIPTS=1 writes it down):\n\n{}", wrong.len(), wrong.join("\n\n"));
}

macro_rules! folders {
    ($($folder:ident)*) => {
        /// The folders of `scripts/`, one for each part of the protocol.
        const FOLDERS: &[&str] = &[$(stringify!($folder)),*];

        $(#[test]
        fn $folder() {
            play(stringify!($folder));
        })*
    };
}

folders! { disk handoff identity linearizable read repair retry session versions write }

#[test]
fn every_folder_is_played() {
    let folders = entries(&root());
    assert_eq!(folders.iter().map(|path| name(path)).collect::<Vec<_>>(), FOLDERS);
}

#[test]
fn every_script_is_named_by_its_claim_and_begins_with_its_story() {
    for path in FOLDERS.iter().flat_map(|folder| entries(&root().join(folder))) {
        let is_word = |word: &str| !word.is_empty() && word.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit());
        let words: Vec<&str> = name(&path).split('_').collect();
        assert!(words.len() >= 4 && words.iter().all(|word| is_word(word)), "{}: name it by its claim, as a test", path.display());
        let text = std::fs::read_to_string(&path).expect("a script can be read");
        let story: Vec<&str> = text.lines().take_while(|line| line.starts_with("# ")).collect();
        let cites = story.iter().any(|line| line.starts_with("# Source: "));
        assert!(story.len() >= 3 && cites, "{}: begin with the story, and `# Source: ..`", path.display());
    }
}

/// An honest cluster that breaks a promise, or a planted bug that nobody notices, is not written down as what was expected.
#[test]
fn every_planted_bug_is_caught_and_nothing_else_is() {
    for path in FOLDERS.iter().flat_map(|folder| entries(&root().join(folder))) {
        let text = std::fs::read_to_string(&path).expect("a script can be read");
        let has_bug = text.lines().any(|line| line.starts_with("cluster ") && line.contains(" bug="));
        assert_eq!(name(&path).ends_with("_caught"), has_bug, "{}: a script with a bug is called so", path.display());
        let verdicts = answers(&text, "judge");
        let is_clean = verdicts.iter().all(|verdict| *verdict == "no promise broken");
        assert!(!verdicts.is_empty() && is_clean != has_bug, "{}: {verdicts:?}", path.display());
    }
}

#[test]
fn bugs_that_chance_does_not_come_to_have_their_scripts() {
    for Told { bug, name, script } in TOLD {
        let is_planted = script.lines().any(|line| line.starts_with("cluster ") && line.ends_with(&format!(" bug={bug}")));
        assert!(is_planted, "{name}");
        let played = Told::of(bug).map(Told::play).expect("a bug that is told");
        assert!(!played.violations.is_empty() && played.text == script, "{name}");
    }
}

#[test]
fn branches_that_chance_takes_too_seldom_are_taken_by_scripts() {
    let is_taken = |mark: &Mark| {
        let paths = FOLDERS.iter().flat_map(|folder| entries(&root().join(folder)));
        let texts = paths.map(|path| std::fs::read_to_string(path).expect("a script can be read"));
        let line = format!(" marks {mark}");
        texts.filter(|text| !text.contains(" bug=")).any(|text| text.lines().any(|told| told.ends_with(&line)))
    };
    assert_eq!(RARE.iter().filter(|mark| !is_taken(mark)).collect::<Vec<_>>(), Vec::<&Mark>::new());
}

#[test]
fn a_script_that_tells_another_story_is_found() {
    let script = "# Said.\ncluster nodes=3 replicas=3\n\nrun 10ms\nshow k1\n";
    let told = perform(script).expect("it can be performed");
    assert_eq!(perform(&told).as_ref(), Ok(&told), "what was written down is what happens again");
    let other = told.replace("holds nothing", "holds something");
    assert_ne!(told, other);
    assert_eq!(perform(&other).as_ref(), Ok(&told));
    let wrong = Wrong::first(&other, &told);
    assert!(wrong.to_string().contains("line 7") && wrong.to_string().contains("holds something"), "{wrong}");
}

#[test]
fn a_command_that_cannot_be_done_is_found_with_its_line() {
    let mistake = perform("# Said.\ncluster nodes=3 replicas=3\nrestart n1\n").expect_err("it runs already");
    assert_eq!(mistake.to_string(), "line 3: it cannot be done now: start n1");
    let mistake = perform("run 10ms\n").expect_err("nobody plays");
    assert_eq!(mistake.to_string(), "line 1: a script begins with `cluster`");
}
