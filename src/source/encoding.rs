//! Decompression of bounded messages. The size is found before memory is taken for the content, so that a
//! small message can't become a large one unnoticed.

use std::io::{self, Read};

use flate2::read::MultiGzDecoder;
use http::HeaderValue;

// zstd's window of an unsized frame: what decoders should support at least (RFC 8878, 3.1.1.1.2).
const WINDOW_LOG: u32 = 23;

/// How a message is compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Encoding {
    Identity,
    Gzip,
    Zstd,
}

impl Encoding {
    /// The encoding that a header names; identity without one, `None` if it is not supported.
    pub(super) fn of(header: Option<&HeaderValue>) -> Option<Self> {
        let Some(header) = header else { return Some(Self::Identity) };
        let named = header.to_str().ok()?.trim();
        let is = |name: &str| named.eq_ignore_ascii_case(name);
        match () {
            () if is("identity") || is("") => Some(Self::Identity),
            () if is("gzip") || is("x-gzip") => Some(Self::Gzip),
            () if is("zstd") => Some(Self::Zstd),
            () => None,
        }
    }

    /// The size of the content as the message states it, which may be wrong; `None` if it does not.
    pub(super) fn stated_size(self, compressed: &[u8]) -> Option<usize> {
        match self {
            Self::Identity => Some(compressed.len()),
            // The last four bytes of gzip are the size of its last member.
            Self::Gzip => compressed.last_chunk().map(|size| u32::from_le_bytes(*size) as usize),
            Self::Zstd => {
                let size = zstd::zstd_safe::get_frame_content_size(compressed).ok().flatten()?;
                usize::try_from(size).ok()
            }
        }
    }

    /// Counts the bytes of the content, up to one more than `max`.
    ///
    /// # Errors
    /// If the message is malformed.
    pub(super) fn count(self, compressed: &[u8], max: usize) -> io::Result<usize> {
        let counted =
            io::copy(&mut self.reader(compressed)?.take(max as u64 + 1), &mut io::sink())?;
        Ok(usize::try_from(counted).unwrap_or(usize::MAX))
    }

    /// Decompresses content of exactly `size` bytes.
    ///
    /// # Errors
    /// If the message is malformed, or its content has another size.
    pub(super) fn decompress(self, compressed: &[u8], size: usize) -> io::Result<Vec<u8>> {
        let bytes = match self {
            // Without a window of its own, which may be as large as the content.
            Self::Zstd => zstd::bulk::Decompressor::new()?.decompress(compressed, size)?,
            Self::Identity | Self::Gzip => {
                let mut bytes = Vec::with_capacity(size);
                // One byte more detects a wrong size.
                self.reader(compressed)?.take(size as u64 + 1).read_to_end(&mut bytes)?;
                bytes
            }
        };
        if bytes.len() == size { Ok(bytes) } else { Err(io::ErrorKind::InvalidData.into()) }
    }

    fn reader(self, compressed: &[u8]) -> io::Result<Box<dyn Read + '_>> {
        Ok(match self {
            Self::Identity => Box::new(compressed),
            Self::Gzip => Box::new(MultiGzDecoder::new(compressed)),
            Self::Zstd => {
                let mut reader = zstd::stream::read::Decoder::with_buffer(compressed)?;
                reader.window_log_max(WINDOW_LOG)?;
                Box::new(reader)
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use flate2::Compression;
    use flate2::write::GzEncoder;

    use super::*;

    fn gzip(content: &[u8]) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
        encoder.write_all(content).unwrap();
        encoder.finish().unwrap()
    }

    #[test]
    fn a_message_may_have_several_members_or_no_size() {
        let content = b"one two".repeat(100);
        let (one, two) = content.split_at(300);
        let frames = [zstd::bulk::compress(one, 3).unwrap(), zstd::bulk::compress(two, 3).unwrap()];
        for (encoding, compressed) in [
            (Encoding::Gzip, gzip(&content)),
            (Encoding::Gzip, [gzip(one), gzip(two)].concat()),
            (Encoding::Zstd, zstd::bulk::compress(&content, 3).unwrap()),
            (Encoding::Zstd, zstd::stream::encode_all(content.as_slice(), 3).unwrap()),
            (Encoding::Zstd, frames.concat()),
        ] {
            assert_eq!(encoding.count(&compressed, 10_000).unwrap(), content.len());
            assert_eq!(encoding.count(&compressed, 10).unwrap(), 11);
            assert_eq!(encoding.decompress(&compressed, content.len()).unwrap(), content);
            for wrong in [content.len() - 1, content.len() + 1, 0] {
                assert!(encoding.decompress(&compressed, wrong).is_err(), "{encoding:?} {wrong}");
            }
            let cut = &compressed[..compressed.len() - 1];
            assert!(encoding.decompress(cut, content.len()).is_err(), "{encoding:?}");
        }
    }

    #[test]
    fn a_frame_with_a_window_that_is_too_large_is_refused() {
        // Magic, no content size, a window of 1 GiB.
        let frame = b"\x28\xb5\x2f\xfd\x00\xa0\x01\x00\x00";
        assert_eq!(Encoding::Zstd.stated_size(frame), None);
        assert!(Encoding::Zstd.count(frame, 1 << 20).is_err());
    }

    #[test]
    fn an_unknown_encoding_is_not_supported() {
        let of = |name: &'static str| Encoding::of(Some(&HeaderValue::from_static(name)));
        assert_eq!(Encoding::of(None), Some(Encoding::Identity));
        assert_eq!([of("GZIP"), of("zstd")], [Some(Encoding::Gzip), Some(Encoding::Zstd)]);
        assert_eq!([of("deflate"), of("gzip, gzip")], [None, None]);
    }
}
