//! LiveKit's server with its analytics streams opened, and a client: built and run.

use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::time::{Duration, Instant};

use crate::program::{KEY, SECRET};

pub(crate) struct Parts {
    server: PathBuf,
    client: PathBuf,
}

/// Builds them; where that can't be done says so, loudly.
pub(crate) fn build() -> Option<Parts> {
    let why = match built() {
        Ok(parts) => return Some(parts),
        Err(why) => why,
    };
    let loud = format!("\n!!! NO CALL WITH A REAL LIVEKIT SERVER: {why}\n\n");
    // Past the test harness, which keeps what a test that passes prints.
    let _ = std::io::stderr().write_all(loud.as_bytes());
    assert!(std::env::var_os("REQUIRE_REAL").is_none(), "{why}");
    None
}

fn built() -> Result<Parts, String> {
    let sources = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/real");
    let made = Path::new(env!("CARGO_TARGET_TMPDIR")).join("livekit");
    let module = made.join("server-module");
    std::fs::create_dir_all(&module).map_err(|error| error.to_string())?;
    let copy = |name: &str, to: &Path| {
        std::fs::copy(sources.join("server").join(name), to).map_err(|error| error.to_string())
    };
    for name in ["go.mod", "go.sum"] {
        copy(name, &module.join(name))?;
    }
    let (server, client) = (made.join("livekit-server"), made.join("client"));
    let newest = |path: &Path| path.metadata().and_then(|it| it.modified()).ok();
    let is_built = ["go.mod", "analyticsservice.go"]
        .iter()
        .all(|name| newest(&sources.join("server").join(name)) < newest(&server));
    if is_built && newest(&sources.join("client/main.go")) < newest(&client) {
        return Ok(Parts { server, client });
    }
    // What is in Go's module cache can't be replaced; a copy can.
    go(&module, &["mod", "vendor"])?;
    let telemetry = module.join("vendor/github.com/livekit/livekit-server/pkg/telemetry");
    copy("analyticsservice.go", &telemetry.join("analyticsservice.go"))?;
    let [server_path, client_path] = [&server, &client].map(|path| path.display().to_string());
    let package = "github.com/livekit/livekit-server/cmd/server";
    go(&module, &["build", "-o", &server_path, package])?;
    go(&sources.join("client"), &["build", "-o", &client_path, "."])?;
    Ok(Parts { server, client })
}

fn go(folder: &Path, args: &[&str]) -> Result<(), String> {
    let output = Command::new("go").args(args).current_dir(folder).output();
    let output = output.map_err(|_| "there is no Go here".to_owned())?;
    let said = || format!("it can't be built:\n{}", String::from_utf8_lossy(&output.stderr));
    output.status.success().then_some(()).ok_or_else(said)
}

pub(crate) fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

pub(crate) struct Server {
    process: Child,
    client: PathBuf,
    port: u16,
}

impl Server {
    pub(crate) fn start(parts: &Parts, at: &Path, port: u16, http: &str, grpc: &str) -> Self {
        let config = at.join("livekit.yaml");
        // Media over one port of UDP, on loopback alone.
        let text = format!(
            "port: {port}\nbind_addresses: ['127.0.0.1']\nkeys: {{{KEY}: {SECRET}}}\n\
             webhook: {{api_key: {KEY}, urls: ['http://{http}/webhook']}}\n\
             room: {{empty_timeout: 60, departure_timeout: 60}}\n\
             rtc: {{node_ip: 127.0.0.1, use_external_ip: false, enable_loopback_candidate: true, \
             interfaces: {{includes: [lo]}}, ips: {{includes: [127.0.0.1/32]}}, \
             udp_port: {udp}, tcp_port: 0, stun_servers: ['127.0.0.1:{udp}']}}\n\
             logging: {{level: error}}\n",
            udp = free_port()
        );
        std::fs::write(&config, text).unwrap();
        let process = Command::new(&parts.server)
            .arg("--config")
            .arg(config)
            .env("LIVEKIT_ANALYTICS_ADDR", grpc)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let until = Instant::now() + Duration::from_secs(30);
        while TcpStream::connect(("127.0.0.1", port)).is_err() {
            assert!(Instant::now() < until, "LiveKit's server does not listen");
            std::thread::yield_now();
        }
        Self { process, client: parts.client.clone(), port }
    }

    pub(crate) fn client(&self, identity: &str, more: &[&str]) -> Client {
        let mut process = Command::new(&self.client)
            .args(["-url", &format!("ws://127.0.0.1:{}", self.port)])
            .args(["-room", crate::ROOM, "-identity", identity])
            .args(more)
            .env("LIVEKIT_API_KEY", KEY)
            .env("LIVEKIT_API_SECRET", SECRET)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let input = process.stdin.take();
        Client { process, input }
    }

    /// Asks for it by the API (`RoomService.DeleteRoom`).
    pub(crate) fn delete_room(&self, room: &str) {
        let grants = livekit_token::VideoGrants { room_create: true, ..Default::default() };
        let token = livekit_token::AccessToken::with_api_key(KEY, SECRET);
        let token = token.with_grants(grants).to_jwt().unwrap();
        let body = format!("{{\"room\":\"{room}\"}}");
        let request = format!(
            "POST /twirp/livekit.RoomService/DeleteRoom HTTP/1.1\r\nHost: localhost\r\n\
             Authorization: Bearer {token}\r\nContent-Type: application/json\r\n\
             Connection: close\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        );
        let mut stream = TcpStream::connect(("127.0.0.1", self.port)).unwrap();
        stream.write_all(request.as_bytes()).unwrap();
        let mut answer = String::new();
        BufReader::new(stream).read_line(&mut answer).unwrap();
        assert!(answer.contains(" 200 "), "{answer}");
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

pub(crate) struct Client {
    process: Child,
    input: Option<ChildStdin>,
}

impl Client {
    /// Returns once it is in the room.
    pub(crate) fn joined(&mut self) {
        let output = self.process.stdout.take().unwrap();
        let line = BufReader::new(output).lines().find_map(|line| {
            let line = line.unwrap();
            (line == "joined" || line.starts_with("failed")).then_some(line)
        });
        assert_eq!(line.as_deref(), Some("joined"));
    }

    pub(crate) fn say(&mut self, what: &str) {
        writeln!(self.input.as_ref().unwrap(), "{what}").unwrap();
    }

    pub(crate) fn leave(&mut self) {
        self.input = None;
    }

    /// It is there, and does nothing any more.
    pub(crate) fn freeze(&self) {
        let pid = rustix::process::Pid::from_child(&self.process);
        rustix::process::kill_process(pid, rustix::process::Signal::STOP).unwrap();
    }

    pub(crate) fn kill(&mut self) {
        self.process.kill().unwrap();
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
