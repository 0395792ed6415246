//! The files and directories that settings name.

use std::time::SystemTime;

use super::*;

// 2026-11-30T00:00:00Z
const NOW: u64 = 1_796_000_000;

fn now() -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(NOW)
}

fn checked(text: &str, pairs: &[(&str, &str)]) -> Result<Checked, Vec<String>> {
    let secret = "made-up-secret-of-thirty-two-characters";
    let yaml = Yaml::new("files", &format!("livekit: {{keys: {{k: {secret}}}}}\n{text}"));
    let name = yaml.0.display().to_string();
    let checked = Checked::load(&yaml.args(), &env(pairs), now());
    checked.map_err(|Errors(all)| shown(&all, &name))
}

// Without the file's name, which differs between runs.
fn shown(problems: &[Problem], file: &str) -> Vec<String> {
    problems.iter().map(|problem| problem.to_string().replace(file, "f.yaml")).collect()
}

fn texts(problems: &[Problem]) -> Vec<String> {
    problems.iter().map(ToString::to_string).collect()
}

#[test]
fn a_directory_that_can_not_be_used_is_an_error_and_is_not_created() {
    let place = tempfile::tempdir().unwrap();
    let at = |name: &str| place.path().join(name).display().to_string();
    std::fs::write(at("file"), "").unwrap();
    let journal = |dir: &str| checked(&format!("journal: {{dir: '{dir}'}}"), &[]);
    let (file, below) = (at("file"), at("file/journal"));
    for (dir, what) in [
        (&file, "is a file: must be a directory".to_owned()),
        (&below, format!("can't be created: {file} is a file")),
    ] {
        let expected = format!("f.yaml:2: journal.dir: {what} (got {dir:?})");
        assert_eq!(journal(dir).unwrap_err(), [expected]);
    }
    let new = at("new/journal");
    assert_eq!(texts(&journal(&new).unwrap().failing), <[&str; 0]>::default());
    assert!(!place.path().join("new").exists());
    journal(&at("")).unwrap();
    let keep = format!("agents: {{recordings: {{dir: '{file}'}}}}");
    let expected = "f.yaml:2: agents.recordings.dir: is a file: must be a directory";
    assert!(checked(&keep, &[]).unwrap_err()[0].starts_with(expected));
    for (journal, recordings) in [("j", "j"), ("j", "j/r"), ("r/j", "r"), ("j", "x/../j/r")] {
        let (journal, recordings) = (at(journal), at(recordings));
        let text = format!(
            "journal: {{dir: '{journal}'}}\nagents: {{recordings: {{dir: '{recordings}'}}}}"
        );
        let wrong = checked(&text, &[]).unwrap_err();
        let expected =
            "f.yaml:3: agents.recordings.dir: must be neither inside journal.dir nor around";
        assert!(wrong.len() == 1 && wrong[0].starts_with(expected), "{recordings}: {wrong:?}");
    }
}

#[test]
fn a_memory_limit_that_the_machine_does_not_have_is_noted() {
    let notes = checked("memory_limit: 1TiB", &[]).unwrap().notes;
    assert_eq!(notes.len(), 1, "{notes:?}");
    let note = notes[0].to_string();
    assert!(note.contains(":2: memory_limit: is more than the ") && note.contains("MiB"), "{note}");
    assert_eq!(checked("memory_limit: 64MiB", &[]).unwrap().notes, []);
}

#[cfg(feature = "tls")]
mod certificates {
    use std::path::Path;

    use rcgen::{CertificateParams, KeyPair, date_time_ymd};

    use super::*;

    // An authority as `openssl x509 -req -signkey` makes it.
    const VERSION_1: &[u8] = b"-----BEGIN CERTIFICATE-----
MIIBIzCBywIUR+oSuq6M3kfyPWBqP22SuVuRDPgwCgYIKoZIzj0EAwIwFDESMBAG
A1UEAwwJYXV0aG9yaXR5MCAXDTI2MTEzMDE4MzEyOVoYDzIxMjYxMTA2MTgzMTI5
WjAUMRIwEAYDVQQDDAlhdXRob3JpdHkwWTATBgcqhkjOPQIBBggqhkjOPQMBBwNC
AAQtmrCQZq4U9LgszWl0/RoN2iSiK62S1sTjZBhtX1jEto/IevObx19AXoLx8zNy
s0q1syfA+yycAmAgsuUe6yFmMAoGCCqGSM49BAMCA0cAMEQCIE3GBcnJwHjjk47t
4/J786JVLjr6+ZqSJKdAuh6Ul2U2AiAw6YeqC1EG9mq5mVnA+FS2D9uEWccxcnxs
FVdAu4M8JQ==
-----END CERTIFICATE-----
";

