//! The registration of an agents' worker, by which a LiveKit server says its version: no method of its API does
//! (livekit pkg/service/agenthandler.go, agentws.go).
//!
//! The worker has a name of its own, so it gets no job unless one is dispatched to that name, and it is gone
//! when the connection closes. Messages are WebSocket frames (RFC 6455, 5.2).

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::header::{
    AUTHORIZATION, CONNECTION, HeaderValue, SEC_WEBSOCKET_KEY, SEC_WEBSOCKET_VERSION, UPGRADE,
};
use http::{Request, Uri};
use livekit_protocol as lk;
use livekit_token::{AccessToken, VideoGrants};
use prost::Message;
use thiserror::Error;

use crate::guid;

/// The name of the worker.
pub const NAME: &str = "livekit-otel-doctor";

/// The longest answer that is read, in bytes.
pub const LONGEST: usize = 64 << 10;

const BINARY: u8 = 2;
const FINAL: u8 = 0x80;
const MASKED: u8 = 0x80;
// Lengths of two and of eight bytes follow.
const SHORT: u8 = 126;
const LONG: u8 = 127;

/// A server's version.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Version {
    /// Such as `1.13.11`.
    pub version: String,
    /// The version of its signalling protocol.
    pub protocol: i32,
    /// The node that answered, `ND_…`.
    pub node: String,
}

/// What the server sent is no registration.
#[derive(Debug, Error, PartialEq, Eq)]
#[error("the answer is no registration of a worker")]
pub struct NoRegistration;

/// The request that opens the connection to the server at the base `url`, which ends in `/`.
///
/// # Errors
/// If the key or the secret is empty, or the URL is none.
pub fn request(
    url: &Uri,
    key: &str,
    secret: &str,
) -> Result<Request<()>, Box<dyn std::error::Error + Send + Sync>> {
    let token = AccessToken::with_api_key(key, secret)
        .with_ttl(std::time::Duration::from_mins(1))
        .with_grants(VideoGrants { agent: true, ..VideoGrants::default() })
        .to_jwt()?;
    let mut authorization = HeaderValue::try_from(format!("Bearer {token}"))?;
    authorization.set_sensitive(true);
    // 16 bytes that no other connection has.
    let nonce = STANDARD.encode(&guid::new("nonc").as_bytes()[..16]);
    Ok(Request::get(format!("{url}agent?protocol=1"))
        .header(AUTHORIZATION, authorization)
        .header(CONNECTION, "Upgrade")
        .header(UPGRADE, "websocket")
        .header(SEC_WEBSOCKET_VERSION, "13")
        .header(SEC_WEBSOCKET_KEY, nonce)
        .body(())?)
}

/// The frame that registers the worker.
pub fn registration() -> Bytes {
    let register = lk::RegisterWorkerRequest {
        r#type: lk::JobType::JtRoom.into(),
        agent_name: NAME.to_owned(),
        ..lk::RegisterWorkerRequest::default()
    };
    let message = Some(lk::worker_message::Message::Register(register));
    let message = lk::WorkerMessage { message }.encode_to_vec();
    // A client masks what it sends; nothing here is secret, so zeros do. The message is shorter than 126 bytes.
    let length = u8::try_from(message.len()).unwrap_or_default();
    let mut frame = vec![FINAL | BINARY, MASKED | length, 0, 0, 0, 0];
    frame.extend(message);
    frame.into()
}

/// Reads the version from the first frame of `received`; `None` if more bytes are needed.
///
/// # Errors
/// If the frame is no registration's answer, or longer than [`LONGEST`].
pub fn version(received: &[u8]) -> Result<Option<Version>, NoRegistration> {
    let [head, length, rest @ ..] = received else { return Ok(None) };
    if *head != FINAL | BINARY || length & MASKED != 0 {
        return Err(NoRegistration);
    }
    let extended = match *length {
        SHORT => 2,
        LONG => 8,
        _ => 0,
    };
    let Some((bytes, rest)) = rest.split_at_checked(extended) else { return Ok(None) };
    let length = match extended {
        0 => u64::from(*length),
        _ => bytes.iter().fold(0, |length, byte| length << 8 | u64::from(*byte)),
    };
    let length = usize::try_from(length).ok().filter(|length| *length <= LONGEST);
    let Some(message) = rest.get(..length.ok_or(NoRegistration)?) else { return Ok(None) };
    let message = lk::ServerMessage::decode(message).map_err(|_| NoRegistration)?;
    let Some(lk::server_message::Message::Register(answer)) = message.message else {
        return Err(NoRegistration);
    };
    let info = answer.server_info.ok_or(NoRegistration)?;
    Ok(Some(Version { version: info.version, protocol: info.protocol, node: info.node_id }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(debug_info: String) -> Vec<u8> {
        let info = lk::ServerInfo {
            version: "1.13.11".to_owned(),
            protocol: 16,
            node_id: "ND_1".to_owned(),
            debug_info,
            ..lk::ServerInfo::default()
        };
        let server_info = Some(info);
        let answer = lk::RegisterWorkerResponse { server_info, ..Default::default() };
        let message = Some(lk::server_message::Message::Register(answer));
        lk::ServerMessage { message }.encode_to_vec()
    }

    fn framed(message: &[u8]) -> Vec<u8> {
        let mut frame = vec![FINAL | BINARY];
        match message.len() {
            length @ ..126 => frame.push(u8::try_from(length).unwrap()),
            length => {
                frame.push(SHORT);
                frame.extend(u16::try_from(length).unwrap().to_be_bytes());
            }
        }
        frame.extend(message);
        frame
    }

    #[test]
    fn a_registration_is_read_once_all_of_it_has_arrived() {
        for debug_info in [String::new(), "x".repeat(1000)] {
            let frame = framed(&answer(debug_info));
            for length in 0..frame.len() {
                assert_eq!(version(&frame[..length]), Ok(None), "{length}");
            }
            let expected =
                Version { version: "1.13.11".to_owned(), protocol: 16, node: "ND_1".to_owned() };
            assert_eq!(version(&frame), Ok(Some(expected)));
        }
    }

    #[test]
    fn anything_else_is_no_registration() {
        let close = [0x88, 0];
        let masked = [FINAL | BINARY, MASKED];
        let too_long = [FINAL | BINARY, LONG, 0, 0, 0, 0, 0, 2, 0, 0];
        let pong = lk::server_message::Message::Pong(lk::WorkerPong::default());
        let pong = framed(&lk::ServerMessage { message: Some(pong) }.encode_to_vec());
        for frame in [&close[..], &masked, &too_long, &pong, &framed(b"\xff")] {
            assert_eq!(version(frame), Err(NoRegistration), "{frame:?}");
        }
    }

    #[test]
    fn the_worker_has_a_name_of_its_own_and_its_token_is_not_shown() {
        let frame = registration();
        assert_eq!(frame[1], MASKED | u8::try_from(frame.len() - 6).unwrap());
        let message = lk::WorkerMessage::decode(&frame[6..]).unwrap().message;
        let Some(lk::worker_message::Message::Register(register)) = message else {
            panic!("no registration")
        };
        assert_eq!(register.agent_name, NAME);
        let request = request(&Uri::from_static("http://a:1/base/"), "key", "secret").unwrap();
        assert_eq!(request.uri(), "http://a:1/base/agent?protocol=1");
        assert!(format!("{request:?}").contains("Sensitive"));
    }
}
