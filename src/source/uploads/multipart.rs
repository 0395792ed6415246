//! Reads `multipart/form-data` (RFC 7578, RFC 2046) as it arrives, without a part in memory.

// Of a part's headers; aiohttp and Node send some 150 bytes.
const MAX_HEADERS: usize = 8 << 10;
// RFC 2046, 5.1.1.
const MAX_BOUNDARY: usize = 70;

/// What was read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Event<'a> {
    /// A part begins, with the `name` of its `Content-Disposition`.
    Part(Option<&'a str>),
    /// The next bytes of the part.
    Data(&'a [u8]),
}

/// The body is not `multipart/form-data`.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Malformed;

/// Reads one body.
#[derive(Debug)]
pub(crate) struct Parser {
    // A line feed, two dashes, and the boundary.
    delimiter: Vec<u8>,
    // Bytes that could be a part of a delimiter or of headers.
    pending: Vec<u8>,
    state: State,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    // Before the first delimiter.
    Preamble,
    // Behind a delimiter.
    Delimited,
    Headers,
    Data,
    // Behind the last delimiter.
    Ended,
}

impl Parser {
    /// A parser for the boundary of a content type; `None` if it is not `multipart/form-data` with one.
    pub(crate) fn of(content_type: &str) -> Option<Self> {
        let (media, parameters) = content_type.split_once(';')?;
        if !media.trim().eq_ignore_ascii_case("multipart/form-data") {
            return None;
        }
        let boundary = parameter(parameters, "boundary")?;
        if boundary.is_empty() || boundary.len() > MAX_BOUNDARY {
            return None;
        }
        let delimiter = [b"\r\n--", boundary.as_bytes()].concat();
        // The first delimiter may begin the body, without a line feed before it.
        Some(Self { delimiter, pending: b"\r\n".to_vec(), state: State::Preamble })
    }

    /// Reads the next bytes of the body.
    ///
    /// # Errors
    /// If they are not a part of such a body; then the parser can't be used any more.
    pub(crate) fn push(
        &mut self,
        bytes: &[u8],
        event: &mut impl FnMut(Event<'_>),
    ) -> Result<(), Malformed> {
        self.pending.extend_from_slice(bytes);
        let mut pending = std::mem::take(&mut self.pending);
        let mut rest = pending.as_slice();
        while let Some(read) = self.step(rest, event)? {
            rest = &rest[read..];
        }
        let read = pending.len() - rest.len();
        pending.drain(..read);
        self.pending = pending;
        Ok(())
    }

    /// Whether the last delimiter was read.
    pub(crate) fn is_ended(&self) -> bool {
        self.state == State::Ended
    }

    // How many bytes were read; `None` if more are needed.
    fn step(
        &mut self,
        rest: &[u8],
        event: &mut impl FnMut(Event<'_>),
    ) -> Result<Option<usize>, Malformed> {
        match self.state {
            State::Preamble | State::Data => Ok(self.data(rest, event)),
            State::Delimited => self.delimited(rest),
            State::Headers => self.headers(rest, event),
            // An epilogue means nothing.
            State::Ended => Ok((!rest.is_empty()).then_some(rest.len())),
        }
    }

    fn data(&mut self, rest: &[u8], event: &mut impl FnMut(Event<'_>)) -> Option<usize> {
        let (end, is_whole) = find(rest, &self.delimiter);
        if self.state == State::Data && end > 0 {
            event(Event::Data(&rest[..end]));
        }
        if is_whole {
            self.state = State::Delimited;
            return Some(end + self.delimiter.len());
        }
        (end > 0).then_some(end)
    }

    fn delimited(&mut self, rest: &[u8]) -> Result<Option<usize>, Malformed> {
        match rest {
            [b'-', b'-', ..] => self.state = State::Ended,
            [b'\r', b'\n', ..] => self.state = State::Headers,
            // Padding.
            [b' ' | b'\t', ..] => return Ok(Some(1)),
            [] | [b'-' | b'\r'] => return Ok(None),
            _ => return Err(Malformed),
        }
        Ok(Some(2))
    }

    fn headers(
        &mut self,
        rest: &[u8],
        event: &mut impl FnMut(Event<'_>),
    ) -> Result<Option<usize>, Malformed> {
        if rest.starts_with(b"\r\n") {
            self.state = State::Data;
            event(Event::Part(None));
            return Ok(Some(2));
        }
        let (end, is_whole) = find(rest, b"\r\n\r\n");
        if end > MAX_HEADERS {
            return Err(Malformed);
        }
        if !is_whole {
            return Ok(None);
        }
        let headers = std::str::from_utf8(&rest[..end]).map_err(|_| Malformed)?;
        event(Event::Part(name(headers)));
        self.state = State::Data;
        Ok(Some(end + 4))
    }
}

// Where `word` begins in `bytes`, whole or, at their end, its first bytes; their length if it does not.
fn find(bytes: &[u8], word: &[u8]) -> (usize, bool) {
    let first = word[0];
    let mut from = 0;
    while let Some(at) = bytes[from..].iter().position(|byte| *byte == first) {
        let at = from + at;
        let rest = &bytes[at..];
        if rest.starts_with(word) {
            return (at, true);
        }
        if word.starts_with(rest) {
            return (at, false);
        }
        from = at + 1;
    }
    (bytes.len(), false)
}

// The name of a part, from its headers.
fn name(headers: &str) -> Option<&str> {
    let value = headers.split("\r\n").find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.trim().eq_ignore_ascii_case("content-disposition").then_some(value)
    })?;
    let (kind, parameters) = value.split_once(';')?;
    kind.trim().eq_ignore_ascii_case("form-data").then_some(())?;
    parameter(parameters, "name")
}

// A parameter of a header, quoted or not. Clients' names and boundaries have no escapes.
fn parameter<'a>(mut parameters: &'a str, name: &str) -> Option<&'a str> {
    loop {
        let (found, rest) = parameters.trim_start_matches([';', ' ', '\t']).split_once('=')?;
        let (value, rest) = match rest.strip_prefix('"') {
            Some(quoted) => quoted.split_once('"')?,
            None => {
                let end = rest.find(';').unwrap_or(rest.len());
                (rest[..end].trim(), &rest[end..])
            }
        };
        if found.trim().eq_ignore_ascii_case(name) {
            return Some(value);
        }
        parameters = rest;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const TYPE: &str = "multipart/form-data; boundary=b0und";

    // The parts of a body, and whether it is whole.
    type Parts = (Vec<(Option<String>, Vec<u8>)>, bool);

    // Those of a body that arrives in these pieces.
    fn read<'a>(pieces: impl IntoIterator<Item = &'a [u8]>) -> Result<Parts, Malformed> {
        let mut parser = Parser::of(TYPE).unwrap();
        let mut parts = Vec::new();
        for piece in pieces {
            parser.push(piece, &mut |event| match event {
                Event::Part(name) => parts.push((name.map(str::to_owned), Vec::new())),
                Event::Data(bytes) => parts.last_mut().unwrap().1.extend_from_slice(bytes),
            })?;
        }
        Ok((parts, parser.is_ended()))
    }

    fn body(parts: &[(&str, &[u8])]) -> Vec<u8> {
        let mut body = Vec::new();
        for (name, content) in parts {
            let head = format!(
                "--b0und\r\nContent-Type: a/b\r\n\
                 Content-Disposition: form-data; name=\"{name}\"; filename=\"f\"\r\n\r\n"
            );
            body.extend_from_slice(head.as_bytes());
            body.extend_from_slice(content);
            body.extend_from_slice(b"\r\n");
        }
        body.extend_from_slice(b"--b0und--\r\n");
        body
    }

    // Contents that look like delimiters.
    fn content() -> impl Strategy<Value = Vec<u8>> {
        let word = prop_oneof![
            Just(b"\r\n--b0un".to_vec()),
            Just(b"\r\n--".to_vec()),
            Just(b"\r\n\r\n".to_vec()),
            Just(b"\r".to_vec()),
            proptest::collection::vec(any::<u8>(), 0..20),
        ];
        let has_delimiter = |bytes: &Vec<u8>| {
            [b"\r\n", bytes.as_slice(), b"\r\n"].concat().windows(9).any(|at| at == b"\r\n--b0und")
        };
        proptest::collection::vec(word, 0..8)
            .prop_map(|words| words.concat())
            .prop_filter("a delimiter", move |bytes| !has_delimiter(bytes))
    }

    proptest! {
        #[test]
        fn the_parts_do_not_depend_on_how_the_body_is_split(
            contents in proptest::collection::vec(content(), 0..4),
            cuts in proptest::collection::vec(any::<prop::sample::Index>(), 0..30),
        ) {
            let names = ["header", "chat_history", "audio", "x"];
            let parts: Vec<_> =
                names.iter().copied().zip(contents.iter().map(Vec::as_slice)).collect();
            let body = body(&parts);
            let mut cuts: Vec<_> = cuts.iter().map(|cut| cut.index(body.len())).collect();
            cuts.extend([0, body.len()]);
            cuts.sort_unstable();
            let pieces = cuts.windows(2).map(|cut| &body[cut[0]..cut[1]]);
            let expected = parts.iter();
            let expected = expected.map(|(name, bytes)| (Some((*name).to_owned()), bytes.to_vec()));
            prop_assert_eq!(read(pieces).unwrap(), (expected.collect::<Vec<_>>(), true));
        }
    }

    #[test]
    fn a_body_can_be_split_anywhere() {
        let body = body(&[("header", b"\r\n--b0un"), ("audio", b"-\r\n-\r\n")]);
        let whole = read([body.as_slice()]).unwrap();
        assert_eq!(whole.0.len(), 2);
        for at in 0..=body.len() {
            let (one, other) = body.split_at(at);
            assert_eq!(read([one, other]).unwrap(), whole, "{at}");
            assert_eq!(read(one.chunks(1)).unwrap().1, at >= body.len() - 2, "{at}");
        }
    }

    #[test]
    fn what_is_not_multipart_is_refused() {
        for wrong in [
            "multipart/form-data",
            "multipart/form-data; boundary=",
            "multipart/form-data; boundary=\"unclosed",
            "multipart/mixed; boundary=a",
            "application/json; boundary=a",
        ] {
            assert!(Parser::of(wrong).is_none(), "{wrong}");
        }
        assert!(Parser::of(&format!("multipart/form-data; boundary={}", "b".repeat(71))).is_none());
        for right in
            ["multipart/form-data; boundary=\"b0und\"", "Multipart/Form-Data;x=y; Boundary=b"]
        {
            assert!(Parser::of(right).is_some(), "{right}");
        }
        assert_eq!(read([b"--b0undx".as_slice()]), Err(Malformed));
        let endless = [b"--b0und\r\n".to_vec(), vec![b'h'; MAX_HEADERS + 1]].concat();
        assert_eq!(read([endless.as_slice()]), Err(Malformed));
        assert_eq!(read([b"no parts".as_slice()]), Ok((Vec::new(), false)));
    }

    #[test]
    fn a_part_without_headers_or_a_name_has_no_name() {
        let text = "--b0und\r\n\r\none\r\n--b0und  \r\nContent-Type: a/b\r\n\r\ntwo\r\n--b0und--";
        let (parts, is_ended) = read([text.as_bytes()]).unwrap();
        assert_eq!(parts, [(None, b"one".to_vec()), (None, b"two".to_vec())]);
        assert!(is_ended);
    }
}
