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
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};

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
    let mut peers: Vec<Peer> = Vec::new();
    loop {
        let mut waiting = vec![PollFd::new(&listener, PollFlags::IN)];
        waiting.extend(peers.iter().map(Peer::readable));
        let ready = ready(&mut waiting, None)?;
        // From the last to the first, for one that has gone makes room with the last.
        for at in ready.iter().rev().filter(|at| **at > 0).map(|at| at - 1) {
            match peers[at].receive() {
                Ok(Some(_)) => peers[at].stream.write_all(answer.as_bytes())?,
                Ok(None) => {}
                Err(_) => drop(peers.swap_remove(at)),
            }
        }
        if ready.first() == Some(&0) {
            peers.push(Peer::new(listener.accept()?.0)?);
        }
    }
}

/// Waits, and returns which are readable.
fn ready(waiting: &mut [PollFd<'_>], time: Option<Duration>) -> io::Result<Vec<usize>> {
    let time = time.map(|time| Timespec::try_from(time).map_err(io::Error::other)).transpose()?;
    poll(waiting, time.as_ref())?;
    Ok((0..waiting.len()).filter(|at| !waiting[*at].revents().is_empty()).collect())
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

    fn readable(&self) -> PollFd<'_> {
        PollFd::from_borrowed_fd(self.stream.as_fd(), PollFlags::IN)
    }

    /// Reads what there is. When a request or answer is whole with its body, its first line comes back.
    fn receive(&mut self) -> io::Result<Option<String>> {
        let mut chunk = [0; 8192];
        match self.stream.read(&mut chunk)? {
            0 => return Err(io::ErrorKind::UnexpectedEof.into()),
            read => self.buffer.extend_from_slice(&chunk[..read]),
        }
        let Some(end) = self.buffer.windows(4).position(|bytes| bytes == b"\r\n\r\n") else {
            return Ok(None);
        };
        let head = String::from_utf8_lossy(&self.buffer[..end]).to_ascii_lowercase();
        let size = head
            .split("content-length:")
            .nth(1)
            .and_then(|rest| rest.lines().next()?.trim().parse().ok())
            .unwrap_or(0_usize);
        if self.buffer.len() < end + 4 + size {
            return Ok(None);
        }
        self.buffer.drain(..end + 4 + size);
        Ok(head.lines().next().map(str::to_owned))
    }
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
    let mut asking = Vec::new();
    for at in 0..connections {
        let due = begin + step.map_or(Duration::ZERO, |step| step.mul_f64(at as f64 / connections as f64));
        asking.push(Asking { peer: Peer::new(TcpStream::connect(place)?)?, due, since: None });
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
        let (places, mut waiting): (Vec<usize>, Vec<PollFd<'_>>) = asking
            .iter()
            .enumerate()
            .filter(|(_, one)| one.since.is_some())
            .map(|(at, one)| (at, one.peer.readable()))
            .unzip();
        if waiting.is_empty() && next.is_none() {
            break;
        }
        let time = next.map(|due| due.saturating_duration_since(Instant::now()));
        for at in ready(&mut waiting, time)?.into_iter().map(|at| places[at]).collect::<Vec<_>>() {
            let one = &mut asking[at];
            match one.peer.receive() {
                Ok(None) => continue,
                Ok(Some(line)) if line.contains(" 200 ") => {
                    latencies.extend(one.since.map(|since| since.elapsed()));
                }
                Ok(Some(_)) => errors += 1,
                Err(_) => {
                    errors += 1;
                    one.peer = Peer::new(TcpStream::connect(place)?)?;
                }
            }
            one.since = None;
            one.due = step.map_or_else(Instant::now, |step| one.due + step);
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
