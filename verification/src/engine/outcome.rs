//! What an exploration may cost, and what it gave.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

/// What an exploration may cost.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Budget {
    /// Executions at most. Default 1,000,000.
    pub executions: u64,
    /// Time at most. Default 60 s.
    pub time: Duration,
    /// Involuntary switches between participants in one execution, for engines that enumerate.
    /// `None` explores without a bound. Default `None`.
    pub preemptions: Option<u32>,
    /// Shared accesses in one execution; one that needs more has failed. Default 5,000.
    pub accesses: u32,
    /// Time that an execution may go on without any shared access. Default 10 s.
    pub stall: Duration,
    /// Seed of engines that choose at random. Default 1.
    pub seed: u64,
}

impl Default for Budget {
    fn default() -> Self {
        Self {
            executions: 1_000_000,
            time: Duration::from_secs(60),
            preemptions: None,
            accesses: 5_000,
            stall: Duration::from_secs(10),
            seed: 1,
        }
    }
}

impl Budget {
    /// The default with this many executions at most.
    pub fn executions(executions: u64) -> Self {
        Self { executions, ..Self::default() }
    }

    /// The same with a bound on preemptions.
    #[must_use]
    pub fn preemptions(self, preemptions: u32) -> Self {
        Self { preemptions: Some(preemptions), ..self }
    }

    /// The same with another seed.
    #[must_use]
    pub fn seed(self, seed: u64) -> Self {
        Self { seed, ..self }
    }
}

/// How much of what there is to explore was explored.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Coverage {
    /// Every execution that the engine can produce within this bound on preemptions. What an
    /// engine cannot produce at all is on record in the litmus suite.
    Complete {
        /// The bound, or `None` for all.
        preemptions: Option<u32>,
    },
    /// A part.
    Bounded {
        /// What ended the exploration.
        why: String,
    },
}

/// What is wrong with a model.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[non_exhaustive]
pub enum FailureKind {
    /// A participant or the model panicked: usually a failed assertion.
    Panic,
    /// Participants wait for one another.
    Deadlock,
    /// Something outlived the execution: a participant never joined, or memory kept.
    Leak,
    /// One execution made more shared accesses than its budget: usually a loop that waits without
    /// `spin`, or for something that nobody will do.
    OverBudget,
    /// An execution went on without any shared access for longer than the budget allows.
    Stalled,
    /// The same choices led to different accesses.
    Divergent,
    /// More participants than the engine has.
    TooManyParticipants,
}

impl fmt::Display for FailureKind {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Panic => "panic",
            Self::Deadlock => "deadlock",
            Self::Leak => "leak",
            Self::OverBudget => "over budget",
            Self::Stalled => "stalled",
            Self::Divergent => "behaves differently on replay",
            Self::TooManyParticipants => "too many participants",
        })
    }
}

/// One failing execution.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Failure {
    /// What kind of defect it is.
    pub kind: FailureKind,
    /// What happened, and where.
    pub message: String,
    /// How to have it again.
    pub replay: Replay,
}

impl fmt::Display for Failure {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}: {}; replay {}", self.kind, self.message, self.replay)
    }
}

/// Names one execution of one model on one engine with one budget.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Replay {
    /// Name of the engine.
    pub engine: String,
    /// The budget's seed.
    pub seed: u64,
    /// Which execution, from 1.
    pub execution: u64,
}

impl fmt::Display for Replay {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}/{}/{}", self.engine, self.seed, self.execution)
    }
}

impl FromStr for Replay {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("replay {text:?} is not engine/seed/execution");
        let mut parts = text.rsplitn(3, '/');
        let execution = parts.next().and_then(|part| part.parse().ok()).ok_or_else(wrong)?;
        let seed = parts.next().and_then(|part| part.parse().ok()).ok_or_else(wrong)?;
        let engine = parts.next().ok_or_else(wrong)?.to_owned();
        Ok(Self { engine, seed, execution })
    }
}

/// What an exploration gave.
#[derive(Clone, PartialEq, Debug)]
#[must_use]
pub struct Outcome {
    /// Executions started, the failing one included.
    pub executions: u64,
    /// Executions in which a participant was killed.
    pub kills: u64,
    /// Most stores that a kill could have lost.
    pub unreleased_stores_max: u32,
    /// How much was explored.
    pub coverage: Coverage,
    /// The first failing execution.
    pub failure: Option<Failure>,
    /// Time it took.
    pub elapsed: Duration,
}

impl Outcome {
    /// Executions per second.
    pub fn rate(&self) -> f64 {
        #[expect(clippy::cast_precision_loss, reason = "a rate needs three digits")]
        let executions = self.executions as f64;
        executions / self.elapsed.as_secs_f64().max(1e-9)
    }

    /// Whether everything within the bound was explored and nothing failed.
    pub fn is_complete(&self) -> bool {
        self.failure.is_none() && matches!(self.coverage, Coverage::Complete { .. })
    }

    /// Panics with the failure, if there is one: for tests.
    #[track_caller]
    pub fn expect_pass(&self, name: &str) {
        if let Some(failure) = &self.failure {
            panic!("{name}: {failure}");
        }
    }

    /// The failure, or a panic that says that there is none: for tests.
    #[track_caller]
    pub fn expect_failure(&self, name: &str) -> &Failure {
        self.failure.as_ref().unwrap_or_else(|| panic!("{name} was expected to fail: {self}"))
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{} executions", self.executions)?;
        if self.kills > 0 {
            write!(formatter, ", {} with a kill", self.kills)?;
        }
        write!(formatter, " at {:.0}/s, ", self.rate())?;
        match (&self.failure, &self.coverage) {
            (Some(failure), _) => write!(formatter, "FAILED: {failure}"),
            (None, Coverage::Complete { preemptions: None }) => formatter.write_str("complete"),
            (None, Coverage::Complete { preemptions: Some(bound) }) => {
                write!(formatter, "complete up to {bound} preemptions")
            }
            (None, Coverage::Bounded { why }) => write!(formatter, "bounded: {why}"),
        }
    }
}
