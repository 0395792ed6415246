//! File descriptors. Without a free one, probes fail and the journal can't open files, so connections
//! must leave some.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

// For the journal, the exporter, the live view and the admin listener.
const OTHERS: u64 = 256;
// For webhooks and for streams.
const LISTENERS: u64 = 2;

/// Raises the limit of file descriptors, and returns how many connections each listener can accept: at
/// most `wanted`. The log reports fewer.
pub(crate) fn reserve_for_connections(wanted: usize) -> usize {
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
            "RLIMIT_NOFILE allows fewer connections than listen.max_connections"
        );
    }
    connections
}

// `None` is no limit.
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
