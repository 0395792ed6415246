//! Every PromQL of the dashboards and rules, run as Grafana and Prometheus would on a Prometheus that
//! got a call's metrics: whatever fails, and whatever shows nothing.

#[path = "prometheus.rs"]
mod prometheus;

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use prometheus::Prometheus;
use serde_json::Value as Json;

use crate::shipped::{
    Backend, Dashboard, Query, dashboards, filled, list, rules as shipped_rules, text_of,
};

/// What shows nothing where nothing failed, beside something that is shown: lines in a panel that only
/// failures draw.
const OF_FAILURES: [&str; 3] =
    ["fleet: Joins B", "fleet: Subscriptions B", "fleet: Participants that left B"];

/// Dashboards of what a call has none of; tests/real/collector/cluster has it.
const WITHOUT_CALLS: [&str; 2] = ["egress-ingress", "telephony"];
/// What is of the same in the others.
pub(crate) const OF_WORKS: [&str; 7] = [
    "fleet: Dispatches, by outcome A",
    "fleet: Failures of operations A",
    "fleet: Failures of operations B",
    "fleet: Failures of operations C",
    "fleet: Failures of operations D",
    "fleet: Time until an agent comes A",
    "fleet: Time until an agent comes B",
];

/// The dashboards' chosen time, "now-1h", and what Grafana makes of it with a least step of 30 s.
const RANGE: u64 = 3600;
const STEP: u64 = 30;
/// Values of variables that are tried until all panels have shown something.
const TRIES: usize = 40;

type Values = BTreeMap<String, String>;

/// Runs all queries on the Prometheus at this URL, as if it were `at`. Its rules have to be those of
/// `collector-config/prometheus`. Returns the problems.
pub(crate) fn check(prometheus: &str, at: SystemTime) -> Vec<String> {
    let prometheus = Prometheus { url: prometheus };
    let at = at.duration_since(UNIX_EPOCH).unwrap().as_secs();
    let dashboards = dashboards().into_iter().filter(|it| !WITHOUT_CALLS.contains(&it.name));
    let problems = dashboards.flat_map(|of| Run::new(&prometheus, at, &of).all(&of));
    let is_of_works = |problem: &String| OF_WORKS.iter().any(|it| problem.starts_with(it));
    let problems = problems.filter(|problem| !is_of_works(problem));
    problems.chain(rules(&prometheus, at)).collect()
}

/// The same for the queries of one dashboard.
#[allow(dead_code)] // of tests/real
pub(crate) fn check_dashboard(prometheus: &str, name: &str, at: SystemTime) -> Vec<String> {
    let prometheus = Prometheus { url: prometheus };
    let at = at.duration_since(UNIX_EPOCH).unwrap().as_secs();
    let dashboard = dashboards().into_iter().find(|dashboard| dashboard.name == name).unwrap();
    Run::new(&prometheus, at, &dashboard).all(&dashboard)
}

/// Grafana asks for whole steps: the next, for which what is there now goes on.
pub(crate) fn end_of_step(at: SystemTime) -> SystemTime {
    let since = at.duration_since(UNIX_EPOCH).unwrap();
    at + Duration::from_secs(STEP - since.as_secs() % STEP)
}

/// The SIDs of the rooms that this Prometheus has streams of.
#[allow(dead_code)] // of tests/real
pub(crate) fn rooms(prometheus: &str) -> Vec<String> {
    let prometheus = Prometheus { url: prometheus };
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    let rooms = "label_values(lk_stream_packets_total, lk_room_id)";
    prometheus.options(rooms, None, (now - RANGE, now)).unwrap()
}

/// A dashboard's queries, and which of them are still to show something.
struct Run<'a> {
    prometheus: &'a Prometheus<'a>,
    at: u64,
    name: &'static str,
    queries: Vec<Query>,
    empty: BTreeSet<String>,
    errors: BTreeSet<String>,
    tries: usize,
}

impl<'a> Run<'a> {
    fn new(prometheus: &'a Prometheus<'a>, at: u64, dashboard: &Dashboard) -> Self {
        let mut queries = dashboard.queries();
        queries.retain(|query| query.backend == Backend::Prometheus);
        assert!(!queries.is_empty(), "{}", dashboard.name);
        let empty = queries.iter().map(|query| query.place.clone()).collect();
        let (name, errors, tries) = (dashboard.name, BTreeSet::new(), 0);
        Self { prometheus, at, name, queries, empty, errors, tries }
    }

    fn all(mut self, of: &Dashboard) -> Vec<String> {
        let variables: Vec<_> = of.variables().collect();
        self.choose(&variables, &Values::new());
        self.problems().collect()
    }

