//! The live view, over its real socket: `serve` receives the shipped call and shows it.

use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use livekit_otel::config::Config;
use livekit_otel::serve::{Server, StartError};
use livekit_otel_model::privacy::{Content, HashKey, Privacy};
use livekit_otel_tools::capture::Capture;
use livekit_otel_tools::demo::Collector;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::port::unused_address;
use crate::replayed::both;
use crate::said::SAID;
use crate::serve::{KEY, SECRET, config, replay_to, stop, the_capture};

const BIN: &str = env!("CARGO_BIN_EXE_livekit-otel");
const ROOM: &str = "/ui/rooms/RM_XHuZ4ggjTArt";
const PATIENCE: Duration = Duration::from_mins(1);

struct Answer {
    status: u16,
    head: String,
    body: String,
}

async fn ask(to: SocketAddr, method: &str, path: &str, host: Option<&str>) -> Answer {
    let mut stream = TcpStream::connect(to).await.unwrap();
    let host = host.map_or_else(String::new, |host| format!("Host: {host}\r\n"));
    let request = format!("{method} {path} HTTP/1.1\r\n{host}Connection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    Answer { status, head: head.to_lowercase(), body: body.to_owned() }
}

async fn get(to: SocketAddr, path: &str) -> Answer {
    ask(to, "GET", path, Some("127.0.0.1")).await
}

fn shown(collector: &Collector) -> Config {
    Config { ui: Some("127.0.0.1:0".parse().unwrap()), ..config(&collector.endpoint()) }
}

fn address(url: &str) -> SocketAddr {
    url.strip_prefix("http://").unwrap().strip_suffix("/ui").unwrap().parse().unwrap()
}

fn at(server: &Server) -> SocketAddr {
    address(&server.ui().unwrap().url())
}

// The page's body, once it has all of `words`.
async fn when(to: SocketAddr, path: &str, words: &[&str]) -> String {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let body = get(to, path).await.body;
        let missing: Vec<_> = words.iter().filter(|word| !body.contains(**word)).collect();
        if missing.is_empty() {
            return body;
        }
        assert!(Instant::now() < deadline, "{path} does not say {missing:?}:\n{body}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_is_shown_while_it_runs_and_after_it() {
    let collector = Collector::start().await.unwrap();
    let mut server = Server::start(shown(&collector)).await.unwrap();
    let (to, capture) = (at(&server), the_capture());
    let (before, after) = capture.lines.split_at(60);
    when(to, "/ui", &["No rooms yet"]).await;

    replay_to(&server, &Capture { lines: before.to_vec() }).await;
    when(to, "/ui", &["standup-0", "● open", "3 of 3"]).await;
    when(to, ROOM, &["class=\"live\">▸ open", "track camera video/VP8", "Nothing failed"]).await;
    assert!(!get(to, ROOM).await.body.contains("Loss, \u{2068}user-0-1\u{2069}, upstream"));

    replay_to(&server, &Capture { lines: after.to_vec() }).await;
    let mut ui = server.take_ui().unwrap();
    let report = stop(server).await;
    assert_eq!(report.undelivered, 0);
    ui.filled().await;
    // The live view outlives the server, and shows all that the collector received of the room.
    let list = when(to, "/ui", &["standup-0", "○ ended"]).await;
    assert!(!list.contains("● open"));
    let room = get(to, ROOM).await.body;
    for words in [
        "c3542a5f4c8c2cc4d42dcc0c8c2a92c8",
        "subscribe camera of user-0-1",
        "2 attempts",
        "muted 4.0 s",
        "left: client initiated",
        "Loss, \u{2068}user-0-1\u{2069}, upstream",
        "Score, \u{2068}user-0-2\u{2069}, downstream",
        "lk.stats.packets_lost",
        "lk.participant.joined",
    ] {
        assert!(room.contains(words), "{words} is not on the page of the room");
    }
    assert!(!room.contains("class=\"live\">▸ open"));
    let lines = room.matches("class=\"more\"").count();
    assert_eq!(lines, 27, "spans of the room");
    assert_eq!(room.matches("<svg class=\"plot\"").count(), 3 * 2 * 4);
    let person = get(to, &format!("{ROOM}/participants/PA_ZVunvGtQABQw")).await.body;
    assert!(person.contains("muted 4.0 s") && person.contains("PA_ZVunvGtQABQw</bdi></code></h1>"));
    let delivery = get(to, "/ui/delivery").await.body;
    assert!(delivery.contains("Nothing was lost, refused or unknown."), "{delivery}");
    drop(ui);
    let deadline = Instant::now() + PATIENCE;
    while TcpStream::connect(to).await.is_ok() {
        assert!(Instant::now() < deadline, "the live view still answers");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_turns_of_an_agent_are_shown_and_never_what_was_said() {
    let calls = [
        ("ordinary", "RM_FUvZCBcbSXZo", "turn-8", "In 5 of 6, the end of turn took longest."),
        ("node-ordinary", "RM_RraTJJDPDmg3", "turn-5", "In 4 of 5, the end of turn took longest."),
    ];
    for (name, room, last, cause) in calls {
        let collector = Collector::start().await.unwrap();
        let config = Config { content: Content::Plain, ..shown(&collector) };
        let mut server = Server::start(config).await.unwrap();
        replay_to(&server, &both(name)).await;
        let mut ui = server.take_ui().unwrap();
        stop(server).await;
        ui.filled().await;
        let page = get(address(&ui.url()), &format!("/ui/rooms/{room}")).await.body;
        let model = "model <span class=\"dim\"><bdi>canned-1</bdi></span>";
        for words in [last, cause, model, "✗ tool <bdi>charge_card</bdi>", "✂ interrupted"] {
            assert!(page.contains(words), "{name} does not say {words}:\n{page}");
        }
        assert!(page.contains("Loss, \u{2068}alice@example.org\u{2069}, upstream"), "{page}");
        let said: Vec<_> = SAID.into_iter().filter(|word| page.contains(word)).collect();
        assert_eq!(said, [""; 0], "{name}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn names_are_shown_as_they_are_sent() {
    let hashed = Privacy::Hash(HashKey::new("a-key-of-at-least-sixteen-bytes").unwrap());
    for (privacy, has_names) in [(Privacy::Plain, true), (hashed, false), (Privacy::Drop, false)] {
        let collector = Collector::start().await.unwrap();
        let mut config = shown(&collector);
        config.export.privacy = privacy;
        let mut server = Server::start(config).await.unwrap();
        replay_to(&server, &the_capture()).await;
        let mut ui = server.take_ui().unwrap();
        stop(server).await;
        ui.filled().await;
        let to = address(&ui.url());
        for path in ["/ui", ROOM, &format!("{ROOM}/participants/PA_ZVunvGtQABQw")] {
            let body = get(to, path).await.body;
            assert_eq!(body.contains("standup-0"), has_names, "{path}");
            assert_eq!(body.contains("user-0-"), has_names && path != "/ui", "{path}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_failed_is_found_in_all_rooms_by_what_is_shown() {
    let path = format!("{}/tests/captures/calls/sip-out-busy.jsonl", env!("CARGO_MANIFEST_DIR"));
    let capture = Capture::parse(std::fs::read(path).unwrap().as_slice()).unwrap();
    let hashed = Privacy::Hash(HashKey::new("a-key-of-at-least-sixteen-bytes").unwrap());
    for (privacy, has_names) in [(Privacy::Plain, true), (hashed, false)] {
        let collector = Collector::start().await.unwrap();
        let mut config = shown(&collector);
        config.export.privacy = privacy;
        let mut server = Server::start(config).await.unwrap();
        replay_to(&server, &capture).await;
        let mut ui = server.take_ui().unwrap();
        stop(server).await;
        ui.filled().await;
        let to = address(&ui.url());
        let all = get(to, "/ui/failures").await.body;
        assert!(all.contains("<b>1 failure</b> in <b>1 room</b>"), "{all}");
        assert!(all.contains("user_rejected") && all.contains("/ui/rooms/RM_cPGtBycRT4Ss#s-"));
        for text in ["<bdi>callee", "SIP call to +15551234", "<bdi>sales"] {
            assert_eq!(all.contains(text), has_names, "{text}");
        }
        // The callee is found by its identity, its number and its SID, as far as they are shown.
        for (query, is_found) in [
            ("who=CALLEE&room=sales", has_names),
            ("who=%2B1555&refresh=", has_names),
            ("who=PA_FL52N7JcGDcR&room=RM_c", true),
            ("who=somebody", false),
        ] {
            let page = get(to, &format!("/ui/failures?{query}")).await.body;
            assert_eq!(page.contains("user_rejected"), is_found, "{query}");
            let page = get(to, &format!("/ui?{query}&failed=yes")).await.body;
            assert_eq!(page.contains("RM_cPGtBycRT4Ss"), is_found, "{query}");
        }
        let outside = get(to, "/ui/outside").await;
        assert!(outside.status == 200 && outside.body.contains("None yet."), "{}", outside.body);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_page_says_what_does_not_work_until_it_works() {
    let address = unused_address();
    let ui = Some("127.0.0.1:0".parse().unwrap());
    let server =
        Server::start(Config { ui, ..config(&format!("http://{address}")) }).await.unwrap();
    let to = at(&server);
    assert_eq!(ask(server.http(), "POST", "/webhook", Some("127.0.0.1")).await.status, 401);
    let capture = the_capture();
    replay_to(&server, &Capture { lines: capture.lines[..70].to_vec() }).await;
    let away = format!("are not delivered</strong> to <code><bdi>{address}</bdi>");
    for path in ["/ui", ROOM, "/ui/failures", "/ui/outside", "/ui/delivery", "/ui/nothing"] {
        when(to, path, &["class=\"banner\"", &away, "webhook: <code><bdi>no_token</bdi>"]).await;
    }
    let collector = Collector::start_on(address).await.unwrap();
    let deadline = Instant::now() + PATIENCE;
    while get(to, "/ui").await.body.contains("not delivered") {
        assert!(Instant::now() < deadline, "the banner stays");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    // A refused request is mentioned for a while.
    assert!(get(to, "/ui").await.body.contains("no_token"));
    stop(server).await;
    drop(collector);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_live_view_is_local_and_read_only() {
    let collector = Collector::start().await.unwrap();
    let server = Server::start(shown(&collector)).await.unwrap();
    let to = at(&server);
    for host in [None, Some("evil.example"), Some("evil.example:9292"), Some("192.0.2.7")] {
        for path in ["/ui", "/ui/delivery", "/ui/style.css", "/"] {
            let answer = ask(to, "GET", path, host).await;
            assert!(matches!(answer.status, 400 | 403), "{host:?} {path}: {}", answer.status);
            assert!(!answer.body.contains("<html"), "{host:?} {path}");
        }
    }
    for method in ["POST", "PUT", "DELETE", "OPTIONS", "PATCH"] {
        assert_eq!(ask(to, method, "/ui", Some("localhost")).await.status, 405, "{method}");
    }
    let head = ask(to, "HEAD", "/ui", Some("localhost:1")).await;
    assert_eq!((head.status, head.body.as_str()), (200, ""));
    for path in ["/ui", "/ui?who=x", "/ui/failures", "/ui/nothing", "/ui/style.css", ROOM] {
        let answer = get(to, path).await;
        assert!(answer.head.contains("; form-action 'self'; frame-ancestors 'none'"), "{path}");
        for header in [
            "content-security-policy: default-src 'none'; style-src 'self'; img-src 'self';",
            "x-content-type-options: nosniff",
            "referrer-policy: no-referrer",
            "cache-control: no-store",
        ] {
            assert!(answer.head.contains(header), "{path}: {}", answer.head);
        }
        assert!(!answer.head.contains("set-cookie") && !answer.head.contains("script-src"));
    }
    assert_eq!(get(to, "/ui/nothing").await.status, 404);
    assert_eq!(get(to, ROOM).await.status, 404);
    assert_eq!(get(to, "/webhook").await.status, 404);
    let answer = get(to, "/").await;
    assert!(answer.status == 302 && answer.head.contains("location: /ui"), "{}", answer.head);
    for path in ["/ui?refresh", "/ui/failures?who=x&since=5m&refresh="] {
        assert!(get(to, path).await.head.contains("\r\nrefresh: 5"), "{path}");
    }
    assert!(!get(to, "/ui").await.head.contains("\r\nrefresh:"));
    // Nor is it on the webhooks' listener.
    assert_eq!(get(server.http(), "/ui").await.status, 404);
    stop(server).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_live_view_is_off_by_default_and_never_public() {
    let collector = Collector::start().await.unwrap();
    let server = Server::start(config(&collector.endpoint())).await.unwrap();
    assert!(server.ui().is_none());
    stop(server).await;
    let ui = Some("0.0.0.0:0".parse().unwrap());
    let error = Server::start(Config { ui, ..config(&collector.endpoint()) }).await.unwrap_err();
    assert!(matches!(error, StartError::Bind(_)), "{error}");
    let error = livekit_otel_transport::chain(&error);
    assert!(error.contains("is not a loopback address"), "{error}");
}

#[test]
fn serve_logs_the_address_of_its_live_view() {
    let mut child = Command::new(BIN)
        .args(["serve", "--http", "127.0.0.1:0", "--grpc", "127.0.0.1:0", "--ui=127.0.0.1:0"])
        .env_clear()
        .env("LIVEKIT_KEYS", format!("{KEY}: {SECRET}"))
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stderr.take().unwrap()).lines().map_while(Result::ok);
    let line = lines.find(|line| line.contains("serving the live view"));
    child.kill().unwrap();
    child.wait().unwrap();
    let line = line.unwrap();
    assert!(line.contains("http://127.0.0.1:") && line.contains("/ui"), "{line}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_demo_opens_its_live_view_and_keeps_it_until_ctrl_c() {
    // A browser that notes the address that it is to open.
    let directory = tempfile::tempdir().unwrap();
    let (browser, noted) = (directory.path().join("xdg-open"), directory.path().join("noted"));
    std::fs::write(
        &browser,
        "#!/bin/sh\necho \"$1\" > \"$NOTED.new\" && mv \"$NOTED.new\" \"$NOTED\"\n",
    )
    .unwrap();
    std::fs::set_permissions(&browser, std::fs::Permissions::from_mode(0o755)).unwrap();
    let path = format!("{}:/usr/bin:/bin", directory.path().display());
    let mut child = Command::new(BIN)
        .args(["demo", "--open"])
        .env_clear()
        .envs([("PATH", path.as_str()), ("DISPLAY", ":0"), ("NOTED", noted.to_str().unwrap())])
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines().map_while(Result::ok);
    let line = lines.find(|line| line.contains("until Ctrl-C")).unwrap();
    let url = line.rsplit(' ').next().unwrap();
    let page = get(address(url), "/ui/rooms/RM_FUvZCBcbSXZo").await;
    assert_eq!(page.status, 200);
    assert!(page.body.contains("○ ended") && page.body.contains("support-1"));
    if cfg!(target_os = "linux") {
        let deadline = Instant::now() + PATIENCE;
        while !noted.exists() {
            assert!(Instant::now() < deadline, "no browser was opened");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        assert_eq!(std::fs::read_to_string(&noted).unwrap().trim(), url);
    }
    let pid = child.id().to_string();
    assert!(Command::new("kill").args(["-INT", &pid]).status().unwrap().success());
    assert_eq!(child.wait().unwrap().code(), Some(0));
}
