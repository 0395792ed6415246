//! The PEM files that settings name: whether TLS can use them, and whether their certificates are valid now.

use std::path::Path;
use std::time::SystemTime;

use super::Config;
use super::paths::why;
use livekit_otel_export::configure::{Problem, Reader};
use livekit_otel_model::Signal;
use livekit_otel_transport::certificates::{
    Dates, IdentityError, Outdated, PemError, authorities, identity,
};

/// Adds errors for files that can't be used. Returns what is wrong with certificates that are not valid now, which
/// time or a new certificate puts right.
pub(super) fn check(config: &Config, now: SystemTime, reader: &mut Reader<'_>) -> Vec<Problem> {
    let mut check = Check { now, reader, outdated: Vec::new() };
    check.listeners(config);
    for signal in Signal::ALL {
        check.target(config, signal);
    }
    check.outdated
}

struct Check<'a, 'r> {
    now: SystemTime,
    reader: &'a mut Reader<'r>,
    outdated: Vec<Problem>,
}

impl Check<'_, '_> {
    fn listeners(&mut self, config: &Config) {
        let at = |check: &Self, key: &str| check.reader.places.at(&format!("listen.tls.{key}"));
        let (http, grpc) = (config.http_tls.as_ref(), config.grpc_tls.as_ref());
        // Both have the same certificate.
        if let Some(files) = http.or(grpc) {
            let (certificate, key) = (at(self, "certificate"), at(self, "key"));
            self.identity((&certificate, &files.certificate), (&key, &files.key));
        }
        for (key, files) in [("http_client_ca", http), ("grpc_client_ca", grpc)] {
            if let Some(ca) = files.and_then(|files| files.client_ca.as_ref()) {
                let at = at(self, key);
                self.authorities(&at, ca);
            }
        }
    }

    fn target(&mut self, config: &Config, signal: Signal) {
        let target = config.export.target(signal);
        if !target.enabled {
            return;
        }
        let at = |check: &Self, option, key| check.reader.places.of_signal(signal, option, key);
        let ca = at(self, "CERTIFICATE", "export.certificate");
        let certificate = at(self, "CLIENT_CERTIFICATE", "export.client_certificate");
        let key = at(self, "CLIENT_KEY", "export.client_key");
        if target.endpoint.scheme_str() != Some("https") {
            let files = [target.tls.ca().map(|_| ca), target.tls.client().map(|_| certificate)];
            for at in files.into_iter().flatten() {
                let what = "is not used, as the endpoint is http://: TLS needs https://";
                self.reader.note(Problem::new(at, what));
            }
            return;
        }
        if let Some(file) = target.tls.ca() {
            self.authorities(&ca, file);
        }
        if let Some((certificate_file, key_file)) = target.tls.client() {
            self.identity((&certificate, certificate_file), (&key, key_file));
        }
    }

    fn identity(&mut self, certificate: (&str, &Path), key: (&str, &Path)) {
        match identity(certificate.1, key.1, self.now) {
            Ok(Dates { own, chain }) => {
                if let Some(date) = own {
                    self.outdated(certificate, date);
                } else if let Some(date) = chain {
                    let what = format!("holds another certificate that {}", self.shown(date));
                    let note = Problem::new(certificate.0, what);
                    self.reader.note(note.with_value(&certificate.1.to_string_lossy()));
                }
            }
            Err(IdentityError::Files { certificate: of_certificate, key: of_key }) => {
                for (at, error) in [(certificate.0, of_certificate), (key.0, of_key)] {
                    if let Some(error) = error {
                        self.unusable(at, error);
                    }
                }
            }
            Err(error @ IdentityError::Mismatch) => {
                let what = format!("{error}: must be that of {}", certificate.1.display());
                self.wrong(Problem::new(key.0, what).with_value(&key.1.to_string_lossy()));
            }
            Err(error) => {
                let value = certificate.1.to_string_lossy();
                self.wrong(Problem::new(certificate.0, error.to_string()).with_value(&value));
            }
        }
    }

    fn authorities(&mut self, at: &str, file: &Path) {
        match authorities(file, self.now) {
            Ok(None) => {}
            Ok(Some(date)) => self.outdated((at, file), date),
            Err(error) => self.unusable(at, error),
        }
    }

    fn unusable(&mut self, at: &str, error: PemError) {
        let (path, error) = error.into_parts();
        let what = format!("can't be used: {}", why(&error));
        self.wrong(Problem::new(at, what).with_value(&path.to_string_lossy()));
    }

    fn outdated(&mut self, (at, path): (&str, &Path), date: Outdated) {
        let what = self.shown(date);
        let problem = Problem::new(at, what).with_value(&path.to_string_lossy());
        if !self.outdated.contains(&problem) {
            self.outdated.push(problem);
        }
    }

    fn shown(&self, date: Outdated) -> String {
        let time = humantime::format_rfc3339_seconds;
        let now = time(self.now);
        match date {
            Outdated::Expired(then) => {
                format!("expired at {}: replace it (now is {now})", time(then))
            }
            Outdated::NotYet(then) => format!(
                "is valid from {}: is this machine's clock right? (now is {now})",
                time(then)
            ),
        }
    }

    // Signals share files.
    fn wrong(&mut self, problem: Problem) {
        if !self.reader.problems.contains(&problem) {
            self.reader.problems.push(problem);
        }
    }
}
