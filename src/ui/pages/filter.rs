//! What a page's lists are limited to, and their order, from the query of its URL.

use std::time::Duration;

use super::sort::{Sort, Table};
use super::url::{decoded, encoded};
use livekit_otel_model::event::Time;
use livekit_otel_model::printable::visible;

// The most characters of a text to look for. Identities that are longer are cut on the pages too.
pub(super) const LONGEST: usize = 80;
// The most bytes of a query that are read.
const MOST: usize = 4096;

/// How far back a list goes: its value in the query, and in words.
pub(super) const SINCE: [(&str, &str, Option<Duration>); 4] = [
    ("", "All that is held", None),
    ("5m", "Last 5 minutes", Some(Duration::from_mins(5))),
    ("15m", "Last 15 minutes", Some(Duration::from_mins(15))),
    ("1h", "Last hour", Some(Duration::from_hours(1))),
];

/// Which rooms a list has: the value in the query, and in words.
pub(super) const STATES: [(&str, &str); 3] = [("", "Any"), ("open", "Open"), ("ended", "Ended")];

/// What lists are limited to, and their order. An empty one shows all.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(in crate::ui) struct Filter {
    /// Part of a room's name or SID, in any case.
    pub(super) room: String,
    /// Part of a participant's identity or SID, or of a telephone number, in any case.
    pub(super) who: String,
    /// Part of an `error.type`, or of the name of what failed, in any case.
    pub(super) what: String,
    /// Only rooms and participants of which something failed.
    pub(super) failed: bool,
    /// A place in [`STATES`].
    pub(super) state: usize,
    /// A place in [`SINCE`].
    pub(super) since: usize,
    // In the order of [`Table::ALL`].
    orders: [Option<Sort>; 2],
}

impl Filter {
    /// Reads a query, and whether it has the page refresh itself. What it doesn't know is ignored.
    pub(in crate::ui) fn read(query: &str) -> (Self, bool) {
        let query = query.get(..query.floor_char_boundary(MOST)).unwrap_or_default();
        let (mut filter, mut refreshes) = (Self::default(), false);
        for (key, value) in query.split('&').map(|pair| pair.split_once('=').unwrap_or((pair, "")))
        {
            match key {
                "room" => filter.room = text(value),
                "who" => filter.who = text(value),
                "what" => filter.what = text(value),
                "failed" => filter.failed = value == "yes",
                "state" => {
                    filter.state = STATES.iter().position(|it| it.0 == value).unwrap_or_default();
                }
                "since" => {
                    filter.since = SINCE.iter().position(|it| it.0 == value).unwrap_or_default();
                }
                "refresh" => refreshes = true,
                _ => {
                    let table = Table::ALL.into_iter().find(|table| table.name() == key);
                    if let Some(table) = table {
                        filter.orders[table as usize] = Sort::read(value);
                    }
                }
            }
        }
        (filter, refreshes)
    }

    /// Whether it shows all, in whatever order.
    pub(super) fn is_empty(&self) -> bool {
        *self == self.all()
    }

    /// The filter that shows all in the same order.
    pub(super) fn all(&self) -> Self {
        Self { orders: self.orders, ..Self::default() }
    }

    /// The order of a table, if one was chosen.
    pub(super) fn order(&self, table: Table) -> Option<Sort> {
        self.orders[table as usize]
    }

    /// The same filter with another order of a table.
    pub(super) fn with_order(&self, table: Table, order: Option<Sort>) -> Self {
        let mut filter = self.clone();
        filter.orders[table as usize] = order;
        filter
    }

    /// The same filter for one kind of failure.
    pub(super) fn with_what(&self, what: &str) -> Self {
        Self { what: what.to_owned(), ..self.clone() }
    }

    /// The chosen orders, by their names in the query.
    pub(super) fn orders(&self) -> impl Iterator<Item = (&'static str, String)> {
        Table::ALL.into_iter().filter_map(|it| Some((it.name(), self.order(it)?.text())))
    }

    /// The parts of its query: none if it shows all in the usual order.
    pub(super) fn query(&self) -> Vec<String> {
        let pairs = [
            ("room", self.room.as_str()),
            ("who", self.who.as_str()),
            ("what", self.what.as_str()),
            ("failed", if self.failed { "yes" } else { "" }),
            ("state", STATES.get(self.state).map_or("", |it| it.0)),
            ("since", SINCE.get(self.since).map_or("", |it| it.0)),
        ];
        let pairs = pairs.into_iter().filter(|(_, value)| !value.is_empty());
        let pairs = pairs.map(|(key, value)| format!("{key}={}", encoded(value)));
        pairs.chain(self.orders().map(|(key, order)| format!("{key}={order}"))).collect()
    }

