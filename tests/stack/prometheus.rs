//! Prometheus' query API, and Grafana's queries of variables on it.

use std::io::{Read, Write};
use std::net::TcpStream;

use serde_json::Value as Json;

/// One that runs, by its URL: `http://127.0.0.1:9090`.
pub(crate) struct Prometheus<'a> {
    pub(crate) url: &'a str,
}

/// What a query gave of one series.
#[derive(Debug)]
pub(crate) struct Series {
    pub(crate) labels: Json,
    pub(crate) values: Vec<String>,
}

impl Series {
    pub(crate) fn has_number(&self) -> bool {
        self.values.iter().any(|value| value != "NaN")
    }
}

impl Prometheus<'_> {
    /// The data of an answer.
    pub(crate) fn get(&self, path: &str, parameters: &[(&str, &str)]) -> Result<Json, String> {
        let pairs = parameters.iter().map(|(key, value)| format!("{key}={}", encoded(value)));
        let form = pairs.collect::<Vec<_>>().join("&");
        let host = self.url.trim_start_matches("http://").trim_end_matches('/');
        let mut stream = TcpStream::connect(host).map_err(|error| error.to_string())?;
        // 1.0: no chunks.
        let request = format!("GET {path}?{form} HTTP/1.0\r\nHost: {host}\r\n\r\n");
        stream.write_all(request.as_bytes()).map_err(|error| error.to_string())?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).map_err(|error| error.to_string())?;
        let body = answer.split_once("\r\n\r\n").map_or("", |it| it.1);
        let mut body: Json = serde_json::from_str(body).map_err(|_| answer.clone())?;
        if body["status"] == "success" {
            Ok(body["data"].take())
        } else {
            Err(body["error"].to_string())
        }
    }

    pub(crate) fn instant(&self, query: &str, at: u64) -> Result<Vec<Series>, String> {
        let data = self.get("/api/v1/query", &[("query", query), ("time", &at.to_string())])?;
        Ok(series(&data))
    }

    pub(crate) fn range(
        &self,
        query: &str,
        (from, to): (u64, u64),
        step: u64,
    ) -> Result<Vec<Series>, String> {
        // As Grafana aligns them.
        let [from, to, step] =
            [from / step * step, to / step * step, step].map(|it| it.to_string());
        let parameters = [("query", query), ("start", &from), ("end", &to), ("step", &step)];
        Ok(series(&self.get("/api/v1/query_range", &parameters)?))
    }

    /// How many exemplars name a trace.
    pub(crate) fn traces(&self, query: &str, (from, to): (u64, u64)) -> Result<usize, String> {
        let [from, to] = [from, to].map(|it| it.to_string());
        let parameters = [("query", query), ("start", &from), ("end", &to)];
        let data = self.get("/api/v1/query_exemplars", &parameters)?;
        let exemplars = items(&data).flat_map(|series| items(&series["exemplars"]));
        let trace =
            |exemplar: &&Json| exemplar["labels"]["trace_id"].as_str().map(str::len) == Some(32);
        Ok(exemplars.filter(trace).count())
    }

    /// The values of a variable: `label_values(selector, label)` or `query_result(query)`.
    pub(crate) fn options(
        &self,
        query: &str,
        regex: Option<&str>,
        (from, to): (u64, u64),
    ) -> Result<Vec<String>, String> {
        let inner = |function: &str| query.strip_prefix(function)?.strip_suffix(')');
        if let Some((selector, label)) =
            inner("label_values(").and_then(|inner| inner.rsplit_once(", "))
        {
            let path = format!("/api/v1/label/{label}/values");
            let [from, to] = [from, to].map(|it| it.to_string());
            let data = self.get(&path, &[("match[]", selector), ("start", &from), ("end", &to)])?;
            let values = items(&data).filter_map(|value| value.as_str());
            return Ok(values.filter_map(|value| captured(regex, value)).collect());
        }
        let query = inner("query_result(").ok_or("neither label_values() nor query_result()")?;
        let found = self.instant(query, to)?;
        // Grafana's text of a series; its labels are sorted already.
        let text = |series: &Series| {
            let labels = series.labels.as_object().into_iter().flatten();
            let labels = labels.map(|(key, value)| format!("{key}={value}")).collect::<Vec<_>>();
            format!("{{{}}}", labels.join(","))
        };
        Ok(found.iter().filter_map(|series| captured(regex, &text(series))).collect())
    }
}

fn items(of: &Json) -> impl Iterator<Item = &Json> {
    of.as_array().into_iter().flatten()
}

fn series(data: &Json) -> Vec<Series> {
    let of = |result: &Json| {
        let samples = items(&result["values"]).chain([&result["value"]]);
        let values = samples.filter_map(|sample| sample[1].as_str()).map(str::to_owned);
        Series { labels: result["metric"].clone(), values: values.collect() }
    };
    items(&data["result"]).map(of).collect()
}

/// What a variable's regular expression makes of a value: there are three, held to by name.
fn captured(regex: Option<&str>, value: &str) -> Option<String> {
    match regex.unwrap_or_default() {
        "" => Some(value.to_owned()),
        r"/([^\/]+)$/" => value.rsplit('/').next().map(str::to_owned),
        regex if regex.ends_with(r#"lk_participant_id="(?<value>[^"]+)"/"#) => {
            let (_, rest) = value.split_once("lk_participant_id=\"")?;
            rest.split('"').next().map(str::to_owned)
        }
        regex if regex.ends_with(r#"lk_room_id="(?<value>[^"]+)"/"#) => {
            let (_, rest) = value.split_once("lk_room_id=\"")?;
            rest.split('"').next().map(str::to_owned)
        }
        regex => panic!("not known here: {regex}"),
    }
}

fn encoded(text: &str) -> String {
    let byte = |byte: u8| {
        let is_plain = byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
        if is_plain { char::from(byte).to_string() } else { format!("%{byte:02X}") }
    };
    text.bytes().map(byte).collect()
}
