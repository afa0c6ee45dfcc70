//! Which lanes the processor has.

/// The widest lanes that copies use.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Lanes {
    /// One relaxed access a word.
    Words,
}

impl Lanes {
    pub(super) fn detect() -> Self {
        Self::Words
    }

    pub(super) fn name(self) -> &'static str {
        "words"
    }
}
