//! A program with one of Sentry's SDKs.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use tokio::process::Command;

/// The time-out of a program.
const PATIENCE: Duration = Duration::from_secs(60);

/// Every SDK.
pub(crate) const BOTH: [Sdk; 2] = [Sdk::Python, Sdk::Node];

/// An SDK, as `make test-sdks` installs it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Sdk {
    /// `sentry-sdk`, from `PyPI`.
    Python,
    /// `@sentry/node`, from npm.
    Node,
}

impl Sdk {
    /// Runs the program through a scenario. Its exit code is ignored: some scenarios crash.
    pub(crate) async fn run(self, scenario: &str, dsn: &str) {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
        let (interpreter, program, variable, packages) = match self {
            Self::Python => ("python3", "scenario.py", "PYTHONPATH", ".tools/sdks/python"),
            Self::Node => ("node", "scenario.cjs", "NODE_PATH", ".tools/sdks/node/node_modules"),
        };
        let packages: PathBuf = root.join(packages);
        assert!(packages.is_dir(), "{} is missing: run `make test-sdks`", packages.display());
        let running = Command::new(interpreter)
            .arg(root.join("tests/sdks/programs").join(program))
            .args([scenario, dsn])
            .env(variable, packages)
            .env("PYTHONDONTWRITEBYTECODE", "1")
            .env("NO_PROXY", "127.0.0.1")
            .env("no_proxy", "127.0.0.1")
            .stdin(Stdio::null())
            .kill_on_drop(true)
            .output();
        let output = tokio::time::timeout(PATIENCE, running).await;
        let output = output.unwrap_or_else(|_| panic!("{self:?} does not end its scenario {scenario}"));
        let output = output.unwrap_or_else(|error| panic!("{interpreter} does not run: {error}"));
        // Shown only if the test fails.
        print!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    }
}
