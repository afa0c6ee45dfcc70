//! The rules, each a function from sources to findings.

use std::collections::BTreeMap;
use std::collections::BTreeSet;

use crate::source::Source;

/// Columns of a line.
const LINE_COLUMNS_MAX: usize = 100;

/// Lines of a function, signature and closing brace included.
const FUNCTION_LINES_MAX: usize = 70;

/// Lines of a file.
const FILE_LINES_MAX: usize = 600;

/// What is above a ceiling: file, function or nothing, lines. A debt only shrinks.
pub(crate) const DEBTS: [Debt; 0] = [];

/// A file, a function in it or nothing, and its lines.
pub(crate) type Debt = (&'static str, &'static str, usize);

/// Folders and files where memory is mapped or a system call is made by hand.
const UNSAFE_HOMES: [&str; 3] =
    ["crates/arena/src/mapped/", "benches/src/sys.rs", "verification/src/sys.rs"];

/// Roots that deny unsafe code instead of forbidding it, since a module below them needs it.
const DENYING_ROOTS: [&str; 3] =
    ["crates/arena/src/lib.rs", "benches/src/lib.rs", "verification/src/lib.rs"];

/// Files that name atomics: the product's one, the benches that compare with bare ones, and the
/// engines that bring their own.
pub(crate) const ATOMIC_HOMES: [&str; 6] = [
    "benches/benches/memory.rs",
    "benches/src/sys.rs",
    "crates/arena/src/words.rs",
    "verification/src/memory/checked.rs",
    "verification/src/memory/loom.rs",
    "verification/src/memory/shuttle.rs",
];

/// Where the one sequentially consistent operation is declared, and where it is weakened.
const FENCE_HOMES: [&str; 2] = ["crates/arena/src/memory.rs", "verification/src/memory/weaken.rs"];

/// Tags of comments; all but the first name a row in parentheses.
const TAGS: [&str; 4] = ["SAFETY", "ORDERING", "CRASH", "INVARIANT"];

/// Headings of the module doc of a table, in this order.
const HEADINGS: [&str; 8] = [
    "# Idea",
    "# Layout",
    "# Operations",
    "# Invariants",
    "# Orderings",
    "# Crash",
    "# Limits",
    "# Source",
];

/// Lines that are too wide, functions and files that are too long.
///
/// Rows of tables and boxes of drawings in documentation cannot be broken and may be wider.
pub(crate) fn ceilings(source: &Source, debts: &[Debt]) -> Vec<String> {
    let mut findings = Vec::new();
    for (number, line) in source.text.lines().enumerate() {
        let columns = line.chars().count();
        let unbreakable = line.starts_with("//! |") || line.contains(['│', '─']);
        if columns > LINE_COLUMNS_MAX && !unbreakable {
            findings.push(format!(
                "{}: {columns} columns, at most {LINE_COLUMNS_MAX}",
                source.at(number)
            ));
        }
    }
    for (name, first, last) in functions(&source.code) {
        let lines = last - first + 1;
        let what = format!("{}: fn {name}", source.at(first));
        let owed = owed(debts, &source.path, &name);
        findings.extend(ceiling(&what, lines, FUNCTION_LINES_MAX, owed));
    }
    let lines = source.text.lines().count();
    let owed = owed(debts, &source.path, "");
    findings.extend(ceiling(&source.path, lines, FILE_LINES_MAX, owed));
    findings
}

/// What a file or a function in it may have above the ceiling.
fn owed(debts: &[Debt], path: &str, name: &str) -> Option<usize> {
    let debt = debts.iter().find(|(file, function, _)| *file == path && *function == name);
    debt.map(|(.., lines)| *lines)
}

/// A finding if there are more lines than the ceiling and the debt allow.
fn ceiling(what: &str, lines: usize, lines_max: usize, owed: Option<usize>) -> Option<String> {
    let allowed = owed.unwrap_or(lines_max);
    (lines > allowed).then(|| format!("{what} has {lines} lines, at most {allowed}"))
}

