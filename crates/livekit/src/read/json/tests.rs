use std::fmt::Write as _;

use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD, URL_SAFE, URL_SAFE_NO_PAD};
use livekit_protocol as lk;
use prost::Message as _;
use serde_json::{Value as Json, json};

use super::super::schema::{self, json_name};
use super::*;

fn read<T: prost::Message + Default>(name: &str, body: &str) -> Result<T, String> {
    let bytes = encode(body.as_bytes(), schema::message(name), &mut Unknown::default());
    bytes.map(|bytes| T::decode(&*bytes).unwrap()).map_err(|error| error.to_string())
}

fn webhook(body: &str) -> Result<lk::WebhookEvent, String> {
    read("WebhookEvent", body)
}

fn event(fields: &str) -> Result<lk::AnalyticsEvent, String> {
    let events: lk::AnalyticsEvents =
        read("AnalyticsEvents", &format!(r#"{{"events":[{fields}]}}"#))?;
    Ok(events.events.into_iter().next().unwrap())
}

// protobuf.dev/programming-guides/json, and protobuf-go encoding/protojson/decode.go.
#[test]
fn a_value_has_the_same_meaning_in_every_legal_spelling() {
    for (spellings, same) in [
        // null is the default of each type.
        (&[r#""numDropped":null"#, r#""num_dropped":0"#, r#""numDropped":"0""#][..], ""),
        (&[r#""event":null"#, r#""room":null"#, r#""roomEndReason":null"#, r#""job":null"#], ""),
        (
            &[r#""room":{"sid":null,"enabledCodecs":null,"activeRecording":null,"version":null}"#],
            r#""room":{}"#,
        ),
        (
            &[r#""participant":{"attributes":null,"tracks":null,"kind":null}"#],
            r#""participant":{}"#,
        ),
        // Integers.
        (
            &[
                r#""createdAt":1795980009"#,
                r#""created_at":1795980009.0"#,
                r#""createdAt":1795980009.000000000000"#,
                r#""createdAt":1.795980009e9"#,
                r#""createdAt":1795980009000E-3"#,
                r#""createdAt":"1795980009.0""#,
                r#""createdAt":"1795980009e0""#,
                r#""createdAt":"179598000\u0039""#,
            ],
            r#""createdAt":"1795980009""#,
        ),
        (&[r#""createdAt":9223372036854775807.0"#], r#""createdAt":"9223372036854775807""#),
        (&[r#""createdAt":-9223372036854775808"#], r#""createdAt":"-9223372036854775808""#),
        // Enums by name and by number.
        (
            &[r#""roomEndReason":2"#, r#""room_end_reason":2.0"#],
            r#""roomEndReason":"ROOM_END_IDLE_TIMEOUT""#,
        ),
    ] {
        let expected = webhook(&format!("{{{same}}}")).unwrap();
        for spelling in spellings {
            assert_eq!(webhook(&format!("{{{spelling}}}")).as_ref(), Ok(&expected), "{spelling}");
        }
    }
}

#[test]
fn times_durations_floats_and_bytes_are_read_in_every_legal_spelling() {
    let stamp =
        |text: &str| event(&format!(r#"{{"timestamp":"{text}"}}"#)).unwrap().timestamp.unwrap();
    for text in [
        "2026-11-30T04:00:09.5Z",
        "2026-11-30T06:00:09.500+02:00",
        "2026-11-30T04:00:09.500000000-00:00",
    ] {
        assert_eq!(stamp(text), Timestamp { seconds: 1_796_011_209, nanos: 500_000_000 }, "{text}");
    }
    for (text, seconds, nanos) in [
        ("1s", 1, 0),
        ("1.50s", 1, 500_000_000),
        ("-0.000000001s", 0, -1),
        ("-3.5s", -3, -500_000_000),
    ] {
        let info = format!(
            r#"{{"sipOutboundTrunk":{{"mediaEncryption":0}},"apiCall":{{"request":{{"sendDataRequest":{{}}}}}},"sipInboundTrunk":{{"ringingTimeout":"{text}"}}}}"#
        );
        let trunk = event(&info).unwrap().sip_inbound_trunk.unwrap();
        assert_eq!(trunk.ringing_timeout, Some(Duration { seconds, nanos }), "{text}");
    }
    for (text, score) in [
        ("1.5", 1.5),
        (r#""1.5""#, 1.5),
        ("2", 2.0),
        ("15e-1", 1.5),
        (r#""Infinity""#, f32::INFINITY),
        (r#""-Infinity""#, f32::NEG_INFINITY),
        ("null", 0.0),
    ] {
        let stats: lk::AnalyticsStats =
            read("AnalyticsStats", &format!(r#"{{"stats":[{{"score":{text}}}]}}"#)).unwrap();
        assert_eq!(stats.stats[0].score.to_bits(), score.to_bits(), "{text}");
    }
    let nan: lk::AnalyticsStats = read("AnalyticsStats", r#"{"stats":[{"score":"NaN"}]}"#).unwrap();
    assert!(nan.stats[0].score.is_nan());
    for text in ["-_-_AQ", "+/+/AQ==", "-_-_AQ==", "+/+/AQ", "+/+/AR", r"+/\n+/AQ=="] {
        let call =
            format!(r#"{{"apiCall":{{"request":{{"sendDataRequest":{{"data":"{text}"}}}}}}}}"#);
        let request = event(&call).unwrap().api_call.unwrap().request.unwrap().message.unwrap();
        let lk::api_call_request::Message::SendDataRequest(data) = request else { panic!() };
        assert_eq!(data.data, [0xfb, 0xff, 0xbf, 1], "{text}");
    }
}

#[test]
fn what_protojson_refuses_is_refused_by_its_path_without_its_value() {
    for (body, place) in [
        (r#"{"room":{"sid":["secret"]}}"#, "`room.sid`"),
        (r#"{"room":"secret"}"#, "`room`"),
        (r#"{"room":[{}]}"#, "`room`"),
        (r#"{"participant":{"tracks":{}}}"#, "`participant.tracks`"),
        (r#"{"participant":{"tracks":[null]}}"#, "`participant.tracks[0]`"),
        (r#"{"participant":{"attributes":{"secret-key":5}}}"#, "`participant.attributes.*`"),
        (r#"{"participant":{"attributes":{"secret-key":null}}}"#, "`participant.attributes.*`"),
        (r#"{"createdAt":1.5}"#, "`created_at`"),
        (r#"{"createdAt":"secret"}"#, "`created_at`"),
        (r#"{"createdAt":" 1"}"#, "`created_at`"),
        (r#"{"createdAt":9223372036854775808}"#, "`created_at`"),
        (r#"{"numDropped":2147483648}"#, "`num_dropped`"),
        (r#"{"numDropped":true}"#, "`num_dropped`"),
        (r#"{"roomEndReason":2147483648}"#, "`room_end_reason`"),
        (r#"{"roomEndReason":1.5}"#, "`room_end_reason`"),
        (r#"{"room":{"activeRecording":"true"}}"#, "`room.active_recording`"),
        (r#"{"room":{"emptyTimeout":-1}}"#, "`room.empty_timeout`"),
        ("[]", "its top"),
        ("null", "its top"),
    ] {
        let error = webhook(body).unwrap_err();
        assert_eq!(error, format!("unreadable message: wrong value at {place}"), "{body}");
    }
    for body in ["", "{", "{} {}", r#"{"room":{"sid":}}"#, r#"{"event":"\ud800"}"#] {
        let error = webhook(body).unwrap_err();
        assert!(error.starts_with("unreadable message: invalid JSON at 1:"), "{body}: {error}");
    }
}

#[test]
fn unknown_fields_and_enum_values_are_counted_at_every_depth() {
    let body = json!({
        "event": "track_published",
        "novelty": {"deep": [1, {"a": null}]},
        "track": {
            "sid": "TR_1", "source": "HOLOGRAM", "type": 77, "audioFeatures": ["TF_STEREO", "TF_NEW"],
            "layers": [{"width": 1, "depth": 2}, {"depth": 3}],
        },
        "participant": {"sid": "PA_1", "kind": "ROBOT", "mood": "good", "attributes": {"mood": "good"}},
    });
    let mut unknown = Unknown::default();
    let bytes = encode(body.to_string().as_bytes(), schema::message("WebhookEvent"), &mut unknown);
    let event = lk::WebhookEvent::decode(&*bytes.unwrap()).unwrap();
    let counts = unknown.counts();
    assert_eq!((counts.event_types, counts.enum_values, counts.fields), (0, 4, 4));
    let (track, who) = (event.track.unwrap(), event.participant.unwrap());
    assert_eq!((track.sid.as_str(), track.r#type), ("TR_1", 77));
    assert_eq!((&*unknown.value(track.source), &*unknown.value(who.kind)), ("HOLOGRAM", "ROBOT"));
}

#[test]
fn a_deeply_nested_unknown_value_is_skipped() {
    let deep =
        format!(r#"{{"new":{}{},"event":"e","x":1e999}}"#, "[".repeat(9000), "]".repeat(9000));
    assert_eq!(webhook(&deep).unwrap().event, "e");
}

#[test]
fn a_recorded_webhook_is_read_as_livekits_crate_reads_it() {
    let capture = include_str!("../../../../../examples/captures/one-call.jsonl");
    let lines = capture.lines().map(|line| serde_json::from_str::<Json>(line).unwrap());
    let bodies = lines.filter(|line| line["kind"] == "webhook").map(|line| line["body"].clone());
    let mut webhooks = 0;
    for body in bodies {
        webhooks += 1;
        let expected = serde_json::from_value(body.clone()).unwrap();
        assert_eq!(webhook(&body.to_string()), Ok(expected));
    }
    assert!(webhooks > 3);
}

// Writes random messages as protobuf and as JSON, each value in a random legal spelling.
struct Writer {
    random: fastrand::Rng,
    fields: u64,
}

impl Writer {
    fn message(&mut self, message: &'static Message, depth: u32) -> (Vec<u8>, String) {
        let (mut bytes, mut members) = (Vec::new(), Vec::new());
        let chance = if depth > 6 { 0.5 } else { 0.3 };
        let mut fields: Vec<_> = message.fields.iter().collect();
        self.random.shuffle(&mut fields);
        for field in fields {
            let name =
                if self.random.bool() { field.name.to_owned() } else { json_name(field.name) };
            let is_set = field.kind != Kind::Any && (depth > 0 || field.kind.message().is_none());
            if !is_set || self.random.f64() > chance {
                if self.random.f64() < 0.1 {
                    members.push(format!(r#""{name}":null"#));
                }
                continue;
            }
            let text = match field.shape {
                Shape::One => self.one(field, &mut bytes, depth),
                Shape::List => {
                    let items =
                        (0..self.random.u32(0..3)).map(|_| self.one(field, &mut bytes, depth));
                    format!("[{}]", items.collect::<Vec<_>>().join(","))
                }
                Shape::Map => self.map(field, &mut bytes),
            };
            members.push(format!(r#""{name}":{text}"#));
        }
        if self.random.f64() < 0.1 {
            self.fields += 1;
            members.push(format!(r#""new{}":{{"a":[null,1.5e3,"\"}}"]}}"#, self.random.u8(..)));
        }
        let space = ["", " ", "\n\t"][self.random.usize(..3)];
        (bytes, format!("{{{space}{}{space}}}", members.join(&format!("{space},"))))
    }

    fn map(&mut self, field: &'static Field, bytes: &mut Vec<u8>) -> String {
        let [key, value] = &field.kind.message().unwrap().fields[..] else { panic!() };
        let members: Vec<_> = (0..self.random.u32(0..3))
            .map(|nth| {
                let mut entry = Vec::new();
                let name = if key.kind == Kind::Text { format!("k{nth}") } else { nth.to_string() };
                match key.kind {
                    Kind::Text => content(key.number, name.as_bytes(), &mut entry),
                    _ => varint(key.number, nth.into(), &mut entry),
                }
                let text = self.one(value, &mut entry, 0);
                content(field.number, &entry, bytes);
                format!(r#""{name}":{text}"#)
            })
            .collect();
        format!("{{{}}}", members.join(","))
    }

    fn one(&mut self, field: &'static Field, bytes: &mut Vec<u8>, depth: u32) -> String {
        match field.kind {
            Kind::Bool => {
                let flag = self.random.bool();
                varint(field.number, flag.into(), bytes);
                flag.to_string()
            }
            Kind::Int32 | Kind::Int64 | Kind::Uint32 | Kind::Uint64 => self.integer(field, bytes),
            Kind::Enum(_) => {
                let values = field.kind.enumeration().unwrap().values();
                let (name, number) = values[self.random.usize(..values.len())];
                varint(field.number, i64::from(number).cast_unsigned(), bytes);
                if self.random.bool() {
                    format!(r#""{name}""#)
                } else {
                    self.spelled(number.into())
                }
            }
            Kind::Float => {
                let value = f32::from(self.random.u16(..)) / 8.0;
                encode_key(field.number, WireType::ThirtyTwoBit, bytes);
                bytes.extend(value.to_le_bytes());
                self.float(f64::from(value))
            }
            Kind::Double => {
                let value =
                    [f64::from(self.random.i16(..)) / 8.0, 1e20, -3.0, 0.0][self.random.usize(..4)];
                encode_key(field.number, WireType::SixtyFourBit, bytes);
                bytes.extend(value.to_le_bytes());
                self.float(value)
            }
            Kind::Text => {
                let text: String =
                    (0..self.random.usize(..8)).map(|_| self.random.char(..)).collect();
                content(field.number, text.as_bytes(), bytes);
                self.text(&text)
            }
            Kind::Bytes => {
                let raw: Vec<u8> =
                    (0..self.random.usize(..8)).map(|_| self.random.u8(..)).collect();
                content(field.number, &raw, bytes);
                let engine = [STANDARD, STANDARD_NO_PAD, URL_SAFE, URL_SAFE_NO_PAD]
                    [self.random.usize(..4)]
                .clone();
                format!(r#""{}""#, engine.encode(raw))
            }
            Kind::Timestamp => {
                let (hour, second, tenth) =
                    (self.random.u8(..22), self.random.u8(..60), self.random.u8(..10));
                let seconds = 1_795_996_800 + i64::from(hour) * 3600 + i64::from(second);
                let stamp = Timestamp { seconds, nanos: i32::from(tenth) * 100_000_000 };
                content(field.number, &stamp.encode_to_vec(), bytes);
                let (hour, zone) =
                    if self.random.bool() { (hour, "Z") } else { (hour + 2, "+02:00") };
                let zeros = "0".repeat(self.random.usize(..9));
                format!(r#""2026-11-30T{hour:02}:00:{second:02}.{tenth}{zeros}{zone}""#)
            }
            Kind::Duration => {
                let (seconds, tenth) =
                    (self.random.i64(..1000).abs() % 1000, self.random.i32(..10).abs() % 10);
                let length = Duration { seconds, nanos: tenth * 100_000_000 };
                content(field.number, &length.encode_to_vec(), bytes);
                format!(r#""{seconds}.{tenth}{}s""#, "0".repeat(self.random.usize(..9)))
            }
            Kind::Message(_) | Kind::Entry(_) => {
                let (inner, text) = self.message(field.kind.message().unwrap(), depth - 1);
                content(field.number, &inner, bytes);
                text
            }
            Kind::Any => unreachable!(),
        }
    }

    fn integer(&mut self, field: &Field, bytes: &mut Vec<u8>) -> String {
        let (low, high): (i128, i128) = match field.kind {
            Kind::Int32 => (i32::MIN.into(), i32::MAX.into()),
            Kind::Int64 => (i64::MIN.into(), i64::MAX.into()),
            Kind::Uint32 => (0, u32::MAX.into()),
            _ => (0, u64::MAX.into()),
        };
        let round = i128::from(self.random.u16(..)) * 10_i128.pow(self.random.u32(..5));
        let value =
            [low, high, 0, round, i128::from(self.random.u64(..)), 1_795_980_009_123_456_789];
        let value = value[self.random.usize(..value.len())].clamp(low, high);
        let wide =
            u64::try_from(value).unwrap_or_else(|_| i64::try_from(value).unwrap().cast_unsigned());
        varint(field.number, wide, bytes);
        let text = self.spelled(value);
        if self.random.bool() { format!(r#""{text}""#) } else { text }
    }

    fn spelled(&mut self, value: i128) -> String {
        let zeros = "0".repeat(self.random.usize(1..12));
        match self.random.u8(..5) {
            0 => format!("{value}.{zeros}"),
            1 if value != 0 => format!("{value}{zeros}e-{}", zeros.len()),
            2 if value % 1000 == 0 => format!("{}E+3", value / 1000),
            3 if value == 0 => "-0".to_owned(),
            _ => value.to_string(),
        }
    }

    fn float(&mut self, value: f64) -> String {
        match self.random.u8(..3) {
            0 => format!(r#""{value:?}""#),
            1 => format!("{value:e}"),
            _ => format!("{value:?}"),
        }
    }

    fn text(&mut self, text: &str) -> String {
        let mut json = String::from('"');
        for each in text.chars() {
            if each < ' ' || each == '"' || each == '\\' || self.random.bool() {
                for unit in each.encode_utf16(&mut [0; 2]) {
                    write!(json, "\\u{unit:04x}").unwrap();
                }
            } else {
                json.push(each);
            }
        }
        json.push('"');
        json
    }
}

fn varint(number: u32, value: u64, bytes: &mut Vec<u8>) {
    encode_key(number, WireType::Varint, bytes);
    encode_varint(value, bytes);
}

fn content(number: u32, content: &[u8], bytes: &mut Vec<u8>) {
    encode_key(number, WireType::LengthDelimited, bytes);
    encode_varint(content.len() as u64, bytes);
    bytes.extend_from_slice(content);
}

#[test]
fn a_random_message_is_read_as_itself_in_every_spelling() {
    fn check<T: prost::Message + PartialEq + Default>(name: &str, seed: u64) -> u64 {
        let mut writer = Writer { random: fastrand::Rng::with_seed(seed), fields: 0 };
        let (bytes, text) = writer.message(schema::message(name), 7);
        let mut unknown = Unknown::default();
        let read = encode(text.as_bytes(), schema::message(name), &mut unknown);
        let read = read.unwrap_or_else(|error| panic!("seed {seed}: {error}: {text}"));
        assert!(T::decode(&*bytes).unwrap() == T::decode(&*read).unwrap(), "seed {seed}: {text}");
        let counts = unknown.counts();
        assert_eq!((counts.fields, counts.enum_values), (writer.fields, 0), "seed {seed}: {text}");
        // The protobuf has none of the unknown fields.
        let mut unknown = Unknown::default();
        super::super::wire::count(&bytes, schema::message(name), &mut unknown);
        assert_eq!(unknown.counts(), Unknown::default().counts(), "seed {seed}");
        counts.fields
    }
    let seed = std::env::var("LIVEKIT_OTEL_SEED").ok().and_then(|seed| seed.parse().ok());
    let first = seed.unwrap_or_else(|| fastrand::u64(..u64::MAX - 200));
    let mut fields = 0;
    for seed in first..first + 100 {
        fields += check::<lk::WebhookEvent>("WebhookEvent", seed);
        fields += check::<lk::AnalyticsEvents>("AnalyticsEvents", seed);
        fields += check::<lk::AnalyticsStats>("AnalyticsStats", seed);
        fields += check::<lk::AnalyticsNodeRooms>("AnalyticsNodeRooms", seed);
    }
    assert!(fields > 0);
}
