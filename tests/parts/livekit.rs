//! LiveKit's server and its clients, running.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::time::{Duration, Instant};

use livekit_token::VideoGrants;

use super::{Parts, reserved_port};
use crate::program::{KEY, SECRET};

const PATIENCE: Duration = Duration::from_mins(2);

pub(crate) struct Server {
    process: Child,
    client: PathBuf,
    port: u16,
    prometheus: u16,
}

impl Server {
    /// It sends webhooks if there is an `http`, and analytics as the environment says.
    pub(crate) fn start(
        parts: &Parts,
        at: &Path,
        port: u16,
        http: Option<&str>,
        analytics: &[(&str, &str)],
    ) -> Self {
        let prometheus = reserved_port();
        // A UDP socket of its own shares its port with none that could hold it. Where somebody else has
        // that port the server ends, and the next has another.
        for _ in 0..5 {
            let config = config(at, [port, prometheus, reserved_port()], http);
            let process = Command::new(&parts.server)
                .arg("--config")
                .arg(config)
                .envs(analytics.iter().copied())
                .stdout(Stdio::null())
                .stderr(Stdio::null())
                .spawn()
                .unwrap();
            let mut server = Self { process, client: parts.client.clone(), port, prometheus };
            if server.listens() {
                return server;
            }
        }
        panic!("LiveKit's server ends before it listens");
    }

    // Whether it listens, once it does or has ended.
    fn listens(&mut self) -> bool {
        let until = Instant::now() + PATIENCE;
        while TcpStream::connect(("127.0.0.1", self.port)).is_err() {
            if self.process.try_wait().unwrap().is_some() {
                return false;
            }
            assert!(Instant::now() < until, "LiveKit's server does not listen");
            std::thread::yield_now();
        }
        true
    }

    pub(crate) fn client(&self, identity: &str, more: &[&str]) -> Client {
        self.client_in(crate::ROOM, identity, more)
    }

    pub(crate) fn client_in(&self, room: &str, identity: &str, more: &[&str]) -> Client {
        let mut process = Command::new(&self.client)
            .args(["-url", &format!("ws://127.0.0.1:{}", self.port)])
            .args(["-room", room, "-identity", identity])
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

    /// Its API listens there.
    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// Its Prometheus endpoint.
    pub(crate) fn prometheus(&self) -> u16 {
        self.prometheus
    }

    /// The sum of a metric's series with these labels, as Prometheus would scrape it.
    pub(crate) fn metric(&self, name: &str, label: &str) -> usize {
        let mut stream = TcpStream::connect(("127.0.0.1", self.prometheus)).unwrap();
        stream.write_all(b"GET /metrics HTTP/1.0\r\n\r\n").unwrap();
        let mut text = String::new();
        stream.read_to_string(&mut text).unwrap();
        let series: Vec<_> = text
            .lines()
            .filter(|line| line.starts_with(&format!("{name}{{")) && line.contains(label))
            .collect();
        assert!(!series.is_empty(), "no {name} with {label}");
        let value = |line: &str| line.rsplit(' ').next().unwrap().parse::<usize>().unwrap();
        series.into_iter().map(value).sum()
    }

    /// Asks for it by the API (`RoomService.DeleteRoom`).
    pub(crate) fn delete_room(&self, room: &str) {
        let grants = VideoGrants { room_create: true, ..Default::default() };
        self.call("RoomService/DeleteRoom", grants, &format!("{{\"room\":\"{room}\"}}"));
    }

    /// Asks for an agent of that name (`AgentDispatchService.CreateDispatch`).
    pub(crate) fn dispatch(&self, room: &str, agent: &str) {
        let grants = VideoGrants { room_admin: true, room: room.into(), ..Default::default() };
        let body = format!("{{\"room\":\"{room}\",\"agent_name\":\"{agent}\"}}");
        self.call("AgentDispatchService/CreateDispatch", grants, &body);
    }

    fn call(&self, method: &str, grants: VideoGrants, body: &str) {
        let token = livekit_token::AccessToken::with_api_key(KEY, SECRET);
        let token = token.with_grants(grants).to_jwt().unwrap();
        let request = format!(
            "POST /twirp/livekit.{method} HTTP/1.1\r\nHost: localhost\r\n\
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

fn config(at: &Path, [port, prometheus, udp]: [u16; 3], http: Option<&str>) -> PathBuf {
    let webhook = http.map_or_else(String::new, |http| {
        format!("webhook: {{api_key: {KEY}, urls: ['http://{http}/webhook']}}\n")
    });
    // Media over one port of UDP, on loopback alone. Nothing answers at the address for STUN: libwebrtc, which agents
    // use, discards packets from a STUN server's address that are no answers of it.
    let text = format!(
        "port: {port}\nbind_addresses: ['127.0.0.1']\nkeys: {{{KEY}: {SECRET}}}\n\
         {webhook}prometheus: {{port: {prometheus}}}\n\
         room: {{empty_timeout: 60, departure_timeout: 60}}\n\
         agents: {{enable_user_data_recording: true}}\n\
         rtc: {{node_ip: 127.0.0.1, use_external_ip: false, enable_loopback_candidate: true, \
         interfaces: {{includes: [lo]}}, ips: {{includes: [127.0.0.1/32]}}, \
         udp_port: {udp}, tcp_port: 0, stun_servers: ['127.0.0.1:{port}']}}\n\
         logging: {{level: error}}\n",
    );
    let path = at.join("livekit.yaml");
    std::fs::write(&path, text).unwrap();
    path
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