    /// Goes on with each value of the first variable; where none is left, runs what shows nothing yet.
    fn choose(&mut self, variables: &[&Json], values: &Values) {
        let Some((variable, rest)) = variables.split_first() else {
            self.tries += 1;
            return self.run(values);
        };
        let options = self.options(variable, values);
        for option in options {
            let mut values = values.clone();
            values.insert(text_of(variable, "name"), option);
            self.choose(rest, &values);
            if self.empty.is_empty() || self.tries >= TRIES {
                return;
            }
        }
    }

    fn options(&mut self, variable: &Json, values: &Values) -> Vec<String> {
        let all = (variable["includeAll"] == true).then(|| vec![text_of(variable, "allValue")]);
        let query = match variable["type"].as_str() {
            Some("datasource") => return vec!["a".to_owned()],
            Some("custom") if all.is_some() => return all.unwrap_or_default(),
            Some("query") => text_of(&variable["query"], "query"),
            other => panic!("{}: a variable that is {other:?}", self.name),
        };
        let place = format!("{}: variable {}", self.name, text_of(variable, "name"));
        let query = Self::fill(&query, values);
        let options = self.prometheus.options(&query, variable["regex"].as_str(), self.span());
        match options {
            Ok(options) if options.is_empty() => {
                self.errors.insert(format!("{place} has no values: {query}"));
                // As Grafana does.
                all.unwrap_or_else(|| vec![String::new()])
            }
            Ok(options) => all.unwrap_or(options),
            Err(error) => {
                self.errors.insert(format!("{place}: {error}: {query}"));
                Vec::new()
            }
        }
    }

    fn run(&mut self, values: &Values) {
        for query in std::mem::take(&mut self.queries) {
            if self.empty.contains(&query.place) {
                let text = Self::fill(&query.text, values);
                match self.shows(&query, &text) {
                    Ok(true) => drop(self.empty.remove(&query.place)),
                    Ok(false) => {}
                    Err(error) => {
                        self.errors.insert(format!("{}: {error}: {text}", query.place));
                    }
                }
            }
            self.queries.push(query);
        }
    }

    fn shows(&self, query: &Query, text: &str) -> Result<bool, String> {
        if query.has_exemplars && self.prometheus.traces(text, self.span())? == 0 {
            return Err("no exemplar with a trace".to_owned());
        }
        let series = if query.is_instant {
            self.prometheus.instant(text, self.at)?
        } else {
            self.prometheus.range(text, self.span(), STEP)?
        };
        Ok(series.iter().any(|series| series.has_number()))
    }

    fn span(&self) -> (u64, u64) {
        (self.at - RANGE, self.at)
    }

    fn fill(text: &str, values: &Values) -> String {
        filled(text, &mut |name| match name {
            "__interval" => Some(format!("{STEP}s")),
            "__rate_interval" => Some(format!("{}s", 4 * STEP)),
            "__range" => Some(format!("{RANGE}s")),
            name => Some(values.get(name).unwrap_or_else(|| panic!("no ${name}")).clone()),
        })
    }

    fn problems(self) -> impl Iterator<Item = String> {
        let empty = self.empty.into_iter().filter(|place| !OF_FAILURES.contains(&&**place));
        self.errors.into_iter().chain(empty.map(|place| format!("{place} shows nothing")))
    }
}

// Recorded series are there; alerts can be evaluated, whether or not they fire; Prometheus has them all.
fn rules(prometheus: &Prometheus<'_>, at: u64) -> Vec<String> {
    let mut problems = Vec::new();
    let mut expected = BTreeSet::new();
    for rule in shipped_rules() {
        match prometheus.instant(&rule.expr, at) {
            Err(error) => problems.push(format!("{}: {error}", rule.name)),
            Ok(series) if series.is_empty() && !rule.is_alert => {
                problems.push(format!("{} records nothing", rule.name));
            }
            Ok(_) => {}
        }
        expected.insert(rule.name);
    }
    let loaded = match prometheus.get("/api/v1/rules", &[]) {
        Ok(data) => data,
        Err(error) => return vec![error],
    };
    for rule in list(&loaded, "groups").flat_map(|group| list(group, "rules")) {
        let name = text_of(rule, "name");
        if rule["health"] == "err" {
            problems.push(format!("{name}: {}", rule["lastError"]));
        }
        expected.remove(&name);
    }
    problems.extend(expected.into_iter().map(|name| format!("{name} is not in Prometheus")));
    problems
}
