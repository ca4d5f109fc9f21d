//! The two ends of `benchmarks/gateway.py`: a servant that costs next to nothing, and a load generator.
//!
//! `load upstream` prints its port and serves for ever; `load ask HOST:PORT CONNECTIONS SECONDS RATE`
//! asks for chat completions and prints a line of JSON. With a RATE (requests a second; 0: as many as
//! possible) latency counts from the instant a request was due, so that a stall is not hidden. The token is
//! that of `LOAD_TOKEN`.

use std::io::{self, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::time::{Duration, Instant};

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
    for stream in listener.incoming() {
        let stream = stream?;
        std::thread::spawn(move || serve(stream));
    }
    Ok(())
}

fn serve(mut stream: TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let head = "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: ";
    let answer = format!("{head}{}\r\n\r\n{ANSWER}", ANSWER.len());
    let mut buffer = Vec::new();
    while read_message(&mut stream, &mut buffer)?.is_some() {
        stream.write_all(answer.as_bytes())?;
    }
    Ok(())
}

/// Reads one request or response with its body; its status line comes back, `None` at the end.
fn read_message(stream: &mut TcpStream, buffer: &mut Vec<u8>) -> io::Result<Option<String>> {
    let mut chunk = [0; 8192];
    loop {
        if let Some(end) = buffer.windows(4).position(|bytes| bytes == b"\r\n\r\n") {
            let head = String::from_utf8_lossy(&buffer[..end]).into_owned();
            let lower = head.to_ascii_lowercase();
            let size = lower
                .split("content-length:")
                .nth(1)
                .and_then(|rest| rest.lines().next()?.trim().parse().ok());
            let whole = end + 4 + size.unwrap_or(0_usize);
            if buffer.len() >= whole {
                buffer.drain(..whole);
                return Ok(head.lines().next().map(str::to_owned));
            }
        }
        match stream.read(&mut chunk)? {
            0 => return Ok(None),
            read => buffer.extend_from_slice(&chunk[..read]),
        }
    }
}

fn ask(place: &str, connections: usize, seconds: f64, rate: f64) -> io::Result<()> {
    let begin = Instant::now() + Duration::from_millis(20);
    let end = begin + Duration::from_secs_f64(seconds);
    let asking: Vec<_> = (0..connections)
        .map(|at| {
            let place = place.to_owned();
            let due =
                (rate > 0.0).then(|| Due { begin, step: connections as f64 / rate, first: at as f64 / rate });
            std::thread::spawn(move || converse(&place, begin, end, due.as_ref()))
        })
        .collect();
    let mut latencies = Vec::new();
    let mut errors = 0;
    for thread in asking {
        let (some, failed) = thread.join().map_err(|_| io::Error::other("a thread failed"))??;
        latencies.extend(some);
        errors += failed;
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

/// When the requests of one connection are due.
struct Due {
    begin: Instant,
    step: f64,
    first: f64,
}

fn converse(
    place: &str,
    begin: Instant,
    end: Instant,
    due: Option<&Due>,
) -> io::Result<(Vec<Duration>, u64)> {
    let mut stream = TcpStream::connect(place)?;
    stream.set_nodelay(true)?;
    let token = std::env::var("LOAD_TOKEN").unwrap_or_default();
    let request = format!(
        "POST /v1/chat/completions HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer {token}\r\n\
         content-type: application/json\r\ncontent-length: {}\r\n\r\n{QUESTION}",
        QUESTION.len()
    );
    let (mut latencies, mut errors, mut buffer) = (Vec::new(), 0, Vec::new());
    let wait = |until: Instant| std::thread::sleep(until.saturating_duration_since(Instant::now()));
    wait(begin);
    for turn in 0_u32.. {
        let at = due
            .as_ref()
            .map(|due| due.begin + Duration::from_secs_f64(due.first + due.step * f64::from(turn)));
        if let Some(at) = at {
            wait(at);
        }
        let from = at.unwrap_or_else(Instant::now);
        if from >= end {
            break;
        }
        stream.write_all(request.as_bytes())?;
        match read_message(&mut stream, &mut buffer)? {
            Some(status) if status.contains(" 200 ") => latencies.push(from.elapsed()),
            Some(_) => errors += 1,
            None => {
                errors += 1;
                stream = TcpStream::connect(place)?;
                stream.set_nodelay(true)?;
                buffer.clear();
            }
        }
    }
    Ok((latencies, errors))
}
