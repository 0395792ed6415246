//! The tokens of a forwarder's streams. Tokens expire, so each stream gets a new one.

use std::error::Error;
use std::fmt;
use std::sync::Arc;

use http::HeaderValue;
use thiserror::Error as ThisError;

use livekit_otel_livekit::token::mint;

/// Provides the token of each stream.
///
/// A `livekit-otel serve` with `listen.grpc_auth: token` accepts a token that grants
/// `observability.write` and is valid for at most 24 hours, such as one of [`Tokens::minted`].
#[derive(Clone)]
pub struct Tokens(Arc<Provider>);

type Provider = dyn Fn() -> Result<String, TokenError> + Send + Sync;

/// Why there is no token.
#[derive(Debug, ThisError)]
#[non_exhaustive]
pub enum TokenError {
    /// The API key or its secret is empty.
    #[error("the API key or its secret is empty")]
    NoKey,
    /// The token can't be a header's value.
    #[error("the token has characters that are not allowed in a header")]
    Characters,
    /// The token can't be signed.
    #[error("the token can't be signed")]
    Sign(#[source] Box<dyn Error + Send + Sync>),
    /// The provider failed.
    #[error("the provider has no token")]
    Provider(#[source] Box<dyn Error + Send + Sync>),
}

impl Tokens {
    /// A new token for each stream, signed with one of LiveKit's API keys: it grants
    /// `observability.write` and is valid for a minute.
    ///
    /// # Errors
    /// If the key or its secret is empty.
    pub fn minted(key: impl Into<String>, secret: impl Into<String>) -> Result<Self, TokenError> {
        let (key, secret) = (key.into(), secret.into());
        if key.is_empty() || secret.is_empty() {
            return Err(TokenError::NoKey);
        }
        Ok(Self(Arc::new(move || {
            mint(&key, &secret).map_err(|error| TokenError::Sign(Box::new(error)))
        })))
    }

    /// The same token for each stream. Streams are refused once it has expired.
    ///
    /// # Errors
    /// If it can't be a header's value.
    pub fn fixed(token: impl Into<String>) -> Result<Self, TokenError> {
        let token = token.into();
        header(&token)?;
        Ok(Self(Arc::new(move || Ok(token.clone()))))
    }

    /// A token of `provider`, which is called before each stream is opened: each second, and more often
    /// under load. It must not block. If it fails nothing is sent, and it is called again after 0.1 to
    /// 5 s.
    pub fn from_fn<E: Into<Box<dyn Error + Send + Sync>>>(
        provider: impl Fn() -> Result<String, E> + Send + Sync + 'static,
    ) -> Self {
        let provider = move || provider().map_err(|error| TokenError::Provider(error.into()));
        Self(Arc::new(provider))
    }

    /// The header of the next stream.
    pub(super) fn next(&self) -> Result<HeaderValue, TokenError> {
        header(&(self.0)()?)
    }
}

impl fmt::Debug for Tokens {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Tokens")
    }
}

fn header(token: &str) -> Result<HeaderValue, TokenError> {
    let value = HeaderValue::from_str(&format!("Bearer {token}"));
    let mut value = value.map_err(|_| TokenError::Characters)?;
    value.set_sensitive(true);
    Ok(value)
}
