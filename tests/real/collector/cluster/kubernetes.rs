//! As much of Kubernetes' API as the discovery of pods asks for.

use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};

use serde_json::{Value, json};

/// It listens until the tests end.
pub(super) struct Api {
    url: String,
}

/// A pod whose container has these ports.
pub(super) fn pod(
    namespace: &str,
    name: &str,
    label: &str,
    phase: &str,
    ports: &[(&str, u16)],
) -> Value {
    let port = |(name, port): &(&str, u16)| json!({"name": name, "containerPort": port, "protocol": "TCP"});
    let ports: Vec<_> = ports.iter().map(port).collect();
    json!({
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "name": name, "namespace": namespace, "uid": format!("{namespace}-{name}"), "resourceVersion": "1",
            "labels": {"app.kubernetes.io/name": label, "app.kubernetes.io/instance": "lk"},
        },
        "spec": {"nodeName": "node-1", "containers": [{"name": label, "image": label, "ports": ports}]},
        "status": {"phase": phase, "podIP": "127.0.0.1", "hostIP": "127.0.0.1"},
    })
}

impl Api {
    pub(super) fn start(pods: &[Value]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let pods = pods.to_vec();
        std::thread::spawn(move || {
            // A watch ends with the collector.
            let watches: Vec<_> =
                listener.incoming().filter_map(|stream| answer(stream.unwrap(), &pods)).collect();
            drop(watches);
        });
        Self { url }
    }

    pub(super) fn url(&self) -> &str {
        &self.url
    }
}

// A watch gets no end.
fn answer(mut stream: TcpStream, pods: &[Value]) -> Option<TcpStream> {
    let lines = BufReader::new(stream.try_clone().unwrap()).lines();
    let head: Vec<_> = lines.map_while(Result::ok).take_while(|line| !line.is_empty()).collect();
    let request = head.first()?;
    let is_watch = request.contains("watch=");
    let events =
        if request.contains("sendInitialEvents=true") { watched(pods) } else { Vec::new() };
    let list = json!({
        "apiVersion": "v1", "kind": "PodList", "metadata": {"resourceVersion": "1"}, "items": pods,
    });
    let begin = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nConnection: close\r\n";
    if !is_watch {
        let _ = write!(stream, "{begin}\r\n{list}");
        return None;
    }
    let _ = write!(stream, "{begin}Transfer-Encoding: chunked\r\n\r\n");
    for event in events {
        let line = format!("{event}\n");
        let _ = write!(stream, "{:x}\r\n{line}\r\n", line.len());
    }
    Some(stream)
}

// All that there is, and the mark behind it.
fn watched(pods: &[Value]) -> Vec<Value> {
    let added = pods.iter().map(|pod| json!({"type": "ADDED", "object": pod}));
    let end = json!({"type": "BOOKMARK", "object": {
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {"resourceVersion": "1", "annotations": {"k8s.io/initial-events-end": "true"}},
        "spec": {"containers": null}, "status": {},
    }});
    added.chain([end]).collect()
}
