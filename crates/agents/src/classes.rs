//! What an attribute is about, by its key. The table of all rules, with their sources:
//!
//! - who: `lk.pii.room_name`, `lk.pii.participant_identity`, `lk.pii.remote_participant_identity` of LiveKit's registry
//!   (`otel/` of github.com/livekit/protocol); `lk.pii.sip.phoneNumber` and `lk.rpc.*_identity` of livekit-agents
//!   (`telemetry/trace_types.py`, `telemetry/rpc.py`); `room` and `participant` of its log records and scopes
//!   (`telemetry/traces.py`, `log.py`); names that end with `identity`, `participant name` or `room name` in any
//!   spelling (`participantIdentity` of agents-js).
//! - content: any key with a `pii` segment, and the names that the GenAI conventions fix (livekit-agents
//!   `telemetry/pii.py`, and the prefixes of the conventions that it has examples of), also with an index behind them;
//!   the names that LiveKit's agents had before they were marked (`lk.chat_ctx`); what its reports carry
//!   (`chat.item`, `tag`, `evaluation`, `outcome.reason`, `session.tags`); free text that applications choose
//!   (`lk.shutdown.reason`, `error`, exceptions); and the names of other libraries for prompts and answers
//!   (OpenInference, OpenLLMetry, Langfuse).
//! - `lk.sip.*`: `sip.*` attributes of a participant, which have the caller's headers and numbers among them. Only
//!   ids and states are known not to be content.
//! - log records: only keys of `texts/log_keys.txt` are known not to be content, and as a whole text only the bodies
//!   of `texts/bodies.txt`.

use std::collections::HashMap;
use std::sync::LazyLock;

/// What an attribute is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Class {
    /// Neither a person nor content.
    Technical,
    /// A person, a phone number or a room's name: `privacy.pii` decides.
    Who,
    /// What was said, or what else an application chose: `privacy.content` decides.
    Content,
}

/// Where an attribute is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Place {
    /// In a resource, scope, span, event, link, point or exemplar.
    Any,
    /// In a log record of LiveKit's own loggers.
    FrameworkLog,
    /// In another log record.
    Log,
}

impl Place {
    /// That of the log records of a scope.
    pub(crate) fn of_logs(scope: &str) -> Self {
        let is_livekits = matches!(scope, "chat_history" | "evaluations" | "livekit")
            || scope.starts_with("livekit.");
        if is_livekits { Self::FrameworkLog } else { Self::Log }
    }
}

const WHO: &[&str] = &[
    "identity",
    "lk.pii.participant_identity",
    "lk.pii.remote_participant_identity",
    "lk.pii.room_name",
    "lk.pii.sip.phoneNumber",
    "participant",
    "room",
    "roomName",
    "room_name",
];

const CONTENT: &[&str] = &[
    "chat.item",
    "error",
    "error.message",
    "error.stack",
    "evaluation",
    "exception.message",
    "exception.stacktrace",
    "gen_ai.completion",
    "gen_ai.evaluation.explanation",
    "gen_ai.input.messages",
    "gen_ai.output.messages",
    "gen_ai.prompt",
    "gen_ai.system_instructions",
    "gen_ai.tool.call.arguments",
    "gen_ai.tool.call.result",
    "gen_ai.tool.definitions",
    "gen_ai.tool.description",
    "input.value",
    "langfuse.observation.input",
    "langfuse.observation.output",
    "langfuse.trace.input",
    "langfuse.trace.output",
    "lk.error",
    "lk.shutdown.reason",
    "llm.prompts",
    "outcome.reason",
    "output.value",
    "session.tags",
    "tag",
    "traceloop.entity.input",
    "traceloop.entity.output",
];

const CONTENT_PREFIXES: &[&str] = &[
    "chat.item.",
    "evaluation.",
    "gen_ai.completion.",
    "gen_ai.input.messages.",
    "gen_ai.memory.",
    "gen_ai.output.messages.",
    "gen_ai.prompt.",
    "gen_ai.retrieval.",
    "gen_ai.system_instructions.",
    "gen_ai.tool.call.arguments.",
    "gen_ai.tool.call.result.",
    "gen_ai.tool.definitions.",
    "llm.input_messages.",
    "llm.output_messages.",
    "llm.prompts.",
    "tag.",
];

// Names after `lk.pii.` in LiveKit's registry: versions before it wrote them after `lk.`.
const UNMARKED: &[&str] = &[
    "amd.transcript",
    "arguments",
    "chat_ctx",
    "dtmf_inputs",
    "event",
    "function_tool.arguments",
    "function_tool.output",
    "input_text",
    "instructions",
    "interim_transcript",
    "keyterms",
    "output",
    "progress_message",
    "raw_arguments",
    "repaired",
    "response.function_calls",
    "response.text",
    "rpc.payload",
    "rpc.response",
    "text",
    "transcript",
    "user_input",
    "user_transcript",
];

// What livekit-agents copies of a SIP participant, and what LiveKit's SIP service and this program write.
const SIP: &[&str] = &[
    "answer",
    "answer_latency",
    "callID",
    "callIDFull",
    "callStatus",
    "call.id",
    "call_direction",
    "call_id",
    "call_status",
    "disconnect_reason",
    "dispatch_rule_id",
    "last_status",
    "ruleID",
    "status_code",
    "transfer_id",
    "trunkID",
    "trunk_id",
];

/// The class of an attribute in `place`.
pub(crate) fn class(place: Place, key: &str) -> Class {
    let class = class_of_name(key);
    let is_unknown = class == Class::Technical && place != Place::Any && !is_log_key(place, key);
    if is_unknown { Class::Content } else { class }
}

