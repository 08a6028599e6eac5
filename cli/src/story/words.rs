//! What is said beside the drawings: what was to be seen, why, what helps, and where to read on.
//!
//! The words are printed below a run that came out as told; one that did not is never explained away.

use quorate_checker::measure::report::{self, LinearizabilityVerdict, PromiseVerdict};
use quorate_lab::story::Story;

use crate::output::Count;

/// What is said of a story.
#[derive(Clone, Copy, Debug)]
pub(super) struct Words {
    /// What the schedule does, before it is seen.
    pub(super) scene: &'static str,
    /// What was seen, why, and which level helps.
    pub(super) moral: &'static str,
    /// Where to read on.
    pub(super) read_on: &'static str,
}

/// The words of a story.
pub(super) fn words(story: Story) -> Words {
    match story {
        Story::StaleRead => Words {
            scene: "x is 1 everywhere, and what n1 says to the other nodes arrives late. W writes 2 through n1; once W is told that it is \
                    done, R reads through n3.",
            moral: "At one the write was done when n1 had it, and the read when n3 had answered from its own copy: nothing made the two meet, \
                    so R was shown 1 after 2 had been acknowledged. At quorum the acknowledgement waits for a second replica and the read for \
                    a second answer; of three replicas two and two have one in common, and it knows the write. That is what X + Y > N buys, \
                    and the wait is its price: look how long W waited.",
            read_on: "DDIA chapter 5, \"quorums for reading and writing\"; how far behind `one` is in practice: PBS (Bailis et al., 2012)",
        },
        Story::QuorumIsNotEnough => Words {
            scene: "x is 1 everywhere. W writes 2 through n1, whose message to n2 is lost and whose message to n3 is late. A reads through \
                    n1; when A has its answer, B reads through n2.",
            moral: "At r2w2 two replicas answered each read and any two pairs of them overlap, yet A was shown 2 and B, later, 1: a write \
                    that is under way is on some replicas and not on others, and the two that B asked did not have it yet. quorum sees to it \
                    before it answers: A waited until a second replica had what A was to be shown, and B's majority could not miss it. \
                    linearizable goes further: nobody is shown 2 before it is decided, and once somebody was, everybody is.",
            read_on: "DDIA chapter 9, figure 9-6 (second edition: chapter 10, figure 10-6)",
        },
        Story::LostUpdate => Words {
            scene: "10 are in stock. A and B both read that. A sells one and writes 9; B sells two, and writes what is left of the 10 that it \
                    has read. 7 should be left.",
            moral: "At quorum every read was fresh and every write acknowledged, the run is even linearizable, and still A's sale is gone: B \
                    computed from a number that had been replaced meanwhile, and no level of plain reads and writes can know that. With cas B \
                    says what it has read; the store compares, tells B what is there now, and B sells its two out of 9. (Had B given the \
                    context of its read with its write, both numbers would have been kept as siblings: `quorate story siblings`. To count, \
                    there is `incr`.)",
            read_on: "DDIA chapter 7, \"preventing lost updates\"",
        },
        Story::Siblings => Words {
            scene: "The cart holds milk. A and B both read it; A adds eggs, B adds bread, and each writes the whole cart with the context of \
                    its read. C reads, merges, and writes with the context of what it was shown.",
            moral: "B's write had not seen A's, so it could not replace it: the store kept both and showed both to C, and neither clock nor \
                    chance threw one away. C's write had seen both, so it replaced both, and no other value that C was not shown. This works \
                    at every level and on both sides of a partition; what it asks of the program is that it can merge. Where it cannot, use cas.",
            read_on: "Dynamo (2007), section 4.4; DDIA chapter 5, \"detecting concurrent writes\", figure 5-13",
        },
        Story::UnknownOutcome => Words {
            scene: "10 visits are counted. A adds one through n1. n2 and n3 accept the new number, which decides it, but their answers to n1 are \
                    late; n1 is killed before it hears them.",
            moral: "A was told neither yes nor no but that the outcome is unknown, with the name of the operation: the only honest answer, \
                    since nobody was left who knew. Asked by that name, the others found that it had been applied. The retry under the same \
                    name was not applied again: it was answered as the first time would have been, and B counts 11, not 12. A retry under a \
                    new name would have counted twice.",
            read_on: "DDIA chapter 8, \"unreliable networks\", and chapter 12, \"the end-to-end argument\"; `quorate outcome --help`",
        },
        Story::PausedClient => Words {
            scene: "A takes a lock for 300 ms and is paused, as by a garbage collector. The lease ends, B takes the lock and writes the file. \
                    Then A goes on, still believing that it holds the lock, and writes. The second time a storage service before the file \
                    checks the fencing token that came with the lock.",
            moral: "The lock worked both times: it never had two holders. It could not stop A, since nothing can tell a \
                    paused client that time has passed, and at any level A's late write would have gone through: it is late, not stale. What \
                    stops it is the token, which grows with every holder: the file had been written with B's, and A's is lower. The service \
                    writes by cas, so that its check and its write are one step.",
            read_on: "DDIA chapter 8, figures 8-4 and 8-5 (\"fencing tokens\")",
        },
        Story::Partition => Words {
            scene: "n1 is cut off from n2 and n3, and the nodes have noticed. A asks n1, alone; B asks n2, which reaches n3. At the end all see \
                    each other again and C reads from everybody.",
            moral: "One side of a partition cannot know what the other does, so a level either refuses there or risks to disagree: that is the \
                    whole of CAP. one serves both sides, and afterwards there are two values to merge. The levels that need a majority serve \
                    the majority's side and refuse on the other, saying that nothing was applied; all refuses everywhere. linearizable costs \
                    no more availability than quorum.",
            read_on: "DDIA chapter 9, \"the CAP theorem\"; Gilbert and Lynch (2002)",
        },
    }
}

