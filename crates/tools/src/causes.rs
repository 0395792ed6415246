//! Which of several failed spans is the failure: a participant that could not join fails its connection,
//! its job and its dispatch too, and is one failure. The demo's report and the live view share it.

use std::collections::{BTreeMap, BTreeSet};

use crate::labels::AttributeLookup;
use livekit_otel_model::semconv::{key, span};

// What fails together with a participant, the most specific first.
const WITH_A_PARTICIPANT: [&str; 4] =
    [span::SIP_CALL, span::AGENT_JOB, span::PARTICIPANT_CONNECT, span::PARTICIPANT];

/// The failures of a room that explain its other ones.
#[derive(Debug, Default)]
pub struct Causes<'a> {
    // The first of [`WITH_A_PARTICIPANT`] that failed, by SID.
    participants: BTreeMap<&'a str, usize>,
    unconnected: BTreeSet<&'a str>,
    jobs: BTreeSet<&'a str>,
    // The jobs whose agents report the failure themselves.
    reported: BTreeSet<&'a str>,
}

impl<'a> Causes<'a> {
    /// Adds a failed span.
    pub fn add<T: AttributeLookup + ?Sized>(&mut self, name: &str, attributes: &'a T) {
        if let Some((sid, rank)) = attributes.text(key::PARTICIPANT_ID).zip(rank(name)) {
            let first = self.participants.entry(sid).or_insert(rank);
            *first = rank.min(*first);
            if name == span::PARTICIPANT_CONNECT {
                self.unconnected.insert(sid);
            }
        }
        self.jobs.extend(attributes.text(key::JOB_ID).filter(|_| name == span::AGENT_JOB));
    }

    /// Adds a job of which the agent's own spans or log records say that it failed, and the agent's SID.
    pub fn add_reported(&mut self, job: &'a str, agent: Option<&'a str>) {
        self.jobs.insert(job);
        self.reported.insert(job);
        if let Some((sid, rank)) = agent.zip(rank(span::AGENT_JOB)) {
            let first = self.participants.entry(sid).or_insert(rank);
            *first = rank.min(*first);
        }
    }

    /// Whether another failure that was added is the same as that of this failed span, and says more.
    pub fn explain<T: AttributeLookup + ?Sized>(&self, name: &str, attributes: &T) -> bool {
        let participant = attributes.text(key::PARTICIPANT_ID);
        let is_in = |jobs: &BTreeSet<&str>| {
            attributes.text(key::JOB_ID).is_some_and(|job| jobs.contains(job))
        };
        match (name, participant) {
            (span::AGENT_JOB, _) if is_in(&self.reported) => true,
            // Its agent came too late, and may have failed for another reason later.
            (span::AGENT_DISPATCH, Some(sid)) => self.unconnected.contains(sid),
            (span::AGENT_DISPATCH, None) => is_in(&self.jobs),
            (_, Some(sid)) => {
                let first = self.participants.get(sid).copied();
                rank(name).zip(first).is_some_and(|(own, first)| first < own)
            }
            (_, None) => false,
        }
    }
}

fn rank(name: &str) -> Option<usize> {
    WITH_A_PARTICIPANT.iter().position(|known| *known == name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use livekit_otel_model::signal::Attribute;

    type Failed = (&'static str, &'static [(&'static str, &'static str)]);

    const JOIN: Failed = (span::PARTICIPANT, &[(key::PARTICIPANT_ID, "PA_1")]);
    const CONNECT: Failed = (span::PARTICIPANT_CONNECT, &[(key::PARTICIPANT_ID, "PA_1")]);
    const CALL: Failed = (span::SIP_CALL, &[(key::PARTICIPANT_ID, "PA_1")]);
    const JOB: Failed = (span::AGENT_JOB, &[(key::PARTICIPANT_ID, "PA_1"), (key::JOB_ID, "AJ_1")]);
    const NO_AGENT: Failed = (span::AGENT_DISPATCH, &[(key::JOB_ID, "AJ_1")]);
    const LATE: Failed =
        (span::AGENT_DISPATCH, &[(key::PARTICIPANT_ID, "PA_1"), (key::JOB_ID, "AJ_1")]);
    const SUBSCRIBE: Failed = (span::TRACK_SUBSCRIBE, &[(key::PARTICIPANT_ID, "PA_1")]);

    // The failures that count, with a job that its agent reports to have failed.
    fn counted(failed: &[Failed], reported: Option<&str>) -> Vec<Failed> {
        let attributes = |(_, all): &Failed| -> Vec<Attribute> {
            all.iter().map(|(key, text)| Attribute::new(key, *text)).collect()
        };
        let known: Vec<_> = failed.iter().map(|it| (*it, attributes(it))).collect();
        let mut causes = Causes::default();
        for ((name, _), attributes) in &known {
            causes.add(name, &attributes[..]);
        }
        if let Some(job) = reported {
            causes.add_reported(job, Some("PA_1"));
        }
        let explained = |(it, attributes): &(Failed, Vec<Attribute>)| {
            (!causes.explain(it.0, &attributes[..])).then_some(*it)
        };
        known.iter().filter_map(explained).collect()
    }

    #[test]
    fn a_join_that_failed_counts_once_by_what_says_most() {
        for (failed, wanted) in [
            (&[JOIN][..], &[JOIN][..]),
            (&[JOIN, CONNECT], &[CONNECT]),
            (&[CONNECT, CALL, JOIN], &[CALL]),
            (&[JOIN, CONNECT, JOB, NO_AGENT], &[JOB]),
            (&[JOIN, CONNECT, LATE], &[CONNECT]),
            (&[JOIN, SUBSCRIBE], &[JOIN, SUBSCRIBE]),
        ] {
            assert_eq!(counted(failed, None), wanted);
        }
    }

    #[test]
    fn a_job_whose_agent_reports_the_failure_counts_once() {
        assert_eq!(counted(&[JOIN, JOB, NO_AGENT], Some("AJ_1")), []);
        assert_eq!(counted(&[JOB], Some("AJ_2")), [JOB]);
    }

    #[test]
    fn an_agent_that_came_too_late_and_was_lost_later_are_two_failures() {
        assert_eq!(counted(&[LATE, JOIN], None), [LATE, JOIN]);
        assert_eq!(counted(&[LATE, JOB, JOIN], None), [LATE, JOB]);
    }

    #[test]
    fn other_participants_and_jobs_explain_nothing() {
        let other = (span::PARTICIPANT, &[(key::PARTICIPANT_ID, "PA_2")][..]);
        assert_eq!(counted(&[other, CONNECT], None), [other, CONNECT]);
        let other = (span::AGENT_DISPATCH, &[(key::JOB_ID, "AJ_2")][..]);
        assert_eq!(counted(&[other, JOB], None), [other, JOB]);
    }
}
