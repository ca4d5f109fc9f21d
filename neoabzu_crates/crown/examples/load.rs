//! The two ends of `benchmarks/gateway.py`: a servant that costs next to nothing, and a load generator.
//!
//! `load upstream` prints its port and serves for ever; `load ask HOST:PORT CONNECTIONS SECONDS RATE`
//! asks for chat completions and prints a line of JSON. With a RATE (requests a second; 0: as many as
//! possible) latency counts from the instant a request was due, so that a stall is not hidden. The token is
//! that of `LOAD_TOKEN`.
//!
//! Each is one thread that waits for all its connections at once, to take as little as can be of the processors
//! that the server between them runs on too.

use std::io::{self, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::fd::{AsFd, OwnedFd};
use std::time::{Duration, Instant};

use rustix::buffer::spare_capacity;
use rustix::event::epoll::{self, CreateFlags, Event, EventData, EventFlags};

const ANSWER: &str = r#"{"id":"chatcmpl-1","object":"chat.completion","created":1,"model":"m","choices":[{"index":0,"message":{"role":"assistant","content":"The answer of a servant, about as long as a short sentence."},"finish_reason":"stop"}],"usage":{"prompt_tokens":9,"completion_tokens":12,"total_tokens":21}}"#;
const QUESTION: &str = r#"{"model":"crown","messages":[{"role":"system","content":"You are helpful."},{"role":"user","content":"What does a servant answer when it is asked something short?"}],"temperature":0.2}"#;

fn main() -> io::Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match words.as_slice() {
        ["upstream"] => upstream(),
        ["ask", place, connections, seconds, rate] => {
            let number = |text: &str| text.parse::<f64>().map_err(io::Error::other);
            ask(place, number(connections)? as usize, number(seconds)?, number(rate)?)
        }
        _ => Err(io::Error::other("usage: load upstream | load ask HOST:PORT CONNECTIONS SECONDS RATE")),
    }
}

fn upstream() -> io::Result<()> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    println!("{}", listener.local_addr()?.port());
    let head = "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: ";
    let answer = format!("{head}{}\r\n\r\n{ANSWER}", ANSWER.len());
    // The listener is 0, a peer its place and 1.
    let mut waiting = Waiting::new()?;
    waiting.add(&listener, 0)?;
    let mut peers: Vec<Option<Peer>> = Vec::new();
    loop {
        for ready in waiting.wait(None)? {
            let Some(at) = ready.checked_sub(1) else {
                let peer = Peer::new(listener.accept()?.0)?;
                let free = peers.iter().position(Option::is_none).unwrap_or(peers.len());
                waiting.add(&peer.stream, free + 1)?;
                peers.resize_with(peers.len().max(free + 1), || None);
                peers[free] = Some(peer);
                continue;
            };
            let Some(peer) = &mut peers[at] else { continue };
            match peer.receive() {
                Ok(Some(_)) => peer.stream.write_all(answer.as_bytes())?,
                Ok(None) => {}
                // Closed, it is waited for no longer.
                Err(_) => peers[at] = None,
            }
        }
    }
}

/// Those that are waited for, each with a number.
struct Waiting {
    epoll: OwnedFd,
    events: Vec<Event>,
}

impl Waiting {
    fn new() -> io::Result<Waiting> {
        Ok(Waiting { epoll: epoll::create(CreateFlags::CLOEXEC)?, events: Vec::with_capacity(64) })
    }

    fn add(&self, one: impl AsFd, number: usize) -> io::Result<()> {
        Ok(epoll::add(&self.epoll, one, EventData::new_u64(number as u64), EventFlags::IN)?)
    }

    /// Waits, no longer than `time`, and returns the numbers of the readable ones.
    fn wait(&mut self, time: Option<Duration>) -> io::Result<Vec<usize>> {
        let time = time.map(|time| time.try_into().map_err(io::Error::other)).transpose()?;
        self.events.clear();
        epoll::wait(&self.epoll, spare_capacity(&mut self.events), time.as_ref())?;
        Ok(self.events.drain(..).map(|event| event.data.u64() as usize).collect())
    }
}

/// A connection, and what has come of a message.
struct Peer {
    stream: TcpStream,
    buffer: Vec<u8>,
}

impl Peer {
    fn new(stream: TcpStream) -> io::Result<Peer> {
        stream.set_nodelay(true)?;
        Ok(Peer { stream, buffer: Vec::new() })
    }

