//! The program as the unit and the images run it: as user nobody, without capabilities, on a file system that is
//! read-only but for the journal, and with no system call that the unit's filter has not. systemd is not
//! there to confine it: mount namespaces and strace stand in.

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader};
use std::os::unix::fs::chown;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use super::{deploy, for_all};
use crate::collector::prometheus::replay_to;
use crate::parts::{or_say, ran};
use crate::program::{KEY, SECRET};

const NOBODY: u32 = 65532;

/// It fails where it could write elsewhere.
const READ_ONLY: &str = r#"
mount --bind "$JOURNAL" "$JOURNAL"
mount -o remount,bind,ro /
for folder in / /var /usr; do
    if touch "$folder/livekit-otel-writes" 2>/dev/null; then rm "$folder/livekit-otel-writes"; exit 70; fi
done
exec setpriv --reuid 65532 --regid 65532 --clear-groups --no-new-privs --bounding-set=-all \
    "$PROGRAM" serve --config "$CONFIG" --journal-dir "$JOURNAL" --log-format json
"#;

fn config(folder: &Path) -> std::path::PathBuf {
    let path = folder.join("livekit-otel.yaml");
    let text = "listen: {http: '127.0.0.1:0', grpc: '127.0.0.1:0'}\nsession: {linger: 200ms}\n\
                export: {endpoint: 'http://127.0.0.1:1'}\nshutdown_timeout: 1s\n";
    std::fs::write(&path, text).unwrap();
    path
}

/// Starts it and has a call replayed to it; with a hangup, it ends well at a SIGTERM.
fn serves(command: &mut Command) {
    command.env("LIVEKIT_KEYS", format!("{KEY}: {SECRET}"));
    let mut child = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(child.stderr.take().unwrap()).lines().map_while(Result::ok);
    let mut seen = Vec::new();
    let listening = loop {
        match lines.next() {
            Some(line) if line.contains("\"listening\"") => break line,
            Some(line) => seen.push(line),
            None => panic!("it does not listen: {seen:#?}"),
        }
    };
    let listening: serde_json::Value = serde_json::from_str(&listening).unwrap();
    let fields = listening.get("fields").unwrap_or(&listening);
    replay_to(fields["http"].as_str().unwrap(), fields["grpc"].as_str().unwrap());
    signal(&child, rustix::process::Signal::HUP);
    signal(&child, rustix::process::Signal::TERM);
    let rest: Vec<_> = lines.collect();
    assert!(child.wait().unwrap().success(), "{rest:#?}");
}

fn signal(child: &Child, signal: rustix::process::Signal) {
    rustix::process::kill_process(rustix::process::Pid::from_child(child), signal).unwrap();
}

#[test]
fn it_runs_as_nobody_where_it_can_write_to_its_journal_only() {
    let tools = ran(Command::new("unshare").args(["--mount", "setpriv", "--dump"]));
    if or_say("NOT RUN AS NOBODY AND READ-ONLY", tools).is_none() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    for_all(folder.path());
    let program = folder.path().join("livekit-otel");
    std::fs::copy(env!("CARGO_BIN_EXE_livekit-otel"), &program).unwrap();
    for_all(&program);
    let journal = folder.path().join("journal");
    std::fs::create_dir(&journal).unwrap();
    chown(&journal, Some(NOBODY), Some(NOBODY)).unwrap();
    let mut command = Command::new("unshare");
    command.args(["--mount", "sh", "-euc", READ_ONLY]);
    command.env("PROGRAM", program).env("JOURNAL", &journal).env("CONFIG", config(folder.path()));
    serves(&mut command);
    let kept = std::fs::read_dir(&journal).unwrap().count();
    assert!(kept > 1, "the journal has {kept} files");
}

/// The names of a set of systemd's, and of the sets in it.
fn set(name: &str) -> BTreeSet<String> {
    let calls = ran(Command::new("systemd-analyze").args(["syscall-filter", name])).unwrap();
    let listed = String::from_utf8(calls).unwrap();
    let names =
        listed.lines().skip(1).map(str::trim).filter(|it| !it.is_empty() && !it.starts_with('#'));
    names
        .flat_map(|it| if it.starts_with('@') { set(it) } else { BTreeSet::from([it.to_owned()]) })
        .collect()
}

/// What the unit lets through.
fn allowed() -> BTreeSet<String> {
    let unit = std::fs::read_to_string(deploy("systemd/livekit-otel.service")).unwrap();
    let mut allowed = BTreeSet::new();
    for filter in unit.lines().filter_map(|line| line.strip_prefix("SystemCallFilter=")) {
        match filter.strip_prefix('~') {
            Some(names) => names.split(' ').for_each(|it| allowed = &allowed - &set(it)),
            None => filter.split(' ').for_each(|it| allowed.extend(set(it))),
        }
    }
    allowed
}

#[test]
fn it_makes_no_system_call_that_the_unit_denies() {
    let tools = ran(Command::new("strace").arg("--version"))
        .and_then(|_| ran(Command::new("systemd-analyze").arg("--version")));
    if or_say("NO SYSTEM CALLS ARE WATCHED", tools).is_none() {
        return;
    }
    let allowed = allowed();
    assert!(allowed.contains("openat") && !allowed.contains("mount") && !allowed.contains("chown"));
    let folder = tempfile::tempdir().unwrap();
    let calls = folder.path().join("calls");
    let mut command = Command::new("strace");
    // Its parent is the test, and strace looks on.
    command.args(["-D", "-f", "-c", "-U", "name", "-o"]).arg(&calls);
    command.arg(env!("CARGO_BIN_EXE_livekit-otel")).args(["serve", "--log-format", "json"]);
    command.arg("--config").arg(config(folder.path()));
    serves(command.arg("--journal-dir").arg(folder.path().join("journal")));
    let until = Instant::now() + Duration::from_mins(2);
    let summary = loop {
        let summary = std::fs::read_to_string(&calls).unwrap_or_default();
        if summary.contains("total") {
            break summary;
        }
        assert!(Instant::now() < until, "strace has no output: {summary}");
        std::thread::yield_now();
    };
    let made: BTreeSet<_> = summary.lines().map(str::trim).collect();
    assert!(made.contains("fdatasync") && made.contains("accept4"), "{summary}");
    let words = ["syscall", "total"];
    let denied: Vec<_> = made
        .into_iter()
        .filter(|it| !it.starts_with('-') && !words.contains(it) && !allowed.contains(*it))
        .collect();
    assert_eq!(denied, [""; 0]);
}
