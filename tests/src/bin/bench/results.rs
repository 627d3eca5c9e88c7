//! The last results, kept in the repository: one section per benchmark.

use std::path::PathBuf;

use anyhow::Context as _;

const HEAD: &str =
    "# The last benchmark results\n\nWritten by `make bench`; each benchmark replaces its own section.\n";

/// Replaces this benchmark's section, or adds it; returns the file.
pub(crate) fn keep(title: &str, text: &str) -> anyhow::Result<PathBuf> {
    let file = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/benches/RESULTS.md"));
    let before = match std::fs::read_to_string(&file) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => HEAD.to_owned(),
        Err(error) => return Err(error).with_context(|| format!("read {}", file.display())),
    };
    std::fs::write(&file, replaced(&before, title, text)).with_context(|| format!("write {}", file.display()))?;
    Ok(file)
}

fn replaced(before: &str, title: &str, text: &str) -> String {
    let section = format!("## {title}\n\n{}\n", text.trim());
    let mut parts: Vec<String> = Vec::new();
    for line in before.lines() {
        match parts.last_mut() {
            Some(part) if !line.starts_with("## ") => {
                part.push_str(line);
                part.push('\n');
            }
            _ => parts.push(format!("{line}\n")),
        }
    }
    let heading = format!("## {title}\n");
    match parts.iter_mut().find(|part| part.starts_with(&heading)) {
        Some(old) => *old = section,
        None => parts.push(section),
    }
    let parts: Vec<&str> = parts.iter().map(|part| part.trim_end()).collect();
    format!("{}\n", parts.join("\n\n"))
}

#[cfg(test)]
mod tests {
    use super::{HEAD, replaced};

    #[test]
    fn a_section_is_replaced_and_the_others_stay() {
        let both = replaced(&replaced(HEAD, "A", "one\n\n### x"), "B", "two");
        let again = replaced(&both, "A", "three");
        assert_eq!(again, format!("{HEAD}\n## A\n\nthree\n\n## B\n\ntwo\n"));
    }
}