    // A directory with `NAME.pem` and `NAME.key`, valid in these years.
    fn signed(place: &Path, name: &str, from: i32, to: i32) {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
        (params.not_before, params.not_after) =
            (date_time_ymd(from, 1, 1), date_time_ymd(to, 1, 1));
        let certificate = params.self_signed(&key).unwrap();
        std::fs::write(place.join(format!("{name}.pem")), certificate.pem()).unwrap();
        std::fs::write(place.join(format!("{name}.key")), key.serialize_pem()).unwrap();
    }

    fn place() -> tempfile::TempDir {
        let place = tempfile::tempdir().unwrap();
        let path = place.path();
        signed(path, "good", 2020, 2100);
        signed(path, "other", 2020, 2100);
        signed(path, "old", 2020, 2025);
        signed(path, "new", 2090, 2100);
        let file = |name: &str, text: &[u8]| std::fs::write(path.join(name), text).unwrap();
        let [good, old] =
            ["good", "old"].map(|name| std::fs::read(path.join(format!("{name}.pem"))).unwrap());
        file("bundle.pem", &[&old[..], &good].concat());
        file("chain.pem", &[&good[..], &old].concat());
        file("version-1.pem", VERSION_1);
        file("version-1-chain.pem", &[&good[..], VERSION_1].concat());
        file("text.pem", b"s3cret");
        file("cut.pem", b"-----BEGIN CERTIFICATE-----\ns3cret\n");
        let encrypted = b"-----BEGIN ENCRYPTED PRIVATE KEY-----\nczNjcmV0\n-----END ENCRYPTED PRIVATE KEY-----\n";
        file("encrypted.key", encrypted);
        file("not-x509.pem", b"-----BEGIN CERTIFICATE-----\nczNjcmV0\n-----END CERTIFICATE-----\n");
        place
    }

    #[test]
    fn certificates_and_keys_that_can_not_be_used_are_errors() {
        let place = place();
        let at = |name: &str| place.path().join(name).display().to_string();
        let wrong = |certificate: &str, key: &str| {
            let (certificate, key) = (at(certificate), at(key));
            let text =
                format!("listen:\n  tls:\n    certificate: '{certificate}'\n    key: '{key}'");
            checked(&text, &[]).unwrap_err()
        };
        for (certificate, key, place, what, file) in [
            (
                "none.pem",
                "good.key",
                "4: listen.tls.certificate",
                "can't be used: there is no such file",
                "none.pem",
            ),
            (".", "good.key", "4: listen.tls.certificate", "can't be used: it is a directory", "."),
            (
                "text.pem",
                "good.key",
                "4: listen.tls.certificate",
                "can't be used: it holds no certificate in PEM",
                "text.pem",
            ),
            (
                "good.key",
                "good.key",
                "4: listen.tls.certificate",
                "can't be used: it holds no certificate in PEM",
                "good.key",
            ),
            (
                "cut.pem",
                "good.key",
                "4: listen.tls.certificate",
                "can't be used: it is not PEM",
                "cut.pem",
            ),
            (
                "good.pem",
                "none.key",
                "5: listen.tls.key",
                "can't be used: there is no such file",
                "none.key",
            ),
            (
                "good.pem",
                "good.pem",
                "5: listen.tls.key",
                "can't be used: it holds no key in PEM",
                "good.pem",
            ),
            (
                "good.pem",
                "encrypted.key",
                "5: listen.tls.key",
                "can't be used: its key is encrypted: write it without a passphrase",
                "encrypted.key",
            ),
        ] {
            let expected = format!("f.yaml:{place}: {what} (got {:?})", at(file));
            assert_eq!(wrong(certificate, key), [expected]);
        }
        let mismatch = format!(
            "f.yaml:5: listen.tls.key: it is the key of another certificate: must be that of {} (got {:?})",
            at("good.pem"),
            at("other.key")
        );
        assert_eq!(wrong("good.pem", "other.key"), [mismatch]);
        let unsupported = wrong("not-x509.pem", "good.key");
        assert!(
            unsupported[0].contains("listen.tls.certificate: TLS can't use it"),
            "{unsupported:?}"
        );
    }