    /// The earliest time that it shows at `now`.
    pub(super) fn after(&self, now: Time) -> Option<Time> {
        let span = SINCE.get(self.since)?.2?;
        Time::from_nanos(now.nanos().saturating_sub(u64::try_from(span.as_nanos()).ok()?))
    }

    /// Whether it shows what one of these names and SIDs of rooms belongs to.
    pub(super) fn has_room<'a>(&self, names: impl IntoIterator<Item = Option<&'a str>>) -> bool {
        is_in(&self.room, names)
    }

    /// Whether it shows what one of these identities, SIDs and numbers belongs to.
    pub(super) fn has_who<'a>(&self, names: impl IntoIterator<Item = Option<&'a str>>) -> bool {
        is_in(&self.who, names)
    }

    /// Whether it shows what failed with one of these names and error types.
    pub(super) fn has_what<'a>(&self, names: impl IntoIterator<Item = Option<&'a str>>) -> bool {
        is_in(&self.what, names)
    }

    /// Whether it shows rooms that are over, or that are not.
    pub(super) fn has_state(&self, is_over: bool) -> bool {
        match STATES.get(self.state).map_or("", |it| it.0) {
            "open" => !is_over,
            "ended" => is_over,
            _ => true,
        }
    }

    /// Whether it looks for a participant.
    pub(super) fn is_for_someone(&self) -> bool {
        !self.who.is_empty()
    }
}

fn is_in<'a>(text: &str, names: impl IntoIterator<Item = Option<&'a str>>) -> bool {
    text.is_empty() || {
        let text = text.to_lowercase();
        let is_in = |name: &str| visible(name).to_lowercase().contains(&text);
        names.into_iter().flatten().any(is_in)
    }
}

// The text of a form's field, as it is shown.
fn text(value: &str) -> String {
    let text = decoded(value);
    let text: String = text.trim().chars().take(LONGEST).collect();
    visible(&text).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(query: &str) -> Filter {
        Filter::read(query).0
    }

    #[test]
    fn a_query_is_read_as_a_browser_writes_it() {
        let (filter, refreshes) =
            Filter::read("room=Stand+up%26co&who=%2B1555&failed=yes&since=15m&refresh=&sort=-loss");
        assert!(refreshes && filter.failed);
        assert!(filter.has_room([None, Some("my STAND UP&co")]) && !filter.has_room([Some("co")]));
        assert!(filter.has_who([Some("sip_+15550100")]) && !filter.has_who([Some("ann"), None]));
        let now = Time::from_secs(10_000).unwrap();
        assert_eq!(filter.after(now), Time::from_secs(10_000 - 900));
        let query = filter.query().join("&");
        assert_eq!(query, "room=Stand%20up%26co&who=%2B1555&failed=yes&since=15m&sort=-loss");
        assert_eq!(read(&query), filter);
        let ended = read("state=ended&what=TIMEOUT&failures=error");
        assert_eq!(read(&ended.query().join("&")), ended);
        assert!(ended.has_state(true) && !ended.has_state(false));
        assert!(ended.has_what([None, Some("connection_timeout")]) && !ended.has_what([Some("x")]));
    }

    #[test]
    fn an_order_limits_nothing_and_stays_when_all_is_shown() {
        assert!(read("sort=-loss").is_empty() && !read("sort=-loss&state=open").is_empty());
        assert_eq!(read("sort=-loss&state=open&failed=yes").all(), read("sort=-loss"));
    }

    #[test]
    fn a_query_that_makes_no_sense_shows_all() {
        for query in [
            "",
            "&&&",
            "since=2y",
            "failed=no",
            "room=",
            "who=+%20",
            "x=1&room",
            "%=%",
            "state=x",
            "sort=x",
        ] {
            let filter = read(query);
            assert!(filter.is_empty() && filter.query().is_empty(), "{query}");
            assert!(filter.has_room([None]) && filter.has_who([None]) && filter.has_what([None]));
            assert!(filter.has_state(true) && filter.has_state(false));
            assert_eq!(filter.after(Time::from_secs(1).unwrap()), None);
        }
    }

    #[test]
    fn texts_are_bounded_and_as_they_are_shown() {
        assert_eq!(read(&format!("who={}", "x".repeat(10_000))).who.len(), LONGEST);
        assert_eq!(read(&format!("{}&who=ann", "a".repeat(MOST))).who, "");
        let hidden = read("who=a%E2%80%AEb%00%ff%F");
        assert!(hidden.has_who([Some("xA\u{202e}b\0\u{fffd}%f")]), "{hidden:?}");
        assert_eq!(visible(&hidden.who), hidden.who);
    }
}
