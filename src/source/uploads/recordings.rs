//! A recording: its header is accepted, the rest is discarded as it arrives, or written to files.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use bytes::Bytes;
use http::header::{CONTENT_ENCODING, CONTENT_TYPE};
use http::request::Parts;
use http_body_util::BodyExt;
use tokio::time::{Instant, timeout};

use super::answer::{Busy, Problem};
use super::body::Memory;
use super::files::{self, Piece, Writer};
use super::intake::{Intake, RecordingFacts};
use super::multipart::{Event, Parser};
use crate::source::connections::Use;
use crate::source::encoding::Encoding;
use livekit_otel_ledger::RecordingOutcome;
use livekit_otel_model::Source;

// Between two parts of a body. LiveKit's agents send theirs at once.
const PAUSE: Duration = Duration::from_secs(10);
// A day of audio, at 11 kB/s.
const MAX_RECORDING: u64 = 1 << 30;
// An hour's usage of many models has a few kilobytes.
const MAX_HEADER: usize = 256 << 10;
// The header, a part of the body, and what waits to be written.
const MEMORY: usize = 1 << 20;

/// Receives a recording, and returns once it is in the journal.
///
/// # Errors
/// Why it is refused.
pub(super) async fn receive(intake: &Intake, head: &Parts, body: Body) -> Result<(), Problem> {
    if Encoding::of(head.headers.get(CONTENT_ENCODING)) != Some(Encoding::Identity) {
        return Err(Problem::Compression);
    }
    let content_type = head.headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok());
    let parser = content_type.and_then(Parser::of).ok_or(Problem::ContentType)?;
    let used = head.extensions.get::<Arc<Use>>();
    let mut memory = Memory::new(&intake.budget, used);
    memory.reserve(MEMORY).await?;
    let mut writer = intake.recordings.as_ref().map(files::Recordings::begin);
    let received = read(intake, (body, parser), (&memory, used), &mut writer).await?;
    memory.finished();
    accept(intake, received, writer, memory).await
}

async fn accept(
    intake: &Intake,
    mut received: Received,
    writer: Option<Writer>,
    memory: Memory,
) -> Result<(), Problem> {
    let header = Bytes::from(received.header.take().ok_or(Problem::Malformed)?);
    let (claim, facts) = intake.recording(&header).await?;
    let Some(claim) = claim else {
        // Its files are there.
        intake.shared.ledger.recorded(RecordingOutcome::Discarded, received.size());
        return Ok(());
    };
    let outcome = keep(intake, writer, &facts).await?;
    let raw = livekit_otel_agents::with_sizes(&header, received.audio, received.history);
    intake.append(Source::AgentRecordings, raw.into(), claim, memory).await?;
    intake.shared.ledger.recorded(outcome, received.size());
    Ok(())
}

// Names the files, if there may be any.
async fn keep(
    intake: &Intake,
    writer: Option<Writer>,
    of: &RecordingFacts,
) -> Result<RecordingOutcome, Problem> {
    let Some(writer) = writer.filter(|_| !of.is_redacted) else {
        return Ok(RecordingOutcome::Discarded);
    };
    match writer.commit(files::name(&of.room, &of.job, of.start)).await {
        Ok(Some(_)) => Ok(RecordingOutcome::Stored),
        Ok(None) => {
            if let Some(recordings) = intake.recording_warnings.due("full", Instant::now()) {
                tracing::warn!(
                    recordings,
                    "agents.recordings.max_bytes is reached: recordings are discarded"
                );
            }
            Ok(RecordingOutcome::Refused)
        }
        Err(error) => Err(failed(intake, &error)),
    }
}

fn failed(intake: &Intake, error: &std::io::Error) -> Problem {
    if let Some(recordings) = intake.recording_warnings.due("failed", Instant::now()) {
        tracing::error!(recordings, %error, "recordings can't be written, the last one for this reason");
    }
    Problem::Busy(Busy::Recording)
}

fn too_large(size: u64, max: u64) -> Problem {
    Problem::TooLarge { size, max, setting: "" }
}

// What a body has.
#[derive(Debug, Default)]
struct Received {
    part: Option<Part>,
    header: Option<Vec<u8>>,
    history: u64,
    audio: u64,
    others: u64,
    is_kept: bool,
    // To be written.
    pieces: Vec<(Piece, Bytes)>,
}

#[derive(Debug, Clone, Copy)]
enum Part {
    Header,
    Piece(Piece),
    Other,
}

impl Received {
    fn size(&self) -> u64 {
        self.history + self.audio + self.others
    }

    fn apply(&mut self, event: Event<'_>) {
        match event {
            Event::Part(Some("header")) => {
                self.header.get_or_insert_default();
                self.part = Some(Part::Header);
            }
            Event::Part(Some("chat_history")) => self.part = Some(Part::Piece(Piece::History)),
            Event::Part(Some("audio")) => self.part = Some(Part::Piece(Piece::Audio)),
            Event::Part(_) => self.part = Some(Part::Other),
            Event::Data(bytes) => self.data(bytes),
        }
    }

    fn data(&mut self, bytes: &[u8]) {
        let size = bytes.len() as u64;
        match self.part {
            Some(Part::Header) => self.header.get_or_insert_default().extend_from_slice(bytes),
            Some(Part::Piece(piece)) => {
                match piece {
                    Piece::History => self.history += size,
                    Piece::Audio => self.audio += size,
                }
                if self.is_kept {
                    self.pieces.push((piece, Bytes::copy_from_slice(bytes)));
                }
            }
            Some(Part::Other) | None => self.others += size,
        }
    }
}

async fn read(
    intake: &Intake,
    (mut body, mut parser): (Body, Parser),
    (memory, used): (&Memory, Option<&Arc<Use>>),
    writer: &mut Option<Writer>,
) -> Result<Received, Problem> {
    let mut received = Received { is_kept: writer.is_some(), ..Received::default() };
    let mut size = 0;
    loop {
        let frame = tokio::select! {
            frame = timeout(PAUSE, body.frame()) => frame.map_err(|_| Problem::Slow)?,
            () = memory.displaced() => return Err(Problem::Busy(Busy::Displaced)),
        };
        let Some(frame) = frame else { break };
        if let Some(used) = used {
            used.touch();
        }
        let data = frame.map_err(|_| Problem::Malformed)?.into_data().unwrap_or_default();
        size += data.len() as u64;
        let pushed = parser.push(&data, &mut |event| received.apply(event));
        pushed.map_err(|_| Problem::Malformed)?;
        let header = received.header.as_ref().map_or(0, Vec::len);
        if size > MAX_RECORDING {
            return Err(too_large(size, MAX_RECORDING));
        }
        if header > MAX_HEADER {
            return Err(too_large(header as u64, MAX_HEADER as u64));
        }
        for (piece, bytes) in received.pieces.drain(..) {
            let Some(writer) = writer else { continue };
            writer.write(piece, bytes).await.map_err(|error| failed(intake, &error))?;
        }
    }
    if parser.is_ended() { Ok(received) } else { Err(Problem::Malformed) }
}
