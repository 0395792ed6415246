//! The test's arguments: those of `make stack`, or libtest's when all tests run.

/// Its name among the tests.
const NAME: &str = "stack";
/// Of libtest's, those that take a value.
const VALUED: [&str; 8] = [
    "--color",
    "--ensure-time",
    "--format",
    "--logfile",
    "--report-time",
    "--shuffle-seed",
    "--test-threads",
    "-Z",
];

pub(crate) const HELP: &str = "usage: cargo test --test stack -- [--keep] [libtest's arguments]

Builds the real parts, has two calls, and asks the back ends what they got of them.
  --keep  holds it all up until Ctrl-C, and says where to look
  --list  only names the test";

#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Task {
    Run { keep: bool },
    List,
    Help,
    Nothing,
}

pub(crate) fn task(arguments: impl Iterator<Item = String>) -> Task {
    let (mut keep, mut list, mut exact, mut ignored) = (false, false, false, false);
    let (mut wanted, mut skipped) = (Vec::new(), Vec::new());
    let mut arguments = arguments;
    while let Some(argument) = arguments.next() {
        match argument.as_str() {
            "--keep" => keep = true,
            "--list" => list = true,
            "--exact" => exact = true,
            // It is none of those.
            "--ignored" | "--bench" => ignored = true,
            "--help" | "-h" => return Task::Help,
            "--skip" => skipped.extend(arguments.next()),
            valued if VALUED.contains(&valued) => drop(arguments.next()),
            option if option.starts_with('-') => {
                skipped.extend(option.strip_prefix("--skip=").map(str::to_owned));
            }
            _ => wanted.push(argument),
        }
    }
    let is_meant =
        |filter: &String| if exact { filter == NAME } else { NAME.contains(filter.as_str()) };
    let is_wanted = wanted.is_empty() || wanted.iter().any(is_meant);
    match is_wanted && !ignored && !skipped.iter().any(is_meant) {
        false => Task::Nothing,
        true if list => Task::List,
        true => Task::Run { keep },
    }
}
