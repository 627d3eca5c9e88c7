//! The docs against the code: links lead somewhere, each variable, setting, parameter, route and command is documented, and
//! what the docs show exists. Text only: nothing here needs a database.

use std::collections::{BTreeMap, BTreeSet};

use regex::Regex;

use crate::code;
use crate::template::Template;

/// Where each environment variable and each key of `system_config` is documented.
const CONFIGURATION: &str = "docs/configuration.md";
/// The README has to be read in minutes.
const README_BYTES: usize = 8_192;

/// The files of the project whose name this accepts, from the project's folder on. What `.gitignore` names, and hidden
/// folders but `.config`, are no part of it.
pub(crate) fn project_files(is_wanted: impl Fn(&str) -> bool) -> Vec<String> {
    let ignored: Vec<String> =
        code::read(".gitignore").lines().map(|line| line.trim_end_matches('/').to_owned()).collect();
    let (mut folders, mut found) = (vec![String::new()], Vec::new());
    while let Some(folder) = folders.pop() {
        for name in code::files(&folder) {
            let path = if folder.is_empty() { name.clone() } else { format!("{folder}/{name}") };
            let is_hidden = name.starts_with('.') && name != ".config";
            if code::is_folder(&path) {
                if !is_hidden && name != "node_modules" && !ignored.contains(&name) {
                    folders.push(path);
                }
            } else if is_wanted(&name) {
                found.push(path);
            }
        }
    }
    found.sort();
    found
}

fn documents() -> Vec<String> {
    project_files(|name| name.ends_with(".md"))
}

/// The sources that run in production: those of tests, and what follows `#[cfg(test)]`, left out.
fn sources() -> Vec<(String, String)> {
    let files = project_files(|name| name.ends_with(".rs") || name.ends_with(".sql"));
    let is_ours = |file: &String| {
        !file.starts_with("tests/")
            && !file.contains("/tests/")
            && !file.ends_with("/tests.rs")
            && !file.ends_with("_tests.rs")
    };
    let read = |file: String| {
        let text = code::read(&file);
        let text = text.split("#[cfg(test)]\nmod ").next().unwrap_or_default().to_owned();
        (file, text)
    };
    files.into_iter().filter(is_ours).map(read).collect()
}

fn regex(pattern: &str) -> Regex {
    Regex::new(pattern).unwrap()
}

/// What the first group of a pattern matches in a text.
fn captures(pattern: &str, text: &str) -> BTreeSet<String> {
    regex(pattern).captures_iter(text).map(|found| found[1].to_owned()).collect()
}

/// A Markdown file as prose and code: the text outside of fenced blocks, and each block with its language.
fn parts(text: &str) -> (String, Vec<(String, String)>) {
    let (mut prose, mut blocks) = (String::new(), Vec::new());
    let mut open: Option<(String, String)> = None;
    for line in text.lines() {
        match (line.trim_start().strip_prefix("```"), &mut open) {
            (Some(language), None) => open = Some((language.trim().to_owned(), String::new())),
            (Some(_), Some(_)) => blocks.extend(open.take()),
            (None, Some((_, block))) => *block += &format!("{}\n", line.trim_start()),
            (None, None) => prose += &format!("{line}\n"),
        }
    }
    assert!(open.is_none(), "a fenced block has no end");
    (prose, blocks)
}

/// The anchors of a Markdown file: GitHub makes a heading's lower case, drops punctuation, and puts `-` for a space; a
/// repeated one gets a number.
fn anchors(text: &str) -> BTreeSet<String> {
    let mut seen: BTreeMap<String, usize> = BTreeMap::new();
    let (prose, _) = parts(text);
    let headings = prose.lines().filter(|line| line.starts_with('#'));
    let linked = regex(r"\[([^\]]*)\]\([^)]*\)");
    let slugs = headings.map(|line| {
        let plain = linked.replace_all(line.trim_start_matches('#').trim(), "$1").to_lowercase();
        let kept = plain.chars().filter(|letter| letter.is_alphanumeric() || "-_ ".contains(*letter));
        let slug: String = kept.map(|letter| if letter == ' ' { '-' } else { letter }).collect();
        let times = seen.entry(slug.clone()).and_modify(|times| *times += 1).or_default();
        if *times == 0 { slug } else { format!("{slug}-{times}") }
    });
    slugs.collect()
}

/// The targets of a Markdown file's links; code is not read.
fn links(text: &str) -> BTreeSet<String> {
    let (prose, _) = parts(text);
    captures(r"\]\(([^)\s]+)\)", &regex("`[^`\n]*`").replace_all(&prose, "code"))
}

/// `../` and `./` taken out of a path.
fn resolved(folder: &str, link: &str) -> String {
    let mut path: Vec<&str> = folder.split('/').filter(|part| !part.is_empty()).collect();
    for part in link.split('/') {
        match part {
            "." => {}
            ".." => assert!(path.pop().is_some(), "{link} leaves the project"),
            part => path.push(part),
        }
    }
    path.join("/")
}

