//! What is counted separately: the sources of messages, and the signals that are sent.

use serde::{Deserialize, Serialize};

/// Where a message came from. Exhaustive on purpose: each source needs a row of the ledger and a kind of
/// dead letters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[allow(missing_docs)]
pub enum Source {
    Webhook,
    Events,
    Stats,
    NodeRooms,
    /// The lists of LiveKit's API.
    Api,
    /// Spans that LiveKit's agents upload.
    AgentTraces,
    /// Log records that LiveKit's agents upload.
    AgentLogs,
    /// Metrics that LiveKit's agents upload.
    AgentMetrics,
    /// Recordings that LiveKit's agents upload.
    AgentRecordings,
    /// Spans that any program sends over plain OTLP.
    OtlpTraces,
    /// Log records that any program sends over plain OTLP.
    OtlpLogs,
    /// Metrics that any program sends over plain OTLP.
    OtlpMetrics,
}

impl Source {
    /// All, in the order of the report.
    pub const ALL: [Self; 12] = [
        Self::Webhook,
        Self::Events,
        Self::Stats,
        Self::NodeRooms,
        Self::Api,
        Self::AgentTraces,
        Self::AgentLogs,
        Self::AgentMetrics,
        Self::AgentRecordings,
        Self::OtlpTraces,
        Self::OtlpLogs,
        Self::OtlpMetrics,
    ];

    /// Whether it is an OTLP request, or a recording of an agent.
    pub fn is_upload(self) -> bool {
        !matches!(self, Self::Webhook | Self::Events | Self::Stats | Self::NodeRooms | Self::Api)
    }

    /// The emitted value.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Webhook => "webhook",
            Self::Events => "events",
            Self::Stats => "stats",
            Self::NodeRooms => "node_rooms",
            Self::Api => "api",
            Self::AgentTraces => "agent_traces",
            Self::AgentLogs => "agent_logs",
            Self::AgentMetrics => "agent_metrics",
            Self::AgentRecordings => "agent_recordings",
            Self::OtlpTraces => "otlp_traces",
            Self::OtlpLogs => "otlp_logs",
            Self::OtlpMetrics => "otlp_metrics",
        }
    }
}

/// The three signals of OpenTelemetry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[allow(missing_docs)]
pub enum Signal {
    Traces,
    Logs,
    Metrics,
}

impl Signal {
    /// All, in the order of the report.
    pub const ALL: [Self; 3] = [Self::Traces, Self::Logs, Self::Metrics];

    /// The emitted value.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Traces => "traces",
            Self::Logs => "logs",
            Self::Metrics => "metrics",
        }
    }
}
