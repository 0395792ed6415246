//! The shipped dashboards and rules are complete and use only our names. `tests/real` and `tests/stack`
//! check that their queries return data.

mod names;
mod promql;
#[path = "../../stack/shipped.rs"]
#[allow(dead_code)] // tests/stack and tests/real use all of it
pub(crate) mod shipped;

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value as Json;
use shipped::{Backend, Dashboard, dashboards, list, rules, text_of, used};

fn variable_names(dashboard: &Dashboard) -> Vec<String> {
    dashboard.variables().map(|variable| text_of(variable, "name")).collect()
}

/// All texts in it.
fn texts<'a>(of: &'a Json, to: &mut Vec<&'a str>) {
    match of {
        Json::String(text) => to.push(text),
        Json::Array(items) => items.iter().for_each(|item| texts(item, to)),
        Json::Object(fields) => fields.values().for_each(|field| texts(field, to)),
        _ => {}
    }
}

fn texts_of(of: &Json) -> Vec<&str> {
    let mut all = Vec::new();
    texts(of, &mut all);
    all
}

#[test]
fn a_panel_has_a_title_a_description_a_unit_and_a_source() {
    for dashboard in dashboards() {
        let (mut ids, mut titles) = (BTreeSet::new(), BTreeSet::new());
        for panel in dashboard.panels() {
            let title = text_of(panel, "title");
            assert!(!title.is_empty() && titles.insert(title.clone()), "{title} twice");
            assert!(ids.insert(panel["id"].as_u64().unwrap()), "the id of {title} twice");
            assert!(text_of(panel, "description").len() > 30, "{title} is not described");
            assert!(!text_of(&panel["fieldConfig"]["defaults"], "unit").is_empty(), "{title}");
            let mut letters = BTreeSet::new();
            for target in list(panel, "targets") {
                assert!(letters.insert(text_of(target, "refId")), "{title} has a letter twice");
                assert_eq!(target["datasource"], panel["datasource"], "{title}");
            }
            assert!(!letters.is_empty(), "{title} has no query");
        }
    }
}

#[test]
fn panels_do_not_overlap() {
    for dashboard in dashboards() {
        let mut taken = BTreeSet::new();
        for panel in dashboard.panels() {
            let [x, y, w, h] =
                ["x", "y", "w", "h"].map(|field| panel["gridPos"][field].as_u64().unwrap());
            assert!(x + w <= 24, "{}", panel["title"]);
            for place in (x..x + w).flat_map(|x| (y..y + h).map(move |y| (x, y))) {
                assert!(taken.insert(place), "{} overlaps another", panel["title"]);
            }
        }
    }
}

#[test]
fn data_sources_are_chosen_by_variables() {
    for dashboard in dashboards() {
        let sources: BTreeMap<_, _> = dashboard
            .variables()
            .filter(|variable| variable["type"] == "datasource")
            .map(|variable| (text_of(variable, "name"), text_of(variable, "query")))
            .collect();
        let variables = dashboard.variables().filter(|variable| variable["type"] == "query");
        for user in dashboard.panels().into_iter().chain(variables).chain(dashboard.annotations()) {
            let source = &user["datasource"];
            let uid = text_of(source, "uid");
            let name = uid.strip_prefix("${").and_then(|uid| uid.strip_suffix('}')).unwrap();
            assert_eq!(sources.get(name), Some(&text_of(source, "type")), "{user}");
        }
    }
}

