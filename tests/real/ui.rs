//! The page of rooms in a real browser, Chromium, driven by playwright-core: that it is drawn without a
//! complaint in its console, fits narrow and zoomed windows, light and dark, has no violation that axe
//! finds, is read whole by a screen reader, and is reached with the keyboard alone.
//!
//! Screenshots are in `target/tmp/ui/screenshots`, to be looked at. `CHROMIUM` names another browser.

use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::parts::{or_say, ran};
use crate::program::{KEY, Program, SECRET};

const ROOT: &str = env!("CARGO_MANIFEST_DIR");

// Where the browser's driver is, with what it needs from the npm registry.
fn built() -> Result<(PathBuf, PathBuf), String> {
    let named = std::env::var_os("CHROMIUM").map(PathBuf::from);
    let known = ["/usr/bin/chromium", "/usr/bin/chromium-browser", "/usr/bin/google-chrome"];
    let browser = named.or_else(|| known.iter().map(PathBuf::from).find(|path| path.exists()));
    let browser = browser.ok_or("there is no Chromium")?;
    let made = Path::new(env!("CARGO_TARGET_TMPDIR")).join("ui");
    std::fs::create_dir_all(made.join("screenshots")).map_err(|error| error.to_string())?;
    for file in ["package.json", "package-lock.json", "check.mjs"] {
        let from = Path::new(ROOT).join("tests/real/ui").join(file);
        std::fs::copy(from, made.join(file)).map_err(|error| error.to_string())?;
    }
    ran(Command::new("node").arg("--version"))?;
    let install = ["ci", "--no-audit", "--no-fund", "--ignore-scripts"];
    ran(Command::new("npm").args(install).current_dir(&made))?;
    Ok((browser, made))
}

#[test]
fn the_page_is_read_by_eye_by_ear_and_with_the_keyboard() {
    let Some((browser, made)) = or_say("NO PAGE IN A REAL BROWSER", built()) else { return };
    let directory = tempfile::tempdir().unwrap();
    let config = directory.path().join("livekit-otel.yaml");
    // Nothing listens at the collector's address, as the port stays bound.
    let bound = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let collector = bound.local_addr().unwrap();
    let text = format!(
        "listen: {{http: '127.0.0.1:0', grpc: '127.0.0.1:0', ui: '127.0.0.1:0'}}\n\
         session: {{linger: 1s}}\nexport: {{endpoint: 'http://{collector}', timeout: 1s}}\n"
    );
    std::fs::write(&config, text).unwrap();
    let program = Program::start(&config);
    let line = program.log.iter().find(|line| line.contains("serving the live view")).unwrap();
    let line: serde_json::Value = serde_json::from_str(&line).unwrap();
    let fields = line.get("fields").unwrap_or(&line);
    let url = fields["url"].as_str().unwrap().to_owned();
    // A call that is over, one that was lost, one to a busy telephone, one with an agent, and rooms that go on.
    replay(&program, &["examples/captures/one-call.jsonl"]);
    replay(&program, &["tests/golden/scenarios/lost-client.jsonl"]);
    replay(&program, &["tests/captures/calls/sip-out-busy.jsonl"]);
    let halves =
        ["server", "agents"].map(|half| format!("tests/captures/agents/ordinary.{half}.jsonl"));
    replay(&program, &halves.each_ref().map(String::as_str));
    unsigned(&program.http);
    let mut simulation = simulate(&program);
    let check = Command::new("node")
        .arg("check.mjs")
        .args([&url, "screenshots", &format!("{url}/rooms/RM%5FFUvZCBcbSXZo")])
        .env("CHROMIUM", browser)
        .current_dir(&made)
        .output();
    simulation.kill().unwrap();
    simulation.wait().unwrap();
    program.kill();
    let check = check.unwrap();
    let printed = String::from_utf8_lossy(&check.stdout);
    let failed = String::from_utf8_lossy(&check.stderr);
    assert!(check.status.success(), "{printed}{failed}");
    let seen: serde_json::Value = serde_json::from_str(printed.lines().last().unwrap()).unwrap();
    let counts =
        ["pages", "looks", "checks", "tabs", "links", "tables", "images", "fields", "banners"];
    let least = [8, 40, 700, 150, 90, 20, 24, 9, 40];
    for (count, least) in counts.into_iter().zip(least) {
        assert!(seen[count].as_u64().unwrap() >= least, "{count}: {seen}");
    }
}

// A webhook without a token.
fn unsigned(to: &str) {
    let mut stream = std::net::TcpStream::connect(to).unwrap();
    let head =
        "POST /webhook HTTP/1.1\r\nHost: test\r\nContent-Length: 2\r\nConnection: close\r\n\r\n{}";
    stream.write_all(head.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 401"), "{answer}");
}

fn sender(program: &Program, args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_livekit-otel"));
    command.args(args).current_dir(ROOT).env_clear();
    command.args(["--webhook", &format!("http://{}/webhook", program.http)]);
    command.args(["--analytics", &format!("http://{}", program.grpc)]);
    command.env("LIVEKIT_API_KEY", KEY).env("LIVEKIT_API_SECRET", SECRET);
    command
}

fn replay(program: &Program, captures: &[&str]) {
    let args = [&["replay"], captures, &["--speed", "100000"]].concat();
    ran(&mut sender(program, &args)).unwrap();
}

// Rooms with failures, some of them over by the time that they are looked at.
fn simulate(program: &Program) -> std::process::Child {
    let args = ["simulate", "--rooms", "2", "--participants", "3", "--subscribe", "--speed", "10"];
    let more = ["--failures", "0.3", "--loss", "0.05", "--interval", "10s", "--duration", "10h"];
    let mut command = sender(program, &[&args[..], &more[..]].concat());
    command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap()
}
