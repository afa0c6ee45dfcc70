//! Two processes and one table: the parent leaves a question, the child takes it and answers.
//!
//! The program executes itself again as the child, which shares nothing with its parent but the
//! path of the table's file.
#![forbid(unsafe_code)]

use std::env;
use std::error::Error;
use std::path::{Path, PathBuf};
use std::process::{self, Command};

use shmtable::prelude::*;

const TABLE: &str = "TWO_PROCESSES_TABLE";

/// Parent or child, depending on whether somebody has said where the table is.
pub(crate) fn main() -> Result<(), Box<dyn Error>> {
    match env::var_os(TABLE) {
        Some(path) => child(Path::new(&path)),
        None => {
            let path = PathBuf::from(format!("/dev/shm/two_processes.{}", process::id()));
            let done = parent(&path);
            let removed = std::fs::remove_file(&path);
            done.and(removed.map_err(Into::into))
        }
    }
}

fn parent(path: &Path) -> Result<(), Box<dyn Error>> {
    let (options, file) = (TableOptions::default(), CreateOptions::default());
    let table = SharedTable::create_file(path, Kind::CasBucket, &options, &file)?;
    let question = Entry { key: b"question", value: b"six times seven", metadata: 0 };
    assert_eq!(table.put(question)?, Put::Inserted);
    let child = Command::new(env::current_exe()?).env(TABLE, path).status()?;
    assert!(child.success(), "the child failed: {child}");
    let mut answer = Vec::new();
    table.get(b"answer", &mut answer)?.ok_or("the child left no answer")?;
    println!("the child answered: {}", String::from_utf8(answer)?);
    Ok(())
}

fn child(path: &Path) -> Result<(), Box<dyn Error>> {
    let table = SharedTable::attach_file(path, &AttachOptions::default())?;
    let mut question = Vec::new();
    table.take(b"question", &mut question)?.ok_or("the parent left no question")?;
    assert_eq!(question, b"six times seven");
    let answer = Entry { key: b"answer", value: b"forty-two", metadata: 0 };
    assert_eq!(table.put(answer)?, Put::Inserted);
    Ok(())
}
