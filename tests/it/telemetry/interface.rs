//! The methods of the interface, compared with upstream's and with the table in the docs.

use std::path::{Path, PathBuf};

fn file(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

fn read(path: &str) -> String {
    std::fs::read_to_string(file(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

// The methods of a Go interface: names with a capital before a parenthesis.
fn go_methods(source: &str) -> Vec<String> {
    let body = source.split("type TelemetryService interface {").nth(1).expect("the interface");
    let body = body.split("// ------").next().unwrap();
    let is_name = |c: char| c.is_alphanumeric() || c == '(';
    let words = body.split(|c: char| !is_name(c)).filter_map(|word| word.split_once('('));
    let names = words.map(|(name, _)| name.to_owned());
    names.filter(|name| name.starts_with(char::is_uppercase)).collect()
}

fn snake_case(name: &str) -> String {
    let letters: Vec<char> = name.chars().collect();
    let mut snake = String::new();
    for (at, letter) in letters.iter().enumerate() {
        let next_is_small = letters.get(at + 1).is_some_and(|next| next.is_lowercase());
        let after_small = at > 0 && letters[at - 1].is_lowercase();
        if letter.is_uppercase() && at > 0 && (after_small || next_is_small) {
            snake.push('_');
        }
        snake.extend(letter.to_lowercase());
    }
    snake
}

// Upstream's method names: its own, then those of the AnalyticsService that it embeds.
fn of_upstream() -> (Vec<String>, Vec<String>) {
    let listed = read("tests/upstream/interface.txt");
    let mut parts = listed.split("\n\n").map(|part| part.lines().map(str::to_owned).collect());
    (parts.next().unwrap(), parts.next().unwrap())
}

// The methods of our trait in `path`.
fn of_trait(path: &str) -> Vec<String> {
    methods(path, "pub trait ")
}

fn methods(path: &str, block: &str) -> Vec<String> {
    let text = read(path);
    let body = text.split(block).nth(1).unwrap().split("\n}").next().unwrap();
    let names = body.lines().filter_map(|line| line.strip_prefix("    fn "));
    names.map(|rest| rest.split('(').next().unwrap().to_owned()).collect()
}

fn sorted(mut names: Vec<String>) -> Vec<String> {
    names.sort();
    names
}

#[test]
fn the_trait_has_upstreams_methods_and_no_others() {
    let (own, embedded) = of_upstream();
    let snake = |names: &[String]| sorted(names.iter().map(|name| snake_case(name)).collect());
    assert!(own.len() > 30, "the list was not read");
    assert_eq!(sorted(of_trait("crates/telemetry/src/service.rs")), snake(&own));
    let mut ours = of_trait("crates/telemetry/src/analytics.rs");
    // Go's has no `stop`.
    ours.retain(|name| name != "stop");
    assert_eq!(sorted(ours), snake(&embedded));
}

// All methods have default bodies, so the compiler accepts a missing one.
#[test]
fn the_service_has_a_body_for_each_method() {
    let (of_the_trait, of_the_service) = (
        of_trait("crates/telemetry/src/service.rs"),
        methods("crates/telemetry/src/calls.rs", "impl TelemetryService for Telemetry "),
    );
    assert_eq!(of_the_service, of_the_trait);
    let mut of_the_trait = of_trait("crates/telemetry/src/analytics.rs");
    let of_an_arc = "impl<T: AnalyticsService + ?Sized> AnalyticsService for Arc<T> ";
    assert_eq!(methods("crates/telemetry/src/analytics.rs", of_an_arc), of_the_trait);
    of_the_trait.retain(|name| name != "stop");
    for service in [
        methods("crates/telemetry/src/calls.rs", "impl AnalyticsService for Telemetry "),
        methods(
            "crates/telemetry/src/forward/mod.rs",
            "impl AnalyticsService for AnalyticsForwarder ",
        ),
    ] {
        let service: Vec<_> = service.into_iter().filter(|name| name != "stop").collect();
        assert_eq!(service, of_the_trait);
    }
}

// With TELEMETRY_SERVICE_GO, upstream's telemetryservice.go or another edition of it.
#[test]
fn the_list_of_upstreams_methods_is_that_of_its_source() {
    let Some(path) = std::env::var_os("TELEMETRY_SERVICE_GO") else { return };
    let source = std::fs::read_to_string(path).unwrap();
    assert_eq!(go_methods(&source), of_upstream().0);
}

#[test]
fn a_go_interface_is_read_on_one_line_or_on_many() {
    let one =
        "type TelemetryService interface { // A is (b/c) A(x y.Z) // events AB(k *l) D } // ------";
    assert_eq!(go_methods(one), ["A", "AB"]);
    let many =
        "type TelemetryService interface {\n\t// A - is\n\tA(x y.Z)\n\tD\n\tAB()\n}\n\n// ------";
    assert_eq!(go_methods(many), ["A", "AB"]);
    assert_eq!(snake_case("TrackPublishRTPStats"), "track_publish_rtp_stats");
    assert_eq!(snake_case("APICall"), "api_call");
}

// The cells of a table's rows whose first is code.
fn rows(table: &str) -> Vec<Vec<String>> {
    let rows = table.lines().filter(|line| line.starts_with("| `"));
    rows.map(|row| row.trim_matches('|').split('|').map(|cell| cell.trim().to_owned()).collect())
        .collect()
}

fn code(cell: &str) -> impl Iterator<Item = &str> {
    cell.split('`').skip(1).step_by(2)
}

#[test]
fn each_method_has_a_row_with_an_existing_test() {
    let docs = read("docs/telemetry-service.md");
    let rows = rows(&docs);
    let named: Vec<_> = rows.iter().map(|row| row[0].trim_matches('`').to_owned()).collect();
    let mut methods = of_trait("crates/telemetry/src/service.rs");
    methods.extend(
        of_trait("crates/telemetry/src/analytics.rs").into_iter().filter(|name| name != "stop"),
    );
    assert_eq!(sorted(named), sorted(methods), "docs/telemetry-service.md");
    let mut tests = String::new();
    for entry in std::fs::read_dir(file("tests/it/telemetry")).unwrap() {
        let path = entry.unwrap().path();
        if path.is_file() {
            tests.push_str(&std::fs::read_to_string(path).unwrap());
        }
    }
    for row in &rows {
        let test =
            code(row.last().unwrap()).next().unwrap_or_else(|| panic!("{}: no test", row[0]));
        assert!(tests.contains(&format!("fn {test}(")), "{}: no test {test}", row[0]);
    }
}

#[test]
fn the_tables_name_only_emitted_metrics_and_events() {
    let semconv = read("crates/model/src/semconv.rs") + &read("crates/model/src/semconv/metric.rs");
    for path in ["docs/telemetry-service.md", "docs/metrics.md"] {
        let docs = read(path);
        for name in code(&docs).filter(|name| name.starts_with("lk.")) {
            assert!(semconv.contains(&format!("\"{name}\"")), "{path}: {name}");
        }
    }
}
