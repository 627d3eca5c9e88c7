//! What `make` installs is pinned: each wheel and each npm package by its hash, and no file names the host that serves it.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::code;

/// The folder of the wheels' pins: for each `NAME.in`, which a person writes, a `NAME.txt`, which `make lock` writes.
const WHEELS: &str = ".config/wheels";

/// The names of the sets of wheels.
fn sets() -> Vec<String> {
    let mut names: Vec<String> =
        code::files(WHEELS).iter().filter_map(|name| Some(name.strip_suffix(".txt")?.to_owned())).collect();
    names.sort();
    assert!(names.len() >= 6, "{names:?}");
    names
}

/// The requirements of a set: `name==version` with its hashes.
fn requirements(set: &str) -> BTreeMap<String, Vec<String>> {
    let text = code::read(&format!("{WHEELS}/{set}.txt")).replace("\\\n", " ");
    let lines = text.lines().filter(|line| !line.starts_with('#') && !line.trim().is_empty());
    let requirement = |line: &str| {
        let (pin, hashes) = line.split_once(" --hash=").unwrap_or((line, ""));
        let hashes = hashes.split("--hash=").map(|hash| hash.trim().to_owned()).collect();
        (pin.split(';').next().unwrap_or_default().trim().to_owned(), hashes)
    };
    lines.map(requirement).collect()
}

#[test]
fn every_wheel_is_pinned_to_a_version_and_its_hashes() {
    for set in sets() {
        for (pin, hashes) in requirements(&set) {
            let version = pin.split_once("==").map(|(_, version)| version);
            assert!(version.is_some_and(|version| !version.contains('*')), "{set}: {pin}");
            let is_sha256 = |hash: &String| {
                hash.strip_prefix("sha256:")
                    .is_some_and(|hex| hex.len() == 64 && hex.bytes().all(|byte| byte.is_ascii_hexdigit()))
            };
            assert!(!hashes.is_empty() && hashes.iter().all(is_sha256), "{set}: {pin} has {hashes:?}");
        }
    }
}

#[test]
fn what_a_person_asks_for_is_what_is_pinned() {
    for set in sets() {
        let pinned = requirements(&set);
        for wanted in code::read(&format!("{WHEELS}/{set}.in")).lines() {
            // An extra (`moto[server]`) has no pin of its own.
            let (name, version) = wanted.split_once("==").unwrap_or_else(|| panic!("{set}: {wanted} is no version"));
            let name = name.split('[').next().unwrap_or_default();
            let pin = pinned.keys().find(|pin| pin.split(['=', '[']).next() == Some(name));
            assert!(pin.is_some_and(|pin| pin.ends_with(&format!("=={version}"))), "{set}: {wanted}, pinned {pin:?}");
        }
    }
}

#[test]
fn make_installs_nothing_that_is_not_pinned() {
    let makefile = code::read("Makefile").replace("\\\n", " ");
    let of = |command: &str| makefile.lines().filter(|line| line.contains(command)).map(str::to_owned).collect();
    let pip: Vec<String> = of("$$pip install");
    assert_eq!(pip.len(), 1);
    assert!(pip.iter().all(|line| line.contains("--require-hashes") && line.contains("--only-binary :all:")));
    let npm: Vec<String> = of("npm install");
    let only_locks = |line: &String| line.contains("--package-lock-only") || line.contains("apt-get install npm");
    assert!(npm.iter().all(only_locks), "{npm:?}");
    assert!(makefile.contains("npm ci "));
}

#[test]
fn every_npm_package_is_pinned_by_its_integrity() {
    let read = |file: &str| -> Value { serde_json::from_str(&code::read(file)).unwrap() };
    let (wanted, lock) = (read("tests/sdks/package.json"), read("tests/sdks/package-lock.json"));
    assert_eq!(wanted["dependencies"], lock["packages"][""]["dependencies"]);
    for (name, version) in wanted["dependencies"].as_object().unwrap() {
        assert_eq!(&lock["packages"][format!("node_modules/{name}")]["version"], version, "{name} is no exact version");
    }
    for (path, package) in lock["packages"].as_object().unwrap().iter().filter(|(path, _)| !path.is_empty()) {
        assert!(package["integrity"].as_str().is_some_and(|it| it.starts_with("sha512-")), "{path}");
        assert_eq!(package.get("resolved"), None, "{path} names the host that serves it");
    }
}

#[test]
fn no_list_of_wheels_names_a_host() {
    for set in sets() {
        let text = code::read(&format!("{WHEELS}/{set}.txt"));
        assert!(!text.contains("://") && !text.contains("--index-url"), "{set}");
    }
}