    #[test]
    fn a_certificate_that_is_not_valid_now_is_named_with_its_date_and_starts_all_the_same() {
        let place = place();
        let at = |name: &str| place.path().join(name).display().to_string();
        let failing = |name: &str| {
            let (certificate, key) = (at(&format!("{name}.pem")), at(&format!("{name}.key")));
            let text = format!("listen: {{tls: {{certificate: '{certificate}', key: '{key}'}}}}");
            texts(&checked(&text, &[]).unwrap().failing)
        };
        assert_eq!(failing("good"), <[&str; 0]>::default());
        for (name, what) in [
            ("old", "expired at 2025-01-01T00:00:00Z: replace it (now is 2026-11-30T00:53:20Z)"),
            (
                "new",
                "is valid from 2090-01-01T00:00:00Z: is this machine's clock right? (now is \
                 2026-11-30T00:53:20Z)",
            ),
        ] {
            let failing = failing(name);
            let expected = format!(
                ":2: listen.tls.certificate: {what} (got {:?})",
                at(&format!("{name}.pem"))
            );
            assert!(failing.len() == 1 && failing[0].ends_with(&expected), "{failing:?}");
        }
    }

    #[test]
    fn a_certificate_of_the_chain_never_fails_the_check() {
        let place = place();
        let at = |name: &str| place.path().join(name).display().to_string();
        let notes = |chain: &str| {
            let (chain, key) = (at(chain), at("good.key"));
            let text = format!("listen: {{tls: {{certificate: '{chain}', key: '{key}'}}}}");
            let checked = checked(&text, &[]).unwrap();
            assert_eq!(texts(&checked.failing), <[&str; 0]>::default());
            texts(&checked.notes)
        };
        let old = notes("chain.pem");
        let expected =
            ":2: listen.tls.certificate: holds another certificate that expired at 2025-";
        assert!(old.len() == 1 && old[0].contains(expected), "{old:?}");
        assert_eq!(notes("version-1-chain.pem"), <[&str; 0]>::default());
    }

    #[test]
    fn the_collectors_certificates_are_checked_where_they_are_set() {
        let place = place();
        let at = |name: &str| place.path().join(name).display().to_string();
        let export = |ca: &str, variables: &[(&str, &str)]| {
            let text = format!("export: {{endpoint: 'https://c:1', certificate: '{}'}}", at(ca));
            checked(&text, variables)
        };
        // One authority of a bundle that is valid is enough.
        for right in ["good.pem", "bundle.pem", "version-1.pem"] {
            assert_eq!(texts(&export(right, &[]).unwrap().failing), <[&str; 0]>::default());
        }
        let old = texts(&export("old.pem", &[]).unwrap().failing);
        assert!(
            old.len() == 1 && old[0].contains(":2: export.certificate: expired at "),
            "{old:?}"
        );
        let unusable = export("not-x509.pem", &[]).unwrap_err();
        assert!(unusable[0].contains("it holds no certificate that TLS can use"), "{unusable:?}");
        let missing = export("none.pem", &[]).unwrap_err();
        let expected = "f.yaml:2: export.certificate: can't be used: there is no such file";
        assert!(missing.len() == 1 && missing[0].starts_with(expected), "{missing:?}");
        let (certificate, key) = (at("good.pem"), at("other.key"));
        let of_logs = [
            ("OTEL_EXPORTER_OTLP_LOGS_CLIENT_CERTIFICATE", certificate.as_str()),
            ("OTEL_EXPORTER_OTLP_LOGS_CLIENT_KEY", key.as_str()),
        ];
        let wrong = export("good.pem", &of_logs).unwrap_err();
        let expected = format!("{}: it is the key of another certificate", of_logs[1].0);
        assert!(wrong.len() == 1 && wrong[0].starts_with(&expected), "{wrong:?}");
        // Without TLS the file is not used.
        let plain =
            format!("export: {{endpoint: 'http://c:1', certificate: '{}'}}", at("none.pem"));
        let notes = texts(&checked(&plain, &[]).unwrap().notes);
        assert!(
            notes.len() == 1 && notes[0].contains("export.certificate: is not used"),
            "{notes:?}"
        );
    }
}