/// Debts that are larger than what is owed, or paid.
pub(crate) fn stale_debts(sources: &[Source], debts: &[Debt]) -> Vec<String> {
    let is_owed = |(path, name, owed): &Debt| {
        let Some(source) = sources.iter().find(|source| source.path == *path) else {
            return false;
        };
        if name.is_empty() {
            return source.text.lines().count() == *owed;
        }
        functions(&source.code)
            .iter()
            .any(|(function, first, last)| function == name && last - first + 1 == *owed)
    };
    debts
        .iter()
        .filter(|debt| !is_owed(debt))
        .map(|(path, name, owed)| {
            format!("{path} {name}: the debt of {owed} lines shrank: lower it")
        })
        .collect()
}

/// Name, first and last line of each function with a body.
fn functions(code: &str) -> Vec<(String, usize, usize)> {
    let mut functions = Vec::new();
    for (at, _) in words(code).filter(|(_, word)| *word == "fn") {
        let rest = &code[at + 2..];
        let name: String =
            rest.trim_start().chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
        // A pointer type has no name.
        if name.is_empty() {
            continue;
        }
        if let Some(end) = end_of_body(rest) {
            let line = |at: usize| code[..at].matches('\n').count();
            functions.push((name, line(at), line(at + 2 + end)));
        }
    }
    functions
}

/// Distance to the brace that closes the first block, or `None` if a semicolon comes first.
fn end_of_body(rest: &str) -> Option<usize> {
    let mut brackets = 0_u32;
    let mut braces = 0_u32;
    for (at, character) in rest.char_indices() {
        match character {
            '(' | '[' => brackets += 1,
            ')' | ']' => brackets = brackets.saturating_sub(1),
            ';' if brackets == 0 && braces == 0 => return None,
            '{' => braces += 1,
            '}' if braces <= 1 => return Some(at),
            '}' => braces -= 1,
            _ => {}
        }
    }
    None
}

/// Identifiers and keywords with their places.
fn words(code: &str) -> impl Iterator<Item = (usize, &str)> {
    let is_word = |character: char| character.is_alphanumeric() || character == '_';
    let mut rest = 0;
    std::iter::from_fn(move || {
        let start = rest + code[rest..].find(is_word)?;
        let end = code[start..].find(|c| !is_word(c)).map_or(code.len(), |length| start + length);
        rest = end;
        Some((start, &code[start..end]))
    })
}

/// Unsafe code outside its homes, and crate roots that do not rule it out.
pub(crate) fn unsafe_homes(sources: &[Source]) -> Vec<String> {
    let mut findings = Vec::new();
    for source in sources {
        if !UNSAFE_HOMES.iter().any(|home| source.path.starts_with(home)) {
            for (number, line) in source.code.lines().enumerate() {
                if words(line).any(|(_, word)| word == "unsafe") {
                    findings.push(format!("{}: unsafe outside its homes", source.at(number)));
                }
            }
        }
        let is_root = source.path.ends_with("src/lib.rs")
            || source.path.ends_with("src/main.rs")
            || source.path.contains("src/bin/");
        let forbids = source.code.contains("#![forbid(unsafe_code)]");
        let denies = source.code.contains("#![deny(unsafe_code)]")
            && DENYING_ROOTS.contains(&source.path.as_str());
        // A program of one line has no code of its own.
        if is_root && !forbids && !denies && !source.code.trim().is_empty() {
            findings.push(format!("{}: no #![forbid(unsafe_code)]", source.path));
        }
    }
    findings
}

/// Atomics outside their homes, and homes that name none.
pub(crate) fn atomic_homes(sources: &[Source]) -> Vec<String> {
    let mut findings = Vec::new();
    for source in sources {
        let named: Vec<usize> = source
            .code
            .lines()
            .enumerate()
            .filter(|(_, line)| names_atomic(line))
            .map(|(number, _)| number)
            .collect();
        let is_home = ATOMIC_HOMES.contains(&source.path.as_str());
        if is_home && named.is_empty() {
            findings.push(format!("{}: names no atomic: drop it from the list", source.path));
        } else if !is_home {
            findings.extend(
                named.iter().map(|line| format!("{}: atomic outside its homes", source.at(*line))),
            );
        }
    }
    for home in ATOMIC_HOMES {
        if !sources.iter().any(|source| source.path == home) {
            findings.push(format!("{home}: is gone: drop it from the list"));
        }
    }
    findings
}

