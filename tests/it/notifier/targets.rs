//! Where webhooks are sent, which key signs them, and what the hook receives of that.

use std::collections::BTreeSet;

use livekit_otel_telemetry::messages::{
    EgressInfo, EgressStatus, FilterParams, WebhookConfig, WebhookEvent,
};
use livekit_otel_telemetry::webhook::{WebhookEndpoint, WebhookError, WebhookNotifier};
use livekit_otel_telemetry::{NotifyError, QueuedNotifier};
#[cfg(feature = "tls")]
use tokio::net::TcpListener;

use super::receiver::Receiver;
use super::{KEY, Notifying, OTHER_KEY, OTHER_SECRET, SECRET, event, keys, settings, to};
use crate::port::unused_address;

fn extra(url: String, key: &str) -> WebhookConfig {
    WebhookConfig { url, signing_key: key.to_owned(), filter_params: None }
}

fn events(names: &[&str]) -> Vec<String> {
    names.iter().map(|&name| name.to_owned()).collect()
}

fn excluding(event: &str) -> FilterParams {
    FilterParams { exclude_events: events(&[event]), ..FilterParams::default() }
}

#[tokio::test]
async fn each_url_has_its_own_key_and_filter() {
    let mut receiver = Receiver::start().await;
    let endpoints = [
        WebhookEndpoint::new(receiver.url("/all?query=kept")),
        WebhookEndpoint::new(receiver.url("/finished")).key(OTHER_KEY).filter(FilterParams {
            include_events: events(&["room_finished"]),
            ..FilterParams::default()
        }),
        WebhookEndpoint::new(receiver.url("/unfinished")).filter(excluding("room_finished")),
    ];
    let settings = settings(endpoints).filter(excluding("track_published"));
    let mut notifying = Notifying::start(&settings);
    let expected = [
        ("room_started", vec![("/all?query=kept", KEY), ("/unfinished", KEY)]),
        ("room_finished", vec![("/all?query=kept", KEY), ("/finished", OTHER_KEY)]),
        ("track_published", vec![]),
    ];
    for (name, expected) in expected {
        let event = WebhookEvent { event: name.to_owned(), ..event("EV_1", "room") };
        notifying.notify(&event).unwrap();
        let mut went = BTreeSet::new();
        for _ in &expected {
            let received = receiver.next().await;
            went.insert((received.path.clone(), received.key()));
            received.answer(200);
            notifying.processed().await;
        }
        let expected: BTreeSet<_> =
            expected.iter().map(|&(path, key)| (path.to_owned(), key.to_owned())).collect();
        assert_eq!(went, expected, "{name}");
    }
    assert!(receiver.is_quiet());
}

#[tokio::test]
async fn an_extra_webhook_has_its_own_key_and_filter() {
    let mut receiver = Receiver::start().await;
    let including =
        FilterParams { include_events: events(&["track_published"]), ..FilterParams::default() };
    let mut notifying = Notifying::start(&settings([]).filter(including));
    let notify = |extra: WebhookConfig| {
        let event = WebhookEvent {
            event: "egress_ended".to_owned(),
            egress_info: Some(EgressInfo {
                egress_id: "EG_1".to_owned(),
                status: EgressStatus::EgressComplete.into(),
                ..EgressInfo::default()
            }),
            ..event("EV_1", "room")
        };
        notifying.notifier.queue_notify(&event, &[extra])
    };
    for (key, secret, expected) in [("", SECRET, KEY), (OTHER_KEY, OTHER_SECRET, OTHER_KEY)] {
        notify(extra(receiver.url("/extra?token=hidden"), key)).unwrap();
        let received = receiver.next().await;
        assert_eq!(received.path, "/extra?token=hidden");
        assert!(received.read(expected, secret).is_some());
        received.answer(200);
    }
    let unknown = notify(extra(receiver.url("/extra"), "unknown"));
    assert_eq!(unknown, Err(NotifyError::UnknownKey));
    assert_eq!(notify(extra("ftp://host/".to_owned(), "")), Err(NotifyError::BadUrl));
    let exclude_events = events(&["egress_ended"]);
    let filter = FilterParams { exclude_events, ..FilterParams::default() };
    let filtered = extra(receiver.url("/extra"), "unknown");
    notify(WebhookConfig { filter_params: Some(filter), ..filtered }).unwrap();

    for _ in 0..2 {
        let info = notifying.processed().await;
        assert_eq!(info.url, receiver.url("/extra"));
        assert_eq!((info.egress_id.as_str(), info.send_error.as_str()), ("EG_1", ""));
        assert_eq!(info.service_status, "EGRESS_COMPLETE");
    }
    assert!(receiver.is_quiet() && notifying.processed_so_far().is_empty());
}

