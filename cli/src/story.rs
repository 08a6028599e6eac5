//! `quorate story`: short guided runs on a real cluster, drawn and explained.
//!
//! **Promise.** What is drawn happened: three processes, and clients whose every answer was written down. What is said of it (stale,
//! linearizable, lost) the checker found in that record. A run that did not come out as the story tells is played again, a few times;
//! then the command says so and fails.
//!
//! | idea | file |
//! |---|---|
//! | the record as a history, measured and held against the story | `story/judgement.rs` |
//! | the drawing | `story/timeline.rs`, `story/canvas.rs` |
//! | the explanation | `story/words.rs` |
//! | the same as a page | `story/page.rs` |
//!
//! The schedules are in `quorate_lab::story`.

mod canvas;
mod judgement;
mod page;
mod timeline;
mod words;

use std::io;
use std::path::{Path, PathBuf};

use clap::Args;
use clap::builder::PossibleValuesParser;
use clap::builder::TypedValueParser as _;
use quorate_checker::measure::report::{LinearizabilityVerdict, PromiseVerdict};
use quorate_lab::stop::StopSignals;
use quorate_lab::story::record::Ending;
use quorate_lab::story::{Story, StoryError, Theatre};
use quorate_protocol::Level;
use serde::Serialize;

use crate::error::CliError;
use crate::exit::Exit;
use crate::globals::{Globals, Output};
use crate::output::{self, Columns};
use judgement::Judged;

/// How often a schedule is played at one level before the story gives up: a busy machine may miss its moments.
const TRIES_MAX: u32 = 5;

/// Plays a short story on a real cluster of three nodes, and shows over time what happened and why.
///
/// Without a name it lists the stories.
///
/// Exit 0: it ended as told. Exit 9: a level broke its own promise. Exit 1: it did not come out as told, however often it was played.
#[derive(Clone, Debug, Args)]
pub struct StoryCommand {
    /// Which story.
    #[arg(value_name = "NAME", value_parser = story())]
    name: Option<Story>,

    /// List the stories.
    #[arg(long, conflicts_with_all = ["name", "html"])]
    list: bool,

    /// Write the same as a page that opens from disk, with the measures of every level.
    #[arg(long, value_name = "FILE", requires = "name")]
    html: Option<PathBuf>,
}

/// The story could not be told.
#[derive(Debug, thiserror::Error)]
enum TellError {
    #[error("cannot find this program's own file")]
    Binary { source: io::Error },
    #[error("cannot listen for signals")]
    Signals { source: io::Error },
    #[error("stopped by a signal before the story was over")]
    Interrupted,
    #[error(transparent)]
    Story(#[from] StoryError),
    #[error("the story did not come out as told at {level}, in {tries} tries: {claims}; on a machine with less to do it may")]
    NotAsTold { level: Level, tries: u32, claims: String },
    #[error("{level} broke its own promise: {words}")]
    Broken { level: Level, words: String },
}

impl From<TellError> for CliError {
    fn from(error: TellError) -> Self {
        let exit = if matches!(error, TellError::Broken { .. }) { Exit::CheckFailed } else { Exit::Failure };
        Self::new(exit, error)
    }
}

fn story() -> impl clap::builder::TypedValueParser<Value = Story> {
    let named = |name: String| Story::ALL.into_iter().find(|story| story.name() == name).expect("one of the possible values");
    PossibleValuesParser::new(Story::ALL.map(Story::name)).map(named)
}

/// What `--output json` prints.
#[derive(Serialize)]
struct ToldFields<'a> {
    outcome: &'static str,
    exit: Exit,
    story: &'static str,
    as_told: bool,
    levels: Vec<LevelFields<'a>>,
    explanation: &'static str,
    read_on: &'static str,
}

/// One level of a story in JSON.
#[derive(Serialize)]
struct LevelFields<'a> {
    level: &'a str,
    tries: u32,
    promise: PromiseVerdict,
    linearizability: LinearizabilityVerdict,
    words: Option<&'a str>,
    stale_reads: u64,
    lost_updates: u64,
    siblings: u64,
    claims: Vec<ClaimFields>,
    operations: Vec<OperationFields<'a>>,
}