#[test]
fn every_used_variable_is_defined_before_its_use() {
    for dashboard in dashboards() {
        let mut defined = BTreeSet::new();
        let check = |of: &Json, defined: &BTreeSet<String>| {
            for name in texts_of(of).into_iter().flat_map(used) {
                let is_known = name.starts_with("__") || defined.contains(&name);
                assert!(is_known, "{}: ${name} is not defined: {of}", dashboard.name);
            }
        };
        for variable in dashboard.variables() {
            // A regular expression ends with a $ too.
            check(&variable["query"], &defined);
            assert!(defined.insert(text_of(variable, "name")), "{variable} twice");
        }
        check(&dashboard.json["panels"], &defined);
        check(&dashboard.json["annotations"], &defined);
        let everywhere = dashboard.json.to_string();
        for name in defined.iter().filter(|name| !name.starts_with("DS_")) {
            let uses = [format!("${name}"), format!("${{{name}")];
            assert!(uses.iter().any(|it| everywhere.contains(it)), "${name} is not used");
        }
    }
}

#[test]
fn every_link_leads_to_a_dashboard_that_knows_its_variables() {
    let dashboards = dashboards();
    let known: BTreeMap<_, _> = dashboards
        .iter()
        .map(|dashboard| (text_of(&dashboard.json, "uid"), variable_names(dashboard)))
        .collect();
    assert_eq!(known.len(), dashboards.len(), "a uid twice");
    for dashboard in &dashboards {
        let mut linked = BTreeSet::new();
        for url in texts_of(&dashboard.json).into_iter().filter_map(|it| it.strip_prefix("/d/")) {
            let (uid, query) = url.split_once('?').unwrap_or((url, ""));
            let variables = known.get(uid).unwrap_or_else(|| panic!("there is no {uid}"));
            for parameter in query.split('&').filter(|it| !it.is_empty()) {
                let set = parameter.strip_prefix("var-").and_then(|it| it.split('=').next());
                let kept = parameter.strip_prefix("${").and_then(|it| it.split(':').next());
                let name = set.or(kept).unwrap();
                let is_known =
                    name.starts_with("__url_time_range") || variables.iter().any(|it| it == name);
                assert!(is_known, "{uid} has no {name}: {url}");
            }
            linked.insert(uid);
        }
        let others = dashboards.iter().filter(|other| other.name != dashboard.name);
        for other in others.map(|other| text_of(&other.json, "uid")) {
            assert!(linked.contains(&*other), "{} has no link to {other}", dashboard.name);
        }
    }
}

// The labels that Prometheus derives from a target.
const OF_TARGETS: [&str; 2] = ["job", "instance"];

fn check_promql(
    place: &str,
    expr: &str,
    known: &BTreeMap<String, BTreeSet<String>>,
) -> BTreeSet<String> {
    let read = promql::read(expr);
    assert!(!read.metrics.is_empty(), "{place} names no metric: {expr}");
    let mut all = BTreeSet::new();
    for (metric, labels) in &read.metrics {
        let of_metric =
            known.get(metric).unwrap_or_else(|| panic!("{place}: there is no {metric}"));
        for label in labels {
            assert!(of_metric.contains(label), "{place}: {metric} has no {label}");
        }
        all.extend(of_metric.iter().cloned());
    }
    for label in &read.groups {
        assert!(all.contains(label), "{place}: no metric there has {label}");
    }
    all
}

/// The series in Prometheus with their labels: ours, and those of recording rules.
pub(crate) fn series() -> BTreeMap<String, BTreeSet<String>> {
    let mut series = names::series();
    for rule in rules().iter().filter(|rule| !rule.is_alert) {
        check_promql(&rule.name, &rule.expr, &series);
        series.insert(rule.name.clone(), promql::read(&rule.expr).groups);
    }
    series
}

