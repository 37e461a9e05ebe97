//! Writing a message (RFC 3261 section 7). Content-Length is always that of the body.

use std::fmt::Write;

use bytes::{BufMut, Bytes, BytesMut};

use super::headers::Headers;
use super::message::{Message, Request, Response};
use super::name::Name;

impl Message {
    /// The bytes for the wire.
    pub fn to_bytes(&self) -> Bytes {
        match self {
            Message::Request(request) => request.to_bytes(),
            Message::Response(response) => response.to_bytes(),
        }
    }
}

impl Request {
    /// About how many bytes it has on the wire, without building it.
    pub fn wire_len(&self) -> usize {
        fields_len(&self.headers) + self.body.len() + 64
    }

    /// The bytes for the wire.
    pub fn to_bytes(&self) -> Bytes {
        let mut out = room(&self.headers, &self.body);
        // Writing into memory does not fail.
        let _ = write!(out, "{} {} SIP/2.0\r\n", self.method, self.uri);
        finish(out, &self.headers, &self.body)
    }
}

impl Response {
    /// The bytes for the wire.
    pub fn to_bytes(&self) -> Bytes {
        let mut out = room(&self.headers, &self.body);
        let _ = write!(out, "SIP/2.0 {:03} ", self.status);
        let _ = out.write_str(&self.reason.replace(['\r', '\n', '\0'], " "));
        out.put_slice(b"\r\n");
        finish(out, &self.headers, &self.body)
    }
}

fn room(headers: &Headers, body: &Bytes) -> BytesMut {
    BytesMut::with_capacity(fields_len(headers) + body.len() + 160)
}

fn fields_len(headers: &Headers) -> usize {
    headers.iter().map(|field| field.name().len() + field.value_bytes().len() + 4).sum()
}

fn finish(mut out: BytesMut, headers: &Headers, body: &Bytes) -> Bytes {
    let mut has_length = false;
    for field in headers.iter() {
        out.put_slice(field.name().as_bytes());
        out.put_slice(b": ");
        if field.id() != Name::ContentLength {
            out.put_slice(field.value_bytes());
        } else {
            has_length = true;
            let _ = write!(out, "{}", body.len());
        }
        out.put_slice(b"\r\n");
    }
    if !has_length {
        let _ = write!(out, "Content-Length: {}\r\n", body.len());
    }
    out.put_slice(b"\r\n");
    out.put_slice(body);
    out.freeze()
}
