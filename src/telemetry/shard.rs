//! Some rooms: their queue, their stats workers, and what is done with a call when it is its turn.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering, fence};
use std::sync::{Mutex, MutexGuard, PoisonError, TryLockError};

use super::call::{Call, Job, ParticipantCall, ParticipantStep, TrackCall, TrackStep};
use super::node::NodeMetrics;
use super::outlet::Outlet;
use super::tell::{self, webhook};
use crate::event::report::Report;
use crate::event::{Caller, Time, TrackKind};
use crate::proto;
use crate::proto::messages::{AnalyticsEventType as Type, WebhookEvent};
use crate::stats::calls::{AttemptState, Count, JoinState};
use crate::stats::worker::{Acquired, Flushed, ReferenceGuard, Reported, StatsKey, Who, Workers};

#[derive(Debug, Default)]
pub(super) struct Shard {
    state: Mutex<State>,
    queue: Mutex<Vec<Job>>,
    // How many are in the queue, so that a report need not lock it to see that it is empty.
    waiting: AtomicUsize,
    invalid: AtomicU64,
}

#[derive(Debug, Default)]
struct State {
    workers: Workers,
    // The queue's other half, so that neither is made anew.
    batch: Vec<Job>,
}

// So many reports one may do for others.
const FEW: usize = 32;

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Shard {
    /// Takes in a report at once if nobody is at these rooms and nothing but a few reports is
    /// before it; `None` where it has to be queued. Gives how many others were done by the way.
    pub(super) fn try_report(
        &self,
        key: &StatsKey,
        report: &impl Report,
        node: &NodeMetrics,
    ) -> Option<usize> {
        let (done, reported) = {
            let mut state = self.try_state()?;
            // What this thread queued before is seen here.
            let done = match self.waiting.load(Ordering::SeqCst) {
                0 => 0,
                waiting if waiting <= FEW => self.run_reports(&mut state, node)?,
                _ => return None,
            };
            (done, state.workers.report(key, report))
        };
        self.count(reported, key, report, node);
        Some(done + self.help(node))
    }

    /// Does the few reports that are queued, unless somebody is at these rooms: then that one will.
    /// Who queues and who lets go of the rooms both look, so that nothing is left behind.
    pub(super) fn help(&self, node: &NodeMetrics) -> usize {
        let mut done = 0;
        loop {
            fence(Ordering::SeqCst);
            let waiting = self.waiting.load(Ordering::SeqCst);
            if waiting == 0 || waiting > FEW {
                return done;
            }
            let Some(mut state) = self.try_state() else { return done };
            match self.run_reports(&mut state, node) {
                Some(more) => done += more,
                None => return done,
            }
        }
    }

    fn try_state(&self) -> Option<MutexGuard<'_, State>> {
        match self.state.try_lock() {
            Ok(state) => Some(state),
            Err(TryLockError::Poisoned(poisoned)) => Some(poisoned.into_inner()),
            Err(TryLockError::WouldBlock) => None,
        }
    }

    // Does what is queued where that is reports alone; gives how many.
    fn run_reports(&self, state: &mut State, node: &NodeMetrics) -> Option<usize> {
        let mut batch = std::mem::take(&mut state.batch);
        {
            let mut queue = lock(&self.queue);
            if queue.iter().all(|job| matches!(job.call, Call::Stats(..))) {
                std::mem::swap(&mut *queue, &mut batch);
                self.waiting.store(0, Ordering::SeqCst);
            }
        }
        let done = batch.len();
        for job in batch.drain(..) {
            if let Call::Stats(key, stat) = job.call {
                let reported = state.workers.report(&key, &*stat);
                self.count(reported, &key, &*stat, node);
            }
        }
        state.batch = batch;
        (done > 0).then_some(done)
    }

    /// Queues a job; says whether it is the first there. Waits for no longer than another needs to
    /// do the same.
    pub(super) fn push(&self, job: Job) -> bool {
        let mut queue = lock(&self.queue);
        queue.push(job);
        self.waiting.store(queue.len(), Ordering::SeqCst);
        queue.len() == 1
    }

    /// How many wait.
    pub(super) fn waiting(&self) -> usize {
        self.waiting.load(Ordering::Acquire)
    }

    /// Does what is queued, in its order; gives how many that were.
    pub(super) fn run(&self, outlet: &Outlet) -> usize {
        let mut state = lock(&self.state);
        let mut batch = std::mem::take(&mut state.batch);
        {
            let mut queue = lock(&self.queue);
            std::mem::swap(&mut *queue, &mut batch);
            self.waiting.store(0, Ordering::Release);
        }
        let done = batch.len();
        for job in batch.drain(..) {
            // A notifier or an analytics service of the user's that panics ends only this call.
            let applied = AssertUnwindSafe(|| self.apply(&mut state, job, outlet));
            if catch_unwind(applied).is_err() {
                tracing::error!("a call broke off: what it tells is lost");
            }
        }
        state.batch = batch;
        done
    }

    /// Finishes the windows; gives how many reports were invalid.
    pub(super) fn flush(&self, now: Time, windows: &mut Vec<Flushed>) -> u64 {
        lock(&self.state).workers.flush(now, |flushed| windows.push(flushed));
        self.invalid.swap(0, Ordering::Relaxed)
    }

    /// How many workers and streams there are.
    pub(super) fn held(&self) -> (usize, usize) {
        let state = lock(&self.state);
        (state.workers.len(), state.workers.streams())
    }

    // A participant without a worker counts on the node; what is invalid does not.
    fn count(&self, reported: Reported, key: &StatsKey, report: &impl Report, node: &NodeMetrics) {
        match reported {
            Reported::Taken => node.report(key, report),
            Reported::NoWorker if report.is_valid() => node.report(key, report),
            Reported::Invalid | Reported::NoWorker => {
                self.invalid.fetch_add(1, Ordering::Relaxed);
            }
        }
    }

    fn apply(&self, state: &mut State, job: Job, outlet: &Outlet) {
        let Job { call, caller } = job;
        let now = outlet.now();
        match call {
            Call::Stats(key, stat) => {
                let reported = state.workers.report(&key, &*stat);
                self.count(reported, &key, &*stat, &outlet.metrics);
            }
            Call::RoomStarted(room) => {
                let event = webhook::ROOM_STARTED.to_owned();
                let room = *room;
                outlet.webhook(
                    WebhookEvent { event, room: Some(room.clone()), ..WebhookEvent::default() },
                    &[],
                );
                outlet.event(tell::room_created(room), caller);
            }
            Call::RoomEnded(room, reason) => {
                let event = webhook::ROOM_FINISHED.to_owned();
                let (room, room_end_reason) = (*room, reason as i32);
                let finished = WebhookEvent {
                    event,
                    room: Some(room.clone()),
                    room_end_reason,
                    ..WebhookEvent::default()
                };
                outlet.webhook(finished, &[]);
                let mut event = tell::of_room(Type::RoomEnded, room, now);
                event.room_end_reason = room_end_reason;
                outlet.event(event, caller);
            }
            Call::Participant(call) => state.participant(*call, caller, now, outlet),
            Call::Track(call) => track(*call, caller, now, outlet),
            Call::Egress(step, info) => {
                let event = tell::egress_webhook(step).to_owned();
                let egress_info = Some((*info).clone());
                let webhook = WebhookEvent { event, egress_info, ..WebhookEvent::default() };
                outlet.webhook(webhook, tell::extra_webhooks(&info));
                outlet.event(tell::of_egress(step, *info, now), caller);
            }
            Call::Ingress(step, info) => {
                if let Some(event) = tell::ingress_webhook(step) {
                    let (event, ingress_info) = (event.to_owned(), Some((*info).clone()));
                    let webhook = WebhookEvent { event, ingress_info, ..WebhookEvent::default() };
                    outlet.webhook(webhook, &[]);
                }
                outlet.event(tell::of_ingress(step, *info, now), caller);
            }
            Call::LocalRoomState(rooms) => outlet.node_rooms(*rooms),
            Call::Report(info) => {
                let mut event = tell::event(Type::Report, now);
                event.report = Some(*info);
                outlet.event(event, caller);
            }
            Call::Api(info) => {
                let mut event = tell::event(Type::ApiCall, now);
                event.api_call = Some(*info);
                outlet.event(event, caller);
            }
            Call::Webhook(info) => {
                let mut event = tell::event(Type::Webhook, now);
                event.webhook = Some(*info);
                outlet.event(event, caller);
            }
        }
    }
}