fn names_atomic(line: &str) -> bool {
    line.contains("sync::atomic")
        || words(line).any(|(_, word)| {
            word.strip_prefix("Atomic").is_some_and(|rest| rest.starts_with(char::is_uppercase))
        })
}

/// Sequential consistency other than as a fence.
pub(crate) fn sequential_consistency(source: &Source) -> Vec<String> {
    let is_allowed = |line: &str| {
        let fences =
            line.matches("Fence::SeqCst").count() + line.matches("Strength::SeqCst").count();
        // Where an engine's own order is made of a fence's.
        let translated = line.matches("Fence::SeqCst => Ordering::SeqCst").count();
        line.matches("SeqCst").count() == fences + translated
            || (FENCE_HOMES.contains(&source.path.as_str()) && line.trim() == "SeqCst,")
    };
    source
        .code
        .lines()
        .enumerate()
        .filter(|(_, line)| words(line).any(|(_, word)| word == "SeqCst") && !is_allowed(line))
        .map(|(number, _)| format!("{}: sequentially consistent access", source.at(number)))
        .collect()
}

/// Comments that start with a tag of another kind, or with one of the four in the wrong form.
pub(crate) fn comment_tags(source: &Source) -> Vec<String> {
    let mut findings = Vec::new();
    for (number, comment) in source.comments() {
        let mut find = |problem: &str| {
            findings.push(format!("{}: {problem}: {comment}", source.at(number)));
        };
        if comment.chars().take(4).filter(|c| "-=*#/~".contains(*c)).count() == 4 {
            find("banner");
        }
        if words(comment).any(|(_, word)| ["TODO", "FIXME", "XXX", "HACK"].contains(&word)) {
            find("unfinished work belongs in an issue");
            continue;
        }
        let tag: String = comment.chars().take_while(char::is_ascii_uppercase).collect();
        let rest = &comment[tag.len()..];
        let form = rest.split_once(':').map(|(form, _)| form);
        let named =
            form.is_some_and(|form| form.len() > 2 && form.starts_with('(') && form.ends_with(')'));
        let is_tag = tag.len() >= 3 && (form == Some("") || named);
        if TAGS.contains(&tag.as_str()) {
            let right = if tag == TAGS[0] { form == Some("") } else { named };
            if !right {
                find("tags are SAFETY: and ORDERING(id):, CRASH(id):, INVARIANT(id):");
            }
        } else if is_tag {
            find("not one of the four tags");
        }
    }
    findings
}

/// Module docs of tables that lack a heading or have them in another order.
pub(crate) fn table_headings(sources: &[Source]) -> Vec<String> {
    let mut findings = Vec::new();
    for module in table_modules(sources) {
        let Some(source) = sources.iter().find(|source| source.path == module) else {
            findings.push(format!("{module}: a table's module has no such file"));
            continue;
        };
        let found: Vec<&str> =
            source.module_doc().into_iter().filter(|line| line.starts_with("# ")).collect();
        if found != HEADINGS {
            findings.push(format!(
                "{module}: the headings are {}, not {}",
                found.join(", "),
                HEADINGS.join(", ")
            ));
        }
    }
    findings
}

