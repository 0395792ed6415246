//! What a refusal means, and what an operator should look at. A text has a name of a setting or of a part
//! of LiveKit, and nothing that a sender chose.

use livekit_otel_ledger::Refused;
use livekit_otel_livekit::token::Refusal;
use livekit_otel_livekit::uploads;
use livekit_otel_model::Source;

/// What happened to a request of a source.
pub(super) fn refused(source: Source) -> &'static str {
    match source {
        Source::Webhook => "webhook refused",
        // Mostly LiveKit is away.
        Source::Api => "request to LiveKit's API failed",
        _ if uploads::path(source).is_some() => "upload refused",
        _ => "analytics stream refused",
    }
}

/// The cause that the ledger counts.
pub(in crate::source) fn reason(rule: Refusal) -> Refused {
    match rule {
        Refusal::Missing => Refused::NoToken,
        Refusal::UnknownKey | Refusal::SecretAsKey => Refused::UnknownKey,
        Refusal::Signature => Refused::Signature,
        Refusal::Expired { .. } | Refusal::Old { .. } => Refused::Expired,
        Refusal::NotYet { .. } => Refused::NotYetValid,
        Refusal::OtherBody => Refused::BodyHash,
        Refusal::NoHash
        | Refusal::Webhook
        | Refusal::KeyNotListed
        | Refusal::Grants(_)
        | Refusal::NoGrant
        | Refusal::NoUploadGrant => Refused::NoGrant,
        Refusal::NotServed => Refused::WrongPath,
        Refusal::Several
        | Refusal::TooLong
        | Refusal::Malformed
        | Refusal::Algorithm
        | Refusal::Critical
        | Refusal::NoIssuer
        | Refusal::Audience
        | Refusal::Claims
        | Refusal::NoEnd
        | Refusal::NoBeginning
        | Refusal::EndsFirst
        | Refusal::Lasting => Refused::Unauthorized,
    }
}

/// The rule that a token breaks, with the likely reason where there is one.
pub(super) fn token(source: Source, rule: Refusal) -> String {
    match likely(source, rule) {
        "" => rule.to_string(),
        likely => format!("{rule}. {likely}"),
    }
}

fn likely(source: Source, rule: Refusal) -> &'static str {
    let is_webhook = source == Source::Webhook;
    let is_upload = uploads::path(source).is_some();
    match rule {
        Refusal::Missing if is_webhook => {
            "LiveKit signs its webhooks: did another program send this, or did a proxy remove the header?"
        }
        Refusal::Missing if is_upload => {
            "Agents send a token of their key. Plain OTLP needs one that grants `observability.write`, a client \
             certificate, or a sender on this machine"
        }
        Refusal::Missing => {
            "With listen.grpc_auth: token, the sender signs a token for each stream: is it a LiveKit server \
             with livekit-analytics/, and does it have a key?"
        }
        Refusal::UnknownKey if is_webhook => {
            "Is the key that LiveKit signs webhooks with (its webhook.api_key) in livekit.keys or LIVEKIT_KEYS?"
        }
        Refusal::UnknownKey => "Is the sender's key in livekit.keys or LIVEKIT_KEYS?",
        Refusal::SecretAsKey => "Are key and secret swapped in the sender's configuration?",
        Refusal::Signature if is_webhook => {
            "Is the key's secret in livekit.keys or LIVEKIT_KEYS the one that LiveKit has?"
        }
        Refusal::Signature => {
            "Is the key's secret in livekit.keys or LIVEKIT_KEYS the one that the sender has?"
        }
        Refusal::Expired { .. } | Refusal::NotYet { .. } | Refusal::Old { .. } => {
            "Is this machine's clock right, and the sender's? They may differ by 60 s"
        }
        Refusal::OtherBody => "Does a proxy before this listener change the body?",
        Refusal::NoHash => {
            "A webhook's token has one: is this a token for LiveKit's API, or a participant's?"
        }
        Refusal::NoUploadGrant => "Is it a participant's token? An agent's or a server's is needed",
        Refusal::Grants(_) | Refusal::NoGrant => {
            "Is it a participant's token? A server's is needed"
        }
        Refusal::Webhook => "Webhooks are for /webhook on listen.http",
        Refusal::KeyNotListed => "Add the key there, or use one that is listed",
        Refusal::Malformed => "Does a proxy replace the header?",
        Refusal::Algorithm | Refusal::Critical | Refusal::Audience => {
            "Is it a token of another service, such as a proxy?"
        }
        Refusal::Several => "Does a proxy add one?",
        Refusal::NotServed
        | Refusal::TooLong
        | Refusal::NoIssuer
        | Refusal::Claims
        | Refusal::NoEnd
        | Refusal::NoBeginning
        | Refusal::EndsFirst
        | Refusal::Lasting => "",
    }
}

/// A test webhook that this server refuses: nothing is wrong with LiveKit's.
pub(in crate::source) const DOCTOR: &str =
    "The sender names itself livekit-otel doctor: does it have the configuration of this server?";

/// A path that is not served on the listener for webhooks.
pub(in crate::source) const WRONG_PATH: &str = "nothing is served at this path. LiveKit's webhook URL must end in /webhook, and that of OTLP in \
     /v1/traces, /v1/logs or /v1/metrics";

/// A message to the admin listener.
pub(in crate::source) const ADMIN: &str =
    "this is the admin listener (listen.admin). Webhooks are for /webhook on listen.http";

/// A method that is not served on the listener for streams.
pub(in crate::source) const WRONG_SERVICE: &str = "there is no such gRPC method. This listener serves livekit.AnalyticsRecorderService and OTLP's \
     services";

/// A request over HTTP/2 to the listener for streams that is not gRPC.
pub(in crate::source) const NOT_GRPC: &str = "this listener serves gRPC, and the request is not gRPC. Webhooks and uploads over HTTP are for \
     listen.http";

/// A message of `size` bytes or more, of which `setting` allows `max`; no setting changes it if that is
/// empty.
pub(in crate::source) fn too_large(size: u64, max: u64, setting: &str) -> String {
    match setting {
        "" => format!("it has {size} bytes or more, and the limit is {max}"),
        _ => format!(
            "it has {size} bytes or more, and {setting} allows {max}. Raise it if the sender is yours"
        ),
    }
}

/// There is no memory for a message.
pub(in crate::source) const NO_MEMORY: &str =
    "the memory for messages that have not arrived completely (limits.unfinished) is in use";

/// A message gave its memory to others.
pub(in crate::source) const DISPLACED: &str =
    "it did not arrive while others waited for its memory (limits.unfinished)";

/// A body that ends early.
pub(in crate::source) const INCOMPLETE: &str =
    "the body is incomplete. Did the sender or a proxy close the connection?";

/// A body that takes too long.
pub(in crate::source) const SLOW_BODY: &str = "the body did not arrive within 10 s";

/// A signed message that can't be read, and can't be kept.
pub(in crate::source) const DEAD_LETTERS_FULL: &str = "it can't be read, and there is no space for another dead letter. See livekit-otel deadletter list";

/// The journal took a message and failed to write it.
pub(in crate::source) const NOT_WRITTEN: &str = "the journal can't be written";
