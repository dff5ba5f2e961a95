//! A thrifty HTTP/2 client that speaks just enough gRPC to load a server.
//!
//! On one core a client of tonic's costs more than the server that it asks, so that it would measure itself. This one
//! writes a request from a prepared header block and reads an answer by its frame headers, without a task, a channel or
//! a header map. It never sleeps: whoever owns it polls it, which makes latencies exact to a microsecond.
//!
//! What the server sees is what a client of tonic's sends: pseudo headers and paths as literals, other headers from the
//! HPACK table after the first request, one DATA frame a message.

use std::{
    io::{self, ErrorKind, Read, Write},
    net::{SocketAddr, TcpStream},
    time::Duration,
};

use bytes::{Buf, BufMut, Bytes, BytesMut};
use prost::Message;

/// Most streams open at once on a connection, however many the server allows.
const STREAMS_MAX: usize = 1_000;

/// Largest DATA frame that every HTTP/2 server takes.
const FRAME_MAX: usize = 16_384;
/// Bytes read from the socket at once.
const READ_MAX: usize = 64 * 1024;
/// Bytes that wait to be written before a connection takes no more messages.
const WRITE_MAX: usize = 1024 * 1024;
/// What the server may send ahead of us, on a stream and on the connection: as much as there can be.
const RECEIVE_WINDOW: u32 = i32::MAX as u32;
/// What HTTP/2 lets a client send ahead until it is told otherwise.
const INITIAL_WINDOW: i64 = 65_535;
/// Longest wait for the server's first frame.
const HANDSHAKE_MAX: Duration = Duration::from_secs(5);

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const GOAWAY: u8 = 7;
const WINDOW_UPDATE: u8 = 8;

const END_STREAM: u8 = 1;
const ACK: u8 = 1;
const END_HEADERS: u8 = 4;

/// What arrived on a stream.
pub(crate) enum Arrival {
    /// A piece of a message.
    Data(Bytes),
    /// The trailers: the call is over. Its status is not read; a call without a message has failed.
    End,
    /// The server gave the call up.
    Reset,
    /// The server takes this many more bytes.
    Credit(i64),
}

/// One connection, driven by [`Connection::poll`].
pub(crate) struct Connection {
    socket: TcpStream,
    authority: String,
    inbound: BytesMut,
    outbound: BytesMut,
    scratch: Box<[u8; READ_MAX]>,
    last_stream: Option<u32>,
    /// Bytes that the server takes on the whole connection.
    credit: i64,
    /// Bytes that the server takes on a new stream.
    stream_credit: i64,
    /// Streams that may be open at once.
    streams_max: usize,
    /// Bytes received that the server has not been given back yet.
    received: u32,
}