/// The files that hold the module docs of the designs: for `crates/table/src/x.rs` itself, for a
/// design in a folder `x` either `x/mod.rs` or `x.rs`.
fn table_modules(sources: &[Source]) -> BTreeSet<String> {
    let mut modules = BTreeSet::new();
    for source in sources {
        let Some(below) = source.path.strip_prefix("crates/table/src/") else {
            continue;
        };
        let is_design = source
            .code
            .split("impl")
            .skip(1)
            .filter_map(|rest| rest.split_once('{'))
            .any(|(head, _)| head.contains("Design<M> for"));
        if !is_design {
            continue;
        }
        let beside = |folder: &str| format!("crates/table/src/{folder}.rs");
        modules.insert(match below.split_once('/') {
            Some((folder, _)) if sources.iter().any(|other| other.path == beside(folder)) => {
                beside(folder)
            }
            Some((folder, _)) => format!("crates/table/src/{folder}/mod.rs"),
            None => source.path.clone(),
        });
    }
    modules
}

/// Orderings cited in code without a row in their module's table, and rows that no code cites.
pub(crate) fn ordering_rows(sources: &[Source]) -> Vec<String> {
    let documented: BTreeMap<&str, BTreeSet<String>> =
        sources.iter().filter_map(|source| Some((source.path.as_str(), rows(source)?))).collect();
    let mut cited: BTreeMap<&str, BTreeSet<String>> = BTreeMap::new();
    let mut findings = Vec::new();
    for source in sources {
        for (number, comment) in source.comments() {
            let ids = comment.strip_prefix("ORDERING(").and_then(|rest| rest.split_once(')'));
            let Some((ids, _)) = ids else { continue };
            let home = documented_home(&source.path, ids, &documented);
            for id in ids.split(',').map(str::trim) {
                match home {
                    Some((path, rows)) if rows.contains(id) => {
                        cited.entry(path).or_default().insert(id.to_owned());
                    }
                    Some((path, _)) => findings.push(format!(
                        "{}: ORDERING({id}) has no row in the table of {path}",
                        source.at(number)
                    )),
                    None => findings.push(format!(
                        "{}: ORDERING({id}), but no module doc above has a table of orderings",
                        source.at(number)
                    )),
                }
            }
        }
    }
    for (path, rows) in &documented {
        let known = cited.remove(path).unwrap_or_default();
        for id in rows.difference(&known) {
            findings.push(format!("{path}: no code cites the row {id} of its orderings"));
        }
    }
    findings
}

/// The table for the orderings of a file: its own, that of a module above, or one beside it in the
/// same folder that has these rows.
fn documented_home<'a, 'b>(
    path: &str,
    ids: &str,
    documented: &'b BTreeMap<&'a str, BTreeSet<String>>,
) -> Option<(&'b &'a str, &'b BTreeSet<String>)> {
    let above = homes(path).find_map(|home| documented.get_key_value(home.as_str()));
    above.or_else(|| {
        let folder = path.rsplit_once('/').map_or("", |(folder, _)| folder);
        documented.iter().find(|(other, rows)| {
            other.rsplit_once('/').map_or("", |(folder, _)| folder) == folder
                && ids.split(',').all(|id| rows.contains(id.trim()))
        })
    })
}

/// The files whose module doc may hold the table for a file: itself, then the modules above.
fn homes(path: &str) -> impl Iterator<Item = String> {
    let mut above = path.to_owned();
    let mut folder = Some(path.to_owned());
    let mut candidates = vec![std::mem::take(&mut above)];
    while let Some((parent, _)) = folder.as_deref().and_then(|folder| folder.rsplit_once('/')) {
        candidates.extend(["mod.rs", "lib.rs"].map(|name| format!("{parent}/{name}")));
        candidates.push(format!("{parent}.rs"));
        folder = Some(parent.to_owned());
    }
    candidates.into_iter()
}

/// Ids in the first column of the table below `# Orderings`, if the module doc has that heading.
fn rows(source: &Source) -> Option<BTreeSet<String>> {
    let doc = source.module_doc();
    let start = doc.iter().position(|line| *line == "# Orderings")?;
    let section = doc[start + 1..].iter().take_while(|line| !line.starts_with("# "));
    let cells = section.filter_map(|line| line.strip_prefix('|')?.split('|').next());
    // The first two lines of a table are its head and a rule.
    let ids = cells.skip(2).flat_map(|cell| cell.split(','));
    Some(ids.map(|id| id.trim().trim_matches('`').to_owned()).collect())
}