#[test]
fn promql_uses_the_names_of_our_metrics_in_prometheus() {
    let known = series();
    for dashboard in dashboards() {
        for panel in dashboard.panels() {
            for target in
                list(panel, "targets").filter(|it| it["datasource"]["type"] == "prometheus")
            {
                let (place, expr) = (text_of(panel, "title"), text_of(target, "expr"));
                check_promql(&place, &expr, &known);
                let groups = promql::read(&expr).groups;
                let legend = target["legendFormat"].as_str().unwrap_or_default();
                for label in names::in_braces(legend) {
                    assert!(groups.contains(label), "{place}: a legend of {label}: {expr}");
                }
            }
        }
        for variable in dashboard.variables().filter(|variable| variable["type"] == "query") {
            let query = text_of(&variable["query"], "query");
            let (function, inner) = query.split_once('(').unwrap();
            let inner = inner.strip_suffix(')').unwrap();
            let (expr, label) = match function {
                "label_values" => inner.rsplit_once(", ").unwrap(),
                _ => (inner, "job"),
            };
            let labels = check_promql(&text_of(variable, "name"), expr, &known);
            assert!(labels.contains(label), "{query}");
        }
    }
    for rule in rules().iter().filter(|rule| rule.is_alert) {
        check_promql(&rule.name, &rule.expr, &known);
    }
}

#[test]
fn logql_and_traceql_use_our_attributes_events_and_spans() {
    let known = names::Emitted::read();
    let mut counted = [0, 0];
    for dashboard in dashboards() {
        for query in dashboard.queries() {
            match query.backend {
                Backend::Loki => known.check_logql(&query.place, &query.text),
                Backend::Tempo => known.check_traceql(&query.place, &query.text),
                Backend::Prometheus => continue,
            }
            counted[usize::from(query.backend == Backend::Tempo)] += 1;
        }
        for annotation in dashboard.annotations() {
            for field in ["titleFormat", "textFormat"] {
                for label in names::in_braces(&text_of(annotation, field)) {
                    known.check_label(&text_of(annotation, "name"), label);
                }
            }
            for label in text_of(annotation, "tagKeys").split(',') {
                known.check_label(&text_of(annotation, "name"), label);
            }
        }
        let targets = dashboard.panels().into_iter().flat_map(|panel| list(panel, "targets"));
        for target in targets.filter(|target| target["datasource"]["type"] == "jaeger") {
            known.check_jaeger(&text_of(target, "operation"), &text_of(target, "tags"));
        }
    }
    assert!(counted.iter().all(|count| *count > 0), "{counted:?}");
}

#[test]
fn an_alert_has_a_severity_a_runbook_and_a_test() {
    let path = shipped::folder().join("prometheus/alerts_test.yaml");
    let tests: Json = serde_saphyr::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
    let tests = list(&tests, "tests").flat_map(|test| list(test, "promql_expr_test"));
    let (fired, silent): (Vec<_>, Vec<_>) =
        tests.partition(|test| list(test, "exp_samples").next().is_some());
    // No alert fires while all series are healthy.
    assert!(silent.iter().any(|test| test["expr"] == "ALERTS"), "no test of silence");
    let fired = fired.into_iter().flat_map(|test| list(test, "exp_samples"));
    let fired: Vec<_> = fired.map(|sample| text_of(sample, "labels")).collect();
    let mut names = BTreeSet::new();
    for rule in rules().into_iter().filter(|rule| rule.is_alert) {
        let (name, annotations) = (rule.name, &rule.json["annotations"]);
        let severity = text_of(&rule.json["labels"], "severity");
        assert!(["critical", "warning", "info"].contains(&&*severity), "{name}");
        for field in ["summary", "description", "runbook"] {
            assert!(text_of(annotations, field).len() > 20, "{name} has no {field}");
        }
        let labels = format!("{{alertname=\"{name}\", severity=\"{severity}\"");
        assert!(fired.iter().any(|fired| fired.starts_with(&labels)), "{name} is not tested");
        assert!(names.insert(name));
    }
}

#[test]
fn variables_that_a_text_uses_are_found() {
    assert_eq!(
        Vec::from_iter(used("a $b ${c:queryparam} ${__data.fields.x} d$")),
        ["__data", "b", "c"]
    );
    let value = |name: &str| (name == "b").then(|| "B".to_owned());
    assert_eq!(shipped::filled("$b,${b:regex}$c$", &mut { value }), "B,B$c$");
}