impl State {
    fn participant(
        &mut self,
        call: ParticipantCall,
        caller: Option<Caller>,
        now: Time,
        outlet: &Outlet,
    ) {
        let guard = call.guard.as_ref();
        let who = || Who {
            room_sid: call.room.sid.as_str().into(),
            room_name: call.room.name.as_str().into(),
            participant_sid: call.participant.sid.as_str().into(),
            identity: call.participant.identity.as_str().into(),
        };
        let notify = |event: &str| {
            let webhook = WebhookEvent {
                event: event.to_owned(),
                room: Some(call.room.clone()),
                participant: Some(call.participant.clone()),
                ..WebhookEvent::default()
            };
            outlet.webhook(webhook, &[]);
        };
        let (kind, client_info, client_meta) = match call.step {
            ParticipantStep::Joined { client_info, client_meta, should_send_event } => {
                if let Acquired::Created(_) = self.acquire(&who(), guard, &outlet.metrics) {
                    let state = JoinState::RtcConnected;
                    outlet.metrics.add(Count::Joins { state, is_warp: false }, 1);
                }
                if !should_send_event {
                    return;
                }
                (Type::ParticipantJoined, client_info, client_meta.map(|meta| *meta))
            }
            ParticipantStep::Active { client_meta, activation } => {
                // A participant counts as joined once it is active.
                if !activation.is_migration {
                    notify(webhook::PARTICIPANT_JOINED);
                }
                if let Acquired::Found(id) | Acquired::Created(id) =
                    self.acquire(&who(), guard, &outlet.metrics)
                {
                    self.workers.set_connected(id);
                }
                let (state, is_warp) = (JoinState::RtcActive, activation.is_warp);
                outlet.metrics.add(Count::Joins { state, is_warp }, 1);
                (Type::ParticipantActive, None, client_meta.map(|meta| *meta))
            }
            ParticipantStep::Resumed { node_id, reason } => {
                // Its signalling may have left, and closed the worker, before it came back.
                self.acquire(&who(), None, &outlet.metrics);
                let meta = proto::messages::AnalyticsClientMeta {
                    node: node_id,
                    reconnect_reason: reason as i32,
                    ..Default::default()
                };
                (Type::ParticipantResumed, None, Some(meta))
            }
            ParticipantStep::Left { should_send_event } => {
                let (room, participant) = (&call.room.sid, &call.participant.sid);
                let released = self.workers.release(room, participant, guard, now);
                if released.closed {
                    outlet.metrics.add(Count::Participants, -1);
                }
                if !should_send_event {
                    return;
                }
                if released.was_connected {
                    notify(webhook::PARTICIPANT_LEFT);
                    (Type::ParticipantLeft, None, None)
                } else {
                    notify(webhook::PARTICIPANT_CONNECTION_ABORTED);
                    (Type::ParticipantConnectionAborted, None, None)
                }
            }
        };
        let mut event = tell::of_participant(kind, call.room, call.participant, client_meta, now);
        event.client_info = client_info.map(|info| *info);
        outlet.event(event, caller);
    }

