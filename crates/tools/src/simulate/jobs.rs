//! The plan of an agent's job: its conversation with a caller, turn by turn. Times are since the
//! simulation's start.

use std::time::Duration;

use super::random::Random;

const fn millis(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

// How long after it is connected an agent greets.
const GREETING: Duration = millis(300);
const INTERRUPTED: f64 = 0.1;
const TOOLS: f64 = 0.2;

/// A job.
#[derive(Debug, Clone)]
pub(super) struct Job {
    pub(super) id: String,
    /// What its trace and its spans are named after.
    pub(super) seed: u64,
    /// The session id of the participant that it talks to; empty if there is none.
    pub(super) caller: String,
    pub(super) turns: Vec<Turn>,
    /// Whether its process is killed: nothing is uploaded at its end.
    pub(super) is_killed: bool,
}

/// What a user said, and the answer. The first turn of a job is a greeting.
#[derive(Debug, Clone, Copy)]
pub(super) struct Turn {
    pub(super) begin: Duration,
    /// How long the user speaks; zero for the greeting.
    pub(super) speaks: Duration,
    /// How long the end of the turn is waited for.
    pub(super) waits: Duration,
    /// Until the model's first token, and from it to the last.
    pub(super) model: (Duration, Duration),
    /// How long a tool takes, if one is called.
    pub(super) tool: Option<Duration>,
    /// Until the first audio.
    pub(super) speech: Duration,
    /// How long the agent speaks.
    pub(super) answers: Duration,
    pub(super) is_interrupted: bool,
    /// Whether the model fails, so that there is no answer.
    pub(super) is_failed: bool,
}

impl Turn {
    /// Whether the agent begins to speak by itself.
    pub(super) fn is_greeting(&self) -> bool {
        self.speaks.is_zero()
    }

    /// When the user has spoken.
    pub(super) fn spoken(&self) -> Duration {
        self.begin + self.speaks
    }

    /// When the agent's turn begins.
    pub(super) fn handed(&self) -> Duration {
        self.spoken() + self.waits
    }

    /// When the agent's first word is heard.
    pub(super) fn heard(&self) -> Duration {
        let thinks = if self.is_greeting() { Duration::ZERO } else { self.model.0 };
        self.handed() + self.tool.unwrap_or_default() + thinks + self.speech
    }

    /// When the turn is over.
    pub(super) fn end(&self) -> Duration {
        if self.is_failed { self.handed() + self.model.0 } else { self.heard() + self.answers }
    }

    /// How many tokens the answer has.
    pub(super) fn tokens(&self) -> f64 {
        (self.answers.as_secs_f64() * 4.0).round()
    }

    /// How many characters the answer has.
    pub(super) fn characters(&self) -> f64 {
        (self.answers.as_secs_f64() * 15.0).round()
    }

    /// From the user's last word to the agent's first.
    pub(super) fn latency(&self) -> Duration {
        self.heard().saturating_sub(self.spoken())
    }
}

impl Job {
    /// Plans the job of an agent that is there `from` one time `to` another.
    pub(super) fn new(
        random: &mut Random,
        ids: &mut Random,
        caller: String,
        (from, to): (Duration, Duration),
        failures: f64,
    ) -> Self {
        let fails = random.chance(failures);
        let is_killed = fails && random.chance(0.5);
        let mut turns = Vec::new();
        let mut begin = from + GREETING;
        let mut turn = greeting(random, begin);
        while turn.end() < to {
            turns.push(turn);
            begin = turn.end() + random.between(millis(300), millis(2_500));
            let is_failed = fails && !is_killed && random.chance(0.2);
            turn = answer(random, begin, is_failed);
        }
        Self { id: ids.id("AJ_"), seed: ids.next(), caller, turns, is_killed }
    }

    /// Leaves out what is not over at `at`.
    pub(super) fn cut(&mut self, at: Duration) {
        self.turns.retain(|turn| turn.end() <= at);
    }

    /// The turns that end after `from`, up to and including `to`.
    pub(super) fn ended(&self, from: Duration, to: Duration) -> &[Turn] {
        let place = |at| self.turns.partition_point(|turn| turn.end() <= at);
        &self.turns[place(from)..place(to).max(place(from))]
    }
}

fn greeting(random: &mut Random, begin: Duration) -> Turn {
    Turn {
        begin,
        speaks: Duration::ZERO,
        waits: Duration::ZERO,
        model: (Duration::ZERO, Duration::ZERO),
        tool: None,
        speech: random.between(millis(60), millis(250)),
        answers: random.between(millis(800), millis(1_500)),
        is_interrupted: false,
        is_failed: false,
    }
}

fn answer(random: &mut Random, begin: Duration, is_failed: bool) -> Turn {
    // Most answers are quick, and a few take long.
    let slow = if random.chance(0.05) { 5 } else { 1 };
    Turn {
        begin,
        speaks: random.between(millis(600), millis(3_500)),
        waits: random.between(millis(250), millis(700)),
        model: (
            random.between(millis(150), millis(700)) * slow,
            random.between(millis(100), millis(900)),
        ),
        tool: random.chance(TOOLS).then(|| random.between(millis(20), millis(900))),
        speech: random.between(millis(60), millis(350)),
        answers: random.between(millis(700), millis(4_000)),
        is_interrupted: random.chance(INTERRUPTED),
        is_failed,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn job(failures: f64) -> Job {
        let (mut random, mut ids) = (Random::of(&[1]), Random::of(&[2]));
        let times = (Duration::from_secs(1), Duration::from_mins(10));
        Job::new(&mut random, &mut ids, "PA_1".to_owned(), times, failures)
    }

    #[test]
    fn turns_follow_each_other_and_end_with_the_job() {
        let job = job(0.0);
        assert!(job.turns.len() > 50 && !job.is_killed);
        assert!(job.turns[0].is_greeting());
        assert!(job.turns.is_sorted_by(|one, next| one.end() < next.begin));
        assert!(job.turns.iter().all(|turn| turn.end() < Duration::from_mins(10)));
        let latencies: Vec<_> = job.turns[1..].iter().map(Turn::latency).collect();
        assert!(latencies.iter().all(|it| (millis(400)..millis(6_000)).contains(it)));
        assert!(job.turns.iter().any(|turn| turn.is_interrupted));
        assert!(job.turns.iter().all(|turn| !turn.is_failed));
    }

    #[test]
    fn each_turn_is_in_one_window() {
        let job = job(0.0);
        let windows = (0..200).map(|nth| job.ended(millis(nth * 3_000), millis((nth + 1) * 3_000)));
        let begins: Vec<_> = windows.flatten().map(|turn| turn.begin).collect();
        assert_eq!(begins, job.turns.iter().map(|turn| turn.begin).collect::<Vec<_>>());
    }
}
