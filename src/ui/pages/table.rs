//! Tables, and the heads that change the order of their rows.

use std::cmp::Reverse;

use maud::{Markup, html};

use super::context::Context;
use super::sort::{Cell, Sort, Table};

/// The heading of a column.
#[derive(Debug, Clone, Copy)]
pub(super) enum Head {
    Text(&'static str),
    Number(&'static str),
}

/// A table that may be wider than the screen. It scrolls on its own, also by keyboard.
pub(super) fn table(title: &str, caption: &str, heads: &[Head], rows: &Markup) -> Markup {
    let heads = html! {
        @for head in heads {
            @match head {
                Head::Text(head) => th scope="col" { (head) },
                Head::Number(head) => th.n scope="col" { (head) },
            }
        }
    };
    scrolled(title, caption, &heads, rows)
}

/// Such a table below the heading `id`, whose rows are in an order that its heads change.
pub(super) fn sorted(
    (title, id): (&str, &str),
    what: &str,
    sorted: &Sorted<'_>,
    context: &Context,
    rows: &Markup,
) -> Markup {
    let caption = format!("{what}. The links in the heads change their order");
    scrolled(title, &caption, &sorted.heads(id, context), rows)
}

fn scrolled(title: &str, caption: &str, heads: &Markup, rows: &Markup) -> Markup {
    html! {
        div.scroll tabindex="0" role="region" aria-label={ (title) ", a table" } {
            table {
                caption.hidden { (caption) }
                thead { tr { (heads) } }
                tbody { (rows) }
            }
        }
    }
}

/// A column of a table.
#[derive(Debug, Clone, Copy)]
pub(super) struct Column {
    head: Head,
    // The first order by it; `None` if there is none.
    first: Option<Sort>,
}

/// A column by which the rows can be ordered, at first in this direction.
pub(super) const fn by(head: Head, key: &'static str, is_down: bool) -> Column {
    Column { head, first: Some(Sort::new(key, is_down)) }
}

/// Another column.
pub(super) const fn fixed(head: Head) -> Column {
    Column { head, first: None }
}

/// A table's columns, and its order.
#[derive(Debug, Clone, Copy)]
pub(super) struct Sorted<'c> {
    pub(super) table: Table,
    pub(super) columns: &'c [Column],
    /// The order that is not in the query.
    pub(super) usual: Sort,
}

impl Sorted<'_> {
    /// Its order: the one that was chosen, if it has such a column.
    pub(super) fn order(&self, context: &Context) -> Sort {
        let is_here = |sort: &Sort| {
            self.columns.iter().any(|column| column.first.is_some_and(|it| it.key == sort.key))
        };
        context.filter.order(self.table).filter(is_here).unwrap_or(self.usual)
    }

    /// Orders its rows. Those of the same value stay as they are, and those without one are the last.
    pub(super) fn sort<T>(
        &self,
        rows: &mut [T],
        context: &Context,
        value: impl Fn(&T, &str) -> Cell,
    ) {
        let Sort { key, is_down } = self.order(context);
        rows.sort_by_cached_key(|row| {
            let value = value(row, key);
            let (up, down) =
                if is_down { (None, Some(Reverse(value))) } else { (Some(value), None) };
            (is_none(up.as_ref().or(down.as_ref().map(|it| &it.0))), up, down)
        });
    }

    /// The heads, which lead to the other orders of the table, at `id` on the page.
    pub(super) fn heads(&self, id: &str, context: &Context) -> Markup {
        let order = self.order(context);
        let head = |column: &Column| {
            let (class, text) = match column.head {
                Head::Text(text) => (None, text),
                Head::Number(text) => (Some("n"), text),
            };
            let Some(first) = column.first else {
                return html! { th class=[class] scope="col" { (text) } };
            };
            let is_it = order.key == first.key;
            let next = if is_it { Sort { is_down: !order.is_down, ..order } } else { first };
            let chosen = (next != self.usual).then_some(next);
            let to = context.url(&context.filter.with_order(self.table, chosen), context.refreshes);
            let (word, symbol) =
                if order.is_down { ("descending", " ▾") } else { ("ascending", " ▴") };
            html! {
                th class=[class] scope="col" aria-sort=[is_it.then_some(word)] {
                    a href={ (to) "#" (id) } { (text) }
                    @if is_it { span aria-hidden="true" { (symbol) } }
                }
            }
        };
        html! { @for column in self.columns { (head(column)) } }
    }
}

fn is_none(cell: Option<&Cell>) -> bool {
    cell == Some(&Cell::Nothing)
}

#[cfg(test)]
mod tests {
    use super::super::filter::Filter;
    use super::super::sort::{DOWN, UP};
    use super::super::tests::context;
    use super::*;

    const COLUMNS: [Column; 3] = [
        by(Head::Text("Room"), "name", UP),
        by(Head::Number("Worst loss"), "loss", DOWN),
        fixed(Head::Text("State")),
    ];
    const SORTED: Sorted<'_> =
        Sorted { table: Table::List, columns: &COLUMNS, usual: Sort::new("name", UP) };

    fn asked(query: &str) -> Context {
        Context { filter: Filter::read(query).0, path: "/ui".into(), ..context() }
    }

    fn sorted(query: &str) -> String {
        let mut rows = [("b", Some(0.5)), ("A", None), ("c", Some(0.5)), ("d", Some(10.0))];
        SORTED.sort(&mut rows, &asked(query), |(name, loss), key| match key {
            "loss" => Cell::measure(*loss),
            _ => Cell::text(name),
        });
        rows.map(|(name, _)| name).concat()
    }

    #[test]
    fn rows_are_ordered_in_both_directions_and_those_without_a_value_come_last() {
        for (query, wanted) in [
            ("", "Abcd"),
            ("sort=-name", "dcbA"),
            ("sort=loss", "bcdA"),
            ("sort=-loss", "dbcA"),
            // There is no such column here, or nowhere.
            ("sort=duration", "Abcd"),
            ("sort=-<b>", "Abcd"),
            ("failures=-name", "Abcd"),
        ] {
            assert_eq!(sorted(query), wanted, "{query}");
        }
    }

    #[test]
    fn heads_lead_to_the_other_orders_and_keep_the_filter_and_the_refreshing() {
        let context = Context { refreshes: true, ..asked("room=a&sort=-loss&failures=when") };
        let heads = SORTED.heads("rooms", &context).into_string();
        let wanted = "<th scope=\"col\"><a href=\"/ui?room=a&amp;failures=when&amp;refresh#rooms\">Room</a></th>\
             <th class=\"n\" scope=\"col\" aria-sort=\"descending\">\
             <a href=\"/ui?room=a&amp;sort=loss&amp;failures=when&amp;refresh#rooms\">Worst loss</a>\
             <span aria-hidden=\"true\"> ▾</span></th><th scope=\"col\">State</th>";
        assert_eq!(heads, wanted);
        let heads = SORTED.heads("rooms", &asked("")).into_string();
        assert!(heads.starts_with(
            "<th scope=\"col\" aria-sort=\"ascending\"><a href=\"/ui?sort=-name#rooms\">Room</a>"
        ));
    }
}
