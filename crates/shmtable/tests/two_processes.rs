//! The example `two_processes` runs.

#[path = "../examples/two_processes.rs"]
mod two_processes;

/// The child is this file executed again, so no other test may stand in it.
#[test]
fn the_child_answers_through_the_table() -> Result<(), Box<dyn std::error::Error>> {
    two_processes::main()
}
