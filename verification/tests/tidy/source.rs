//! A source file, and the same text with comments and literals blanked out.

use std::fs;
use std::io;
use std::path::Path;

/// A Rust source of the workspace.
pub(crate) struct Source {
    /// Path below the workspace, with forward slashes.
    pub(crate) path: String,
    /// What is in it.
    pub(crate) text: String,
    /// The text with comments, strings and characters replaced by spaces, line by line the same.
    pub(crate) code: String,
}

impl Source {
    pub(crate) fn new(path: &str, text: &str) -> Self {
        Self { path: path.to_owned(), text: text.to_owned(), code: blank(text) }
    }

    /// `path:line` for a finding; lines count from 0 here and from 1 there.
    pub(crate) fn at(&self, line: usize) -> String {
        format!("{}:{}", self.path, line + 1)
    }

    /// Lines of the module doc, without `//!`.
    pub(crate) fn module_doc(&self) -> Vec<&str> {
        self.text
            .lines()
            .take_while(|line| line.starts_with("//!"))
            .map(|line| line.trim_start_matches("//!").trim())
            .collect()
    }

    /// Line numbers and texts of comments that are not documentation, without the slashes.
    pub(crate) fn comments(&self) -> impl Iterator<Item = (usize, &str)> {
        self.text.lines().zip(self.code.lines()).enumerate().filter_map(|(number, (line, code))| {
            // What precedes the slashes is the same in both, or they are inside a literal.
            let start = line.match_indices("//").map(|(start, _)| start).find(|start| {
                let before: String = line[..*start].to_owned();
                code.get(..*start) == Some(&before) || before.trim().is_empty()
            })?;
            let comment = &line[start + 2..];
            let documents = comment.starts_with('/') || comment.starts_with('!');
            let is_comment = code.get(start..).is_none_or(|rest| rest.trim().is_empty());
            (!documents && is_comment).then(|| (number, comment.trim()))
        })
    }
}

/// Every Rust source below a folder, outside build outputs and hidden folders.
pub(crate) fn collect(root: &Path) -> io::Result<Vec<Source>> {
    let mut sources = Vec::new();
    let mut folders = vec![root.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder)? {
            let path = entry?.path();
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            if path.is_dir() && name != "target" && !name.starts_with('.') {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let below = path.strip_prefix(root).unwrap_or(&path).to_string_lossy();
                sources.push(Source::new(&below.replace('\\', "/"), &fs::read_to_string(&path)?));
            }
        }
    }
    sources.sort_by(|left, right| left.path.cmp(&right.path));
    Ok(sources)
}

/// Replaces comments and literals by spaces, and keeps the line ends.
fn blank(text: &str) -> String {
    let characters: Vec<char> = text.chars().collect();
    let mut code = String::with_capacity(text.len());
    let mut at = 0;
    while at < characters.len() {
        let end = skip(&characters, at);
        if end == at {
            code.push(characters[at]);
            at += 1;
        } else {
            for character in &characters[at..end] {
                code.push(if *character == '\n' { '\n' } else { ' ' });
            }
            at = end;
        }
    }
    code
}

/// End of the comment or literal that starts here, or `at` if none does.
fn skip(text: &[char], at: usize) -> usize {
    let next = text.get(at + 1).copied();
    match text[at] {
        '/' if next == Some('/') => find(text, at, |rest| rest[0] == '\n'),
        '/' if next == Some('*') => block_comment(text, at),
        '"' => string(text, at + 1),
        'r' | 'b' | 'c' if at > 0 && is_word(text[at - 1]) => at,
        'r' | 'b' | 'c' => prefixed(text, at),
        '\'' => character(text, at),
        _ => at,
    }
}

fn is_word(character: char) -> bool {
    character.is_alphanumeric() || character == '_'
}

fn find(text: &[char], from: usize, wanted: impl Fn(&[char]) -> bool) -> usize {
    (from..text.len()).find(|at| wanted(&text[*at..])).unwrap_or(text.len())
}

fn block_comment(text: &[char], from: usize) -> usize {
    let mut depth = 0;
    let mut at = from;
    while at < text.len() {
        match &text[at..(at + 2).min(text.len())] {
            ['/', '*'] => (depth, at) = (depth + 1, at + 2),
            ['*', '/'] => (depth, at) = (depth - 1, at + 2),
            _ => at += 1,
        }
        if depth == 0 {
            return at;
        }
    }
    at
}

/// End of a string whose opening quote is behind.
fn string(text: &[char], from: usize) -> usize {
    let mut at = from;
    while at < text.len() && text[at] != '"' {
        at += if text[at] == '\\' { 2 } else { 1 };
    }
    (at + 1).min(text.len())
}

/// End of a literal with a prefix (`r"…"`, `b"…"`, `br#"…"#`, `b'…'`), or `at` if this is none.
fn prefixed(text: &[char], at: usize) -> usize {
    let mut quote = at;
    while quote < at + 2 && quote < text.len() && matches!(text[quote], 'r' | 'b' | 'c') {
        quote += 1;
    }
    let raw = text[at..quote].contains(&'r');
    let hashes = text[quote..].iter().take_while(|character| **character == '#').count();
    match text.get(quote + hashes) {
        Some('"') if raw => {
            let closes = |rest: &[char]| {
                rest[0] == '"'
                    && rest[1..].iter().take(hashes).filter(|c| **c == '#').count() == hashes
            };
            find(text, quote + hashes + 1, closes) + 1 + hashes
        }
        Some('"') if hashes == 0 => string(text, quote + 1),
        Some('\'') if hashes == 0 && text[at] == 'b' => character(text, quote),
        _ => at,
    }
}

/// End of a character literal, or `at` if this quote starts a lifetime.
fn character(text: &[char], at: usize) -> usize {
    match (text.get(at + 1), text.get(at + 2)) {
        (Some('\\'), _) => find(text, at + 3, |rest| rest[0] == '\'') + 1,
        (Some(_), Some('\'')) => at + 3,
        _ => at,
    }
}
