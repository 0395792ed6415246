//! The tokens of a forwarder's streams. A token expires, so that one is asked for whenever a stream
//! is opened.

use std::error::Error;
use std::fmt;
use std::sync::Arc;

use http::HeaderValue;
use thiserror::Error as ThisError;

use livekit_otel_livekit::token::mint;

/// Gives the token of each stream.
///
/// A `livekit-otel serve` with `listen.grpc_auth: token` takes one that grants `observability.write`
/// and lasts for at most 24 hours, as [`Tokens::minted`] makes them.
#[derive(Clone)]
pub struct Tokens(Arc<Provider>);

type Provider = dyn Fn() -> Result<String, TokenError> + Send + Sync;

/// Why there is no token.
#[derive(Debug, ThisError)]
pub enum TokenError {
    /// The API key or its secret is empty.
    #[error("the API key or its secret is empty")]
    NoKey,
    /// The token can't be in a header.
    #[error("the token has characters that no header may have")]
    Characters,
    /// It can't be signed.
    #[error("the token can't be signed")]
    Sign(#[source] livekit_token::AccessTokenError),
    /// The provider has none.
    #[error("the provider has no token")]
    Provider(#[source] Box<dyn Error + Send + Sync>),
}

impl Tokens {
    /// A new one for each stream, signed with one of LiveKit's API keys: it grants
    /// `observability.write` and lasts for a minute.
    ///
    /// # Errors
    /// Where the key or its secret is empty.
    pub fn minted(key: impl Into<String>, secret: impl Into<String>) -> Result<Self, TokenError> {
        let (key, secret) = (key.into(), secret.into());
        if key.is_empty() || secret.is_empty() {
            return Err(TokenError::NoKey);
        }
        Ok(Self(Arc::new(move || mint(&key, &secret).map_err(TokenError::Sign))))
    }

    /// The same for each stream. What is sent after it expired is refused.
    ///
    /// # Errors
    /// Where it can't be in a header.
    pub fn fixed(token: impl Into<String>) -> Result<Self, TokenError> {
        let token = token.into();
        header(&token)?;
        Ok(Self(Arc::new(move || Ok(token.clone()))))
    }

    /// What `provider` gives, which is called before each stream is opened: each second, and more
    /// often under load. It must not block. Where it fails nothing is sent, and it is called again
    /// after 0.1 to 5 s.
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
