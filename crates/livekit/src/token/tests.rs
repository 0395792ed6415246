use super::*;

const SECRET: &str = "made-up-secret-of-thirty-two-characters";
// The verifier has a clock of its own, which is later.
const NOW: u64 = 1_700_000_000;

fn keys() -> Keys {
    let mut keys = Keys::default();
    keys.insert("key", SECRET);
    keys
}

fn jwt(claims: &Value, secret: &str) -> String {
    let signed =
        [r#"{"alg":"HS256"}"#, &claims.to_string()].map(|part| URL_SAFE_NO_PAD.encode(part));
    let signed = signed.join(".");
    let mut mac = Hmac::<Sha256>::new_from_slice(secret.as_bytes()).unwrap();
    mac.update(signed.as_bytes());
    format!("{signed}.{}", URL_SAFE_NO_PAD.encode(mac.finalize().into_bytes()))
}

fn headers(value: &str) -> HeaderMap {
    HeaderMap::from_iter([(AUTHORIZATION, value.parse().unwrap())])
}

// Of a webhook's token with these claims, at NOW.
fn refused(iss: &str, (begins, ends): (u64, u64), secret: &str) -> Option<Refusal> {
    let claims = serde_json::json!({"iss": iss, "nbf": begins, "exp": ends});
    let now = UNIX_EPOCH + Duration::from_secs(NOW);
    webhook(&headers(&jwt(&claims, secret)), &keys(), now).err()
}

#[test]
fn a_refusal_says_by_how_much_the_time_is_wrong() {
    let of = |begins, ends| refused("key", (begins, ends), SECRET);
    assert_eq!(of(NOW - 612, NOW - 312), Some(Refusal::Expired { ago: 312 }));
    assert_eq!(of(NOW + 90, NOW + 390), Some(Refusal::NotYet { within: 90 }));
    assert_eq!(of(NOW - 1000, u64::from(u32::MAX)), Some(Refusal::Old { ago: 1000 }));
    assert_eq!(of(NOW + 30, NOW), Some(Refusal::EndsFirst));
}

#[test]
fn a_wrong_secret_is_reported_before_a_wrong_time() {
    assert_eq!(refused("key", (NOW - 612, NOW - 312), "wrong"), Some(Refusal::Signature));
    assert_eq!(refused("other", (NOW - 612, NOW - 312), "wrong"), Some(Refusal::UnknownKey));
    assert_eq!(refused(SECRET, (NOW, NOW + 60), "wrong"), Some(Refusal::SecretAsKey));
}

#[test]
fn the_key_of_a_token_is_shown_cut_and_printable_and_never_a_secret() {
    let named = |iss: &str| {
        let token = jwt(&serde_json::json!({ "iss": iss }), "any");
        named_key(&headers(&format!("bearer {token}")), &keys())
    };
    assert_eq!(named("APIkey").as_deref(), Some("APIkey"));
    assert_eq!(named("a\u{1b}[2J\n").as_deref(), Some("a\u{fffd}[2J\u{fffd}"));
    assert_eq!(named(&"é".repeat(100)), Some("é".repeat(64)));
    assert_eq!([named(""), named(SECRET)], [None, None]);
    assert_eq!(named_key(&headers("nonsense"), &keys()), None);
    assert_eq!(named_key(&HeaderMap::new(), &keys()), None);
}

#[test]
fn the_scheme_has_any_case_and_no_other_scheme_is_a_token() {
    for value in ["token", "Bearer token", "bearer token", "BEARER  token ", "bEaReR token"] {
        assert_eq!(bearer(&headers(value)), Ok("token"), "{value:?}");
    }
    for value in ["Basic token", "Bearertoken", "Bearer token, Bearer token"] {
        assert_ne!(bearer(&headers(value)), Ok("token"), "{value:?}");
    }
}
