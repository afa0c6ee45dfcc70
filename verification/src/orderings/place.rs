//! Names for accesses that survive edits elsewhere in their file.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::{fs, io};

use crate::memory::{Mutation, Ordered, Site, Strength};

/// An access whose order is weakened by one step.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Place {
    /// File, from the root of the workspace.
    pub file: String,
    /// The function that makes the access, or that calls the one which makes it for its callers.
    pub function: String,
    /// What is called, its order, and the weaker one, such as `load acquire -> relaxed`. Of several
    /// alike in a function, those after the first have a number.
    pub change: String,
}

impl fmt::Display for Place {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{} {}: {}", self.file, self.function, self.change)
    }
}

/// The sources in which accesses lie, read once.
#[derive(Debug)]
pub struct Sources {
    root: PathBuf,
    texts: BTreeMap<String, Source>,
}

/// The text of one file.
#[derive(Clone, Debug)]
pub struct Source {
    lines: Vec<String>,
}

impl Sources {
    /// The sources of this workspace.
    pub fn of_workspace() -> Self {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
        Self { root, texts: BTreeMap::new() }
    }

    /// A file by its path from the root.
    ///
    /// # Errors
    ///
    /// If it cannot be read.
    pub fn file(&mut self, path: &str) -> io::Result<&Source> {
        if !self.texts.contains_key(path) {
            let text = fs::read_to_string(self.root.join(path))?;
            self.texts.insert(path.to_owned(), Source::new(&text));
        }
        Ok(&self.texts[path])
    }

    /// Names every mutation of these sites, with the ids of its `ORDERING` comment.
    ///
    /// # Errors
    ///
    /// If a file cannot be read.
    pub fn name_all(&mut self, sites: &[Site]) -> io::Result<Vec<(Place, Vec<String>, Mutation)>> {
        let mut sites = sites.to_vec();
        sites.sort();
        let mut alike: BTreeMap<(String, String, String), u32> = BTreeMap::new();
        let mut named = Vec::new();
        for site in sites {
            let source = self.file(site.file)?;
            let function = source.function_at(site.line);
            let call = source.call_at(site.line, site.column);
            let ids = source.ids_at(site.line);
            let (success, strength) = match site.ordered {
                Ordered::ExchangeFailure(strength) => (" failing", strength),
                Ordered::Load(strength)
                | Ordered::Store(strength)
                | Ordered::Rmw(strength)
                | Ordered::ExchangeSuccess(strength)
                | Ordered::Fence(strength) => ("", strength),
            };
            let is_fence = matches!(site.ordered, Ordered::Fence(_));
            let access = format!("{call}{success} {}", name(strength, is_fence));
            let key = (site.file.to_owned(), function.clone(), access.clone());
            let count = alike.entry(key).or_insert(0);
            *count += 1;
            let number = if *count == 1 { String::new() } else { format!(" {count}") };
            for mutation in site.mutations() {
                let change = format!("{access}{number} -> {}", name(mutation.weaker, is_fence));
                let place =
                    Place { file: site.file.to_owned(), function: function.clone(), change };
                named.push((place, ids.clone(), mutation));
            }
        }
        Ok(named)
    }
}

const fn name(strength: Strength, is_fence: bool) -> &'static str {
    match strength {
        Strength::Relaxed if is_fence => "none",
        Strength::Relaxed => "relaxed",
        Strength::Acquire => "acquire",
        Strength::Release => "release",
        Strength::AcqRel => "acquire-release",
        Strength::Sequential => "sequential",
    }
}

impl Source {
    /// A file with this text.
    pub fn new(text: &str) -> Self {
        Self { lines: text.lines().map(str::to_owned).collect() }
    }

    /// Lines of code before and at this one, the nearest first, with their numbers from 1.
    fn upwards(&self, line: u32) -> impl Iterator<Item = (usize, &str)> {
        let end = (line as usize).min(self.lines.len());
        self.lines[..end].iter().enumerate().rev().map(|(index, text)| (index + 1, text.trim()))
    }

    /// Name of the function around a line.
    pub fn function_at(&self, line: u32) -> String {
        self.upwards(line)
            .find_map(|(_, text)| function_name(text))
            .unwrap_or_else(|| "none".to_owned())
    }

    /// The word that starts here.
    fn call_at(&self, line: u32, column: u32) -> String {
        let text = (line as usize).checked_sub(1).and_then(|index| self.lines.get(index));
        text.map_or(String::new(), |text| {
            let rest = text.chars().skip((column as usize).saturating_sub(1));
            rest.take_while(|letter| letter.is_alphanumeric() || *letter == '_').collect()
        })
    }

    /// The ids of the comment above the statement in which a line lies.
    pub fn ids_at(&self, line: u32) -> Vec<String> {
        for (number, text) in self.upwards(line) {
            if let Some(comment) = text.strip_prefix("//") {
                let ids = comment.trim().strip_prefix("ORDERING(").and_then(|rest| {
                    let (ids, _) = rest.split_once(')')?;
                    Some(ids.split(',').map(|id| id.trim().to_owned()).collect())
                });
                match ids {
                    Some(ids) => return ids,
                    None => continue,
                }
            }
            if number < line as usize && text.ends_with([';', '{', '}']) {
                break;
            }
        }
        Vec::new()
    }
}

/// Name of the function that a line declares, if it declares one.
pub(crate) fn function_name(text: &str) -> Option<String> {
    if text.starts_with("//") {
        return None;
    }
    let (before, rest) = text.split_once("fn ")?;
    let declares = before.split_whitespace().all(|word| {
        word == "pub" || word.starts_with("pub(") || word.ends_with(')') || word == "const"
    });
    let name: String = rest.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
    (declares && !name.is_empty()).then_some(name)
}