#[test]
fn every_link_leads_to_a_file_and_a_heading() {
    let mut broken = Vec::new();
    for document in documents() {
        let folder = document.rsplit_once('/').map_or("", |(folder, _)| folder);
        for link in links(&code::read(&document)) {
            if link.contains("://") {
                let is_url = url::Url::parse(&link).is_ok_and(|url| url.scheme() == "https" && url.host().is_some());
                broken.extend((!is_url).then(|| format!("{document}: {link} is not an https URL")));
                continue;
            }
            let (path, anchor) = link.split_once('#').map_or((link.as_str(), None), |(path, it)| (path, Some(it)));
            let file = if path.is_empty() { document.clone() } else { resolved(folder, path) };
            if !code::exists(&file) {
                broken.push(format!("{document}: {link}: there is no {file}"));
            } else if let Some(anchor) = anchor {
                let is_known = file.ends_with(".md") && anchors(&code::read(&file)).contains(anchor);
                broken.extend((!is_known).then(|| format!("{document}: {link}: {file} has no heading #{anchor}")));
            }
        }
    }
    assert!(broken.is_empty(), "{}", broken.join("\n"));
}

#[test]
fn the_readme_is_short_and_every_document_is_in_the_table_of_contents() {
    let size = code::read("README.md").len();
    assert!(size <= README_BYTES, "README.md has {size} bytes, {README_BYTES} are allowed: move something to docs/");
    let contents = links(&code::read("docs/README.md"));
    for document in code::files("docs").iter().filter(|name| *name != "README.md") {
        assert!(
            contents.iter().any(|link| link.split('#').next() == Some(document)),
            "docs/README.md has no {document}"
        );
    }
}

#[test]
fn the_table_of_contents_has_the_words_that_people_search_for() {
    let contents = code::read("docs/README.md").to_lowercase();
    let words =
        "silence, rate limit, retry, back-off, throttle, suppress, purge, retention, variable, migrate, deduplicate";
    for word in words.split(", ") {
        assert!(contents.contains(word), "docs/README.md does not say where {word:?} is documented");
    }
}