    /// Reads what there is. When a request or answer is whole with its body, it tells whether it is an answer with
    /// status 200.
    fn receive(&mut self) -> io::Result<Option<bool>> {
        let mut chunk = [0; 8192];
        match self.stream.read(&mut chunk)? {
            0 => return Err(io::ErrorKind::UnexpectedEof.into()),
            read => self.buffer.extend_from_slice(&chunk[..read]),
        }
        let Some(end) = self.buffer.windows(4).position(|bytes| bytes == b"\r\n\r\n") else {
            return Ok(None);
        };
        let head = &self.buffer[..end];
        let size = head.split(|byte| *byte == b'\n').find_map(size_in).unwrap_or(0);
        let well = head.starts_with(b"HTTP/1.1 200 ");
        if self.buffer.len() < end + 4 + size {
            return Ok(None);
        }
        self.buffer.drain(..end + 4 + size);
        Ok(Some(well))
    }
}

/// What a header says of the size of a body.
fn size_in(line: &[u8]) -> Option<usize> {
    let (name, value) = line.split_at_checked(15)?;
    let size = name.eq_ignore_ascii_case(b"content-length:").then_some(value)?;
    str::from_utf8(size).ok()?.trim().parse().ok()
}

/// One of the connections that ask: when its next request is due, and since when it waits for an answer.
struct Asking {
    peer: Peer,
    due: Instant,
    since: Option<Instant>,
}

fn ask(place: &str, connections: usize, seconds: f64, rate: f64) -> io::Result<()> {
    let token = std::env::var("LOAD_TOKEN").unwrap_or_default();
    let request = format!(
        "POST /v1/chat/completions HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer {token}\r\n\
         content-type: application/json\r\ncontent-length: {}\r\n\r\n{QUESTION}",
        QUESTION.len()
    );
    let begin = Instant::now() + Duration::from_millis(20);
    let end = begin + Duration::from_secs_f64(seconds);
    // Each connection has its turn; as many as possible: whenever it has its answer.
    let step = (rate > 0.0).then(|| Duration::from_secs_f64(connections as f64 / rate));
    let mut waiting = Waiting::new()?;
    let mut asking = Vec::new();
    for at in 0..connections {
        let due = begin + step.map_or(Duration::ZERO, |step| step.mul_f64(at as f64 / connections as f64));
        let peer = Peer::new(TcpStream::connect(place)?)?;
        waiting.add(&peer.stream, at)?;
        asking.push(Asking { peer, due, since: None });
    }
    let (mut latencies, mut errors) = (Vec::new(), 0_u64);
    loop {
        let now = Instant::now();
        for one in asking.iter_mut().filter(|one| one.since.is_none() && one.due <= now.min(end)) {
            one.peer.stream.write_all(request.as_bytes())?;
            one.since = Some(if step.is_some() { one.due } else { now });
        }
        let next = asking.iter().filter(|one| one.since.is_none()).map(|one| one.due).min();
        let next = next.filter(|due| *due < end);
        if next.is_none() && asking.iter().all(|one| one.since.is_none()) {
            break;
        }
        let mut lost = Vec::new();
        for at in waiting.wait(next.map(|due| due.saturating_duration_since(Instant::now())))? {
            let one = &mut asking[at];
            match one.peer.receive() {
                Ok(None) => continue,
                Ok(Some(true)) => latencies.extend(one.since.map(|since| since.elapsed())),
                Ok(Some(false)) => errors += 1,
                Err(_) => {
                    errors += 1;
                    lost.push(at);
                }
            }
            one.since = None;
            one.due = step.map_or_else(Instant::now, |step| one.due + step);
        }
        for at in lost {
            asking[at].peer = Peer::new(TcpStream::connect(place)?)?;
            waiting.add(&asking[at].peer.stream, at)?;
        }
    }
    let took = begin.elapsed().as_secs_f64();
    latencies.sort_unstable();
    let at = |share: f64| {
        let place = ((latencies.len() as f64 * share) as usize).min(latencies.len().saturating_sub(1));
        latencies.get(place).map_or(0.0, |latency: &Duration| latency.as_secs_f64())
    };
    println!(
        r#"{{"requests":{},"errors":{errors},"seconds":{took:.3},"rate":{:.1},"p50":{:.7},"p99":{:.7}}}"#,
        latencies.len(),
        latencies.len() as f64 / took,
        at(0.5),
        at(0.99)
    );
    Ok(())
}
