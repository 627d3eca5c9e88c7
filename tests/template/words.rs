//! No text of the project uses a retired word: one word has one meaning, and a reader finds it by the field's own term.
//!
//! `docs/glossary.md` lists the retired words. `.config/retired-words.txt` lists, as `path count`, the files that still have
//! some: a file may get fewer, and its number has to follow; none may get more.

use std::collections::{BTreeMap, BTreeSet};

use crate::code;
use crate::docs::project_files;

/// The glossary, with the table of retired words under its last heading.
const GLOSSARY: &str = "docs/glossary.md";
const RETIRED: &str = "## Retired words";
/// The files that may still have some, and how many.
const EXCEPTIONS: &str = ".config/retired-words.txt";

/// The first column of the glossary's last table.
fn retired() -> BTreeSet<String> {
    let glossary = code::read(GLOSSARY);
    let (_, table) = glossary.split_once(RETIRED).unwrap();
    let rows = table.lines().filter(|line| line.starts_with("| ")).skip(1);
    let cells = rows.filter_map(|row| row.split('|').nth(1));
    cells.flat_map(|cell| cell.split(',')).map(|word| word.trim().to_owned()).collect()
}

/// The words of a line in lower case: identifiers are split at `_` and at each capital that begins a word.
fn words(line: &str) -> Vec<String> {
    let letters: Vec<char> = line.chars().collect();
    let mut words = vec![String::new()];
    for (index, letter) in letters.iter().enumerate() {
        let before = index.checked_sub(1).map_or(' ', |at| letters[at]);
        let after = letters.get(index + 1).copied().unwrap_or(' ');
        let begins = letter.is_uppercase() && (before.is_lowercase() || after.is_lowercase());
        if begins || !letter.is_alphabetic() {
            words.push(String::new());
        }
        if letter.is_alphabetic() {
            words.last_mut().unwrap().extend(letter.to_lowercase());
        }
    }
    words.retain(|word| !word.is_empty());
    words
}

/// Where a file has retired words: `line: word`.
fn uses(file: &str, retired: &BTreeSet<String>) -> Vec<String> {
    let text = code::read(file);
    let text = if file == GLOSSARY { text.split_once(RETIRED).unwrap().0 } else { &text };
    let lines = text.lines().enumerate().map(|(index, line)| (index + 1, words(line)));
    lines
        .flat_map(|(number, words)| words.into_iter().map(move |word| (number, word)))
        .filter(|(_, word)| retired.contains(word))
        .map(|(number, word)| format!("line {number}: {word}"))
        .collect()
}

fn exceptions() -> BTreeMap<String, usize> {
    let text = code::read(EXCEPTIONS);
    let lines = text.lines().filter(|line| !line.starts_with('#') && !line.trim().is_empty());
    let parsed = lines.map(|line| {
        let (path, count) =
            line.rsplit_once(' ').unwrap_or_else(|| panic!("{EXCEPTIONS}: {line:?} is not `path count`"));
        (path.to_owned(), count.parse().unwrap_or_else(|_| panic!("{EXCEPTIONS}: {count:?} is not a number")))
    });
    parsed.collect()
}

#[test]
fn retired_words_only_become_fewer() {
    let (retired, allowed) = (retired(), exceptions());
    let files = project_files(|name| {
        name == "Makefile" || [".rs", ".sql", ".md", ".yaml", ".toml"].iter().any(|ending| name.ends_with(ending))
    });
    let mut found: BTreeMap<String, Vec<String>> =
        files.into_iter().map(|file| (file.clone(), uses(&file, &retired))).collect();
    found.retain(|_, uses| !uses.is_empty());
    let mut problems = Vec::new();
    for (file, uses) in &found {
        let limit = allowed.get(file).copied().unwrap_or_default();
        if uses.len() > limit {
            problems.push(format!("{file} has {} retired words, {limit} are allowed: {}", uses.len(), uses.join(", ")));
        }
    }
    for (file, limit) in &allowed {
        let count = found.get(file).map_or(0, Vec::len);
        if count < *limit {
            problems
                .push(format!("{file} has only {count} retired words: lower its number from {limit} in {EXCEPTIONS}"));
        }
    }
    let current: Vec<String> = found.iter().map(|(file, uses)| format!("{file} {}", uses.len())).collect();
    assert!(
        problems.is_empty(),
        "{}\n\n{GLOSSARY} says what to write instead. The list may only shrink; the current counts, for {EXCEPTIONS}:\n{}\n",
        problems.join("\n"),
        current.join("\n")
    );
}

#[test]
fn identifiers_are_split_into_words() {
    let found = words("fn sql_only(HTTPServer: Vec<u8>) { isDone_2 }");
    assert_eq!(found, ["fn", "sql", "only", "http", "server", "vec", "u", "is", "done"]);
}

#[test]
fn the_glossary_lists_the_retired_words_one_by_one() {
    let retired = retired();
    assert!(retired.len() > 20, "{retired:?}");
    assert!(retired.iter().all(|word| word.bytes().all(|byte| byte.is_ascii_lowercase())), "{retired:?}");
}