/// The variables that programs read: the functions are asked, the tool and the local stack are searched.
fn variables() -> BTreeSet<String> {
    let mut found: BTreeSet<String> = code::functions().iter().flat_map(|it| code::variables(it)).collect();
    for (file, text) in sources() {
        if !["shared/", "cli/", "local/", "functions/"].iter().any(|folder| file.starts_with(folder)) {
            continue;
        }
        found.extend(captures(
            r#"\b(?:optional|required|secret|token|milliseconds|get|address|receivers)\(\s*(?:environment,\s*)?"([A-Z][A-Z0-9_]+)""#,
            &text,
        ));
        found.extend(captures(r#"const [A-Z_]*VARIABLE[A-Z_]*: &(?:'static )?str = "([A-Z][A-Z0-9_]+)""#, &text));
        found.extend(captures(r#"\b(?:variable|parameter): "([A-Z][A-Z0-9_]+)""#, &text));
    }
    found
}

/// The names in the first column of the tables under a heading (of the second level).
fn rows_under(document: &str, heading: &str) -> BTreeSet<String> {
    let text = code::read(document);
    let sections = text.split("\n## ").filter(|section| section.starts_with(heading));
    let section: String = sections.collect();
    assert!(!section.is_empty(), "{document} has no heading {heading:?}");
    let cells = section.lines().filter(|line| line.starts_with("| `")).filter_map(|line| line.split('|').nth(1));
    cells.flat_map(|cell| captures("`([A-Za-z0-9_]+)", cell)).collect()
}

#[test]
fn every_environment_variable_is_documented_and_every_documented_one_is_read() {
    let (read, documented) = (variables(), rows_under(CONFIGURATION, "Environment variables"));
    assert!(read.len() > 50, "{read:?}");
    let missing: Vec<_> = read.difference(&documented).collect();
    assert!(missing.is_empty(), "{CONFIGURATION} lacks {missing:?}");
    // One that begins so has a name that the operator chooses.
    let is_open = |name: &String| name.ends_with('_');
    let unknown: Vec<_> = documented.difference(&read).filter(|name| !is_open(name)).collect();
    assert!(unknown.is_empty(), "{CONFIGURATION} documents {unknown:?}, which nothing reads");
}

/// The keys of `system_config` that migrations seed and that sources read.
fn settings() -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for (file, text) in sources().iter().filter(|(_, text)| text.contains("system_config")) {
        let inserts = text.split("INSERT INTO public.system_config").skip(1);
        for insert in inserts.filter(|_| file.starts_with("migrations/")) {
            let values = insert.split(";\n").next().unwrap_or_default();
            found.extend(captures(r"\(\s*'([a-z]+(?:_[a-z]+)+)'", values));
        }
        found.extend(captures(r"\bkey = '([a-z_]+)'", text));
        for list in captures(r"\bkey IN \(([^)]*)\)", text) {
            found.extend(captures("'([a-z_]+)'", &list));
        }
        let documented_constant =
            r#"`system_config`[^\n]*\n\s*(?:pub )?const [A-Z_]+: &(?:'static )?str = "([a-z_]+)""#;
        found.extend(captures(documented_constant, text));
    }
    // What is kept for a time that operators set, wherever it is read.
    for (_, text) in sources() {
        found.extend(captures(r#"["']([a-z_]+_(?:(?:retention|keep)_(?:days|hours)|reopen_hours))["']"#, &text));
    }
    found
}

#[test]
fn every_key_of_system_config_is_documented_and_every_documented_one_is_known() {
    let (known, documented) = (settings(), rows_under(CONFIGURATION, "Settings in `system_config`"));
    assert!(known.contains("agent_kill_switch") && known.contains("classification_rules"), "{known:?}");
    assert_eq!(documented, known, "{CONFIGURATION}: documented on the left, known on the right");
}

#[test]
fn every_parameter_of_the_template_is_documented() {
    let parameters: BTreeSet<String> = Template::read().parameters().keys().map(|name| name.to_owned()).collect();
    assert_eq!(rows_under("docs/aws.md", "Parameters"), parameters, "docs/aws.md: documented on the left");
}

#[test]
fn every_event_of_the_bus_is_documented() {
    let documented = captures(r"(?m)^### `([A-Za-z]+)`", &code::read("docs/events.md"));
    assert_eq!(documented, code::detail_types(), "docs/events.md: documented on the left");
}

#[test]
fn every_route_is_documented() {
    let docs: String = documents().iter().map(|document| code::read(document)).collect();
    for (function, method, path) in code::routes().into_iter().filter(|(_, method, _)| method != "OPTIONS") {
        let is_known = docs.contains(&format!("`{method} {path}"));
        assert!(is_known, "no document has `{method} {path}` of {function}");
    }
}

/// What follows `$` in the console blocks of a document: one command in each, continued lines joined.
fn commands(document: &str) -> Vec<String> {
    let (_, blocks) = parts(&code::read(document));
    let consoles = blocks.into_iter().filter(|(language, _)| language == "console").map(|(_, block)| block);
    let joined: Vec<String> = consoles.map(|block| block.replace("\\\n", " ")).collect();
    let lines = joined.iter().flat_map(|block| block.lines());
    lines.filter_map(|line| line.strip_prefix("$ ")).map(str::to_owned).collect()
}

#[test]
fn every_command_that_the_docs_show_exists() {
    let (arguments, makefile) = (code::read("cli/src/args.rs"), code::read("Makefile"));
    let kebab = |name: &str| regex("([a-z])([A-Z])").replace_all(name, "$1-$2").to_lowercase().replace('_', "-");
    let variants = captures(r"(?m)^    ([A-Z][A-Za-z]+)(?:\(|,)", &arguments);
    let subcommands: BTreeSet<String> = variants.iter().map(|name| kebab(name)).collect();
    let fields = captures(r"(?s)#\[arg\((?:[^\]]*?\b)?long\b[^\]]*\)\]\s*pub ([a-z_]+)", &arguments);
    let mut options: BTreeSet<String> = fields.iter().map(|name| kebab(name)).collect();
    options.extend(captures(r#"long = "([a-z-]+)""#, &arguments));
    let targets = captures(r"(?m)^([a-z-]+):", &makefile);
    for document in documents() {
        for command in commands(&document) {
            for target in captures(r"(?:^|[ ;(])make ([a-z][a-z-]*)", &command) {
                assert!(targets.contains(&target), "{document}: {command}: the Makefile has no {target}");
            }
            for call in captures(r"(?:^|[ ;(/])watchkeeper ([a-z][^|;#)]*)", &command) {
                let mut words = call.split_whitespace();
                let subcommand = words.next().unwrap_or_default();
                assert!(subcommands.contains(subcommand), "{document}: {command}: there is no {subcommand}");
                for option in words.filter_map(|word| word.strip_prefix("--")) {
                    assert!(options.contains(option), "{document}: {command}: there is no --{option}");
                }
            }
        }
    }
}

#[test]
fn every_block_of_json_and_toml_in_the_docs_can_be_read() {
    for document in documents() {
        for (language, block) in parts(&code::read(&document)).1 {
            let problem = match language.as_str() {
                "json" => serde_json::from_str::<serde_json::Value>(&block).err().map(|error| error.to_string()),
                "toml" => toml::from_str::<toml::Table>(&block).err().map(|error| error.to_string()),
                _ => None,
            };
            assert_eq!(problem, None, "{document}: {block}");
        }
    }
}

#[test]
fn anchors_and_links_are_found_as_github_finds_them() {
    let text = "# Get `it`: now!\n## A b\n## A b\n```sh\n# none\n```\n[x](#a-b-1) `[y](none)` [z](docs/z.md)\n";
    assert_eq!(anchors(text), ["a-b", "a-b-1", "get-it-now"].map(str::to_owned).into());
    assert_eq!(links(text), ["#a-b-1", "docs/z.md"].map(str::to_owned).into());
    assert_eq!(resolved("docs", "../README.md"), "README.md");
}