#[derive(Serialize)]
struct ClaimFields {
    claim: String,
    holds: bool,
}

#[derive(Serialize)]
struct OperationFields<'a> {
    client: &'a str,
    key: &'a str,
    did: String,
    begin_ms: f64,
    end_ms: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    operation_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<&'a str>,
}

/// The list of stories in JSON.
#[derive(Serialize)]
struct ListFields {
    outcome: &'static str,
    stories: [StoryFields; Story::ALL.len()],
}

#[derive(Serialize)]
struct StoryFields {
    story: &'static str,
    shows: &'static str,
}

/// A level at which the story was played, with the last try.
struct Scene {
    judged: Judged,
    tries: u32,
}

/// Runs the command.
///
/// # Errors
/// Exit 1 when the story did not come out, or the cluster does not start; 9 when a level broke its own promise.
pub async fn run(command: StoryCommand, globals: &Globals) -> Result<Exit, CliError> {
    let Some(story) = command.name else { return list(globals).map(|()| Exit::Ok) };
    let mut stop = StopSignals::take().map_err(|source| TellError::Signals { source })?;
    let binary = std::env::current_exe().map_err(|source| TellError::Binary { source })?;
    let scenes = tokio::select! {
        scenes = tell(story, &binary, globals.output) => scenes?,
        _ = stop.next() => return Err(TellError::Interrupted.into()),
    };
    if let Some(path) = &command.html {
        let page = page::render(scenes.iter().map(|scene| &scene.judged));
        std::fs::write(path, page).map_err(|source| CliError::Unwritable { path: path.clone(), source })?;
        output::note(format_args!("the page is in {}", path.display()));
    }
    let failure = scenes.iter().find_map(Scene::failure);
    match globals.output {
        Output::Json => {
            let exit = failure
                .as_ref()
                .map_or(Exit::Ok, |failure| if matches!(failure, TellError::Broken { .. }) { Exit::CheckFailed } else { Exit::Failure });
            output::print_json(&fields(story, &scenes, exit))?;
            Ok(exit)
        }
        Output::Table | Output::Raw => match failure {
            None => output::print(ending(story, &scenes)).map(|()| Exit::Ok),
            Some(failure) => Err(failure.into()),
        },
    }
}

fn list(globals: &Globals) -> Result<(), CliError> {
    if globals.output == Output::Json {
        let stories = Story::ALL.map(|story| StoryFields { story: story.name(), shows: story.sentence() });
        return output::print_json(&ListFields { outcome: "ok", stories });
    }
    let mut table = Columns::new(&["story", "what it shows"]);
    Story::ALL.into_iter().for_each(|story| table.row([story.name().to_owned(), story.sentence().to_owned()]));
    output::print(table)
}

/// Plays the story at all its levels, drawing each as soon as it is over. Ends early when one does not come out.
async fn tell(story: Story, binary: &Path, output: Output) -> Result<Vec<Scene>, CliError> {
    let says = output != Output::Json;
    if says {
        output::print(opening(story))?;
    }
    let mut theatre = Theatre::open(story, binary).await.map_err(TellError::from)?;
    let mut scenes = Vec::new();
    for level in story.levels() {
        let scene = play(&mut theatre, level).await?;
        if says {
            output::print(drawn(&scene))?;
        }
        let failed = scene.failure().is_some();
        scenes.push(scene);
        if failed {
            break;
        }
    }
    theatre.close().await.map_err(TellError::from)?;
    Ok(scenes)
}

async fn play(theatre: &mut Theatre, level: Level) -> Result<Scene, TellError> {
    let mut tries = 0;
    loop {
        tries += 1;
        let judged = Judged::of(theatre.play(level).await?);
        let is_broken = judged.measured.promise.verdict == PromiseVerdict::Violation;
        if judged.is_as_told() || is_broken || tries == TRIES_MAX {
            return Ok(Scene { judged, tries });
        }
        output::note(format_args!("{level}: this time it did not come out as told ({}); playing it again", judged.missing()));
    }
}

