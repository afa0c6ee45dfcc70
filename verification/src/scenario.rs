//! Small concurrent programs over a table: their text, their generation, their execution.
//!
//! A [`Scenario`] is what a few participants call, which entries are there before, and who is
//! killed when. Its text is its name everywhere, in reports, pins and replays:
//!
//! ```text
//! put a : take a | take a, insert a ! 2@5
//! ```
//!
//! Before the colon: what is called before the participants start. Between bars: one program each,
//! numbered from 1. After the mark: participant 2 is killed before its access number 5, counted
//! from 0; `~f` adds a mask of stores that are lost with it, in hexadecimal.
//!
//! `in 4` after the programs: the table has four blocks, and verbs may find none.
//!
//! [`generate`] makes all scenarios of a size, [`catalogue`] holds those that tables are known to
//! have failed, and a [`ScenarioModel`] runs one on an engine with every oracle.

pub mod catalogue;
pub mod generate;
mod model;
mod subject;

use std::fmt;
use std::str::FromStr;

use crate::spec::Verb;

pub use model::{Order, ScenarioModel};
pub use subject::{CasBucketSubject, ChainedSubject, RobinHoodSubject, Subject, options_for};

/// A call in a program.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Step {
    /// A verb on a key.
    Call {
        /// The verb.
        verb: Verb,
        /// The key: 0 is `a`, 1 is `b`, up to 25.
        key: u8,
    },
    /// A recovery of what dead participants left.
    Recover,
    /// The process gives its places in the segment back. Until it joins, it calls nothing.
    Leave,
    /// A process joins the table, as soon as there is a place for it. A program that starts with
    /// this has none before: there are records and lines for the other programs alone.
    Join,
    /// The table goes over to two buckets, where it can.
    Grow,
    /// The table goes back to one bucket, where it can.
    Shrink,
}

/// Steps of one word.
const WORDS: [Step; 5] = [Step::Recover, Step::Leave, Step::Join, Step::Grow, Step::Shrink];

impl Step {
    /// The same with another key, where there is one.
    #[must_use]
    pub fn renamed(self, rename: impl Fn(u8) -> u8) -> Self {
        match self {
            Self::Call { verb, key } => Self::Call { verb, key: rename(key) },
            Self::Recover | Self::Leave | Self::Join | Self::Grow | Self::Shrink => self,
        }
    }
}

/// When a participant dies, and what is lost with it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct KillPoint {
    /// Which participant, from 1.
    pub participant: u32,
    /// Shared accesses that still happen.
    pub after_accesses: u64,
    /// Stores that are lost, as in [`Lost`](crate::Lost): bit `i` is the `i`-th. 0: none.
    pub lost: u64,
}

/// A small concurrent program over a table.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct Scenario {
    /// What is called before the participants start.
    pub setup: Vec<Step>,
    /// What each participant calls.
    pub programs: Vec<Vec<Step>>,
    /// Blocks that the table has, where they may run out: verbs may then find none. `None`: enough.
    pub blocks: Option<u32>,
    /// Who is killed, if anybody is.
    pub kill: Option<KillPoint>,
}

/// Keys that a scenario can name.
pub const KEYS_MAX: u8 = 26;

impl Scenario {
    /// The same with this kill.
    #[must_use]
    pub fn killed(&self, participant: u32, after_accesses: u64, lost: u64) -> Self {
        let kill = Some(KillPoint { participant, after_accesses, lost });
        Self { kill, ..self.clone() }
    }

    /// Every call of the scenario, those before the start first.
    pub fn steps(&self) -> impl Iterator<Item = Step> {
        self.setup.iter().chain(self.programs.iter().flatten()).copied()
    }

    /// Number of keys: one more than the largest.
    pub fn keys(&self) -> u8 {
        let key = |step| match step {
            Step::Call { key, .. } => key + 1,
            _ => 0,
        };
        self.steps().map(key).max().unwrap_or(0)
    }

    /// Whether the table changes its size.
    pub fn resizes(&self) -> bool {
        self.steps().any(|step| matches!(step, Step::Grow | Step::Shrink))
    }

    /// Programs whose participants are in the table when they start.
    pub fn present(&self) -> usize {
        self.programs.iter().filter(|program| program.first() != Some(&Step::Join)).count()
    }
}

impl fmt::Display for Step {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Call { verb, key } => write!(formatter, "{verb} {}", char::from(b'a' + key)),
            Self::Recover => formatter.write_str("recover"),
            Self::Leave => formatter.write_str("leave"),
            Self::Join => formatter.write_str("join"),
            Self::Grow => formatter.write_str("grow"),
            Self::Shrink => formatter.write_str("shrink"),
        }
    }
}

/// Writes the steps of one program.
fn write_steps(formatter: &mut fmt::Formatter<'_>, steps: &[Step]) -> fmt::Result {
    for (index, step) in steps.iter().enumerate() {
        write!(formatter, "{}{step}", if index == 0 { "" } else { ", " })?;
    }
    Ok(())
}