/// The class of an attribute or of an entry of a nested map.
pub(crate) fn class_of_name(key: &str) -> Class {
    static NAMES: LazyLock<HashMap<&str, Class>> = LazyLock::new(|| {
        let who = WHO.iter().map(|key| (*key, Class::Who));
        who.chain(CONTENT.iter().map(|key| (*key, Class::Content))).collect()
    });
    if let Some(class) = NAMES.get(key) {
        return *class;
    }
    let is_content = is_marked(key)
        || is_unknown_sip(key)
        || key.strip_prefix("lk.").is_some_and(|name| UNMARKED.contains(&name))
        || CONTENT_PREFIXES.iter().any(|prefix| key.starts_with(prefix));
    match is_content {
        true => Class::Content,
        false if is_who(key) => Class::Who,
        false => Class::Technical,
    }
}

/// Whether it is the name of a span's event that has content under a key such as `content`.
pub(crate) fn is_content_event(name: &str) -> bool {
    name.starts_with("gen_ai.")
}

/// Whether a log record's text is one of LiveKit's agents, which has no content.
pub(crate) fn is_known_body(text: &str) -> bool {
    static BODIES: LazyLock<Vec<&str>> = LazyLock::new(|| lines(include_str!("texts/bodies.txt")));
    BODIES.binary_search(&text).is_ok()
}

// With a segment that LiveKit's registry marks personal data with. `WHO` has the exceptions.
fn is_marked(key: &str) -> bool {
    key.split('.').any(|segment| segment.eq_ignore_ascii_case("pii"))
}

// A name of a person or a room, in any spelling.
fn is_who(key: &str) -> bool {
    ["identity", "participantname", "roomname"].iter().any(|end| {
        let letters = key.bytes().rev().filter(u8::is_ascii_alphanumeric);
        let mut letters = letters.map(|letter| letter.to_ascii_lowercase());
        end.bytes().rev().all(|letter| letters.next() == Some(letter))
    })
}

fn is_unknown_sip(key: &str) -> bool {
    let name = key.strip_prefix("lk.sip.").or_else(|| key.strip_prefix("sip."));
    name.is_some_and(|name| !SIP.contains(&name))
}

fn is_log_key(place: Place, key: &str) -> bool {
    // Whether any program's log records may carry it.
    static KEYS: LazyLock<HashMap<&str, bool>> = LazyLock::new(|| {
        let keys = lines(include_str!("texts/log_keys.txt")).into_iter();
        keys.map(|key| key.strip_prefix('*').map_or((key, false), |key| (key, true))).collect()
    });
    let known = KEYS.get(key).copied();
    known.is_some_and(|is_everywhere| is_everywhere || place == Place::FrameworkLog)
        || key.starts_with("lk.sip.")
}

// Sorted as the file is.
fn lines(text: &'static str) -> Vec<&'static str> {
    text.lines().filter(|line| !line.is_empty() && !line.starts_with('#')).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_names_of_the_rules_have_their_class() {
        let who = [
            "lk.rpc.caller_identity",
            "lk.rpc.destination_identity",
            "participantIdentity",
            "participant.identity",
            "remoteParticipantIdentity",
            "lk.participant_name",
            "lk.room.name",
        ];
        for key in WHO.iter().chain(&who) {
            assert_eq!(class(Place::Any, key), Class::Who, "{key}");
            assert_eq!(class(Place::Log, key), Class::Who, "{key}");
        }
        for key in CONTENT {
            assert_eq!(class(Place::Any, key), Class::Content, "{key}");
        }
        let content = [
            "lk.pii.chat_ctx",
            "pii",
            "tenant.PII.name",
            "lk.pii.other_identity",
            "gen_ai.retrieval.query.text",
            "gen_ai.memory.records",
            "gen_ai.prompt.variable.name",
            "gen_ai.input.messages.0.content",
            "gen_ai.tool.call.arguments.city",
            "lk.chat_ctx",
            "lk.user_transcript",
            "lk.function_tool.output",
            "error.message",
            "lk.sip.h.x-name",
            "lk.sip.trunkPhoneNumber",
            "lk.sip.hostname",
            "lk.pii.sip.trunkPhoneNumber",
        ];
        for key in content {
            assert_eq!(class(Place::Any, key), Class::Content, "{key}");
        }
        for key in [
            "tenant",
            "error.type",
            "lk.sip.callID",
            "gen_ai.usage.input_tokens",
            "gen_ai.tool.name",
            "lk.function_tool.name",
            "piiless",
            "lk.room_id",
        ] {
            assert_eq!(class(Place::Any, key), Class::Technical, "{key}");
        }
    }

    #[test]
    fn log_records_have_an_allowlist_which_is_longer_for_livekits_own() {
        assert_eq!(class(Place::Log, "city"), Class::Content);
        assert_eq!(class(Place::FrameworkLog, "city"), Class::Content);
        assert_eq!(class(Place::Log, "role"), Class::Content);
        assert_eq!(class(Place::FrameworkLog, "role"), Class::Technical);
        assert_eq!(class(Place::Log, "job_id"), Class::Technical);
        assert_eq!(class(Place::Log, "lk.sip.callID"), Class::Technical);
        assert_eq!(class(Place::Log, "lk.sip.hostname"), Class::Content);
        assert_eq!(Place::of_logs("livekit.agents"), Place::FrameworkLog);
        assert_eq!(Place::of_logs("my-agent"), Place::Log);
    }

    #[test]
    fn only_constant_texts_are_known_bodies() {
        let bodies = lines(include_str!("texts/bodies.txt"));
        assert!(bodies.is_sorted() && bodies.len() > 500);
        assert!(is_known_body("chat item") && is_known_body("received user transcript"));
        assert!(!is_known_body("a call for alice") && !is_known_body(""));
    }
}