    fn acquire(
        &mut self,
        who: &Who,
        guard: Option<&ReferenceGuard>,
        metrics: &NodeMetrics,
    ) -> Acquired {
        let acquired = self.workers.acquire(who, guard);
        if let Acquired::Created(_) = acquired {
            metrics.add(Count::Participants, 1);
        }
        acquired
    }
}

fn track(call: TrackCall, caller: Option<Caller>, now: Time, outlet: &Outlet) {
    count_track(&call, &outlet.metrics);
    if !call.should_send_event {
        return;
    }
    if let Some(webhook) = tell::track_webhook(&call) {
        outlet.webhook(webhook, &[]);
    }
    outlet.event(tell::of_track(call, now), caller);
}

fn count_track(call: &TrackCall, metrics: &NodeMetrics) {
    let kind = kind_of(call.track.r#type);
    match &call.step {
        TrackStep::PublishRequested => {
            metrics.add(Count::Publishes(kind, AttemptState::Attempt), 1);
        }
        TrackStep::Published => {
            metrics.add(Count::Published(kind), 1);
            metrics.add(Count::Publishes(kind, AttemptState::Success), 1);
        }
        TrackStep::Unpublished { was_published_locally: true } => {
            metrics.add(Count::Published(kind), -1);
        }
        TrackStep::SubscribeRequested => metrics.add(Count::Subscribes(AttemptState::Attempt), 1),
        TrackStep::Subscribed { .. } => {
            metrics.add(Count::Subscribed(kind), 1);
            metrics.add(Count::Subscribes(AttemptState::Success), 1);
        }
        TrackStep::Unsubscribed => metrics.add(Count::Subscribed(kind), -1),
        TrackStep::SubscribeFailed { is_user_error: true, .. } => {
            metrics.add(Count::Subscribes(AttemptState::UserError), 1);
        }
        TrackStep::SubscribeFailed { .. } => {
            metrics.add(Count::Subscribes(AttemptState::Failure), 1);
        }
        _ => {}
    }
}

// An unknown type is a newer server's; it counts as data.
fn kind_of(value: i32) -> TrackKind {
    proto::track_kind(value).unwrap_or(TrackKind::Data)
}
