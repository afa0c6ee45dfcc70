//! The litmus table is what the engines do today, shape by shape.
#![allow(missing_docs)]

use shm_verification::litmus::{ENGINES, Table, shapes};

#[test]
fn every_engine_gives_the_verdict_on_record_for_every_shape() {
    println!("{Table}");
    let mut differences = Vec::new();
    let mut executions = [0; ENGINES.len()];
    let mut seconds = [0.0; ENGINES.len()];
    for shape in shapes() {
        for (index, engine) in ENGINES.iter().enumerate() {
            match shape.verdict(index) {
                Ok((verdict, outcome)) => {
                    executions[index] += outcome.executions;
                    seconds[index] += outcome.elapsed.as_secs_f64();
                    if verdict != shape.verdicts[index] {
                        differences.push(format!(
                            "{} on {engine}: {verdict:?}: {outcome}",
                            shape.name
                        ));
                    }
                }
                Err(problem) => differences.push(format!("{engine}: {problem}")),
            }
        }
    }
    for (index, engine) in ENGINES.iter().enumerate() {
        println!(
            "{engine}: {} executions in {:.2} s",
            executions[index], seconds[index]
        );
    }
    assert!(shapes().count() >= 15);
    assert!(differences.is_empty(), "{}", differences.join("\n"));
}