impl Connection {
    /// Connects and waits for the server's settings.
    pub(crate) fn open(address: SocketAddr) -> io::Result<Self> {
        let socket = TcpStream::connect_timeout(&address, HANDSHAKE_MAX)?;
        socket.set_nodelay(true)?;
        socket.set_read_timeout(Some(HANDSHAKE_MAX))?;
        let mut connection = Self {
            socket,
            authority: address.to_string(),
            inbound: BytesMut::new(),
            outbound: BytesMut::from(&b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"[..]),
            scratch: Box::new([0; READ_MAX]),
            last_stream: None,
            credit: INITIAL_WINDOW,
            stream_credit: 0,
            streams_max: STREAMS_MAX,
            received: 0,
        };
        connection.frame(SETTINGS, 0, 0, |payload| {
            payload.put_u16(4); // SETTINGS_INITIAL_WINDOW_SIZE
            payload.put_u32(RECEIVE_WINDOW);
        });
        connection.frame(WINDOW_UPDATE, 0, 0, |payload| payload.put_u32(RECEIVE_WINDOW - INITIAL_WINDOW as u32));
        while connection.stream_credit == 0 {
            connection.poll(&mut Vec::new())?;
        }
        connection.socket.set_nonblocking(true)?;
        Ok(connection)
    }

    /// Bytes that may be sent on a stream that has just been opened.
    pub(crate) fn stream_credit(&self) -> i64 {
        self.stream_credit
    }

    /// Streams that may be open at once.
    pub(crate) fn streams_max(&self) -> usize {
        self.streams_max
    }

    /// Starts a unary call and returns its stream; none while the server takes nothing more.
    pub(crate) fn call(&mut self, path: &str, message: &impl Message) -> Option<u32> {
        if !self.takes(message.encoded_len()) {
            return None;
        }
        let stream = self.open_stream(path);
        self.data(stream, END_STREAM, message);
        Some(stream)
    }

    /// Starts a streaming call.
    pub(crate) fn open_stream(&mut self, path: &str) -> u32 {
        let stream = self.last_stream.map_or(1, |last| last + 2);
        let first = self.last_stream.replace(stream).is_none();
        let authority = std::mem::take(&mut self.authority);
        self.frame(HEADERS, END_HEADERS, stream, |block| {
            block.put_slice(&[0x83, 0x86]); // :method POST, :scheme http
            if first {
                literal(block, 0x41, &authority);
                literal(block, 0x04, path);
                literal(block, 0x40, "te");
                string(block, "trailers");
                literal(block, 0x5f, "application/grpc");
                literal(block, 0x7a, "fuseboard-load");
            } else {
                // Newest first from 62 on: user-agent, content-type, te, :authority.
                block.put_u8(0x80 | 65);
                literal(block, 0x04, path);
                block.put_slice(&[0x80 | 64, 0x80 | 63, 0x80 | 62]);
            }
        });
        self.authority = authority;
        stream
    }

    /// Sends a message on a stream; false while the server takes nothing more. The stream's own credit is the caller's
    /// to keep.
    pub(crate) fn send(&mut self, stream: u32, message: &impl Message) -> bool {
        let takes = self.takes(message.encoded_len());
        if takes {
            self.data(stream, 0, message);
        }
        takes
    }

    /// Writes what waits, reads once, and appends what has arrived.
    pub(crate) fn poll(&mut self, arrivals: &mut Vec<(u32, Arrival)>) -> io::Result<()> {
        self.flush()?;
        match self.socket.read(&mut self.scratch[..]) {
            Ok(0) => {
                return Err(io::Error::new(ErrorKind::UnexpectedEof, "the server closed the connection"));
            }
            Ok(length) => self.inbound.extend_from_slice(&self.scratch[..length]),
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
            Err(error) => return Err(error),
        }
        while let Some(length) = self.inbound.get(..3).map(|head| (&mut &*head).get_uint(3) as usize) {
            if self.inbound.len() < 9 + length {
                break;
            }
            let mut head = self.inbound.split_to(9);
            head.advance(3);
            let (kind, flags, stream) = (head.get_u8(), head.get_u8(), head.get_u32());
            let payload = self.inbound.split_to(length).freeze();
            self.arrived(kind, flags, stream, payload, arrivals)?;
        }
        if self.received > RECEIVE_WINDOW / 2 {
            let received = std::mem::take(&mut self.received);
            self.frame(WINDOW_UPDATE, 0, 0, |payload| payload.put_u32(received));
        }
        Ok(())
    }

    /// Writes as much as the socket takes.
    pub(crate) fn flush(&mut self) -> io::Result<()> {
        while !self.outbound.is_empty() {
            match self.socket.write(&self.outbound) {
                Ok(written) => self.outbound.advance(written),
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    fn arrived(
        &mut self,
        kind: u8,
        flags: u8,
        stream: u32,
        mut payload: Bytes,
        arrivals: &mut Vec<(u32, Arrival)>,
    ) -> io::Result<()> {
        match kind {
            DATA => {
                self.received += payload.len() as u32;
                arrivals.push((stream, Arrival::Data(payload)));
            }
            HEADERS if flags & END_STREAM != 0 => arrivals.push((stream, Arrival::End)),
            RST_STREAM => arrivals.push((stream, Arrival::Reset)),
            SETTINGS if flags & ACK == 0 => {
                self.stream_credit = INITIAL_WINDOW;
                while payload.len() >= 6 {
                    match (payload.get_u16(), payload.get_u32()) {
                        (3, streams) => self.streams_max = STREAMS_MAX.min(streams as usize),
                        (4, window) => self.stream_credit = i64::from(window),
                        _ => {}
                    }
                }
                self.frame(SETTINGS, ACK, 0, |_| {});
            }
            PING if flags & ACK == 0 => self.frame(PING, ACK, 0, |answer| answer.put_slice(&payload)),
            WINDOW_UPDATE if stream == 0 => self.credit += i64::from(payload.get_u32()),
            WINDOW_UPDATE => arrivals.push((stream, Arrival::Credit(i64::from(payload.get_u32())))),
            GOAWAY => {
                return Err(io::Error::other(format!("the server went away: {:?}", payload.slice(4..))));
            }
            _ => {}
        }
        Ok(())
    }

    fn takes(&self, length: usize) -> bool {
        self.credit >= (length + 5) as i64 && self.outbound.len() < WRITE_MAX
    }

    /// A gRPC message in as many DATA frames as it needs.
    fn data(&mut self, stream: u32, flags: u8, message: &impl Message) {
        let length = message.encoded_len();
        self.credit -= (length + 5) as i64;
        if length + 5 <= FRAME_MAX {
            self.frame(DATA, flags, stream, |payload| encode(payload, message));
            return;
        }
        let mut encoded = BytesMut::with_capacity(length + 5);
        encode(&mut encoded, message);
        while !encoded.is_empty() {
            let piece = encoded.split_to(encoded.len().min(FRAME_MAX));
            let flags = if encoded.is_empty() { flags } else { 0 };
            self.frame(DATA, flags, stream, |payload| payload.put_slice(&piece));
        }
    }

    /// A frame whose length is filled in after its payload.
    fn frame(&mut self, kind: u8, flags: u8, stream: u32, payload: impl FnOnce(&mut BytesMut)) {
        let start = self.outbound.len();
        self.outbound.put_slice(&[0, 0, 0, kind, flags]);
        self.outbound.put_u32(stream);
        payload(&mut self.outbound);
        let length = self.outbound.len() - start - 9;
        self.outbound[start..start + 3].copy_from_slice(&(length as u32).to_be_bytes()[1..]);
    }
}

fn encode(buffer: &mut BytesMut, message: &impl Message) {
    buffer.put_u8(0); // not compressed
    buffer.put_u32(message.encoded_len() as u32);
    message.encode(buffer).expect("the buffer grows");
}

/// A header with a name of HPACK's table, as the prefix says, and a value.
fn literal(block: &mut BytesMut, prefix: u8, value: &str) {
    block.put_u8(prefix);
    string(block, value);
}

/// A string of HPACK's, without Huffman's code.
fn string(block: &mut BytesMut, value: &str) {
    assert!(value.len() < 127, "a longer string needs more than a byte for its length");
    block.put_u8(value.len() as u8);
    block.put_slice(value.as_bytes());
}