#[tokio::test]
async fn one_webhook_that_cant_be_queued_does_not_stop_the_others() {
    let mut receiver = Receiver::start().await;
    let notifying = Notifying::start(&to(&receiver));
    let extra = [extra("nowhere".to_owned(), ""), extra(receiver.url("/extra"), "")];
    let queued = notifying.notifier.queue_notify(&event("EV_1", "room"), &extra);
    assert_eq!(queued, Err(NotifyError::BadUrl));
    let paths = BTreeSet::from([receiver.next().await.path, receiver.next().await.path]);
    assert_eq!(paths, BTreeSet::from(["/extra".to_owned(), "/hook".to_owned()]));
}

#[tokio::test]
async fn an_unreachable_receiver_is_reported_without_its_secrets() {
    let address = unused_address();
    let url = format!("http://user:hidden@{address}/hook?token=hidden");
    let mut notifying = Notifying::start(&settings([WebhookEndpoint::new(url)]));
    notifying.notify(&event("EV_1", "room")).unwrap();
    let info = notifying.processed().await;
    assert_eq!((info.url, info.http_status_code), (format!("http://{address}/hook"), 0));
    assert!(info.send_error.contains("onnect"), "{}", info.send_error);
    assert!(!info.send_error.contains("hidden"), "{}", info.send_error);
}

#[tokio::test]
async fn settings_that_cant_work_are_refused_without_their_secrets() {
    let start = |endpoint: WebhookEndpoint| {
        let fine = WebhookEndpoint::new("http://127.0.0.1:1/");
        WebhookNotifier::start(&settings([fine, endpoint])).unwrap_err()
    };
    let unknown = WebhookEndpoint::new("http://127.0.0.1:1/").key("unknown");
    assert!(matches!(start(unknown), WebhookError::UnknownKey(1)));
    let error = start(WebhookEndpoint::new("hidden://127.0.0.1:1/?hidden"));
    assert!(matches!(error, WebhookError::BadUrl(1)));
    assert!(!error.to_string().contains("hidden"));

    let notifier = WebhookNotifier::start(&settings([WebhookEndpoint::new("http://host/")]));
    let error = notifier.unwrap().set_keys(keys(), "unknown").unwrap_err();
    assert!(matches!(error, WebhookError::UnknownKey(0)));
}

#[test]
fn without_a_runtime_there_is_no_notifier() {
    let refused = WebhookNotifier::start(&settings([]));
    assert!(matches!(refused, Err(WebhookError::NoRuntime)));
}

#[tokio::test]
async fn secrets_dont_show_in_debug() {
    let url = "http://user:hidden@127.0.0.1:1/hook?token=hidden";
    let settings = settings([WebhookEndpoint::new(url)]);
    let notifier = WebhookNotifier::start(&settings).unwrap();
    let settings = settings.endpoint(WebhookEndpoint::new("hidden, for it is no URL"));
    for shown in [format!("{settings:?}"), format!("{notifier:?}")] {
        assert!(shown.contains("http://127.0.0.1:1/hook"), "{shown}");
        for secret in ["hidden", SECRET, OTHER_SECRET] {
            assert!(!shown.contains(secret), "{shown}");
        }
    }
}

#[cfg(feature = "tls")]
#[tokio::test]
async fn a_receiver_whose_certificate_is_not_trusted_is_not_retried() {
    use std::sync::Arc;

    use tokio::sync::mpsc;
    use tokio_rustls::TlsAcceptor;
    use tokio_rustls::rustls::ServerConfig;
    use tokio_rustls::rustls::crypto::ring;
    use tokio_rustls::rustls::pki_types::PrivateKeyDer;

    let signed = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).unwrap();
    let key = PrivateKeyDer::try_from(signed.signing_key.serialize_der()).unwrap();
    let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![signed.cert.der().clone()], key)
        .unwrap();
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("https://{}/hook?token=hidden", listener.local_addr().unwrap());
    let (connected, mut connections) = mpsc::unbounded_channel();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            connected.send(acceptor.accept(stream).await.is_ok()).unwrap();
        }
    });

    let mut notifying = Notifying::start(&settings([]));
    notifying.notifier.queue_notify(&event("EV_1", "room"), &[extra(url, "")]).unwrap();
    let info = notifying.processed().await;
    assert!(info.send_error.contains("certificate"), "{}", info.send_error);
    assert!(!info.send_error.contains("hidden"), "{}", info.send_error);
    assert_eq!(connections.recv().await, Some(false));
    assert!(connections.try_recv().is_err(), "retried");
}
