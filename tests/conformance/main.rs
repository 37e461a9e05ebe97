//! Joins the conformance tables to the tests that ran: `conformance LOG`, where LOG is what `cargo test` printed.
//!
//! A table is a file a specification in this folder, a row a requirement. A row names the test that proves it, or a reason
//! why none can. A row whose test did not run or failed is an error; so are reasons on more than one in twenty of the
//! rows that the specification makes a MUST.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::Path;

use anyhow::{Context, Result, bail, ensure};
use serde::Deserialize;

/// Most of the MUST rows that may stand on a reason, in percent.
const MAX_REASONS: usize = 5;

/// One specification.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Table {
    /// As it is cited: `XEP-0313`, `RFC 6120`.
    spec: String,
    /// Of the text that was read.
    #[serde(default)]
    version: String,
    row: Vec<Row>,
}

/// One requirement.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Row {
    section: String,
    /// MUST, SHOULD or MAY, as the specification has it.
    level: String,
    /// The requirement in our own words.
    says: String,
    /// Crate or test binary, a space, the path of the test.
    test: Option<String>,
    /// Why there is no test.
    reason: Option<String>,
}

/// What a table comes to.
#[derive(Default)]
struct Sum {
    rows: usize,
    musts: usize,
    reasons: usize,
}

fn main() -> Result<()> {
    let log = std::env::args().nth(1).context("usage: conformance LOG")?;
    let ran = ran(&std::fs::read_to_string(&log).context(log)?);
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("conformance");
    let mut faults = Vec::new();
    let mut sums = BTreeMap::new();
    for path in tables(&folder)? {
        let text = std::fs::read_to_string(&path)?;
        let table: Table = toml::from_str(&text).with_context(|| format!("{}", path.display()))?;
        let title = format!("{} {}", table.spec, table.version);
        sums.insert(title.trim().to_owned(), check(&table, &ran, &mut faults));
    }
    let (mut musts, mut reasons) = (0, 0);
    println!("{:<28} {:>6} {:>6} {:>8}", "specification", "rows", "MUST", "reasons");
    for (title, sum) in &sums {
        println!("{title:<28} {:>6} {:>6} {:>8}", sum.rows, sum.musts, sum.reasons);
        musts += sum.musts;
        reasons += sum.reasons;
    }
    println!("{} tables, {musts} MUST rows, {reasons} of them on a reason", sums.len());
    ensure!(!sums.is_empty(), "no tables in {}", folder.display());
    if reasons * 100 > musts * MAX_REASONS {
        faults.push(format!(
            "{reasons} of {musts} MUST rows stand on a reason; at most {MAX_REASONS} % may"
        ));
    }
    if !faults.is_empty() {
        bail!("{} faults:\n{}", faults.len(), faults.join("\n"));
    }
    Ok(())
}

fn tables(folder: &Path) -> Result<BTreeSet<std::path::PathBuf>> {
    let mut paths = BTreeSet::new();
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        if path.extension().is_some_and(|e| e == "toml") {
            paths.insert(path);
        }
    }
    Ok(paths)
}

fn check(table: &Table, ran: &HashMap<String, bool>, faults: &mut Vec<String>) -> Sum {
    let mut sum = Sum::default();
    for row in &table.row {
        let mut fault = |what: &str| {
            faults.push(format!("{} {}: {what} ({})", table.spec, row.section, row.says));
        };
        let is_must = row.level.starts_with("MUST") || row.level == "REQUIRED";
        sum.rows += 1;
        sum.musts += usize::from(is_must);
        match (&row.test, &row.reason) {
            (Some(test), None) => match ran.get(test) {
                Some(true) => {}
                Some(false) => fault(&format!("`{test}` failed")),
                None => fault(&format!("`{test}` did not run")),
            },
            (None, Some(_)) => sum.reasons += usize::from(is_must),
            _ => fault("a row has a test or a reason"),
        }
    }
    sum
}

/// The tests of a log and whether they passed. `Running … (target/debug/deps/NAME-HASH)` says whose they are.
fn ran(log: &str) -> HashMap<String, bool> {
    let mut tests = HashMap::new();
    let mut name = String::new();
    for line in log.lines() {
        let line = line.trim();
        if line.starts_with("Running ")
            && let Some(file) = line.rsplit('/').next()
            && let Some((binary, _)) = file.rsplit_once('-')
        {
            binary.clone_into(&mut name);
        } else if let Some(rest) = line.strip_prefix("test ")
            && let Some((path, result)) = rest.rsplit_once(" ... ")
        {
            tests.insert(format!("{name} {path}"), result == "ok");
        }
    }
    tests
}
