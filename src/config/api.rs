//! LiveKit's API, where it is asked which rooms there are.

use std::time::Duration;

use super::keys;
use super::values;
use crate::source::reconcile::Settings;
use livekit_otel_export::configure::Reader;
use livekit_otel_livekit::keys::Keys;

const INTERVAL: Duration = Duration::from_mins(1);

/// `None` where no URL is given: then it is not asked.
pub(super) fn read(reader: &mut Reader<'_>, keys: &Keys) -> Option<Settings> {
    let interval = reader.in_file("livekit.interval", values::api_interval);
    let found = reader.variable("LIVEKIT_URL").or_else(|| reader.leaf("livekit.url"))?;
    let at = found.at.clone();
    let url = reader.parse(Some(found), values::api_url);
    let named = reader.variable(keys::KEY).or_else(|| reader.leaf("livekit.api_key"));
    let key = named.map(|found| found.text).or_else(|| keys.only().map(|(key, _)| key.to_owned()));
    if key.is_none() && !keys.is_empty() {
        reader.wrong(at, "needs livekit.api_key too, as there are several keys");
    }
    Some(Settings { url: url?, key: key?, interval: interval.unwrap_or(INTERVAL) })
}
