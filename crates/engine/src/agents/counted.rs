//! Derived metrics of all jobs: the points of a flush, what they replace, and the jobs that were never heard of.

use super::absent::Agent;
use super::derived::What;
use super::job::Key;
use super::{Agents, of_room};
use livekit_otel_model::event::Time;
use livekit_otel_model::foreign::Facts;
use livekit_otel_model::signal::Metric;

impl Agents {
    /// Passes the points of a flush to `out`: those of metrics that are derived from jobs. The interval is that since
    /// the flush before.
    pub fn flush(&mut self, interval: (Time, Time), out: &mut Vec<Metric>) {
        self.derived.flush(interval, out);
    }

    /// Whether a job's own points of a metric are replaced, as values of it were derived from the job's spans.
    pub fn replaces(&self, metric: &str, facts: &Facts) -> bool {
        let Some(what) = What::of(metric) else { return false };
        let job = Key::of(facts).and_then(|key| self.jobs.get(&key));
        job.is_some_and(|job| job.learnt.replaces(what))
    }

    /// Counts the jobs of the agents that left and of which no record came; with `is_last` also those whose
    /// records may still come.
    pub(super) fn count_absent(&mut self, now: Time, is_last: bool) {
        while let Some(agent) = self.absent.as_mut().and_then(|absent| absent.pop(now, is_last)) {
            if self.has_record(&agent) {
                continue;
            }
            let Agent { room, job, .. } = agent;
            let key = job.clone().map(|job| Key { room: room.clone(), job });
            let is_new = key.zip(self.absent.as_mut()).is_none_or(|(key, it)| it.count(&key, now));
            if is_new {
                self.derived.count_absent(&room, job.as_ref(), now);
            }
        }
    }

    // A job that failed early doesn't know its participant.
    fn has_record(&self, Agent { room, participant, job, .. }: &Agent) -> bool {
        of_room(&self.jobs, room).any(|(key, known)| match job {
            Some(job) => key.job == *job,
            None => known.agents.is_empty() || known.agents.contains(participant),
        })
    }
}