/// What the checker says of a run, in a line or two.
pub(super) fn verdict(level: &report::Level) -> String {
    let linearizable = match (level.linearizability.verdict, &level.linearizability.words) {
        (LinearizabilityVerdict::Linearizable, _) => "linearizable".to_owned(),
        (LinearizabilityVerdict::Undecided, _) => "linearizable or not, nobody knows".to_owned(),
        (LinearizabilityVerdict::Violation, None) => "NOT linearizable".to_owned(),
        (LinearizabilityVerdict::Violation, Some(words)) => format!("NOT linearizable: {words}"),
    };
    let counted = [
        (level.lost_updates.count, Count(level.lost_updates.count, "update"), "LOST"),
        (level.siblings.made, Count(level.siblings.made, "value"), "kept beside another"),
    ];
    let counted = counted.iter().filter(|(count, ..)| *count > 0).map(|(_, count, what)| format!("; {count} {what}")).collect::<String>();
    let promise = match level.promise.verdict {
        PromiseVerdict::Kept => "kept".to_owned(),
        PromiseVerdict::Violation => format!("BROKEN: {}", level.promise.words.join("; ")),
        PromiseVerdict::Undecided => "undecided".to_owned(),
        PromiseVerdict::Empty => "nothing to judge".to_owned(),
    };
    format!("checked: {linearizable}{counted}. What {} promises: {promise}.", level.name)
}

/// Text in lines of at most so many columns, each after an indent.
pub(super) fn wrapped(text: &str, width: usize, indent: &str) -> String {
    let mut lines: Vec<String> = Vec::new();
    let mut line = String::new();
    for word in text.split_whitespace() {
        if !line.is_empty() && indent.len() + line.chars().count() + 1 + word.chars().count() > width {
            lines.push(format!("{indent}{line}"));
            line.clear();
        }
        if !line.is_empty() {
            line.push(' ');
        }
        line.push_str(word);
    }
    lines.push(format!("{indent}{line}"));
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_broken_between_words() {
        assert_eq!(wrapped("one two  three\nfour", 9, "  "), "  one two\n  three\n  four");
        assert_eq!(wrapped("alonglongword", 5, ""), "alonglongword");
    }

    #[test]
    fn every_story_says_in_few_sentences_what_was_seen() {
        for story in Story::ALL {
            let Words { scene, moral, read_on } = words(story);
            let sentences = moral.matches(". ").count() + 1;
            assert!((2..=5).contains(&sentences) && !scene.is_empty() && read_on.contains("DDIA"), "{story:?}: {sentences}");
        }
    }
}
