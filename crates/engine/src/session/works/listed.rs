//! What lists of LiveKit's API say of egresses and ingresses. LiveKit lists an egress that has not ended for ever,
//! even if its service died: a list shows that an egress has ended, but not that it still runs.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use super::Works;
use crate::session::presence::GRACE;
use crate::session::room::Room;
use crate::session::settings::Settings;
use livekit_otel_model::event::{Event, Time, Work, WorkKind};

// How often they are listed while none is known to run: one whose start was missed is found by that.
const SELDOM: Duration = Duration::from_hours(1);

impl Works {
    /// Whether a list of them is wanted at `now`.
    pub(in crate::session) fn wants_list(&mut self, kind: WorkKind, now: Time) -> bool {
        #[expect(clippy::disallowed_methods, reason = "the order does not matter to `any`")]
        let is_running =
            self.known.iter().any(|((of, _), known)| *of == kind && known.is_running());
        let is_long_ago = self.wanted.get(&kind).is_none_or(|at| *at + SELDOM <= now);
        let wants = is_running || is_long_ago;
        if wants {
            self.wanted.insert(kind, now);
        }
        wants
    }

    /// Applies what a list of `at` says of an operation. One that was never reported is opened if it runs.
    pub(in crate::session) fn list(
        &mut self,
        (event, work): (&Event, &Work),
        mut room: Option<&mut Room>,
        (at, now): (Time, Time),
        settings: &Settings,
    ) {
        let key = (work.kind, Arc::clone(&work.id));
        let known = self.known.get(&key);
        let is_settled = known.is_some_and(|known| known.is_released || known.is_over());
        if is_settled || (known.is_none() && !runs(work, at, settings)) {
            return;
        }
        let reported = work.updated.unwrap_or(at);
        let known = self.update((event, work), reported, room.as_deref_mut(), settings);
        if !known.is_over() {
            known.presence.list(at);
            known.gone = None;
        }
        // One that is stuck is listed all the same.
        let is_stuck = known.watch.as_ref().is_some_and(|watch| watch.current.is_some());
        if known.is_over() || !is_stuck {
            known.release_at = known.due_after(now, settings);
        }
        self.join_room(work, room, now, settings);
        self.schedule(&key, settings);
    }

    /// Ends what runs and is not in the list of `at`, if it was not in the list before either, and nothing was
    /// reported of it for a while.
    pub(in crate::session) fn miss(
        &mut self,
        kind: WorkKind,
        listed: &HashSet<&Arc<str>>,
        (at, now): (Time, Time),
        settings: &Settings,
    ) {
        let mut gone = Vec::new();
        #[expect(clippy::iter_over_hash_type, reason = "each has its own deadline, in order")]
        for (key, known) in &mut self.known {
            let is_absent = key.0 == kind && known.is_running() && !listed.contains(&key.1);
            if is_absent && known.is_missed(at) {
                known.release_at = known.due_after(now, settings);
                gone.push(key.clone());
            }
        }
        for key in gone {
            self.schedule(&key, settings);
        }
    }
}

// Whether an operation that was never reported runs, and has for long enough that its start should have been
// reported. After a day without a new status it would have ended by silence.
fn runs(work: &Work, at: Time, settings: &Settings) -> bool {
    let newest = work.updated.max(work.started);
    let is_old = work.started.is_some_and(|started| started + GRACE <= at);
    !work.is_over && is_old && newest.is_some_and(|newest| at < newest + settings.silent_after)
}