impl fmt::Display for Scenario {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.setup.is_empty() {
            write_steps(formatter, &self.setup)?;
            formatter.write_str(" : ")?;
        }
        for (index, program) in self.programs.iter().enumerate() {
            formatter.write_str(if index == 0 { "" } else { " | " })?;
            write_steps(formatter, program)?;
        }
        if let Some(blocks) = self.blocks {
            write!(formatter, " in {blocks}")?;
        }
        if let Some(KillPoint { participant, after_accesses, lost }) = self.kill {
            write!(formatter, " ! {participant}@{after_accesses}")?;
            if lost != 0 {
                write!(formatter, "~{lost:x}")?;
            }
        }
        Ok(())
    }
}

/// Why a text is not a scenario.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ScenarioError {
    /// A word that is no step.
    #[error(
        "step {text:?}: expected a verb (get, insert, put, replace, remove, take, exchange, \
         remove_if) and a key (a to z), or recover, leave, join, grow, shrink"
    )]
    Step {
        /// What was there.
        text: String,
    },
    /// A number of blocks that is none.
    #[error("blocks {text:?}: expected a number from 1 to 65536, as in: insert a | take a in 4")]
    Blocks {
        /// What was there.
        text: String,
    },
    /// A text after the mark that is no kill.
    #[error("kill {text:?}: expected participant@access, as in 1@5, or with a lost mask, 1@5~f")]
    Kill {
        /// What was there.
        text: String,
    },
    /// A kill of a participant that does not exist.
    #[error("kill of participant {participant}: the scenario has participants 1 to {programs}")]
    Participant {
        /// Who was to be killed.
        participant: u32,
        /// Participants there are.
        programs: usize,
    },
    /// A call of somebody who has left or not joined, or a second joining.
    #[error("{step}: a program calls only between its start or join and its leave")]
    Outside {
        /// The step that cannot be.
        step: Step,
    },
    /// No program, or an empty one.
    #[error("a scenario needs at least one program, and each program one step")]
    Empty,
}

impl FromStr for Scenario {
    type Err = ScenarioError;

    fn from_str(text: &str) -> Result<Self, ScenarioError> {
        let (rest, kill) = match text.split_once('!') {
            Some((rest, kill)) => (rest, Some(parse_kill(kill.trim())?)),
            None => (text, None),
        };
        let (rest, blocks) = match rest.rsplit_once(" in ") {
            Some((rest, blocks)) => (rest, Some(parse_blocks(blocks.trim())?)),
            None => (rest, None),
        };
        let (setup, programs) = match rest.split_once(':') {
            Some((setup, programs)) => (parse_steps(setup)?, programs),
            None => (Vec::new(), rest),
        };
        let programs: Vec<_> = programs.split('|').map(parse_steps).collect::<Result<_, _>>()?;
        if let Some(KillPoint { participant, .. }) = kill
            && (participant == 0 || participant as usize > programs.len())
        {
            let programs = programs.len();
            return Err(ScenarioError::Participant { participant, programs });
        }
        for steps in [&setup].into_iter().chain(&programs) {
            check_presence(steps)?;
        }
        if setup.iter().any(|step| matches!(step, Step::Leave | Step::Join)) {
            return Err(ScenarioError::Outside { step: Step::Leave });
        }
        Ok(Self { setup, programs, blocks, kill })
    }
}

/// Whether each step finds its process in the table, or outside where it joins.
fn check_presence(steps: &[Step]) -> Result<(), ScenarioError> {
    let mut present = steps.first() != Some(&Step::Join);
    for &step in steps {
        if present == (step == Step::Join) {
            return Err(ScenarioError::Outside { step });
        }
        present = step != Step::Leave;
    }
    Ok(())
}

fn parse_steps(text: &str) -> Result<Vec<Step>, ScenarioError> {
    if text.trim().is_empty() {
        return Err(ScenarioError::Empty);
    }
    text.split(',').map(|step| parse_step(step.trim())).collect()
}

fn parse_step(text: &str) -> Result<Step, ScenarioError> {
    for step in WORDS {
        if step.to_string() == text {
            return Ok(step);
        }
    }
    let wrong = || ScenarioError::Step { text: text.to_owned() };
    let (verb, key) = text.split_once(' ').ok_or_else(wrong)?;
    let verb = Verb::from_name(verb).ok_or_else(wrong)?;
    match key.trim().as_bytes() {
        [key @ b'a'..=b'z'] => Ok(Step::Call { verb, key: key - b'a' }),
        _ => Err(wrong()),
    }
}

fn parse_blocks(text: &str) -> Result<u32, ScenarioError> {
    let blocks = text.parse().ok().filter(|blocks| (1..=1 << 16).contains(blocks));
    blocks.ok_or_else(|| ScenarioError::Blocks { text: text.to_owned() })
}

fn parse_kill(text: &str) -> Result<KillPoint, ScenarioError> {
    let wrong = || ScenarioError::Kill { text: text.to_owned() };
    let (point, lost) = match text.split_once('~') {
        Some((point, lost)) => (point, u64::from_str_radix(lost, 16).map_err(|_| wrong())?),
        None => (text, 0),
    };
    let (participant, access) = point.split_once('@').ok_or_else(wrong)?;
    Ok(KillPoint {
        participant: participant.trim().parse().map_err(|_| wrong())?,
        after_accesses: access.trim().parse().map_err(|_| wrong())?,
        lost,
    })
}
