//! File descriptors, of which a process may have too few for the connections that it takes: then no probe
//! gets through, and the journal can open no file.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

// For the journal, the exporter, the page of rooms and the operator's connections.
const OTHERS: u64 = 256;
// Those for webhooks and for streams.
const LISTENERS: u64 = 2;

/// How many connections each listener takes, of `wanted`: the process has room for that many file
/// descriptors from now on. Where it may not have so many, they are fewer, and a line of the log says so.
pub(crate) fn for_connections(wanted: usize) -> usize {
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit { current: limit.maximum, maximum: limit.maximum };
    let limit = match setrlimit(Resource::Nofile, raised) {
        Ok(()) => limit.maximum,
        Err(_) => limit.current,
    };
    let connections = within(wanted, limit);
    if connections < wanted {
        tracing::warn!(
            descriptors = limit,
            wanted,
            connections,
            "the process may have too few file descriptors (RLIMIT_NOFILE) for listen.max_connections: it takes fewer"
        );
    }
    connections
}

// No limit is unlimited.
fn within(wanted: usize, limit: Option<u64>) -> usize {
    let Some(limit) = limit else { return wanted };
    let each = (limit.saturating_sub(OTHERS) / LISTENERS).max(1);
    wanted.min(usize::try_from(each).unwrap_or(usize::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_leave_file_descriptors_for_the_rest() {
        let of = |limit| within(512, limit);
        assert_eq!([None, Some(1280), Some(1279), Some(1024)].map(of), [512, 512, 511, 384]);
        assert_eq!([Some(300), Some(256), Some(0)].map(of), [22, 1, 1]);
    }
}
