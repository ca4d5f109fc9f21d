//! A servant's stream on its way to the client.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::stream::{Stream, unfold};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use neoabzu_kimicho::{Error, Kind};

use super::lines::{End, Lines, Piece};
use crate::complete::UnderWay;
use crate::request::Request;

/// How long the end of a stream may come after its end mark. A connection that has ended can be used again.
const LINGER: Duration = Duration::from_millis(100);

/// A servant's stream that is being passed on.
pub struct Flow {
    pub name: String,
    /// What came until it was known to be an answer.
    pub first: Option<Piece>,
    pub lines: Lines,
    pub body: Incoming,
    /// None once it has been settled.
    pub under_way: Option<UnderWay>,
    /// What it answers; its span ends with the stream.
    pub request: Arc<Request>,
    /// How long the servant may say nothing.
    pub idle: Duration,
}

impl Flow {
    /// The events as they come, up to the end mark. A stream that ends without it ends with an error event.
    pub fn events(self) -> impl Stream<Item = Result<Bytes, Infallible>> {
        unfold(Some(self), |flow| async move {
            let mut flow = flow?;
            if flow.under_way.is_none() {
                let rest = async { while let Some(Ok(_)) = flow.body.frame().await {} };
                let _ = tokio::time::timeout(LINGER, rest).await;
                return None;
            }
            loop {
                let piece = match flow.first.take() {
                    Some(piece) => Ok(piece),
                    None => flow.next().await,
                };
                let (lines, failure) = match piece {
                    Ok(Piece { end: None, lines, .. }) if lines.is_empty() => continue,
                    Ok(Piece { end: None, lines, .. }) => return Some((Ok(lines), Some(flow))),
                    Ok(Piece { end: Some(End::Done), lines, .. }) => {
                        flow.settle(Ok(()));
                        return Some((Ok(lines), Some(flow)));
                    }
                    Ok(Piece { end: Some(End::Failed(said)), lines, .. }) => {
                        (lines, (Kind::Upstream, format!("the stream ended with an error: {said}")))
                    }
                    Err((kind, fault)) => (Bytes::new(), (kind, fault.to_owned())),
                };
                let failure = Error::new(failure.0, format!("servant {}: {}", flow.name, failure.1));
                flow.settle(Err(&failure));
                let event = flow.lines.error_event(&failure.message);
                return Some((Ok([lines, event].concat().into()), None));
            }
        })
    }

    async fn next(&mut self) -> Result<Piece, (Kind, &'static str)> {
        match tokio::time::timeout(self.idle, self.body.frame()).await {
            Ok(Some(Ok(frame))) => match frame.into_data() {
                Ok(data) => self.lines.feed(&data).map_err(|fault| (Kind::Malformed, fault)),
                Err(_) => Ok(Piece::default()),
            },
            Ok(None | Some(Err(_))) => match self.lines.finish() {
                Piece { end: None, .. } => Err((Kind::Upstream, "the stream was cut")),
                last => Ok(last),
            },
            Err(_) => Err((Kind::Timeout, "the stream said nothing for too long")),
        }
    }

    fn settle(&mut self, outcome: Result<(), &Error>) {
        if let Some(under_way) = self.under_way.take() {
            under_way.settle(outcome);
        }
        let _ = self.request.trace.watch(outcome);
    }
}