impl Scene {
    fn failure(&self) -> Option<TellError> {
        let Self { judged, tries } = self;
        let level = judged.run.level;
        if judged.measured.promise.verdict == PromiseVerdict::Violation {
            return Some(TellError::Broken { level, words: judged.measured.promise.words.join("; ") });
        }
        (!judged.is_as_told()).then(|| TellError::NotAsTold { level, tries: *tries, claims: judged.missing() })
    }

    fn fields(&self) -> LevelFields<'_> {
        let Self { judged: Judged { run, measured, claims }, tries } = self;
        let ms = |moment: std::time::Duration| moment.as_secs_f64() * 1e3 - run.begin.as_secs_f64() * 1e3;
        let operations = run.operations.iter().map(|recorded| {
            let (did, begin_ms, end_ms) = (timeline::label(run, recorded), ms(recorded.call), ms(recorded.end));
            let operation_id = recorded.op.map(|op| op.to_string());
            let client = run.clients[recorded.client].as_str();
            OperationFields { client, key: &recorded.key, did, begin_ms, end_ms, operation_id, error: recorded.error.as_deref() }
        });
        LevelFields {
            level: &measured.name,
            tries: *tries,
            promise: measured.promise.verdict,
            linearizability: measured.linearizability.verdict,
            words: measured.linearizability.words.as_deref(),
            stale_reads: measured.staleness.reads.count,
            lost_updates: measured.lost_updates.count,
            siblings: measured.siblings.made,
            claims: claims.iter().map(|(claim, holds)| ClaimFields { claim: judgement::words(claim, run), holds: *holds }).collect(),
            operations: operations.collect(),
        }
    }
}

fn fields(story: Story, scenes: &[Scene], exit: Exit) -> ToldFields<'_> {
    let words = words::words(story);
    let as_told = scenes.len() == story.levels().len() && scenes.iter().all(|scene| scene.failure().is_none());
    ToldFields {
        outcome: "ok",
        exit,
        story: story.name(),
        as_told,
        levels: scenes.iter().map(Scene::fields).collect(),
        explanation: words.moral,
        read_on: words.read_on,
    }
}

fn opening(story: Story) -> String {
    format!("{}: {}.\n\n{}", story.name(), story.sentence(), words::wrapped(words::words(story).scene, timeline::WIDTH, ""))
}

/// One level: its drawing, and what the checker says.
fn drawn(scene: &Scene) -> String {
    let judged = &scene.judged;
    let level = judged.run.level;
    let verdict = words::wrapped(&words::verdict(&judged.measured), timeline::WIDTH, "  ");
    format!("\n{level}\n{}\n{verdict}", timeline::draw(judged))
}

fn ending(story: Story, scenes: &[Scene]) -> String {
    let words = words::words(story);
    let table = if story == Story::Partition { format!("\n{}\n", sides(scenes)) } else { String::new() };
    let wrapped = |text: &str| words::wrapped(text, timeline::WIDTH, "");
    format!("{table}\n{}\n{}", wrapped(words.moral), wrapped(&format!("Read on: {}.", words.read_on)))
}

/// What each level served on both sides of the partition.
fn sides(scenes: &[Scene]) -> String {
    let mut table = Columns::new(&["level", "alone: read", "write", "majority: read", "write", "afterwards"]);
    for scene in scenes {
        let run = &scene.judged.run;
        let played = run.operations.iter().filter(|operation| operation.end > run.begin);
        let served = played.map(|operation| match (operation.ending, run.clients[operation.client].as_str()) {
            (Ending::Ok, "C") => operation.values.join(" + "),
            (Ending::Ok, _) => "served".to_owned(),
            (Ending::Refused, _) => "refused".to_owned(),
            (Ending::Unknown | Ending::Conflict, _) => "unknown".to_owned(),
        });
        table.row(std::iter::once(run.level.to_string()).chain(served));
    }
    table.to_string()
}
