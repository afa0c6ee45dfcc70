//! Scenarios in which published or shipped tables have failed, and ours must not.

use super::Scenario;

/// A scenario with the defect it is for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Known {
    /// The scenario's text.
    pub scenario: &'static str,
    /// The defect, and where it was seen.
    pub defect: &'static str,
}

impl Known {
    /// The scenario.
    ///
    /// # Panics
    ///
    /// If the text is none; a test reads the whole catalogue.
    pub fn scenario(&self) -> Scenario {
        self.scenario.parse().unwrap_or_else(|error| panic!("{}: {error}", self.scenario))
    }
}

/// The catalogue.
pub const KNOWN: [Known; 21] = [
    Known { scenario: "insert a | insert a, get a", defect: "two inserts of one key both succeed" },
    Known {
        scenario: "put a : insert b | remove a, insert b",
        defect: "insert-unique through different free slots (SlabHash issue 27)",
    },
    Known {
        scenario: "put a : get a, get a | replace a, replace a",
        defect: "a value's place recurs under a reader (CLHT issues 5 and 12)",
    },
    Known {
        scenario: "put a : get a | remove a, insert a",
        defect: "a lookup misses or tears under reuse of the removed entry's block",
    },
    Known {
        scenario: "put a : get a | remove a, insert b",
        defect: "a lookup gives another key's value from a recycled block",
    },
    Known {
        scenario: "put a : replace a | remove a, insert a | get a",
        defect: "a stale in-place replace gives a phantom value (DLHT in Go, design note)",
    },
    Known {
        scenario: "put a : remove a | insert a, remove a",
        defect: "a blind clean of the live bit hides a newer entry",
    },
    Known {
        scenario: "put a : take a | take a, insert a",
        defect: "a stale take removes what it did not copy",
    },
    Known {
        scenario: "put a : take a | take a, insert a, take a, insert a, take a, insert a, take a, \
                   insert a",
        defect: "a short slot generation wraps under a stopped take (HARD-POINTS H6)",
    },
    Known {
        scenario: "put a, put b : remove a | remove a, remove b, insert a",
        defect: "a marked place is taken for an empty one (libcds issue 111)",
    },
    Known {
        scenario: "put a : insert b | insert c, remove c, insert c, remove c, insert c",
        defect: "a stale head of a free list succeeds (iceoryx 2351, rpmalloc 32)",
    },
    Known {
        scenario: "put a : replace a | put b, remove b, put b, remove b",
        defect: "a block is claimed twice after two trips through the free list",
    },
    Known {
        scenario: "put a : put a | put a, get a",
        defect: "a replace loses the other's update",
    },
    Known {
        scenario: "put a : take a | replace a | take a",
        defect: "two takes share an entry that is replaced meanwhile",
    },
    Known {
        scenario: "put a, put b : take a, take b | take b, take a",
        defect: "two keys of one bucket hold each other up",
    },
    Known {
        scenario: "put a : insert a | take a | insert a",
        defect: "two inserts succeed on one removal",
    },
    Known {
        scenario: "put a : remove a, insert b | get b, get a",
        defect: "a miss is concluded from a slot that moved",
    },
    Known {
        scenario: "put a : exchange a | exchange a",
        defect: "two exchanges of one version both succeed",
    },
    Known {
        scenario: "put a : remove_if a | remove a, insert a",
        defect: "what was put under the key meanwhile is removed as if it were what was seen",
    },
    Known {
        scenario: "put a : exchange a | take a, insert a, take a, insert a",
        defect: "a version recurs when the block does",
    },
    Known {
        scenario: "put a : remove_if a | exchange a | take a",
        defect: "an entry is exchanged and removed at once",
    },
];
